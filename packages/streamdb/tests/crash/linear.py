"""Several processes on the same paths: is there one order in which all of it makes sense?

Every call is logged with the moments at which it began and returned (one clock for all processes).
The change feed is the witness: it names each write by its origin, so it gives the one order of all
writes. That order must agree with real time, and every read must have seen what was current at some
moment between its beginning and its end. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ABSENT = ""
"""What a read of a path without a document has seen."""


@dataclass(frozen=True)
class Event:
    """One call: ``kind`` is ``put``, ``delete`` or ``get``; ``value`` what was written or read.

    ``name`` is a write's origin. A write that found nothing to delete is a read of ABSENT. Times
    are in nanoseconds. ``end`` is None for a call that never returned.
    """

    kind: str
    path: str
    value: str
    name: str
    start: int
    end: int | None


def parse(line: list[Any]) -> Event:
    """An event from its line in a log."""
    kind, path, value, name, start, end = line
    return Event(kind, path, value, name, start, end)


def judge(events: list[Event], feed: list[list[Any]]) -> list[str]:
    """What makes no sense; ``feed`` has (seq, kind, path, origin), in order."""
    order = {(origin, path): seq for seq, _, path, origin in feed}
    writes = {(event.name, event.path): event for event in events if event.kind != "get"}
    wrong = [
        f"{event.kind} {event.path!r} ({event.name}) was acknowledged and is not in the feed"
        for key, event in writes.items()
        if event.end is not None and key not in order
    ]
    wrong += [
        f"the feed has {kind} {path!r} ({origin}) twice or by nobody"
        for seq, kind, path, origin in feed
        if (origin, path) not in writes or order[origin, path] != seq
    ]
    made = sorted((seq, writes[key]) for key, seq in order.items() if key in writes)
    wrong += _real_time(made)
    by_path: dict[str, list[Event]] = {}
    for _, event in made:
        by_path.setdefault(event.path, []).append(event)
    for event in events:
        if event.kind == "get" and event.end is not None:
            wrong += _read(event, by_path.get(event.path, []))
    return wrong


def _real_time(made: list[tuple[int, Event]]) -> list[str]:
    """A write that returned before another began comes before it."""
    wrong = []
    latest_start = 0
    for _, event in made:
        if event.end is not None and event.end < latest_start:
            wrong.append(f"{event.kind} {event.path!r} ({event.name}) is in the feed too late")
        latest_start = max(latest_start, event.start)
    return wrong


def _read(read: Event, writes: list[Event]) -> list[str]:
    """The read must show a write that may have been the last at some moment of it.

    That is: one that had begun before the read ended, and of which no later one had returned before
    the read began. Writes of one path come in the order of the feed.
    """
    assert read.end is not None
    done = [at for at, write in enumerate(writes) if (write.end or 1 << 62) < read.start]
    oldest = max(done, default=-1)
    allowed = {ABSENT} if oldest < 0 else set()
    for write in writes[max(oldest, 0) :]:
        if write.start < read.end:
            allowed.add(write.value)
    if read.value in allowed:
        return []
    return [
        f"get {read.path!r} gave {read.value!r}, but it could only be one of {sorted(allowed)[:6]}"
    ]


def judge_reads(events: list[Event], feed: list[list[Any]]) -> list[str]:
    """Reads of a path, one after the other, never go back to an older write: in any processes.

    Together with :func:`judge` this makes the calls on each path linearizable.
    """
    place = {(origin, path): seq for seq, _, path, origin in feed}
    written = {
        (event.path, event.value): place.get((event.name, event.path), 0)
        for event in events
        if event.kind == "put"
    }
    wrong = []
    reads = [e for e in events if e.kind == "get" and e.end is not None and e.value != ABSENT]
    ended = sorted(reads, key=lambda event: event.end or 0)
    for path in {event.path for event in reads}:
        newest, at = 0, 0
        mine = [event for event in ended if event.path == path]
        for read in sorted(mine, key=lambda event: event.start):
            while at < len(mine) and (mine[at].end or 0) < read.start:
                newest = max(newest, written[path, mine[at].value])
                at += 1
            if written[path, read.value] < newest:
                wrong.append(f"get {path!r} gave {read.value!r} after a newer one had been read")
    return wrong
