"""LMDB's file as bytes: its pages, read without LMDB.

LMDB trusts its file: a wrong page number in it can end the process. This reads the file page by
page and believes nothing, so that damage is named instead.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from streamdb.errors import CorruptData

PAGE = 4096
_TRIES = 500
HEADER = 16
BRANCH, LEAF, OVERFLOW, META_FLAG = 0x01, 0x02, 0x04, 0x08
BIGDATA, SUBDATA = 0x01, 0x02
INTEGER_KEYS = 0x08
MAGIC = 0xBEEFC0DE
NO_PAGE = (1 << 64) - 1

# magic, version, address, map size, then two trees (free pages, main), last page, transaction.
_META = struct.Struct("<IIQQ48s48sQQ")
_TREE = struct.Struct("<IHHQQQQQ")
_PAGE_HEADER = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree's root as a meta page or the main tree names it."""

    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, raw: bytes) -> Tree:
        """From its 48 bytes."""
        _, flags, depth, branches, leaves, overflows, entries, root = _TREE.unpack(raw)
        return cls(flags, depth, branches, leaves, overflows, entries, root)


@dataclass(frozen=True, slots=True)
class Meta:
    """One of the two meta pages: the trees of the transaction that it names."""

    free: Tree
    main: Tree
    page_bytes: int
    last_page: int
    txn: int


def unpack_meta(page: bytes, number: int) -> Meta | None:
    """The meta page in these bytes, or None when they are none."""
    if len(page) < HEADER + _META.size:
        return None
    own, _, flags, _, _ = _PAGE_HEADER.unpack_from(page)
    magic, version, _, _, free, main, last, txn = _META.unpack_from(page, HEADER)
    if own != number or not flags & META_FLAG or magic != MAGIC or version != 1:
        return None
    page_bytes = struct.unpack_from("<I", free)[0]
    return Meta(Tree.unpack(free), Tree.unpack(main), page_bytes, last, txn)


def read_metas(descriptor: int) -> list[Meta]:
    """The meta pages that can be read, the newest first."""
    found = [unpack_meta(os.pread(descriptor, PAGE, at * PAGE), at) for at in (0, 1)]
    return sorted((meta for meta in found if meta), key=lambda meta: -meta.txn)


def check_opening(data: Path, tables: frozenset[bytes]) -> None:
    """See that LMDB can open the file and look into its small trees without running astray.

    Raises:
        CorruptData: the file is cut off, a meta page cannot be read, or a tree's root is wrong.
    """
    descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size:
            why = _steady_problem(descriptor, tables)
        else:
            # LMDB would fill it anew. Only an index that is being made may be empty.
            why = "it is empty" if tables else None
    finally:
        os.close(descriptor)
    if why:
        raise CorruptData(
            f"the index file {data} is damaged",
            why=why,
            next_step="run `streamdb check` to see all damage, then `streamdb repair`",
        )


def _steady_problem(descriptor: int, tables: frozenset[bytes]) -> str | None:
    """What is wrong, and stays so: another process may be writing, and no transaction is held."""
    why = None
    for _ in range(_TRIES):
        before = read_metas(descriptor)
        size = os.fstat(descriptor).st_size
        why = _opening_problem(before, size) or _tables_problem(descriptor, before[0], tables)
        if not why:
            return None
        time.sleep(0.002)
        if [meta.txn for meta in read_metas(descriptor)] == [meta.txn for meta in before]:
            break
    return why


def _opening_problem(metas: list[Meta], size: int) -> str | None:
    if len(metas) < 2:
        return "a meta page of it cannot be read"
    newest = metas[0]
    if newest.page_bytes != PAGE:
        return f"its pages are of {newest.page_bytes} bytes, {PAGE} are written here"
    for tree in (newest.main, newest.free):
        if tree.root != NO_PAGE and not 2 <= tree.root <= newest.last_page:
            return f"a tree begins at page {tree.root} of {newest.last_page + 1}"
        if tree.root != NO_PAGE and (tree.root + 1) * PAGE > size:
            return f"it is cut off at {size} bytes, before page {tree.root}"
    return None


def _tables_problem(descriptor: int, meta: Meta, tables: frozenset[bytes]) -> str | None:
    """Walk the main tree and the smallest table; of the others see the roots. A file that is
    shorter than its last page is walked whole: pages at its end may be free and never written.
    """
    walk = Walk(descriptor, meta)
    found = walk.tables()
    if not walk.problems and found and not tables <= found.keys():
        walk.problems.append((0, f"the table {min(tables - found.keys())!r} is missing"))
    whole = os.fstat(descriptor).st_size < (meta.last_page + 1) * PAGE
    for name, tree in found.items():
        if whole or name == b"kv":
            for _ in walk.rows(tree):
                pass
        elif tree.root != NO_PAGE:
            walk.page(tree.root)
    return f"page {walk.problems[0][0]}: {walk.problems[0][1]}" if walk.problems else None


_Entry = tuple[bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a leaf: its key, its value, and the page that it was found on."""

    key: bytes
    value: bytes
    page: int


class Walk:
    """Reads the trees of one state of the file; collects in ``problems`` (page, what is wrong).

    ``seen`` has a 1 for every page that belongs to a tree.
    """

    def __init__(self, descriptor: int, meta: Meta) -> None:
        self.problems: list[tuple[int, str]] = []
        self.meta = meta
        self.seen = bytearray(meta.last_page + 1)
        self.seen[:2] = b"\x01\x01"
        self._descriptor = descriptor

    def tables(self) -> dict[bytes, Tree]:
        """The named tables that the main tree lists."""
        found = {}
        for key, value, flags, page in self._nodes(self.meta.main):
            if flags != SUBDATA or len(value) != _TREE.size:
                self.problems.append((page, f"{key!r} in the main tree is no table"))
            else:
                tree = Tree.unpack(value)
                if tree.flags or value[:4] != bytes(4):
                    self.problems.append((page, f"the table {key!r} has flags it was not given"))
                found[key] = tree
        return found

    def rows(self, tree: Tree) -> Iterator[Node]:
        """The rows of a table, in order; damaged pages are reported and left out."""
        for key, value, flags, page in self._nodes(tree):
            if flags & ~BIGDATA:
                self.problems.append((page, f"a row has flags {flags}, which are never written"))
            yield Node(key, value, page)

    def free_pages(self) -> list[int]:
        """The pages that the free list names."""
        found: list[int] = []
        for key, value, flags, page in self._nodes(self.meta.free):
            if flags & ~BIGDATA:
                self.problems.append((page, f"a row has flags {flags}, which are never written"))
            count = int.from_bytes(value[:8], "little")
            if len(key) != 8 or len(value) < 8 or len(value) < 8 * (count + 1):
                self.problems.append((page, "a list of free pages does not fit its row"))
                continue
            if not 0 < int.from_bytes(key, "little") <= self.meta.txn:
                self.problems.append((page, "a list of free pages is from the future"))
            found += struct.unpack_from(f"<{count}Q", value, 8)
        return found

    def check_cover(self) -> None:
        """Every page belongs to one tree or to the free list, and to one of them only."""
        free = self.free_pages()
        listed = bytearray(len(self.seen))
        for number in free:
            if not 2 <= number < len(listed):
                self.problems.append((number, "the free list names a page that is not there"))
            elif listed[number]:
                self.problems.append((number, "the free list names this page twice"))
            else:
                listed[number] = 1
        for number, (used, unused) in enumerate(zip(self.seen, listed, strict=True)):
            if used and unused:
                self.problems.append((number, "this page is in use and in the free list"))
            elif not used and not unused:
                self.problems.append((number, "this page is neither in use nor in the free list"))

    # -- inside ----------------------------------------------------------------------------------

    def page(self, number: int) -> bytes | None:
        """A page that says of itself that it is this one."""
        if not 2 <= number <= self.meta.last_page:
            self.problems.append((number, f"there are only {self.meta.last_page + 1} pages"))
            return None
        raw = os.pread(self._descriptor, PAGE, number * PAGE)
        if len(raw) < PAGE:
            self.problems.append((number, "the file is cut off before the end of this page"))
            return None
        if int.from_bytes(raw[:8], "little") != number:
            self.problems.append((number, "the page says it is another one"))
            return None
        return raw

    def _take(self, number: int) -> bytes | None:
        raw = self.page(number)
        if raw is not None:
            if self.seen[number]:
                self.problems.append((number, "two places refer to this page"))
                return None
            self.seen[number] = 1
        return raw

    def _nodes(self, tree: Tree) -> Iterator[tuple[bytes, bytes, int, int]]:
        """(key, value, flags, page) of every leaf entry, depth first, from left to right."""
        if tree.root == NO_PAGE:
            return
        before = len(self.problems)
        counted = [0, 0, 0, 0]  # branches, leaves, overflow pages, rows
        # (page, how deep, the key that its keys are not below, the key that they are below)
        stack: list[tuple[int, int, bytes, bytes | None]] = [(tree.root, 1, b"", None)]
        while stack:
            number, depth, low, high = stack.pop()
            leaf = depth == tree.depth
            found = self._entries(number, leaf, low, high, bool(tree.flags & INTEGER_KEYS))
            counted[leaf] += 1
            if not leaf:
                stack += reversed(_children(found, depth + 1, low, high))
                continue
            counted[3] += len(found)
            for key, value, flags in found:
                if flags & BIGDATA:
                    big = self._big(value, number)
                    if big is None:
                        continue
                    counted[2] += big[0]
                    yield key, big[1], flags, number
                else:
                    yield key, value, flags, number
        told = [tree.branches, tree.leaves, tree.overflows, tree.entries]
        if counted != told and len(self.problems) == before:
            self.problems.append(
                (tree.root, f"its tree counts {told} branches, leaves, overflows, rows: {counted}")
            )

    def _entries(
        self, number: int, leaf: bool, low: bytes, high: bytes | None, integers: bool
    ) -> list[_Entry]:
        raw = self._take(number)
        if raw is None:
            return []
        found = _parse(raw, LEAF if leaf else BRANCH)
        if isinstance(found, str):
            self.problems.append((number, found))
            return []
        keys = [key for key, _, _ in found]
        if integers:
            # Native (little-endian) numbers: turned round they sort as bytes.
            keys = [key[::-1] for key in keys]
            low, high = low[::-1], high and high[::-1]
        problem = _order_problem(keys, low, high, leaf)
        if problem:
            self.problems.append((number, problem))
        return found

    def _big(self, value: bytes, page: int) -> tuple[int, bytes] | None:
        """A value that lies on pages of its own, and on how many."""
        size, first = struct.unpack("<IQ", value)
        raw = self._take(first)
        if raw is None:
            return None
        _, _, flags, low, high = _PAGE_HEADER.unpack_from(raw)
        count = low | high << 16
        # A value that shrank within its transaction keeps its pages.
        if flags != OVERFLOW or count * PAGE < HEADER + size:
            self.problems.append((first, f"it is not the overflow page that page {page} needs"))
            return None
        if first + count > len(self.seen) or any(self.seen[first + 1 : first + count]):
            self.problems.append((first, "its overflow runs into pages in use, or out of the file"))
            return None
        self.seen[first : first + count] = b"\x01" * count
        whole = os.pread(self._descriptor, size, first * PAGE + HEADER)
        if len(whole) < size:
            self.problems.append((first, "the file is cut off inside this value"))
            return None
        return count, whole


def _children(
    found: list[_Entry], depth: int, low: bytes, high: bytes | None
) -> list[tuple[int, int, bytes, bytes | None]]:
    keys = [low, *[key for key, _, _ in found[1:]]]
    ends: list[bytes | None] = [*keys[1:], high]
    return [
        (int.from_bytes(child, "little"), depth, keys[at], ends[at])
        for at, (_, child, _) in enumerate(found)
    ]


def _order_problem(keys: list[bytes], low: bytes, high: bytes | None, leaf: bool) -> str | None:
    if not keys:
        return "the page is empty"
    # A branch's first key is never looked at.
    keys = keys if leaf else keys[1:]
    if any(a >= b for a, b in pairwise(keys)):
        return "its keys are not in order"
    if keys and (keys[0] < low or (high is not None and keys[-1] >= high)):
        return "its keys lie outside of what its parent says"
    return None


def _parse(raw: bytes, kind: int) -> list[_Entry] | str:
    """The entries of a leaf (key, value, flags) or branch (key, child, 0); or what is wrong."""
    _, _, flags, lower, upper = _PAGE_HEADER.unpack_from(raw)
    if flags != kind:
        return f"its flags are {flags}, not {kind}"
    if lower < HEADER or lower % 2 or not lower <= upper <= PAGE:
        return f"its bounds {lower} and {upper} are impossible"
    places = struct.unpack_from(f"<{(lower - HEADER) // 2}H", raw, HEADER)
    found: list[_Entry] = []
    covered = 0
    for at in places:
        if at < upper or at + _NODE.size > PAGE:
            return f"an entry would lie at {at}"
        low, high, node_flags, key_size = _NODE.unpack_from(raw, at)
        start = at + _NODE.size + key_size
        key = raw[at + _NODE.size : start]
        if kind == BRANCH:
            end = start
            found.append((key, (low | high << 16 | node_flags << 32).to_bytes(8, "little"), 0))
        else:
            size = low | high << 16
            big = node_flags & BIGDATA
            end = start + (8 if big else size)
            value = struct.pack("<I", size) + raw[start:end] if big else raw[start:end]
            found.append((key, value, node_flags))
        if end > PAGE:
            return f"the entry at {at} runs out of the page"
        covered += end - at + (end - at) % 2
    if len(set(places)) != len(places) or covered != PAGE - upper:
        return "its entries overlap, or leave gaps"
    return found


def find_meta(descriptor: int, txn: int) -> Meta | None:
    """The meta page of a transaction that a reader holds, if it has not been overwritten yet."""
    for meta in read_metas(descriptor):
        if meta.txn == txn:
            return meta
    return None


def carve(descriptor: int) -> Iterator[tuple[bytes, bytes]]:
    """Everything in the file that looks like a row: (key, value), from used and unused pages alike.

    For what a tree no longer leads to; the rows' own checksums tell which of it is whole.
    """
    size = os.fstat(descriptor).st_size
    for number in range(2, -(-size // PAGE)):
        raw = os.pread(descriptor, PAGE, number * PAGE)
        if len(raw) < HEADER:
            return
        _, _, flags, lower, _ = _PAGE_HEADER.unpack_from(raw)
        if flags & OVERFLOW or flags & META_FLAG:
            continue
        yield from _carve_page(descriptor, raw.ljust(PAGE, b"\0"), min(lower, PAGE))


def _carve_page(descriptor: int, raw: bytes, lower: int) -> Iterator[tuple[bytes, bytes]]:
    count = max(0, (lower - HEADER) // 2)
    for at in struct.unpack_from(f"<{count}H", raw, HEADER):
        if at < HEADER or at + _NODE.size > PAGE:
            continue
        low, high, flags, key_size = _NODE.unpack_from(raw, at)
        size = low | high << 16
        start = at + _NODE.size + key_size
        key = raw[at + _NODE.size : start]
        if flags == 0 and start + size <= PAGE:
            yield key, raw[start : start + size]
        elif flags == BIGDATA and start + 8 <= PAGE and size <= 1 << 28:
            first = int.from_bytes(raw[start : start + 8], "little")
            if first < 1 << 40:
                yield key, os.pread(descriptor, size, first * PAGE + HEADER)
