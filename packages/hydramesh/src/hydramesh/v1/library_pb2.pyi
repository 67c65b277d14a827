from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShareRequest(_message.Message):
    __slots__ = ("place", "name", "base", "everyone")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    EVERYONE_FIELD_NUMBER: _ClassVar[int]
    place: str
    name: str
    base: str
    everyone: str
    def __init__(self, place: _Optional[str] = ..., name: _Optional[str] = ..., base: _Optional[str] = ..., everyone: _Optional[str] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("name", "prefix", "into", "lazy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    LAZY_FIELD_NUMBER: _ClassVar[int]
    name: str
    prefix: str
    into: str
    lazy: bool
    def __init__(self, name: _Optional[str] = ..., prefix: _Optional[str] = ..., into: _Optional[str] = ..., lazy: _Optional[bool] = ...) -> None: ...

class DropRequest(_message.Message):
    __slots__ = ("name", "shared")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    name: str
    shared: bool
    def __init__(self, name: _Optional[str] = ..., shared: _Optional[bool] = ...) -> None: ...

class CollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Role(_message.Message):
    __slots__ = ("nid", "name", "role")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    role: str
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("name", "collection", "founder", "state", "role", "store", "folder", "base", "prefix", "lazy", "documents", "bytes", "pending_documents", "pending_bytes", "rate", "eta_s", "peers", "roles", "everyone", "refused", "local", "clashes", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FOUNDER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LAZY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PENDING_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    EVERYONE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    CLASHES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    founder: str
    state: str
    role: str
    store: str
    folder: str
    base: str
    prefix: str
    lazy: bool
    documents: int
    bytes: float
    pending_documents: int
    pending_bytes: float
    rate: float
    eta_s: float
    peers: _containers.RepeatedScalarFieldContainer[str]
    roles: _containers.RepeatedCompositeFieldContainer[Role]
    everyone: str
    refused: int
    local: int
    clashes: _containers.RepeatedScalarFieldContainer[str]
    problem: str
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., founder: _Optional[str] = ..., state: _Optional[str] = ..., role: _Optional[str] = ..., store: _Optional[str] = ..., folder: _Optional[str] = ..., base: _Optional[str] = ..., prefix: _Optional[str] = ..., lazy: _Optional[bool] = ..., documents: _Optional[int] = ..., bytes: _Optional[float] = ..., pending_documents: _Optional[int] = ..., pending_bytes: _Optional[float] = ..., rate: _Optional[float] = ..., eta_s: _Optional[float] = ..., peers: _Optional[_Iterable[str]] = ..., roles: _Optional[_Iterable[_Union[Role, _Mapping]]] = ..., everyone: _Optional[str] = ..., refused: _Optional[int] = ..., local: _Optional[int] = ..., clashes: _Optional[_Iterable[str]] = ..., problem: _Optional[str] = ...) -> None: ...

class Collections(_message.Message):
    __slots__ = ("collections", "limits")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionInfo]
    limits: Limits
    def __init__(self, collections: _Optional[_Iterable[_Union[CollectionInfo, _Mapping]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class SyncRequest(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class PauseRequest(_message.Message):
    __slots__ = ("name", "paused")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    paused: bool
    def __init__(self, name: _Optional[str] = ..., paused: _Optional[bool] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("node", "role", "name")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    node: str
    role: str
    name: str
    def __init__(self, node: _Optional[str] = ..., role: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LimitRequest(_message.Message):
    __slots__ = ("set", "down", "up")
    SET_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    set: bool
    down: float
    up: float
    def __init__(self, set: _Optional[bool] = ..., down: _Optional[float] = ..., up: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("down", "up", "paused")
    DOWN_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    down: float
    up: float
    paused: bool
    def __init__(self, down: _Optional[float] = ..., up: _Optional[float] = ..., paused: _Optional[bool] = ...) -> None: ...

class DocumentsRequest(_message.Message):
    __slots__ = ("name", "prefix", "after", "limit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    prefix: str
    after: str
    limit: int
    def __init__(self, name: _Optional[str] = ..., prefix: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("path", "size", "digest", "modified", "here", "authors")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    HERE_FIELD_NUMBER: _ClassVar[int]
    AUTHORS_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: float
    digest: str
    modified: float
    here: bool
    authors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, path: _Optional[str] = ..., size: _Optional[float] = ..., digest: _Optional[str] = ..., modified: _Optional[float] = ..., here: _Optional[bool] = ..., authors: _Optional[_Iterable[str]] = ...) -> None: ...

class Documents(_message.Message):
    __slots__ = ("documents", "more")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    more: bool
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("name", "paths")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    name: str
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., paths: _Optional[_Iterable[str]] = ...) -> None: ...

class FetchReply(_message.Message):
    __slots__ = ("fetched", "store")
    FETCHED_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    fetched: int
    store: str
    def __init__(self, fetched: _Optional[int] = ..., store: _Optional[str] = ...) -> None: ...
