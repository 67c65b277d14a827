"""From single measurements to medians, ratios, targets and text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from compare_material import BLOB_BYTES
from compare_stores import OURS

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
_SQLITE = ("apsw", "apsw-clustered", "sqlite3")


@dataclass(frozen=True)
class Sample:
    """One turn: ``value`` are seconds per unit of the case, or bytes."""

    case: str
    store: str
    round: int
    value: float
    others_cores: float


@dataclass(frozen=True)
class Row:
    """The median of one store in one case; ``ratio`` is it by ours: above 1 we are ahead."""

    case: str
    store: str
    count: int
    value: float
    least: float
    most: float
    ratio: float | None
    others_cores: float


@dataclass(frozen=True)
class Target:
    """What we want to reach: against the best of ``peers`` (all if empty), or under a limit."""

    case: str
    factor: float = 0.0
    peers: tuple[str, ...] = ()
    limit_s: float | None = None

    def text(self) -> str:
        """In words."""
        if self.limit_s is not None:
            return f"< {self.limit_s * 1e6:g} us"
        against = "SQLite" if self.peers == _SQLITE else ", ".join(self.peers) or "every peer"
        return f">= {self.factor:.3g} x {against}"


def _targets() -> tuple[Target, ...]:
    long_searches = [f"prefix-{n}" for n in (1_000, 10_000, 100_000)]
    long_searches += [f"suffix-{n}" for n in (1_000, 10_000)]
    found = [
        Target("load", 1.2),
        Target("size", 1 / 1.3, ("rocksdb",)),
        Target("get", 1.4),
        Target("metadata", 1.0),
        Target("hot", limit_s=0.3e-6),
        *(Target(case, 2.4) for case in long_searches),
        Target("count", 100),
        Target("put", 1.0, _SQLITE),
        Target("put", 1.3, ("rocksdb",)),
        Target("threads", 3.0),
    ]
    for kind in ("noise", "music"):
        found += [
            Target(f"blobs-{kind}", 1.1, ("files",)),
            Target(f"blobs-{kind}", 3.0, _SQLITE),
            Target(f"blobs-{kind}", 4.0, ("rocksdb",)),
            Target(f"warm-{kind}", 1.2, ("files",)),
        ]
    return tuple(found)


TARGETS = _targets()


@dataclass(frozen=True)
class Verdict:
    """A target, and what was reached: a ratio, or seconds where the target is a limit."""

    case: str
    target: str
    figure: str
    reached: bool


def rows_of(samples: Iterable[Sample], cases: Sequence[str], stores: Sequence[str]) -> list[Row]:
    """One row for each case and store that was measured, in the order of both."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.store), []).append(sample)
    rows = []
    for case in cases:
        ours = groups.get((case, OURS))
        base = median(sample.value for sample in ours) if ours else None
        for store in stores:
            group = groups.get((case, store))
            if group:
                rows.append(_row(group, base))
    return rows


def _row(group: Sequence[Sample], base: float | None) -> Row:
    values = [sample.value for sample in group]
    middle = median(values)
    return Row(
        case=group[0].case,
        store=group[0].store,
        count=len(group),
        value=middle,
        least=min(values),
        most=max(values),
        ratio=middle / base if base else None,
        others_cores=median(sample.others_cores for sample in group),
    )


def verdicts_of(rows: Iterable[Row]) -> list[Verdict]:
    """What became of each target that the rows can decide."""
    values = {(row.case, row.store): row.value for row in rows}
    found = []
    for target in TARGETS:
        ours = values.get((target.case, OURS))
        if ours is None:
            continue
        if target.limit_s is not None:
            figure, reached = f"{ours * 1e6:.2f} us", ours < target.limit_s
        else:
            peers = [
                (value, store)
                for (case, store), value in values.items()
                if case == target.case and store != OURS and store in (target.peers or (store,))
            ]
            if not peers:
                continue
            best, store = min(peers)
            figure, reached = f"{best / ours:.2f} ({store})", best / ours >= target.factor
        found.append(Verdict(target.case, target.text(), figure, reached))
    return found


def quantity(value: float, unit: str) -> str:
    """A median as a person reads it.

    >>> quantity(2.5e-6, "get"), quantity(0.000262144, "blob"), quantity(25e7, "B")
    ('2.50 us', '1,000 MB/s', '250 MB')
    """
    if unit == "B":
        return f"{value / 1e6:,.0f} MB" if value >= 1e7 else f"{value / 1e6:.2f} MB"
    if unit == "blob":
        return f"{BLOB_BYTES / value / 1e6:,.0f} MB/s"
    for factor, name in ((1e6, "us"), (1e3, "ms")):
        if value * factor < 1000:
            return f"{_three(value * factor)} {name}"
    return f"{_three(value)} s"


def _three(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:.0f}"


def table_of(figures: Mapping[str, Any]) -> str:
    """The medians as a Markdown table, with the ratio to ours beside each peer's."""
    stores = list(figures["stores"])
    rows = {(row["case"], row["store"]): row for row in figures["rows"]}
    lines = [_cells(["", *stores, "others' cores"]), "|---|" + "---:|" * (len(stores) + 1)]
    for case in figures["cases"]:
        cells = [case["text"]]
        noise = []
        for store in stores:
            row = rows.get((case["name"], store))
            if row is None:
                cells.append("")
                continue
            noise.append(row["others_cores"])
            ratio = "" if store == OURS or not row["ratio"] else f" ({_ratio(row['ratio'])})"
            cells.append(quantity(row["value"], case["unit"]) + ratio)
        if noise:
            lines.append(_cells([*cells, f"{median(noise):.1f}"]))
    return "\n".join(lines) + "\n"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def targets_table(figures: Mapping[str, Any]) -> str:
    """The targets and what became of them, as a Markdown table."""
    texts = {case["name"]: case["text"] for case in figures["cases"]}
    lines = [_cells(["", "target", "reached", ""]), "|---|---|---:|---|"]
    lines += [
        _cells([
            texts[verdict["case"]], verdict["target"], verdict["figure"],
            "yes" if verdict["reached"] else "**no**",
        ])
        for verdict in figures["verdicts"]
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cells(words: Iterable[str]) -> str:
    return "| " + " | ".join(words) + " |"


def section_of(figures: Mapping[str, Any]) -> str:
    """What stands between the markers of a document."""
    machine = figures["machine"]
    head = (
        f"{figures['documents']:,} documents, {figures['rounds']} rounds; {machine['cpu']}, "
        f"{machine['memory']}, {machine['file system']}, Python {machine['python']}. "
        f"`.venv/bin/python packages/streamdb/bench/compare.py{figures['options']}`"
    )
    note = (
        "Medians; in brackets the peer's figure by ours: above 1 we are ahead. The last column "
        "says how many CPUs others kept busy meanwhile."
    )
    missed = [verdict for verdict in figures["verdicts"] if not verdict["reached"]]
    reached = len(figures["verdicts"]) - len(missed)
    count = f"Targets reached: {reached} of {len(figures['verdicts'])}."
    parts = [head, note, table_of(figures).rstrip(), count, targets_table(figures).rstrip()]
    return "\n\n".join(parts)


def with_section(text: str, section: str) -> str:
    """A document with the part between its markers replaced.

    Raises:
        ValueError: it does not have the two markers, once each and in order.
    """
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end or BEGIN in after or END in after or END in before:
        raise ValueError(f"it needs one line {BEGIN} and, below it, one line {END}")
    return f"{before}{begin}\n{section}\n\n{end}{after}"


def report_of(figures: Mapping[str, Any]) -> str:
    """Everything, for the terminal."""
    lines = [section_of(figures), ""]
    for name, store in figures["stores"].items():
        versions = ", ".join(f"{key} {value}" for key, value in store["versions"].items())
        lines += [f"{name} ({versions})", *(f"  {note}" for note in store["about"])]
    missed = [verdict for verdict in figures["verdicts"] if not verdict["reached"]]
    lines += [f"missed: {each['case']} {each['target']}: {each['figure']}" for each in missed]
    lines += [f"failed: {name}: {why}" for name, why in figures["failed"].items()]
    return "\n".join(lines) + "\n"
