"""Contents that are waited for, and whose turn it is. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Want:
    """A content that collections wait for; ``lacking`` peers said that they have it not."""

    digest: bytes
    size: int
    collections: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Line:
    """Contents that wait for their turn, and those whose turn it is."""

    most: int
    queue: deque[bytes] = field(default_factory=deque)
    active: set[bytes] = field(default_factory=set)
