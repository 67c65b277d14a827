"""LMDB's file as bytes: its pages, read without LMDB.

LMDB trusts its file: a wrong page number in it can end the process. This reads the file page by
page and believes nothing, so that damage is named instead.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from streamdb.errors import CorruptData

PAGE = 4096
HEADER = 16
META_FLAG = 0x08
MAGIC = 0xBEEFC0DE
NO_PAGE = (1 << 64) - 1

# magic, version, address, map size, then two trees (free pages, main), last page, transaction.
_META = struct.Struct("<IIQQ48s48sQQ")
_TREE = struct.Struct("<IHHQQQQQ")
_PAGE_HEADER = struct.Struct("<QHHHH")


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


def check_opening(data: Path) -> None:
    """See that LMDB can open the file without running beyond it.

    Raises:
        CorruptData: the file is cut off, or neither meta page can be read.
    """
    descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return
        metas = read_metas(descriptor)
    finally:
        os.close(descriptor)
    why = _opening_problem(metas, size)
    if why:
        raise CorruptData(
            f"the index file {data} is damaged",
            why=why,
            next_step="run `streamdb check` to see all damage, then `streamdb repair`",
        )


def _opening_problem(metas: list[Meta], size: int) -> str | None:
    if len(metas) < 2:
        return "a meta page of it cannot be read"
    newest = metas[0]
    if newest.page_bytes != PAGE:
        return f"its pages are of {newest.page_bytes} bytes, {PAGE} are written here"
    for tree in (newest.main, newest.free):
        if tree.root != NO_PAGE and (tree.root > newest.last_page or tree.root < 2):
            return f"a tree begins at page {tree.root} of {newest.last_page + 1}"
        if tree.root != NO_PAGE and (tree.root + 1) * PAGE > size:
            return f"it is cut off at {size} bytes, before page {tree.root}"
    return None
