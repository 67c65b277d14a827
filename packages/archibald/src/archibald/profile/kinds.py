"""What options are made of: how one is declared, and the types that several share.

A type checks its values and describes itself in the JSON Schema, from which errors, reference page
and ``explain`` take their words (the schema's ``allowed``).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema


def option(
    default: Any,
    *,
    why: str,
    unit: str = "",
    since: str = "0.1",
    example: Any = None,
    **bounds: Any,
) -> Any:
    """Declare an option: default, unit, why it exists, and the version that introduced it.

    A default of ``...`` makes the option required; ``bounds`` are those of pydantic's ``Field``.
    """
    extra: dict[str, Any] = {"since": since}
    if unit:
        extra["unit"] = unit
    if example is not None:
        extra["examples"] = [example]
    if isinstance(default, list | dict):
        return Field(
            default_factory=default.copy, description=why, json_schema_extra=extra, **bounds
        )
    return Field(default=default, description=why, json_schema_extra=extra, **bounds)


@dataclass(frozen=True)
class Conflict:
    """Options that are right each on its own, but not together.

    ``keys`` are relative to the table that found the conflict (dotted across tables), the one to
    change first.
    """

    keys: tuple[str, ...]
    message: str


class Table(BaseModel):
    """A table of the profile: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    def conflicts(self) -> list[Conflict]:
        """Return every conflict between options of this table."""
        return []

    @model_validator(mode="after")
    def _agree(self) -> Self:
        found = self.conflicts()
        if found:
            text = "; ".join(conflict.message for conflict in found)
            raise PydanticCustomError("conflict", "{text}", {"text": text, "conflicts": found})
        return self


@dataclass(frozen=True)
class PowerOfTwo:
    """A whole number that is a power of two from ``lowest`` to ``highest``."""

    lowest: int
    highest: int

    def _check(self, value: int) -> int:
        if not self.lowest <= value <= self.highest:
            side = f"under {self.lowest}" if value < self.lowest else f"over {self.highest}"
            raise ValueError(f"is {side}")
        if value & (value - 1):
            lower = 1 << (value.bit_length() - 1)
            raise ValueError(f"is no power of two; near it are {lower} and {lower * 2}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        powers = range(self.lowest.bit_length() - 1, self.highest.bit_length())
        return {
            **handler(schema),
            "enum": [1 << power for power in powers],
            "allowed": f"a power of two from {self.lowest} to {self.highest}",
        }


@dataclass(frozen=True)
class Matching:
    """Text that matches a pattern as a whole; ``what`` says in words what the pattern accepts."""

    pattern: str
    what: str

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"is not {self.what}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$", "allowed": self.what}


@dataclass(frozen=True)
class NoDuplicates:
    """A list whose elements differ from each other."""

    def _check(self, values: list[Any]) -> list[Any]:
        twice = [str(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            listed = ", ".join(twice[:5])
            raise PydanticCustomError(
                "duplicates", "lists {listed} more than once", {"listed": listed}
            )
        return values

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "uniqueItems": True}


def _exact_int(value: Any) -> Any:
    # A literal compares with ==, which would take true for 1 and 96000.0 for 96000.
    if type(value) is not int:
        raise PydanticKnownError("int_type")
    return value


ExactInt = BeforeValidator(_exact_int)
Unique = NoDuplicates()

#: Control characters, and the line and paragraph separators that some readers take for a new line.
CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

Frames = Annotated[int, PowerOfTwo(16, 8192)]
Cpu = Annotated[int, Field(ge=0, le=1023)]
PackageName = Annotated[str, Matching(r"[a-z0-9][a-z0-9+.-]+", "a Debian package name")]
Hostname = Annotated[
    str,
    Matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a host name: letters a-z, digits, inner hyphens"
    ),
]
LoginName = Annotated[
    str, Matching(r"[a-z][a-z0-9-]{0,30}", "a login name: a-z first, then a-z, 0-9 or hyphen")
]
Colour = Annotated[str, Matching(r"[0-9a-f]{6}", "a colour as six lower-case hexadecimal digits")]
Line = Annotated[str, Matching(rf"[^{CONTROL}]+", "one line of text without control characters")]
VariantName = Annotated[
    str, Field(max_length=32), Matching(r"[a-z][a-z0-9-]*", "a name of a-z, 0-9 and hyphens")
]
KernelArg = Annotated[
    str,
    # Printable ASCII without blanks, quotes, $, ; and the backslash: safe in every boot menu.
    Matching(
        r"[A-Za-z0-9_.-]+(=[!#%&(-:<-\[\]-_a-~]+)?", "one kernel argument without spaces or quotes"
    ),
]
CpuList = Annotated[list[Cpu], Unique]
PackageList = Annotated[list[PackageName], Unique]
