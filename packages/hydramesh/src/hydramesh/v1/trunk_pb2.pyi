from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
    __slots__ = ("nid", "instance", "incarnation", "seq", "stamp_us", "leaving", "neighbours", "reports", "time", "roster_version", "endpoints", "claim", "relay")
    NID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STAMP_US_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    nid: str
    instance: int
    incarnation: int
    seq: int
    stamp_us: int
    leaving: bool
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    time: float
    roster_version: int
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    claim: Claim
    relay: bool
    def __init__(self, nid: _Optional[str] = ..., instance: _Optional[int] = ..., incarnation: _Optional[int] = ..., seq: _Optional[int] = ..., stamp_us: _Optional[int] = ..., leaving: _Optional[bool] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ..., time: _Optional[float] = ..., roster_version: _Optional[int] = ..., endpoints: _Optional[_Iterable[str]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., relay: _Optional[bool] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("mode", "term", "leader")
    MODE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    mode: str
    term: int
    leader: str
    def __init__(self, mode: _Optional[str] = ..., term: _Optional[int] = ..., leader: _Optional[str] = ...) -> None: ...

class Neighbour(_message.Message):
    __slots__ = ("nid", "rtt_us", "wanted", "surplus")
    NID_FIELD_NUMBER: _ClassVar[int]
    RTT_US_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    SURPLUS_FIELD_NUMBER: _ClassVar[int]
    nid: str
    rtt_us: int
    wanted: bool
    surplus: bool
    def __init__(self, nid: _Optional[str] = ..., rtt_us: _Optional[int] = ..., wanted: _Optional[bool] = ..., surplus: _Optional[bool] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("nid", "instance", "incarnation", "status", "stamp_us", "held_us", "rtt_us")
    NID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STAMP_US_FIELD_NUMBER: _ClassVar[int]
    HELD_US_FIELD_NUMBER: _ClassVar[int]
    RTT_US_FIELD_NUMBER: _ClassVar[int]
    nid: str
    instance: int
    incarnation: int
    status: str
    stamp_us: int
    held_us: int
    rtt_us: int
    def __init__(self, nid: _Optional[str] = ..., instance: _Optional[int] = ..., incarnation: _Optional[int] = ..., status: _Optional[str] = ..., stamp_us: _Optional[int] = ..., held_us: _Optional[int] = ..., rtt_us: _Optional[int] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("version", "time", "members", "realm")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    version: int
    time: float
    members: _containers.RepeatedCompositeFieldContainer[Member]
    realm: str
    def __init__(self, version: _Optional[int] = ..., time: _Optional[float] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., realm: _Optional[str] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("nid", "name", "joined", "revoked", "reason", "endpoints", "authority")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    joined: float
    revoked: float
    reason: str
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    authority: bool
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., joined: _Optional[float] = ..., revoked: _Optional[float] = ..., reason: _Optional[str] = ..., endpoints: _Optional[_Iterable[str]] = ..., authority: _Optional[bool] = ...) -> None: ...

class SignedRoster(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...
