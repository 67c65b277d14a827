"""Writing the feed: the changes of a commit, in rows that fit LMDB's pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamdb import rows
from streamdb.blocks import HALF_PAGE
from streamdb.rows import FeedRow

_MOST_CHANGES = 256
_MOST_BYTES = HALF_PAGE - 8 - 4


def write(txn: Any, table: Any, whole: FeedRow) -> None:
    """Append the changes of a commit, cut into rows of which two share a page as far as they go."""
    items = whole.items
    at, step = 0, _MOST_CHANGES
    while at < len(items):
        part = items[at : at + step]
        row = replace(whole, first=whole.first + at, hlc=whole.hlc + at, items=part)
        body = rows.pack_feed(row)
        if len(body) > _MOST_BYTES and len(part) > 1:
            # A little less than fits by proportion, so that most of those to come fit at once.
            fit = len(part) * _MOST_BYTES * 15 // (len(body) * 16)
            step = max(1, min(len(part) - 1, fit))
            continue
        key = row.first.to_bytes(8, "big")
        txn.put(key, rows.seal(rows.FEED, key, body), append=True, db=table)
        at += len(part)
