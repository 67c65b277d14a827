"""Range-based set reconciliation in the order of paths: two replicas find their differences.

After Aljoscha Meyer, "Range-Based Set Reconciliation" (2023). A range of paths is described by the
sum of its items' fingerprints. Where sums differ, the range is split, until it is short enough to
list the fingerprints themselves. Only the side that asks keeps anything between messages.

A message is a frame: the lower bound of its first range, then ranges that follow each other without
a gap. Frames are bounded in size, and stand for themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate

from blake3 import blake3

from hydramesh.sync.errors import BadMessage
from hydramesh.sync.versions import Item

SPLIT = 16
LEAF = 16
FINGERPRINT = 8
SUM = 12
MAX_RANGES = 2048
MAX_LIST = 4 * LEAF
MAX_BOUND = 4096
MAX_ROUNDS = 64
_LAST = b"\xff" * 4
"""Greater than every path: UTF-8 has no such byte."""


class Kind(IntEnum):
    """What a range of a frame says."""

    SAME = 0
    SUM = 1
    LIST = 2


@dataclass(frozen=True, slots=True)
class Range:
    """Paths from the end of the range before (included) to ``upper`` (excluded)."""

    upper: bytes
    kind: Kind
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """Ranges side by side, from ``lower`` on."""

    lower: bytes
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Items that the other side has and we do not: their fingerprints within a range."""

    lower: bytes
    upper: bytes
    fingerprints: frozenset[bytes]


def fingerprint(item: Item) -> bytes:
    """16 bytes that stand for a path and its version."""
    told = blake3(item.path.encode())
    told.update(b"\0" + item.digest + repr(item.version).encode() + item.given)
    return told.digest(length=16)


def total_sum(total: int, count: int) -> bytes:
    """What stands for ``count`` items whose fingerprints add up to ``total``."""
    raw = (total & ((1 << 128) - 1)).to_bytes(16, "big") + count.to_bytes(8, "big")
    return blake3(raw).digest(length=SUM)


class Summary:
    """The items of one moment, sorted, with running sums of their fingerprints."""

    __slots__ = ("_paths", "_prints", "_sums")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """``pairs``: (path in UTF-8, fingerprint of 16 bytes)."""
        ordered = sorted(pairs)
        self._paths = [path for path, _ in ordered]
        self._prints = [mark for _, mark in ordered]
        self._sums = [
            0,
            *accumulate(int.from_bytes(mark, "big") for mark in self._prints),
        ]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Summary:
        """Of a replica's items."""
        return cls((item.path.encode(), fingerprint(item)) for item in items)

    def __len__(self) -> int:
        return len(self._paths)

    def place(self, bound: bytes) -> int:
        """How many paths lie before a bound."""
        return bisect_left(self._paths, bound)

    def sum(self, start: int, end: int) -> bytes:
        """The sum of the items between two places; their number is mixed in."""
        return total_sum(self._sums[end] - self._sums[start], end - start)

    def prints(self, start: int, end: int) -> list[bytes]:
        """The short fingerprints between two places, in the order of the paths."""
        return [mark[:FINGERPRINT] for mark in self._prints[start:end]]

    def path(self, at: int) -> bytes:
        """The path at a place."""
        return self._paths[at]

    def ranges(self, start: int, end: int, upper: bytes) -> Iterator[Range]:
        """A description of the items between two places, split or listed."""
        if end - start <= LEAF:
            yield Range(upper, Kind.LIST, b"".join(self.prints(start, end)))
            return
        step, rest = divmod(end - start, SPLIT)
        at = start
        for part in range(SPLIT):
            after = at + step + (part < rest)
            bound = upper if after == end else self._between(after)
            yield Range(bound, Kind.SUM, self.sum(at, after))
            at = after

    def _between(self, at: int) -> bytes:
        """The shortest bound between the path at a place and the one before it."""
        before, path = self._paths[at - 1], self._paths[at]
        same = 0
        for one, other in zip(before, path, strict=False):
            if one != other:
                break
            same += 1
        return path[: same + 1]


def opening(summary: Summary, lower: bytes = b"", upper: bytes = _LAST) -> Frame:
    """The first frame of the side that asks, about all paths or those between two bounds."""
    start, end = summary.place(lower), summary.place(upper)
    return Frame(lower, (Range(upper, Kind.SUM, summary.sum(start, end)),))


def bounds_of(prefix: str) -> tuple[bytes, bytes]:
    """The range of the paths that begin with a prefix.

    >>> bounds_of("drums/")
    (b'drums/', b'drums0')
    """
    raw = prefix.encode()
    return raw, (raw[:-1] + bytes([raw[-1] + 1]) if raw else _LAST)


def frames(ranges: Iterable[tuple[bytes, Range]]) -> Iterator[Frame]:
    """Frames of the ranges that say something; each comes with its lower bound."""
    lower, upper = b"", b""
    held: list[Range] = []
    for start, part in ranges:
        if held and (start != upper or len(held) >= MAX_RANGES):
            if start == upper or len(held) >= MAX_RANGES - 1:
                yield Frame(lower, tuple(held))
                held = []
            else:
                held.append(Range(start, Kind.SAME))
        if not held:
            lower = start
        held.append(part)
        upper = part.upper
    if held:
        yield Frame(lower, tuple(held))


def check_frame(frame: Frame) -> None:
    """Whether a frame is one that an honest peer could send.

    Raises:
        BadMessage: its bounds do not rise, or a range is not what its kind says.
    """
    if not 1 <= len(frame.ranges) <= MAX_RANGES:
        raise BadMessage(f"a frame has 1 to {MAX_RANGES} ranges, not {len(frame.ranges)}")
    lower = frame.lower
    for part in frame.ranges:
        if len(part.upper) > MAX_BOUND or part.upper > _LAST or lower >= part.upper:
            raise BadMessage("the bounds of a frame do not rise, or are too long")
        lower = part.upper
        size = len(part.payload)
        fits = {
            Kind.SAME: size == 0,
            Kind.SUM: size == SUM,
            Kind.LIST: size % FINGERPRINT == 0 and size <= MAX_LIST * FINGERPRINT,
        }
        if not fits[part.kind]:
            raise BadMessage(f"a range of kind {part.kind.name} has {size} bytes")


def answer(summary: Summary, frame: Frame) -> list[Frame]:
    """What the asked side replies; it keeps nothing.

    Raises:
        BadMessage: the frame is not an honest one.
    """
    check_frame(frame)

    def replies() -> Iterator[tuple[bytes, Range]]:
        lower, start = frame.lower, summary.place(frame.lower)
        for part in frame.ranges:
            end = summary.place(part.upper)
            differs = part.kind is Kind.LIST or (
                part.kind is Kind.SUM and part.payload != summary.sum(start, end)
            )
            if differs:
                below = lower
                for reply in summary.ranges(start, end, part.upper):
                    yield below, reply
                    below = reply.upper
            lower, start = part.upper, end

    return list(frames(replies()))


@dataclass(slots=True)
class Session:
    """The asking side: feed it the replies, and send what it returns, until that is empty.

    ``wanted`` is then what only the other side has, ``offered`` the paths that only we have or have
    in another version.
    """

    summary: Summary
    wanted: list[Wanted] = field(default_factory=list)
    offered: list[bytes] = field(default_factory=list)
    rounds: int = 0

    def begin(self, prefix: str = "") -> list[Frame]:
        """The first message, about the paths that begin with a prefix."""
        return [opening(self.summary, *bounds_of(prefix))]

    def take(self, replies: Iterable[Frame]) -> list[Frame]:
        """The next messages.

        Raises:
            BadMessage: a reply is not an honest one, or the exchange does not come to an end.
        """
        self.rounds += 1
        if self.rounds > MAX_ROUNDS:
            raise BadMessage(f"the peer does not come to an end in {MAX_ROUNDS} rounds")
        asked: list[tuple[bytes, Range]] = []
        for frame in replies:
            check_frame(frame)
            lower, start = frame.lower, self.summary.place(frame.lower)
            for part in frame.ranges:
                end = self.summary.place(part.upper)
                asked += self._compare(part, lower, start, end)
                lower, start = part.upper, end
        asked.sort(key=lambda pair: pair[0])
        return list(frames(asked))

    def _compare(
        self, part: Range, lower: bytes, start: int, end: int
    ) -> Iterator[tuple[bytes, Range]]:
        if part.kind is Kind.LIST:
            self._settle(part, lower, start, end)
        elif part.kind is Kind.SUM and part.payload != self.summary.sum(start, end):
            # A range of which we have little is asked for with a list, the others are split.
            below = lower
            for reply in self.summary.ranges(start, end, part.upper):
                yield below, reply
                below = reply.upper

    def _settle(self, part: Range, lower: bytes, start: int, end: int) -> None:
        size = FINGERPRINT
        theirs = {part.payload[at : at + size] for at in range(0, len(part.payload), size)}
        ours = self.summary.prints(start, end)
        missing = theirs.difference(ours)
        if missing:
            self.wanted.append(Wanted(lower, part.upper, frozenset(missing)))
        self.offered += [
            self.summary.path(start + at) for at, mark in enumerate(ours) if mark not in theirs
        ]


def found(summary: Summary, wanted: Wanted, most: int = MAX_LIST) -> list[bytes]:
    """The paths that a peer asks for by fingerprints.

    Raises:
        BadMessage: it asks for more than one range can list.
    """
    if len(wanted.fingerprints) > most or wanted.lower >= wanted.upper:
        raise BadMessage("a peer asks for more than one range can list")
    start, end = summary.place(wanted.lower), summary.place(wanted.upper)
    marks = summary.prints(start, end)
    return [summary.path(start + at) for at, m in enumerate(marks) if m in wanted.fingerprints]
