from hydramesh.v1 import control_pb2 as _control_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GroupsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Groups(_message.Message):
    __slots__ = ("threshold_ms", "groups", "nodes")
    THRESHOLD_MS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    threshold_ms: float
    groups: _containers.RepeatedCompositeFieldContainer[_control_pb2.Group]
    nodes: _containers.RepeatedCompositeFieldContainer[_control_pb2.Peer]
    def __init__(self, threshold_ms: _Optional[float] = ..., groups: _Optional[_Iterable[_Union[_control_pb2.Group, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[_control_pb2.Peer, _Mapping]]] = ...) -> None: ...

class RoleRequest(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: str
    def __init__(self, set: _Optional[str] = ...) -> None: ...

class RoleInfo(_message.Message):
    __slots__ = ("mode", "source", "master", "master_name", "term", "settled")
    MODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MASTER_FIELD_NUMBER: _ClassVar[int]
    MASTER_NAME_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    mode: str
    source: str
    master: str
    master_name: str
    term: int
    settled: bool
    def __init__(self, mode: _Optional[str] = ..., source: _Optional[str] = ..., master: _Optional[str] = ..., master_name: _Optional[str] = ..., term: _Optional[int] = ..., settled: _Optional[bool] = ...) -> None: ...

class RelayRequest(_message.Message):
    __slots__ = ("set", "advertise")
    SET_FIELD_NUMBER: _ClassVar[int]
    ADVERTISE_FIELD_NUMBER: _ClassVar[int]
    set: str
    advertise: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, set: _Optional[str] = ..., advertise: _Optional[_Iterable[str]] = ...) -> None: ...

class RelayInfo(_message.Message):
    __slots__ = ("relay", "endpoints", "relays", "warnings")
    RELAY_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    RELAYS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    relay: bool
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    relays: _containers.RepeatedCompositeFieldContainer[_control_pb2.Peer]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, relay: _Optional[bool] = ..., endpoints: _Optional[_Iterable[str]] = ..., relays: _Optional[_Iterable[_Union[_control_pb2.Peer, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class HealRequest(_message.Message):
    __slots__ = ("wait_s",)
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    wait_s: float
    def __init__(self, wait_s: _Optional[float] = ...) -> None: ...

class Healed(_message.Message):
    __slots__ = ("nid", "name", "before", "after", "linked", "why")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    before: str
    after: str
    linked: bool
    why: str
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ..., linked: _Optional[bool] = ..., why: _Optional[str] = ...) -> None: ...

class HealReport(_message.Message):
    __slots__ = ("nodes", "alive", "known", "took_s")
    NODES_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    TOOK_S_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Healed]
    alive: int
    known: int
    took_s: float
    def __init__(self, nodes: _Optional[_Iterable[_Union[Healed, _Mapping]]] = ..., alive: _Optional[int] = ..., known: _Optional[int] = ..., took_s: _Optional[float] = ...) -> None: ...

class FailureRequest(_message.Message):
    __slots__ = ("node", "link_only", "for_s", "stop")
    NODE_FIELD_NUMBER: _ClassVar[int]
    LINK_ONLY_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    node: str
    link_only: bool
    for_s: float
    stop: bool
    def __init__(self, node: _Optional[str] = ..., link_only: _Optional[bool] = ..., for_s: _Optional[float] = ..., stop: _Optional[bool] = ...) -> None: ...

class SimulatedFailure(_message.Message):
    __slots__ = ("nid", "name", "link_only", "left_s")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINK_ONLY_FIELD_NUMBER: _ClassVar[int]
    LEFT_S_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    link_only: bool
    left_s: float
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., link_only: _Optional[bool] = ..., left_s: _Optional[float] = ...) -> None: ...

class SimulatedFailures(_message.Message):
    __slots__ = ("failures",)
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    failures: _containers.RepeatedCompositeFieldContainer[SimulatedFailure]
    def __init__(self, failures: _Optional[_Iterable[_Union[SimulatedFailure, _Mapping]]] = ...) -> None: ...

class BenchmarkRequest(_message.Message):
    __slots__ = ("node", "count", "chunks")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    node: str
    count: int
    chunks: int
    def __init__(self, node: _Optional[str] = ..., count: _Optional[int] = ..., chunks: _Optional[int] = ...) -> None: ...

class Distribution(_message.Message):
    __slots__ = ("count", "least", "median", "p99", "most", "lost")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    count: int
    least: float
    median: float
    p99: float
    most: float
    lost: int
    def __init__(self, count: _Optional[int] = ..., least: _Optional[float] = ..., median: _Optional[float] = ..., p99: _Optional[float] = ..., most: _Optional[float] = ..., lost: _Optional[int] = ...) -> None: ...

class BenchmarkResult(_message.Message):
    __slots__ = ("nid", "name", "linked", "idle", "loaded", "chunks", "mb_per_s", "median_mb_per_s", "least_mb_per_s", "chunk_median_ms", "chunk_p99_ms")
    NID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MB_PER_S_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_MB_PER_S_FIELD_NUMBER: _ClassVar[int]
    LEAST_MB_PER_S_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MEDIAN_MS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_P99_MS_FIELD_NUMBER: _ClassVar[int]
    nid: str
    name: str
    linked: bool
    idle: Distribution
    loaded: Distribution
    chunks: int
    mb_per_s: float
    median_mb_per_s: float
    least_mb_per_s: float
    chunk_median_ms: float
    chunk_p99_ms: float
    def __init__(self, nid: _Optional[str] = ..., name: _Optional[str] = ..., linked: _Optional[bool] = ..., idle: _Optional[_Union[Distribution, _Mapping]] = ..., loaded: _Optional[_Union[Distribution, _Mapping]] = ..., chunks: _Optional[int] = ..., mb_per_s: _Optional[float] = ..., median_mb_per_s: _Optional[float] = ..., least_mb_per_s: _Optional[float] = ..., chunk_median_ms: _Optional[float] = ..., chunk_p99_ms: _Optional[float] = ...) -> None: ...

class BenchmarkEvent(_message.Message):
    __slots__ = ("phase", "done", "value", "result")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    phase: str
    done: float
    value: float
    result: BenchmarkResult
    def __init__(self, phase: _Optional[str] = ..., done: _Optional[float] = ..., value: _Optional[float] = ..., result: _Optional[_Union[BenchmarkResult, _Mapping]] = ...) -> None: ...
