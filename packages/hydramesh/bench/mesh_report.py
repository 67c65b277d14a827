"""Figures as text: for the terminal, and for a document, between two markers."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesh_case import OURS

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
NOTES_SYNC = (
    "rsync in daemon mode over loopback, which encrypts nothing, run once for each change",
    "Syncthing with mutual TLS, without discovery, relays and NAT traversal, told by its REST "
    "interface to scan at once because its watcher waits for 10 s",
    "ours with mutual TLS, told nothing: it watches",
)
_NAMES = {
    "median": "median ms", "p99": "p99 ms", "mb_per_s": "MB/s", "seconds": "seconds",
    "loaded_median": "ms under load", "loaded_p99": "p99 ms under load", "cpu_s": "CPU s",
    "private_mib": "private MiB", "rss_mib": "RSS MiB", "wire_mb": "MB on the wire",
}  # fmt: skip
_NOTE = (
    "Medians. Ours by theirs: below 1 we are ahead in times, above 1 in MB/s. CPU is user and "
    "system time of all processes of both sides until 1 s after the far side was equal. Memory is "
    "the peak of both sides together: private is anonymous memory, RSS also holds what is mapped "
    "of the stores. On the wire: both ways; ours with TLS, Syncthing's before it."
)


def machine() -> str:
    """The machine in a line."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpu = f"{os.cpu_count()} x {model or platform.machine()}"
    return f"{cpu}, {memory:.0f} GiB, Python {platform.python_version()}"


def words(figures: Mapping[str, float]) -> str:
    """Figures in a line.

    >>> words({"seconds": 1.25, "cpu_s": 0.5})
    'seconds 1.25, CPU s 0.5'
    """
    return ", ".join(f"{_NAMES.get(key, key)} {value:.4g}" for key, value in figures.items())


def text(groups: Iterable[Mapping[str, Any]]) -> str:
    """Everything, for the terminal."""
    lines = []
    for group in groups:
        lines += [
            f"{row['case']:<12} {row['contender']:<13} {words(row['figures'])};"
            f" ours by theirs {row['ours_by_theirs']:g}"
            for row in group["rows"]
        ]
        lines += [f"missed: {sentence}" for sentence in group["missed"]]
    return "".join(f"{line}\n" for line in lines)


def section(groups: Sequence[Mapping[str, Any]]) -> str:
    """What stands between the markers of a document."""
    parts = [_NOTE]
    for group in groups:
        command = f"packages/hydramesh/bench/mesh.py --only {group['group']}{group['options']}"
        told = f"{group['about'][0].upper()}{group['about'][1:]}"
        parts.append(
            f"{told}. {group['rounds']} rounds; {group['machine']}. `.venv/bin/python {command}`"
        )
        parts.append(_table(group["rows"]))
    parts.append("![The ratios as a chart](hydramesh-benchmarks.png)")
    missed = [sentence for group in groups for sentence in group["missed"]]
    count = sum(group["targets"] for group in groups)
    parts.append(f"Targets reached: {count - len(missed)} of {count}.")
    if missed:
        parts.append("\n".join(f"- **missed**: {sentence}" for sentence in missed))
    return "\n\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    lines = [_cells(["", "", "ours by theirs", *(_NAMES.get(key, key) for key in keys)])]
    lines.append("|---|---|" + "---:|" * (len(keys) + 1))
    before = ""
    for row in rows:
        ratio = "" if row["contender"] == OURS else f"{row['ours_by_theirs']:.2f}"
        told = [f"{row['figures'][key]:,.4g}" if key in row["figures"] else "" for key in keys]
        case = row["text"] if row["text"] != before else ""
        lines.append(_cells([case, row["contender"], ratio, *told]))
        before = row["text"]
    return "\n".join(lines)


def _cells(told: Iterable[str]) -> str:
    return "| " + " | ".join(told) + " |"


def with_section(document: str, told: str) -> str:
    """A document with the part between its markers replaced.

    Raises:
        ValueError: it does not have the two markers, once each and in order.
    """
    before, begin, rest = document.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end or BEGIN in after or END in after or END in before:
        raise ValueError(f"it needs one line {BEGIN} and, below it, one line {END}")
    return f"{before}{begin}\n{told}\n\n{end}{after}"
