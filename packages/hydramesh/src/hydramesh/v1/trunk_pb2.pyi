from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNKNOWN: _ClassVar[State]
    STATE_ALIVE: _ClassVar[State]
    STATE_SUSPECT: _ClassVar[State]
    STATE_DEAD: _ClassVar[State]
    STATE_LEFT: _ClassVar[State]
STATE_UNKNOWN: State
STATE_ALIVE: State
STATE_SUSPECT: State
STATE_DEAD: State
STATE_LEFT: State

class Signed(_message.Message):
    __slots__ = ("body", "signature", "certificate")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    certificate: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("nid", "boot", "sequence", "incarnation", "time", "zid", "sights", "endpoints", "leaving", "role", "roster_version")
    NID_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ZID_FIELD_NUMBER: _ClassVar[int]
    SIGHTS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    nid: str
    boot: int
    sequence: int
    incarnation: int
    time: float
    zid: str
    sights: _containers.RepeatedCompositeFieldContainer[Sight]
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    leaving: bool
    role: str
    roster_version: int
    def __init__(self, nid: _Optional[str] = ..., boot: _Optional[int] = ..., sequence: _Optional[int] = ..., incarnation: _Optional[int] = ..., time: _Optional[float] = ..., zid: _Optional[str] = ..., sights: _Optional[_Iterable[_Union[Sight, _Mapping]]] = ..., endpoints: _Optional[_Iterable[str]] = ..., leaving: _Optional[bool] = ..., role: _Optional[str] = ..., roster_version: _Optional[int] = ...) -> None: ...

class Sight(_message.Message):
    __slots__ = ("nid", "incarnation", "state", "rtt_ms", "echo_sequence", "echo_held_ms", "linked", "loss", "echo_boot")
    NID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    ECHO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ECHO_HELD_MS_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ECHO_BOOT_FIELD_NUMBER: _ClassVar[int]
    nid: str
    incarnation: int
    state: State
    rtt_ms: float
    echo_sequence: int
    echo_held_ms: float
    linked: bool
    loss: float
    echo_boot: int
    def __init__(self, nid: _Optional[str] = ..., incarnation: _Optional[int] = ..., state: _Optional[_Union[State, str]] = ..., rtt_ms: _Optional[float] = ..., echo_sequence: _Optional[int] = ..., echo_held_ms: _Optional[float] = ..., linked: _Optional[bool] = ..., loss: _Optional[float] = ..., echo_boot: _Optional[int] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("version", "time", "members", "realm", "authority_nid")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_NID_FIELD_NUMBER: _ClassVar[int]
    version: int
    time: float
    members: _containers.RepeatedCompositeFieldContainer[Member]
    realm: str
    authority_nid: str
    def __init__(self, version: _Optional[int] = ..., time: _Optional[float] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., realm: _Optional[str] = ..., authority_nid: _Optional[str] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("nid", "name", "joined", "revoked", "reason", "endpoints", "authority", "gate")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    joined: float
    revoked: float
    reason: str
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    authority: bool
    gate: str
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., joined: _Optional[float] = ..., revoked: _Optional[float] = ..., reason: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ..., authority: _Optional[bool] = ..., gate: _Optional[str] = ...) -> None: ...

class SignedRoster(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
