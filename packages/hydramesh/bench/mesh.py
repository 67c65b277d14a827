#!/usr/bin/env python3
"""Measure HydraMesh beside its peers, interleaved, in one run: messages, throughput, libraries.

    .venv/bin/python packages/hydramesh/bench/mesh.py --quick
    .venv/bin/python packages/hydramesh/bench/mesh.py --json FILE --write-docs
    .venv/bin/python packages/hydramesh/bench/mesh.py --from FILE FILE2 --write-docs

Everything runs on loopback, each side in a process of its own. HydraMesh is two real daemons with
mutual TLS and its switchboard in between.

- ``line``: round trips and throughput beside asyncio UDP, grpc.aio and TCP with sendfile, none of
  them encrypted. Times are those of the daemon itself: what the command line adds is left out.
- ``sync``: libraries kept equal, beside rsync (daemon mode: not encrypted) and Syncthing (mutual
  TLS).

Exit codes: 0 all targets reached, 1 a target missed, 2 usage, 3 a program to compare with is
missing, 4 a contender failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import mesh_ours
import mesh_peers
import mesh_report
import mesh_sync
import mesh_syncers
from mesh_case import OURS, Case, Limit

GROUPS = ("line", "sync")
_ROOT = Path(__file__).resolve().parents[3]
DOCS = _ROOT / "docs/explanation/hydramesh-benchmarks.md"


def _spread(took_s: list[float]) -> dict[str, float]:
    ranked = sorted(each * 1000 for each in took_s)
    return {"median": median(ranked), "p99": ranked[max(0, -(-99 * len(ranked) // 100) - 1)]}


@contextmanager
def line_cases(count: int, chunks: int) -> Iterator[list[Case]]:
    """Messages and throughput, with everything that they need running."""
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
                (Limit("mb_per_s", at_least=100.0),),
            ),
        ]  # fmt: skip


def measure(chosen: argparse.Namespace, group: str) -> dict[str, Any]:
    """All figures of one group of cases: medians over the rounds, and ratios to ours."""
    quick = chosen.quick
    if group == "line":
        count, chunks, rounds = (100, 64, 3) if quick else (500, 512, 7)
        about = f"{count} round trips, {chunks} MiB of chunks"
        opened = line_cases(count, chunks)
    else:
        sizes, rounds = (mesh_sync.QUICK, 1) if quick else (mesh_sync.Sizes(), 3)
        about = "; ".join(mesh_report.NOTES_SYNC)
        opened = mesh_sync.cases(sizes, chosen.without)
    rounds = chosen.rounds or rounds
    with opened as todo:
        found: dict[str, dict[str, list[dict[str, float]]]] = {
            case.name: {name: [] for name in case.contenders} for case in todo
        }
        for turn in range(rounds + 1):
            for case in todo:
                for name, run in case.contenders.items():
                    figures = run()
                    if turn:  # the first round warms up
                        found[case.name][name].append(figures)
                    told = mesh_report.words(figures)
                    sys.stderr.write(f"round {turn}, {case.name}, {name}: {told}\n")
        rows = {case.name: case.rows(found[case.name]) for case in todo}
    return {
        "group": group,
        "machine": mesh_report.machine(),
        "rounds": rounds,
        "options": " --quick" * quick + (f" --rounds {rounds}" if chosen.rounds else ""),
        "about": about,
        "rows": [row for case in todo for row in rows[case.name]],
        "targets": sum(len(case.targets) + len(case.limits) for case in todo),
        "missed": [sentence for case in todo for sentence in case.missed(rows[case.name])],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small trees and few rounds: minutes")
    parser.add_argument("--only", choices=GROUPS, help="one group of cases")
    parser.add_argument("--without", action="append", default=[], choices=list(mesh_syncers.TOOLS),
                        help="leave a contender out")  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="after one that warms up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument("--write-docs", action="store_true",
                        help=f"renew table and chart of {DOCS.relative_to(_ROOT)}")  # fmt: skip
    parser.add_argument("--from", dest="source", type=Path, nargs="+", metavar="FILE",
                        help="measure nothing: take the figures of earlier runs")  # fmt: skip
    return parser.parse_args()


def _figures(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    if chosen.source:
        told = [json.loads(path.read_text(encoding="utf-8")) for path in chosen.source]
        return [group for each in told for group in each["groups"]]
    groups = [chosen.only] if chosen.only else list(GROUPS)
    if "sync" in groups:
        for name in chosen.without:
            print(f"left out, as you asked: {name}")
    return [measure(chosen, group) for group in groups]


def _write(chosen: argparse.Namespace, groups: list[dict[str, Any]]) -> None:
    if chosen.json:
        told = json.dumps({"groups": groups}, indent=2)
        chosen.json.write_text(f"{told}\n", encoding="utf-8")
    charts = [chosen.chart] if chosen.chart else []
    if chosen.write_docs:
        charts.append(DOCS.with_suffix(".png"))
        text = DOCS.read_text(encoding="utf-8")
        DOCS.write_text(mesh_report.with_section(text, mesh_report.section(groups)), "utf-8")
    for path in charts:
        from mesh_chart import draw

        draw([row for group in groups for row in group["rows"]], path)


def main() -> int:
    """Print the rows."""
    chosen = _arguments()
    # Daemons and trees of gigabytes are not to stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not chosen.source and chosen.only != "line":
        lacking = mesh_syncers.missing(chosen.without)
        for sentence in lacking:
            sys.stderr.write(f"ToolMissing: {sentence}\n")
        if lacking:
            return 3
    try:
        groups = _figures(chosen)
    except (mesh_sync.NotEqual, mesh_syncers.ContenderFailed) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 4
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    _write(chosen, groups)
    sys.stdout.write(mesh_report.text(groups))
    return 1 if any(group["missed"] for group in groups) else 0


if __name__ == "__main__":
    sys.exit(main())
