"""How long a mesh takes to notice that nodes are away, to find another way, and to heal.

    .venv/bin/python packages/hydramesh/bench/healing.py [--nodes 12] [--rounds 5] [--json FILE]

Needs root: each node is a daemon in a network namespace of its own, on a bridge that is made for
it (see tests/netns/lab.py). Exit codes: 0 all targets reached, 1 a target missed, 3 no namespaces.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from packages.hydramesh.tests.netns import scenarios
from packages.hydramesh.tests.netns.lab import Lab, Machine, NotHere, laboratory

#: Seconds, of the median.
TARGETS = {"detected": 1.5, "rerouted": 2.0, "healed": 3.0}
Figures = dict[str, float]


def linked_pair(nodes: list[Machine]) -> tuple[Machine, Machine]:
    """Two nodes with a direct link."""
    one = nodes[0]
    names = {name for name, each in one.peers().items() if each.linked}
    return one, next(each for each in nodes if each.name in names)


def works(lab: Lab, nodes: list[Machine]) -> dict[str, Callable[[], Figures]]:
    """What is done in each round."""
    return {
        "kill -9": lambda: scenarios.killed(lab, nodes),
        "partition of one": lambda: scenarios.partitioned(lab, nodes, nodes[-1:]),
        "partition in halves": lambda: scenarios.partitioned(
            lab, nodes, nodes[len(nodes) - len(nodes) // 2 :]
        ),
        "link cut": lambda: scenarios.rerouted(lab, *linked_pair(nodes)),
    }


def measure(count: int, rounds: int) -> list[dict[str, Any]]:
    """One row for each scenario."""
    with laboratory() as lab:
        nodes = lab.realm([f"node-{number}" for number in range(count)])
        found: dict[str, list[Figures]] = {name: [] for name in works(lab, nodes)}
        for turn in range(rounds):
            for name, work in works(lab, nodes).items():
                lab.settled(nodes)
                found[name].append(work())
                lab.whole(nodes)
                sys.stderr.write(f"round {turn + 1}, {name}: {found[name][-1]}\n")
    with laboratory() as lab:
        pair = lab.realm(["node-0", "node-1"])
        found["one-way cut"] = []
        for _ in range(rounds):
            lab.settled(pair)
            found["one-way cut"].append(scenarios.one_way(lab, *pair))
    return [_row(name, count, figures) for name, figures in found.items()]


def _row(name: str, count: int, figures: list[Figures]) -> dict[str, Any]:
    return {
        "scenario": name,
        "nodes": 2 if name == "one-way cut" else count,
        "rounds": len(figures),
        "seconds": {
            key: {
                "median": round(median(each[key] for each in figures), 3),
                "most": round(max(each[key] for each in figures), 3),
            }
            for key in figures[0]
        },
    }


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The targets that were missed, as sentences."""
    return [
        f"{row['scenario']}: {key} after {told['median']} s, the target is {TARGETS[key]} s"
        for row in rows
        for key, told in row["seconds"].items()
        if told["median"] > TARGETS.get(key, float("inf"))
    ]


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    try:
        rows = measure(chosen.nodes, chosen.rounds)
    except NotHere as error:
        sys.stderr.write(f"namespaces cannot be made here: {error}\n")
        return 3
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"{'scenario':<22} {'nodes':>5}  seconds: median (most)")
    for row in rows:
        told = ", ".join(f"{k} {v['median']} ({v['most']})" for k, v in row["seconds"].items())
        print(f"{row['scenario']:<22} {row['nodes']:>5}  {told}")
    for sentence in missed(rows):
        print(f"missed: {sentence}")
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
