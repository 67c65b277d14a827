from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("ca_certificate", "time")
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ca_certificate: bytes
    time: float
    def __init__(self, ca_certificate: _Optional[bytes] = ..., time: _Optional[float] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("admit", "renew", "leave")
    ADMIT_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    admit: Admit
    renew: Renew
    leave: Leave
    def __init__(self, admit: _Optional[_Union[Admit, _Mapping]] = ..., renew: _Optional[_Union[Renew, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class Admit(_message.Message):
    __slots__ = ("secret", "public_key", "name", "proof", "endpoints", "time")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    secret: bytes
    public_key: bytes
    name: str
    proof: bytes
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    time: float
    def __init__(self, secret: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., name: _Optional[str] = ..., proof: _Optional[bytes] = ..., endpoints: _Optional[_Iterable[str]] = ..., time: _Optional[float] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("public_key", "time", "proof", "endpoints")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    time: float
    proof: bytes
    endpoints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, public_key: _Optional[bytes] = ..., time: _Optional[float] = ..., proof: _Optional[bytes] = ..., endpoints: _Optional[_Iterable[str]] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("public_key", "time", "proof")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    time: float
    proof: bytes
    def __init__(self, public_key: _Optional[bytes] = ..., time: _Optional[float] = ..., proof: _Optional[bytes] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("admitted", "failure")
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    admitted: Admitted
    failure: Failure
    def __init__(self, admitted: _Optional[_Union[Admitted, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Admitted(_message.Message):
    __slots__ = ("certificate", "roster")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    roster: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., roster: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("error", "what", "why", "next_step")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    error: str
    what: str
    why: str
    next_step: str
    def __init__(self, error: _Optional[str] = ..., what: _Optional[str] = ..., why: _Optional[str] = ..., next_step: _Optional[str] = ...) -> None: ...
