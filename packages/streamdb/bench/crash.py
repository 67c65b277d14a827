#!/usr/bin/env python3
"""What StreamDB keeps when its writers are killed, its power is cut, its bits flip.

    packages/streamdb/bench/crash.py [--kills 1000] [--power 5000] [--flips 200] [--seed 1] [--json]

Without --kills, --power or --flips: 1000 kills. Each kill ends a writing process with SIGKILL at a
random moment; each power cut is a state in which a recorded writer's disk may be found, with what
was not synced lost, torn or kept at random (needs strace); each flip damages one bit, --flips of
them in every kind of file. After each, fresh processes scrub the store and compare every byte and
every promise with a model that never went through the store.

Exit code: 0 all was kept, 1 something was not (it is listed), 2 usage, 3 strace is missing, 130
interrupted (what was found until then is printed).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

Report = dict[str, Any]


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", "--rounds", type=positive, metavar="N", help="writers to kill")
    parser.add_argument("--power", type=positive, metavar="N", help="states after a power cut")
    parser.add_argument("--flips", type=positive, metavar="N", help="bits to flip per kind of file")
    parser.add_argument("--seed", type=int, default=1, help="what all randomness comes from")
    parser.add_argument("--encrypted", action="store_true", help="with an encrypted store")
    # A directory of its own is made in there, under a name that nobody can guess.
    room = Path("/var/tmp")  # noqa: S108
    parser.add_argument("--room", type=Path, default=room, help="where stores lie; on a disk")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    chosen = parser.parse_args(arguments)
    if not (chosen.kills or chosen.power or chosen.flips):
        chosen.kills = 1000
    return chosen


def progress(what: str, done: int, total: int, findings: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        text = f"\r{what}: {done} of {total}, {findings} findings "
        print(text, end=end, file=sys.stderr, flush=True)


def run_kills(nursery: Any, room: Path, seed: int, key: str | None, wanted: int) -> Report:
    from packages.streamdb.tests.crash.kills import Rounds

    rounds = Rounds(nursery, room, seed, key)
    tally = rounds.tally
    interrupted = False
    try:
        while tally.total < wanted:
            rounds.play(tally.rounds)
            progress("kills", tally.total, wanted, len(tally.findings))
    except KeyboardInterrupt:
        interrupted = True
    return {
        "what": "killed writers",
        "count": tally.total,
        "rounds": tally.rounds,
        "calls acknowledged": tally.steps,
        "readers killed": tally.readers_killed,
        "killed in": dict(tally.kills.most_common()),
        "durability": dict(tally.durabilities),
        "findings": tally.findings,
        "interrupted": interrupted,
    }


def run_power(nursery: Any, room: Path, seed: int, key: str | None, wanted: int) -> Report:
    from packages.streamdb.tests.crash.power import Cuts

    cuts = Cuts(nursery, room, seed, key)
    tally = cuts.tally
    interrupted = False
    try:
        while tally.states < wanted:
            session = cuts.record()
            for _ in range(min(50, wanted - tally.states)):
                cuts.cut(session)
                progress("power cuts", tally.states, wanted, len(tally.findings))
    except KeyboardInterrupt:
        interrupted = True
    return {
        "what": "power cuts",
        "count": tally.states,
        "recorded sessions": tally.sessions,
        "states with uncertain writes": tally.uncertain,
        "calls acknowledged": tally.acknowledged,
        "cut in": dict(tally.cuts.most_common()),
        "durability": dict(tally.durabilities),
        "findings": tally.findings,
        "interrupted": interrupted,
    }


def run_flips(nursery: Any, room: Path, seed: int, key: str | None, wanted: int) -> Report:
    from packages.streamdb.tests.crash.flips import Damaged

    store = Damaged(nursery, room, seed, key)
    tally = store.tally
    damages = [d for kind in ("index", "segments", "marker") for d in store.flips(kind, wanted)]
    damages += store.meaningful_flips(wanted) + store.structure_flips(wanted)
    damages += store.cuts("index", wanted // 4) + store.cuts("segments", wanted // 4)
    interrupted = False
    try:
        for at, damage in enumerate(damages):
            store.try_out(damage)
            if at % 8 == 0:
                store.mend(damage)
            progress("damages", at + 1, len(damages), len(tally.findings))
    except KeyboardInterrupt:
        interrupted = True
    return {
        "what": "damages (flipped bits, cut files)",
        "count": tally.damages,
        "repaired": tally.repaired,
        "documents lost in repairs, all named": tally.lost,
        "named by check, in": dict(tally.named),
        "noted by check, in": dict(tally.noted),
        "proved to mean nothing": dict(tally.unused.most_common()),
        "questions answered with too little": dict(tally.omitted),
        "how opening went": dict(tally.refused),
        "readers that LMDB ended, the damage being named": tally.killed,
        "findings": tally.findings,
        "interrupted": interrupted,
    }


def table(report: Report) -> str:
    lines = [f"{report['what']}: {report['count']}"]
    for name, value in report.items():
        if name in ("what", "count", "findings", "interrupted"):
            continue
        if not isinstance(value, dict):
            lines.append(f"  {name}: {value}")
            continue
        lines.append(f"  {name}:")
        lines += [f"    {count:7d}  {each}" for each, count in Counter(value).most_common()]
    lines.append(f"  findings: {len(report['findings'])}")
    lines += [f"    {finding}" for finding in report["findings"]]
    return "\n".join(lines)


def key_file(room: Path) -> str:
    path = room / "key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(32))
    return str(path)


def main(arguments: list[str] | None = None) -> int:
    chosen = options(arguments)
    if chosen.power and shutil.which("strace") is None:
        print("crash.py: strace is missing; next: scripts/host-tools media", file=sys.stderr)
        return 3
    sys.path.insert(0, str(ROOT))
    from packages.streamdb.tests.crash.nursery import Nursery

    runs: list[tuple[Callable[..., Report], int | None]] = [
        (run_kills, chosen.kills), (run_power, chosen.power), (run_flips, chosen.flips),
    ]  # fmt: skip
    room = Path(tempfile.mkdtemp(prefix="streamdb-crash-", dir=chosen.room))
    reports: list[Report] = []
    for number, (run, wanted) in enumerate(runs):
        if not wanted:
            continue
        inside = room / str(number)
        inside.mkdir()
        began = time.monotonic()
        with Nursery(inside) as nursery:
            key = key_file(inside) if chosen.encrypted else None
            report = run(nursery, inside, chosen.seed, key, wanted)
        report["seconds"] = round(time.monotonic() - began)
        report["seed"] = chosen.seed
        reports.append(report)
        if not chosen.json:
            print(table(report), flush=True)
        if report["interrupted"]:
            break
    if chosen.json:
        print(json.dumps(reports, indent=2))
    if any(report["findings"] for report in reports):
        print(f"crash.py: the stores are kept in {room}", file=sys.stderr)
        return 1
    shutil.rmtree(room)
    return 130 if any(report["interrupted"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
