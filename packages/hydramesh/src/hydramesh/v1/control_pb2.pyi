from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RealmInfo(_message.Message):
    __slots__ = ("realm", "realm_id", "nid", "name", "authority", "certificate_ends", "clock_skew_s")
    REALM_FIELD_NUMBER: _ClassVar[int]
    REALM_ID_FIELD_NUMBER: _ClassVar[int]
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_ENDS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SKEW_S_FIELD_NUMBER: _ClassVar[int]
    realm: str
    realm_id: str
    nid: str
    name: str
    authority: bool
    certificate_ends: float
    clock_skew_s: float
    def __init__(self, realm: _Optional[str] = ..., realm_id: _Optional[str] = ..., nid: _Optional[str] = ..., name: _Optional[str] = ..., authority: _Optional[bool] = ..., certificate_ends: _Optional[float] = ..., clock_skew_s: _Optional[float] = ...) -> None: ...

class InitRequest(_message.Message):
    __slots__ = ("realm", "name", "certificate_life_s")
    REALM_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_LIFE_S_FIELD_NUMBER: _ClassVar[int]
    realm: str
    name: str
    certificate_life_s: float
    def __init__(self, realm: _Optional[str] = ..., name: _Optional[str] = ..., certificate_life_s: _Optional[float] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("code", "name")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    code: str
    name: str
    def __init__(self, code: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ("realm", "told")
    REALM_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    realm: str
    told: bool
    def __init__(self, realm: _Optional[str] = ..., told: _Optional[bool] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("dissolve",)
    DISSOLVE_FIELD_NUMBER: _ClassVar[int]
    dissolve: bool
    def __init__(self, dissolve: _Optional[bool] = ...) -> None: ...

class InviteRequest(_message.Message):
    __slots__ = ("name", "expires_s", "endpoints")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_S_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    expires_s: float
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., expires_s: _Optional[float] = ..., endpoints: _Optional[_Iterable[str]] = ...) -> None: ...

class InviteReply(_message.Message):
    __slots__ = ("code", "expires", "endpoints", "name")
    CODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    code: str
    expires: float
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    name: str
    def __init__(self, code: _Optional[str] = ..., expires: _Optional[float] = ..., endpoints: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class RevokeReply(_message.Message):
    __slots__ = ("nid", "name", "certificate_ends")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_ENDS_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    certificate_ends: float
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., certificate_ends: _Optional[float] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "state", "realm", "uptime_s", "peers_alive", "peers_known", "links", "listening", "renewal_due", "problems")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REALM_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    PEERS_ALIVE_FIELD_NUMBER: _ClassVar[int]
    PEERS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    LISTENING_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_DUE_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: str
    realm: RealmInfo
    uptime_s: float
    peers_alive: int
    peers_known: int
    links: int
    listening: _containers.RepeatedScalarFieldContainer[str]
    renewal_due: float
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., state: _Optional[str] = ..., realm: _Optional[_Union[RealmInfo, _Mapping]] = ..., uptime_s: _Optional[float] = ..., peers_alive: _Optional[int] = ..., peers_known: _Optional[int] = ..., links: _Optional[int] = ..., listening: _Optional[_Iterable[str]] = ..., renewal_due: _Optional[float] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class MembersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MemberInfo(_message.Message):
    __slots__ = ("nid", "name", "joined", "state", "authority", "self")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    SELF_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    joined: float
    state: str
    authority: bool
    self: bool
    def __init__(self_, nid: _Optional[str] = ..., name: _Optional[str] = ..., joined: _Optional[float] = ..., state: _Optional[str] = ..., authority: _Optional[bool] = ..., self: _Optional[bool] = ...) -> None: ...

class Members(_message.Message):
    __slots__ = ("members", "version", "time")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[MemberInfo]
    version: int
    time: float
    def __init__(self, members: _Optional[_Iterable[_Union[MemberInfo, _Mapping]]] = ..., version: _Optional[int] = ..., time: _Optional[float] = ...) -> None: ...

class PeersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Peer(_message.Message):
    __slots__ = ("nid", "name", "state", "incarnation", "rtt_ms", "jitter_ms", "loss", "linked", "clock_skew_s", "endpoints", "role", "leads", "relay")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_MS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SKEW_S_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    state: str
    incarnation: int
    rtt_ms: float
    jitter_ms: float
    loss: float
    linked: bool
    clock_skew_s: float
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    role: str
    leads: bool
    relay: bool
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., state: _Optional[str] = ..., incarnation: _Optional[int] = ..., rtt_ms: _Optional[float] = ..., jitter_ms: _Optional[float] = ..., loss: _Optional[float] = ..., linked: _Optional[bool] = ..., clock_skew_s: _Optional[float] = ..., endpoints: _Optional[_Iterable[str]] = ..., role: _Optional[str] = ..., leads: _Optional[bool] = ..., relay: _Optional[bool] = ...) -> None: ...

class Peers(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    def __init__(self, peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ...) -> None: ...

class LinksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Link(_message.Message):
    __slots__ = ("nid", "name", "rtt_ms", "jitter_ms", "loss", "direction")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_MS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    rtt_ms: float
    jitter_ms: float
    loss: float
    direction: str
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., rtt_ms: _Optional[float] = ..., jitter_ms: _Optional[float] = ..., loss: _Optional[float] = ..., direction: _Optional[str] = ...) -> None: ...

class Links(_message.Message):
    __slots__ = ("links",)
    LINKS_FIELD_NUMBER: _ClassVar[int]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    def __init__(self, links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ...) -> None: ...

class DiagnoseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "answer", "evidence", "next_step")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    name: str
    answer: str
    evidence: str
    next_step: str
    def __init__(self, name: _Optional[str] = ..., answer: _Optional[str] = ..., evidence: _Optional[str] = ..., next_step: _Optional[str] = ...) -> None: ...

class Diagnosis(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    def __init__(self, checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ...) -> None: ...

class TopologyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Edge(_message.Message):
    __slots__ = ("from_nid", "to_nid", "rtt_ms")
    FROM_NID_FIELD_NUMBER: _ClassVar[int]
    TO_NID_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    from_nid: str
    to_nid: str
    rtt_ms: float
    def __init__(self, from_nid: _Optional[str] = ..., to_nid: _Optional[str] = ..., rtt_ms: _Optional[float] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("nids", "worst_rtt_ms")
    NIDS_FIELD_NUMBER: _ClassVar[int]
    WORST_RTT_MS_FIELD_NUMBER: _ClassVar[int]
    nids: _containers.RepeatedScalarFieldContainer[str]
    worst_rtt_ms: float
    def __init__(self, nids: _Optional[_Iterable[str]] = ..., worst_rtt_ms: _Optional[float] = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("nodes", "edges", "groups")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Peer]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, nodes: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ...) -> None: ...
