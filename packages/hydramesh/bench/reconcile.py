"""What reconciliation sends, against a full list of fingerprints.

    .venv/bin/python packages/hydramesh/bench/reconcile.py [--keys 1000000] [--json]

Three cases: equal stores, 1 % of the paths changed at random places, 1 % changed side by side.
Bytes are those of all messages as packed, both ways; the full list is 16 bytes a path, one way.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from hydramesh.sync.reconcile import Session, Summary, answer, found
from hydramesh.wire import pack_frame, unpack_frame

FULL_LIST_BYTES = 16


def _pairs(count: int, chance: random.Random) -> list[tuple[bytes, bytes]]:
    width = max(count // 100, 1)
    return [
        (b"library/pack %05d/sample %07d.wav" % (at // width, at), chance.randbytes(16))
        for at in range(count)
    ]


def _changed(
    pairs: list[tuple[bytes, bytes]], places: list[int], chance: random.Random
) -> list[tuple[bytes, bytes]]:
    other = list(pairs)
    for at in places:
        other[at] = (other[at][0], chance.randbytes(16))
    return other


def _exchange(ours: Summary, theirs: Summary) -> tuple[int, int, int, int]:
    """(bytes, messages, rounds, differences found)."""
    session = Session(ours)
    asked, size, messages = session.begin(), 0, 0
    while asked:
        heard = []
        for frame in asked:
            raw = pack_frame(frame)
            size, messages = size + len(raw), messages + 1
            for reply in answer(theirs, unpack_frame(raw)):
                back = pack_frame(reply)
                size, messages = size + len(back), messages + 1
                heard.append(unpack_frame(back))
        asked = session.take(heard) if heard else []
    differences = sum(len(found(theirs, wanted)) for wanted in session.wanted)
    return size, messages, session.rounds, differences


def measure(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """One row for each case."""
    chance = random.Random(seed)  # noqa: S311
    pairs = _pairs(count, chance)
    few = max(count // 100, 1)
    start = chance.randrange(count - few + 1)
    cases = {
        "equal": [],
        "random 1 %": chance.sample(range(count), few),
        "clustered 1 %": list(range(start, start + few)),
    }
    ours = Summary(pairs)
    rows = []
    for name, places in cases.items():
        theirs = Summary(_changed(pairs, places, chance))
        began = time.perf_counter()
        size, messages, rounds, differences = _exchange(ours, theirs)
        full = FULL_LIST_BYTES * count
        rows.append(
            {
                "case": name,
                "keys": count,
                "changed": len(places),
                "found": differences,
                "bytes": size,
                "messages": messages,
                "rounds": rounds,
                "full_list_bytes": full,
                "times_less": round(full / size, 1),
                "seconds": round(time.perf_counter() - began, 2),
            }
        )
    return rows


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = measure(chosen.keys)
    if chosen.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'case':<14} {'bytes':>10} {'less by':>9} {'messages':>9} {'rounds':>7} {'found':>7}")
    for row in rows:
        print(
            f"{row['case']:<14} {row['bytes']:>10} {row['times_less']:>8}x "
            f"{row['messages']:>9} {row['rounds']:>7} {row['found']:>7}"
        )


if __name__ == "__main__":
    main()
