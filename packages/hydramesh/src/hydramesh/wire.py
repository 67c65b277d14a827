"""Messages between nodes as bytes: MessagePack with every length bounded before it is believed.

What is decoded is built anew from checked parts; anything else is a BadMessage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack  # type: ignore[import-untyped]

from hydramesh.membership.model import (
    MAX_COUNTER,
    MAX_NEIGHBOURS,
    MAX_NODE_ID,
    MAX_REPORTS,
    Claim,
    Heartbeat,
    Neighbour,
    Report,
    Status,
)
from hydramesh.sync.errors import BadMessage
from hydramesh.sync.given import MAX_GIVEN, unpack_given
from hydramesh.sync.names import check_name
from hydramesh.sync.reconcile import (
    FINGERPRINT,
    MAX_BOUND,
    MAX_LIST,
    MAX_RANGES,
    SUM,
    Frame,
    Kind,
    Range,
    Wanted,
    check_frame,
)
from hydramesh.sync.replica import MOST_ITEMS, Delta
from hydramesh.sync.unpacking import unpack
from hydramesh.sync.versions import MAX_COUNT, MAX_PROOFS, MAX_VECTOR, Item, Proof, Vector

MAX_HEARTBEAT_BYTES = 32 << 10
MAX_MESSAGE_BYTES = 4 << 20
MAX_SIZE = 4 << 30
MAX_SIGNATURE = 80
_STATUSES = tuple(Status)
_T = TypeVar("_T")


def _pack(tag: str, *parts: Any) -> bytes:
    packed: bytes = msgpack.packb((tag, *parts))
    return packed


def _unpack(raw: bytes, tag: str, length: int, most: int) -> Sequence[Any]:
    parts = unpack(raw, most)
    if not isinstance(parts, tuple) or len(parts) != length + 1 or parts[0] != tag:
        raise BadMessage(f"a message is not of the kind {tag!r}")
    return parts[1:]


def _int(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BadMessage(f"a number is not within {least}..{most}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise BadMessage("a flag is neither true nor false")
    return value


def _bytes(value: Any, most: int, lengths: Sequence[int] = ()) -> bytes:
    if not isinstance(value, bytes) or len(value) > most or (lengths and len(value) not in lengths):
        raise BadMessage("bytes are missing, or of the wrong length")
    return value


def _node(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NODE_ID:
        raise BadMessage("a node id is missing or too long")
    if not value.isprintable():
        raise BadMessage("a node id has letters that cannot be printed")
    return value


def _row(value: Any, length: int) -> Sequence[Any]:
    if not isinstance(value, tuple) or len(value) != length:
        raise BadMessage(f"a row has not {length} parts")
    return value


def _rows(value: Any, most: int, read: Callable[[Any], _T]) -> tuple[_T, ...]:
    if not isinstance(value, tuple) or len(value) > most:
        raise BadMessage(f"a list is missing, or has more than {most} entries")
    return tuple(read(row) for row in value)


# -- heartbeats ------------------------------------------------------------------------------------


def pack_heartbeat(beat: Heartbeat) -> bytes:
    """A heartbeat as bytes."""
    claim = beat.claim
    return _pack(
        "hb",
        beat.node,
        beat.instance,
        beat.incarnation,
        beat.seq,
        beat.stamp_us,
        beat.leaving,
        [(link.node, link.rtt_us, link.wanted, link.surplus) for link in beat.neighbours],
        [
            (
                report.node,
                report.instance,
                report.incarnation,
                _STATUSES.index(report.status),
                report.stamp_us,
                report.held_us,
                report.rtt_us,
            )
            for report in beat.reports
        ],
        (claim.mode, claim.term, claim.leader) if claim is not None else None,
    )


def unpack_heartbeat(raw: bytes) -> Heartbeat:
    """A heartbeat from bytes.

    Raises:
        BadMessage: it is none.
    """
    parts = _unpack(raw, "hb", 9, MAX_HEARTBEAT_BYTES)
    node, instance, incarnation, seq, stamp, leaving, neighbours, reports, claim = parts
    return Heartbeat(
        node=_node(node),
        instance=_int(instance, 0, MAX_COUNTER),
        incarnation=_int(incarnation, 0, MAX_COUNTER),
        seq=_int(seq, 1, MAX_COUNTER),
        stamp_us=_int(stamp, 0, MAX_COUNTER),
        leaving=_flag(leaving),
        neighbours=_rows(neighbours, MAX_NEIGHBOURS, _neighbour),
        reports=_rows(reports, MAX_REPORTS, _report),
        claim=None if claim is None else _claim(claim),
    )


def _neighbour(value: Any) -> Neighbour:
    node, rtt_us, wanted, surplus = _row(value, 4)
    return Neighbour(_node(node), _int(rtt_us, -1, MAX_COUNTER), _flag(wanted), _flag(surplus))


def _report(value: Any) -> Report:
    node, instance, incarnation, status, stamp, held, rtt = _row(value, 7)
    return Report(
        _node(node),
        _int(instance, -1, MAX_COUNTER),
        _int(incarnation, 0, MAX_COUNTER),
        _STATUSES[_int(status, 0, len(_STATUSES) - 1)],
        _int(stamp, -1, MAX_COUNTER),
        _int(held, -1, MAX_COUNTER),
        _int(rtt, -1, MAX_COUNTER),
    )


def _claim(value: Any) -> Claim:
    mode, term, leader = _row(value, 3)
    if not isinstance(mode, str) or len(mode) > 16:
        raise BadMessage("a claim has no mode")
    return Claim(mode, _int(term, 0, MAX_COUNTER), _node(leader) if leader != "" else "")


# -- items and deltas ------------------------------------------------------------------------------


def _item_row(item: Item) -> tuple[Any, ...]:
    edit = item.path, item.version, item.digest, item.size, item.mtime_ns, item.given
    proofs = [_proof_row(proof, edit) for proof in item.proofs]
    # Most items were given nothing: then nothing is said of it.
    return (*edit[:-1], proofs, *([item.given] if item.given else ()))


def _proof_row(proof: Proof, edit: tuple[Any, ...]) -> tuple[Any, ...]:
    signed = proof.path, proof.version, proof.digest, proof.size, proof.mtime_ns, proof.given
    # Most items are one edit: then it is not said twice.
    return (proof.author, proof.signature, *(signed if signed != edit else ()))


def _item(value: Any) -> Item:
    if not isinstance(value, tuple) or len(value) not in (6, 7):
        raise BadMessage("an item has not 6 parts, or 7")
    *row, proofs = value[:6]
    edit = _edit([*row, *value[6:]])
    return Item(*edit, proofs=_rows(proofs, MAX_PROOFS, lambda each: _proof(each, edit)))


def _edit(row: Sequence[Any]) -> tuple[str, Vector, bytes, int, int, bytes]:
    path, version, digest, size, mtime_ns, *given = row
    return (
        check_name(path),
        _vector(version),
        _bytes(digest, 32, (0, 32)),
        _int(size, 0, MAX_SIZE),
        _int(mtime_ns, -(1 << 63), (1 << 63) - 1),
        _given(given[0]) if given else b"",
    )


def _given(value: Any) -> bytes:
    raw = _bytes(value, MAX_GIVEN)
    unpack_given(raw)
    return raw


def _proof(value: Any, edit: tuple[str, Vector, bytes, int, int, bytes]) -> Proof:
    if not isinstance(value, tuple) or len(value) not in (2, 8):
        raise BadMessage("a proof is missing, or of the wrong length")
    author, signature, *signed = value
    return Proof(
        _node(author), _bytes(signature, MAX_SIGNATURE), *(_edit(signed) if signed else edit)
    )


def pack_note(item: Item, *, here: bool) -> bytes:
    """One item with whether its content is here, as a replica keeps it."""
    return _pack("note", _item_row(item), here)


def unpack_note(raw: bytes) -> tuple[Item, bool]:
    """An item from a replica's own notes.

    Raises:
        BadMessage, BadName: it is none.
    """
    row, here = _unpack(raw, "note", 2, MAX_MESSAGE_BYTES)
    return _item(row), _flag(here)


def pack_items(items: Iterable[Item]) -> bytes:
    """Some items as bytes."""
    return _pack("items", [_item_row(item) for item in items])


def unpack_items(raw: bytes) -> tuple[Item, ...]:
    """Some items from bytes.

    Raises:
        BadMessage, BadName: they are none, or name a path that is not allowed.
    """
    return _rows(_unpack(raw, "items", 1, MAX_MESSAGE_BYTES)[0], MOST_ITEMS, _item)


def _vector(value: Any) -> Vector:
    def entry(row: Any) -> tuple[str, int]:
        node, count = _row(row, 2)
        return _node(node), _int(count, 1, MAX_COUNT)

    vector = _rows(value, MAX_VECTOR, entry)
    nodes = [node for node, _ in vector]
    if not nodes or nodes != sorted(set(nodes)):
        raise BadMessage("a version is empty, or its nodes are not in order")
    return vector


def pack_delta(delta: Delta) -> bytes:
    """Changes as bytes."""
    rows = [_item_row(item) for item in delta.items]
    return _pack("delta", delta.epoch, delta.since, delta.upto, delta.more, rows)


def unpack_delta(raw: bytes) -> Delta:
    """Changes from bytes.

    Raises:
        BadMessage, BadName: they are none, or name a path that is not allowed.
    """
    epoch, since, upto, more, rows = _unpack(raw, "delta", 5, MAX_MESSAGE_BYTES)
    delta = Delta(
        _int(epoch, 0, MAX_COUNTER),
        _int(since, 0, MAX_COUNTER),
        _int(upto, 0, MAX_COUNTER),
        _flag(more),
        _rows(rows, MOST_ITEMS, _item),
    )
    if delta.upto < delta.since:
        raise BadMessage("changes end before they begin")
    return delta


# -- reconciliation --------------------------------------------------------------------------------


def pack_frame(frame: Frame) -> bytes:
    """A frame as bytes; a bound is written as what differs from the one before it."""
    rows: list[Any] = []
    before = frame.lower
    for part in frame.ranges:
        same = _common(before, part.upper)
        rows += (same, part.upper[same:], int(part.kind), part.payload)
        before = part.upper
    return _pack("frame", frame.lower, rows)


def unpack_frame(raw: bytes) -> Frame:
    """A frame from bytes.

    Raises:
        BadMessage: it is none, or not an honest one.
    """
    lower, rows = _unpack(raw, "frame", 2, MAX_MESSAGE_BYTES)
    if not isinstance(rows, tuple) or len(rows) % 4 or len(rows) > 4 * MAX_RANGES:
        raise BadMessage("a frame has no whole ranges, or too many")
    before = lower = _bytes(lower, MAX_BOUND)
    ranges = []
    for at in range(0, len(rows), 4):
        same = _int(rows[at], 0, len(before))
        upper = before[:same] + _bytes(rows[at + 1], MAX_BOUND)
        kind = Kind(_int(rows[at + 2], 0, len(Kind) - 1))
        ranges.append(Range(upper, kind, _bytes(rows[at + 3], MAX_LIST * FINGERPRINT)))
        if len(upper) > MAX_BOUND:
            raise BadMessage("a bound is too long")
        before = upper
    frame = Frame(lower, tuple(ranges))
    check_frame(frame)
    return frame


def _common(one: bytes, other: bytes) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def pack_wanted(wanted: Wanted) -> bytes:
    """A request for items as bytes."""
    return _pack("want", wanted.lower, wanted.upper, sorted(wanted.fingerprints))


def unpack_wanted(raw: bytes) -> Wanted:
    """A request for items from bytes.

    Raises:
        BadMessage: it is none.
    """
    lower, upper, marks = _unpack(raw, "want", 3, MAX_MESSAGE_BYTES)
    found = _rows(marks, MAX_LIST, lambda mark: _bytes(mark, FINGERPRINT, (FINGERPRINT,)))
    wanted = Wanted(_bytes(lower, MAX_BOUND), _bytes(upper, MAX_BOUND), frozenset(found))
    if wanted.lower >= wanted.upper:
        raise BadMessage("a range ends before it begins")
    return wanted


# -- what is asked of a peer -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """What a node says of its replica of a collection, now and then and when it changes.

    ``sum`` stands for all its items, ``charter`` for the grants that it knows. Of a replica with a
    ``prefix`` there is only that part; a ``lazy`` one has not got all contents.
    """

    time: float
    epoch: int
    seq: int
    count: int
    size: int
    sum: bytes
    charter: bytes
    prefix: str = ""
    lazy: bool = False


def pack_head(head: Head) -> bytes:
    """A head as bytes."""
    return _pack(
        "head", int(head.time * 1000), head.epoch, head.seq, head.count, head.size, head.sum,
        head.charter, head.prefix, head.lazy,
    )  # fmt: skip


def unpack_head(raw: bytes) -> Head:
    """A head from bytes.

    Raises:
        BadMessage: it is none.
    """
    time, epoch, seq, count, size, total, charter, prefix, lazy = _unpack(
        raw, "head", 9, MAX_HEARTBEAT_BYTES
    )
    return Head(
        _int(time, 0, MAX_COUNTER) / 1000,
        _int(epoch, 0, MAX_COUNTER),
        _int(seq, 0, MAX_COUNTER),
        _int(count, 0, MAX_COUNTER),
        _int(size, 0, MAX_COUNTER),
        _bytes(total, SUM, (SUM,)),
        _bytes(charter, 8, (8,)),
        check_prefix(prefix),
        _flag(lazy),
    )


def check_prefix(value: Any) -> str:
    """A prefix of paths from anywhere.

    Raises:
        BadMessage: it is no text, or longer than a path.
    """
    if not isinstance(value, str) or len(value) > MAX_BOUND or not (value + "x").isprintable():
        raise BadMessage("a prefix is missing, too long, or cannot be printed")
    return value


def pack_since(epoch: int, seq: int, prefix: str) -> bytes:
    """A request for the changes after a number."""
    return _pack("since", epoch, seq, prefix)


def unpack_since(raw: bytes) -> tuple[int, int, str]:
    """(epoch, number, prefix) of a request for changes."""
    epoch, seq, prefix = _unpack(raw, "since", 3, MAX_MESSAGE_BYTES)
    return _int(epoch, 0, MAX_COUNTER), _int(seq, 0, MAX_COUNTER), check_prefix(prefix)


def pack_told(body: bytes, keys: Mapping[str, bytes], done: int = 0) -> bytes:
    """Items in some form, with the keys of their authors, and how much of the request they are."""
    return _pack("told", body, sorted(keys.items()), done)


def unpack_told(raw: bytes) -> tuple[bytes, dict[str, bytes], int]:
    """(items, keys, how much) of an answer."""
    body, keys, done = _unpack(raw, "told", 3, MAX_MESSAGE_BYTES)

    def key(row: Any) -> tuple[str, bytes]:
        node, public = _row(row, 2)
        return _node(node), _bytes(public, 200)

    return _bytes(body, MAX_MESSAGE_BYTES), dict(_rows(keys, MOST_ITEMS, key)), _int(done, 0, 1000)


def pack_parts(parts: Iterable[bytes]) -> bytes:
    """Several messages as one."""
    return _pack("parts", list(parts))


def unpack_parts(raw: bytes, most: int) -> tuple[bytes, ...]:
    """Several messages from one.

    Raises:
        BadMessage: they are none, or more than ``most``.
    """
    (parts,) = _unpack(raw, "parts", 1, MAX_MESSAGE_BYTES)
    return _rows(parts, most, lambda part: _bytes(part, MAX_MESSAGE_BYTES))


def pack_piece(collection: str, index: int) -> bytes:
    """A request for one piece of a content (-1: for the digests of its pieces)."""
    return _pack("piece", collection, index)


def unpack_piece(raw: bytes) -> tuple[str, int]:
    """(collection, index) of a request for a piece."""
    collection, index = _unpack(raw, "piece", 2, MAX_HEARTBEAT_BYTES)
    if not isinstance(collection, str) or len(collection) > 100:
        raise BadMessage("a request names no collection")
    return collection, _int(index, -1, MAX_SIZE)
