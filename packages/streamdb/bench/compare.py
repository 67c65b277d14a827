#!/usr/bin/env python3
"""Measure StreamDB beside SQLite, RocksDB, LevelDB and plain files, interleaved, in one run.

    .venv/bin/python packages/streamdb/bench/compare.py --quick
    .venv/bin/python packages/streamdb/bench/compare.py --json FILE --chart FILE.png --write-docs

Exit codes: 0 all targets reached, 1 a target missed (they are listed), 2 usage, 3 a precondition is
not met, 4 a store failed (the others are still measured), 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, NoReturn

from compare_cases import Bench, Case, cases_for
from compare_machine import Clock, description
from compare_material import Material
from compare_peers import NAMES, NotInstalled, default_folder, make_ready, openers
from compare_report import Sample, report_of, rows_of, section_of, verdicts_of, with_section
from compare_stores import Opened

ROOT = Path(__file__).resolve().parents[3]
DOCS = (ROOT / "docs/explanation/streamdb-benchmarks.md", ROOT / "packages/streamdb/README.md")
CHART = ROOT / "docs/explanation/streamdb-benchmarks.png"
#: What a run of a million documents takes on disk at most, and one of fewer documents.
BYTES_PER_DOCUMENT, BYTES_PER_BLOB_ROUND = 12_000, 1 << 30

#: What is quoted was measured on so many documents, while others kept fewer CPUs busy than this.
QUOTED_DOCUMENTS, QUIET_CORES = 100_000, 0.25
ROUNDS = 5


class Refused(Exception):
    """A precondition is not met."""


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{text}\n")


def positive(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="compare.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="100,000 documents, 3 rounds")
    parser.add_argument("--documents", type=positive, metavar="N", help="default: 1,000,000")
    parser.add_argument("--rounds", type=positive, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--seed", type=positive, default=1, metavar="N")
    parser.add_argument("--only", default="", metavar="NAMES",
                        help=f"stores, separated by commas: {','.join(NAMES)}")  # fmt: skip
    parser.add_argument("--cases", default="", metavar="NAMES",
                        help="separated by commas; a name may end in *")  # fmt: skip
    parser.add_argument("--work", type=Path, metavar="FOLDER",
                        help="keep the stores here; default: in /var/tmp, removed")  # fmt: skip
    parser.add_argument("--peers", type=Path, default=default_folder(), metavar="FOLDER",
                        help="where the peers are installed; default: %(default)s")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--chart", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument("--resume", action="store_true",
                        help="go on with an interrupted run: same --work, same --json")  # fmt: skip
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="measure nothing: report an earlier --json")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true",
                        help="put tables and chart into the documentation")  # fmt: skip
    chosen = parser.parse_args(argv)
    chosen.documents = chosen.documents or (100_000 if chosen.quick else 1_000_000)
    chosen.rounds = chosen.rounds or (3 if chosen.quick else ROUNDS)
    chosen.stores = _names(parser, chosen.only, NAMES)
    known = [case.name for case in cases_for(chosen.documents)]
    chosen.names = _names(parser, chosen.cases, known)
    if chosen.resume and not (chosen.work and chosen.json):
        parser.error("--resume needs the --work and the --json of the interrupted run")
    if "load" not in chosen.names and not chosen.work:
        parser.error("without the case load, --work must name the stores of an earlier run")
    return chosen


def _names(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    if not text:
        return list(known)
    wanted: set[str] = set()
    for word in text.split(","):
        found = {n for n in known if n == word or (word[-1:] == "*" and n.startswith(word[:-1]))}
        if not found:
            parser.error(f"{word!r} is none of {', '.join(known)}")
        wanted |= found
    return [name for name in known if name in wanted]


def turns(
    cases: Sequence[Case], stores: Sequence[str], rounds: int
) -> Iterator[tuple[Case, str, int]]:
    """Case by case, round by round, store by store; another store begins each round."""
    for case in cases:
        fit = [name for name in stores if case.only(name)]
        for number in range(min(rounds, case.rounds)):
            first = number % len(fit) if fit else 0
            for name in (*fit[first:], *fit[:first]):
                if number == 0 or name not in case.slow:
                    yield case, name, number


@dataclass
class Outcome:
    """What a run gave, whole or not."""

    samples: list[Sample] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def run_all(bench: Bench, cases: Sequence[Case], rounds: int, outcome: Outcome, save: Any) -> None:
    """Do all turns that the outcome lacks; a store that fails is left out from then on."""
    done = {(sample.case, sample.store, sample.round) for sample in outcome.samples}
    last = None
    try:
        for case, name, number in turns(cases, list(bench.openers), rounds):
            if name in outcome.failed or (case.name, name, number) in done:
                continue
            if case.name != last:
                say(f"{case.name}: {case.text}")
                save()
            last = case.name
            take_turn(bench, case, name, number, outcome)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        bench.close_all()


def take_turn(bench: Bench, case: Case, name: str, number: int, outcome: Outcome) -> None:
    """Measure one store in one case once."""
    # The library's own million texts are none of what a turn should walk over.
    gc.collect()
    gc.freeze()
    clock = Clock.now()
    try:
        value = case.run(bench, name, number)
    except Exception as error:
        outcome.failed[name] = f"{case.name}: {type(error).__name__}: {error}"
        say(f"{name} is left out: {outcome.failed[name]}")
        traceback.print_exc()
        return
    outcome.samples.append(Sample(case.name, name, number, value, clock.others_cores()))


def figures_of(
    chosen: argparse.Namespace, opened: dict[str, Opened], bench: Bench, outcome: Outcome
) -> dict[str, Any]:
    """Everything that was measured, and with what."""
    cases = [case for case in cases_for(chosen.documents) if case.name in chosen.names]
    rows = rows_of(outcome.samples, [case.name for case in cases], list(opened))
    return {
        "documents": chosen.documents,
        "rounds": chosen.rounds,
        "seed": chosen.seed,
        "options": _options_said(chosen),
        "machine": description(bench.work),
        "stores": {
            name: {"versions": each.versions, "about": list(each.about)}
            for name, each in opened.items()
        },
        "cases": [{"name": c.name, "text": c.text, "unit": c.unit} for c in cases],
        "rows": [asdict(row) for row in rows],
        "verdicts": [asdict(verdict) for verdict in verdicts_of(rows)],
        "samples": [asdict(sample) for sample in outcome.samples],
        "failed": outcome.failed,
        "interrupted": outcome.interrupted,
    }


def _options_said(chosen: argparse.Namespace) -> str:
    """The options that a reader needs to measure the same."""
    if chosen.quick:
        return " --quick"
    return f" --rounds {chosen.rounds}" if chosen.rounds != ROUNDS else ""


def earlier_samples(chosen: argparse.Namespace) -> list[Sample]:
    """What an interrupted run of the same corpus has measured."""
    if not chosen.json.exists():
        return []
    figures = json.loads(chosen.json.read_text())
    for name in ("documents", "seed"):
        if figures[name] != getattr(chosen, name):
            raise Refused(f"{chosen.json} is a run with {name} {figures[name]}: not to be resumed")
    return [Sample(**data) for data in figures["samples"]]


def measure(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run everything; the stores lie in ``work``."""
    wanted = chosen.documents * BYTES_PER_DOCUMENT + chosen.rounds * BYTES_PER_BLOB_ROUND
    free = shutil.disk_usage(work).free
    if free < wanted:
        raise Refused(
            f"{work} has {free / 1e9:.0f} GB free, up to {wanted / 1e9:.0f} GB are needed: "
            "choose another folder with --work, or fewer documents"
        )
    others = ["numpy"] if any(name.endswith("-music") for name in chosen.names) else []
    others += ["PIL"] if chosen.chart or chosen.write_docs else []
    make_ready(chosen.stores, others, chosen.peers, say)
    opened = openers(chosen.stores)
    for name in chosen.stores:
        if name not in opened:
            say(f"{name} is left out: there is no wheel for this Python")
    outcome = Outcome(samples=earlier_samples(chosen) if chosen.resume else [])
    bench = Bench(
        Material(chosen.documents, chosen.seed, 128 if chosen.quick else 256),
        work,
        {name: each.open for name, each in opened.items()},
        puts=200,
    )

    def save() -> None:
        if chosen.json:
            write_json(chosen.json, figures_of(chosen, opened, bench, outcome))

    say(f"making {chosen.documents:,} paths (not measured)")
    _ = bench.material.paths, bench.material.reversed
    cases = [case for case in cases_for(chosen.documents) if case.name in chosen.names]
    run_all(bench, cases, chosen.rounds, outcome, save)
    save()
    return figures_of(chosen, opened, bench, outcome)


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write all figures, or leave what is there."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(figures, indent=1) + "\n")
    fresh.replace(path)


def doubt_of(figures: dict[str, Any]) -> str | None:
    """Why the figures are not to be quoted, or None."""
    if figures["failed"] or figures["interrupted"]:
        return "the run is not whole"
    if figures["documents"] < QUOTED_DOCUMENTS:
        return f"{figures['documents']:,} documents are fewer than {QUOTED_DOCUMENTS:,}"
    noise = median(row["others_cores"] for row in figures["rows"])
    if noise > QUIET_CORES:
        return f"others kept {noise:.1f} CPUs busy: measure again on a quiet machine"
    return None


def write_docs(figures: dict[str, Any], paths: Sequence[Path]) -> None:
    """Put the tables between the markers of each document.

    Raises:
        Refused: one of them has no markers, or the run is none to be quoted; then none is changed.
    """
    doubt = doubt_of(figures)
    if doubt:
        raise Refused(f"the documentation stays as it is: {doubt}")
    written = {}
    for path in paths:
        try:
            chart = f"![The ratios as a chart]({os.path.relpath(CHART, path.parent)})"
            written[path] = with_section(path.read_text(), f"{section_of(figures)}\n\n{chart}")
        except ValueError as error:
            raise Refused(f"{path} cannot be written: {error}") from None
    for path, text in written.items():
        path.write_text(text)
        say(f"written: {path}")


def draw_chart(figures: dict[str, Any], path: Path) -> None:
    """Write the chart; only this needs Pillow."""
    from compare_chart import draw

    draw(figures, path)


def finish(chosen: argparse.Namespace, figures: dict[str, Any]) -> int:
    """Report, draw and write; return the exit code."""
    sys.stdout.write(report_of(figures))
    if chosen.chart:
        draw_chart(figures, chosen.chart)
    if figures["interrupted"]:
        return 130
    if chosen.write_docs:
        write_docs(figures, DOCS)
        draw_chart(figures, CHART)
    if figures["failed"]:
        return 4
    return 1 if any(not verdict["reached"] for verdict in figures["verdicts"]) else 0


def _on_sigterm(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    chosen = options(argv)
    work = chosen.work
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        if chosen.source:
            if chosen.chart or chosen.write_docs:
                make_ready((), ["PIL"], chosen.peers, say)
            return finish(chosen, json.loads(chosen.source.read_text()))
        if work is None:
            # Not TMPDIR: that is often in memory, where nothing is ever put on a disk.
            work = Path(tempfile.mkdtemp(prefix="streamdb-bench-", dir="/var/tmp"))
        work.mkdir(parents=True, exist_ok=True)
        return finish(chosen, measure(chosen, work.absolute()))
    except (Refused, OSError) as error:
        say(f"compare.py: {error}")
        return 3
    except NotInstalled as error:
        say(f"compare.py: {error}")
        return 4
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        if work is not None and chosen.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
