"""Where the bytes of a document come from when it is written."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a document in a store, or in a snapshot of one."""

    state: Any
    path: str


Content: TypeAlias = "bytes | Path | Stored"


@contextlib.contextmanager
def opened(content: Content) -> Iterator[BinaryIO]:
    """The bytes as a file to read from its beginning, in constant memory."""
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    file = content.state.get_stream(content.path) if isinstance(content, Stored) else None
    with file if file is not None else content.open("rb") as source:  # type: ignore[union-attr]
        yield source
