#!/usr/bin/env python3
"""Measure HydraMesh beside asyncio UDP, grpc.aio and TCP with sendfile, interleaved, in one run.

    .venv/bin/python packages/hydramesh/bench/mesh.py --quick
    .venv/bin/python packages/hydramesh/bench/mesh.py --json FILE --chart FILE.png

Everything runs on loopback, each side in a process of its own. HydraMesh is two real daemons with
mutual TLS and its switchboard in between; the others have no encryption. Times are those of the
daemon itself, so what the command line adds is left out.

Exit codes: 0 all targets reached, 1 a target missed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import mesh_ours
import mesh_peers

OURS = "hydramesh"
Run = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """One comparison: in each round every contender runs once, in turn.

    ``figure`` is the key of a run's result that is compared; ``better`` says which way. A target
    bounds the ratio of our median to that of a contender.
    """

    name: str
    text: str
    unit: str
    figure: str
    better: str
    contenders: dict[str, Run]
    targets: dict[str, float]

    def missed(self, against: str, ratio: float) -> str:
        """A sentence if our figure is worse than the target allows."""
        target = self.targets.get(against)
        if target is None or (ratio <= target if self.better == "less" else ratio >= target):
            return ""
        sign = "at most" if self.better == "less" else "at least"
        return f"{self.text}: {ratio} of {against}, the target is {sign} {target}"


@dataclass
class Figures:
    """What the runs of one case gave, by contender."""

    runs: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def _spread(took_s: list[float]) -> dict[str, float]:
    ranked = sorted(each * 1000 for each in took_s)
    return {"median": median(ranked), "p99": ranked[max(0, -(-99 * len(ranked) // 100) - 1)]}


@contextmanager
def cases(count: int, chunks: int) -> Iterator[list[Case]]:
    """The cases, with everything that they need running.

    The comparison of synchronisation with rsync and Syncthing becomes one more ``Case`` here, with
    its contenders in a file of their own beside ``mesh_peers.py``.
    """
    with ExitStack() as stack:
        udp, rpc, tcp = (
            stack.enter_context(mesh_peers.server(name)) for name in ("udp", "grpc", "tcp")
        )
        one, two = stack.enter_context(mesh_ours.pair())

        def ours_rtt() -> dict[str, float]:
            told = one.benchmark(two.name, count, 1).idle
            return {"median": told.median, "p99": told.p99}

        def ours_bulk() -> dict[str, float]:
            told = one.benchmark(two.name, 1, chunks)
            return {
                "mb_per_s": told.mb_per_s,
                "loaded_median": told.loaded.median,
                "loaded_p99": told.loaded.p99,
            }

        yield [
            Case(
                "rtt", "round trip of 64 bytes", "ms", "median", "less",
                {
                    OURS: ours_rtt,
                    "asyncio UDP": lambda: _spread(mesh_peers.udp_round_trips(udp, count)),
                    "grpc.aio": lambda: _spread(mesh_peers.grpc_round_trips(rpc, count)),
                },
                {"asyncio UDP": 3.0, "grpc.aio": 1.0},
            ),
            Case(
                "bulk", "throughput, verified by BLAKE3", "MB/s", "mb_per_s", "more",
                {
                    OURS: ours_bulk,
                    "TCP sendfile": lambda: {
                        "mb_per_s": mesh_peers.tcp_bytes_per_s(tcp, chunks) / 1e6
                    },
                },
                {"TCP sendfile": 0.5},
            ),
        ]  # fmt: skip


def measure(count: int, chunks: int, rounds: int) -> dict[str, Any]:
    """All figures: medians over the rounds, and ratios to ours."""
    with cases(count, chunks) as todo:
        found = {case.name: Figures({name: [] for name in case.contenders}) for case in todo}
        for turn in range(rounds + 1):
            for case in todo:
                for name, run in case.contenders.items():
                    figures = run()
                    if turn:  # the first round warms up
                        found[case.name].runs[name].append(figures)
                    sys.stderr.write(f"round {turn}, {case.name}, {name}: {figures}\n")
        rows = [row for case in todo for row in _rows(case, found[case.name])]
        missed = [
            case.missed(row["contender"], row["ours_by_theirs"])
            for case in todo
            for row in rows
            if row["case"] == case.name
        ]
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "rounds": rounds,
        "round_trips": count,
        "chunks": chunks,
        "rows": rows,
        "missed": [sentence for sentence in missed if sentence],
    }


def _rows(case: Case, figures: Figures) -> list[dict[str, Any]]:
    medians = {
        name: {key: median(run[key] for run in runs) for key in runs[0]}
        for name, runs in figures.runs.items()
    }
    ours = medians[OURS][case.figure]
    return [
        {
            "case": case.name,
            "text": case.text,
            "unit": case.unit,
            "better": case.better,
            "contender": name,
            "figures": {key: round(value, 4) for key, value in told.items()},
            "ours_by_theirs": round(ours / told[case.figure], 3),
        }
        for name, told in medians.items()
    ]


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of 100 and 64 MiB")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 7")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing")
    chosen = parser.parse_args()
    if chosen.source:
        found = json.loads(chosen.source.read_text(encoding="utf-8"))
    else:
        count, chunks, rounds = (100, 64, 3) if chosen.quick else (500, 512, 7)
        found = measure(count, chunks, chosen.rounds or rounds)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if chosen.chart:
        from mesh_chart import draw

        draw(found, chosen.chart)
    for row in found["rows"]:
        told = ", ".join(f"{key} {value:g}" for key, value in row["figures"].items())
        print(
            f"{row['case']:<6} {row['contender']:<14} {told} ({row['unit']});"
            f" ours by theirs {row['ours_by_theirs']:g}"
        )
    for sentence in found["missed"]:
        print(f"missed: {sentence}")
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
