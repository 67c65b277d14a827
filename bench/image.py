#!/usr/bin/env python3
"""Measure image builds: ours, live-build's and mkosi's, for the same packages, interleaved.

    .venv/bin/python bench/image.py --quick
    .venv/bin/python bench/image.py --rounds 3 --json image.json --chart image.svg

As root, because the peers need it; --only archibald works as an ordinary user too. Peers that are
missing are installed by apt, and said so. Exit codes are those of archibald: 4 when a builder
failed (the others are still measured), 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from image_builders import (
    BUILDERS,
    Builder,
    Case,
    Job,
    configuration,
    install_peer,
    is_filled,
    make_builder,
    mark_filled,
    require_root,
)
from image_measure import adopt_orphans, measure, others_cores
from image_report import Row, Sample, chart_of, goals_of, rows_of, table_of

from archibald import __version__
from archibald.errors import ArchibaldError, ExitCode, ToolFailedError
from archibald.image.build import design
from archibald.image.privilege import remove_tree
from archibald.lock import model
from archibald.lock.resolve import Request, make_lock, tool_versions
from archibald.lock.sources import find_keyring, find_mirrors
from archibald.lock.store import sha256_of
from archibald.lock.wheels import image_requirements
from archibald.profile.load import load_profile
from archibald.run import run

ROOT = Path(__file__).resolve().parent.parent
#: A machine is quiet when others keep less than so many CPUs busy for so many seconds.
QUIET_CORES, QUIET_WINDOW_S = 0.15, 5.0

LOGS = "logs"
QUICK = ("archibald", "live-build")


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{text}\n")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="bench/image.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="one round, ours and live-build")
    parser.add_argument("--only", default="", metavar="NAMES",
                        help=f"builders, separated by commas: {','.join(BUILDERS)}")  # fmt: skip
    parser.add_argument("--cases", default="", metavar="NAMES",
                        help=f"separated by commas; default all: {','.join(Case)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=1, help="rounds; default: 1")
    parser.add_argument("--patience", type=float, default=0.0, metavar="SECONDS",
                        help="wait up to so long for a quiet machine; default: 0")  # fmt: skip
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles/core.toml", metavar="FILE",
                        help="default: profiles/core.toml")  # fmt: skip
    parser.add_argument("--mirror", default="", help="default: what this host's apt uses")
    parser.add_argument("--work", type=Path, default=None, metavar="FOLDER",
                        help="build here (12 GiB) and keep the downloads; default: a new "
                        "folder in /var/tmp, which is removed")  # fmt: skip
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write all figures")
    parser.add_argument("--chart", type=Path, default=None, metavar="FILE.svg", help="draw them")
    parser.add_argument("--resume", action="store_true",
                        help="go on with an interrupted run: same --work, same --json")  # fmt: skip
    chosen = parser.parse_args(argv)
    chosen.tools = _names(
        parser, chosen.only, list(BUILDERS), QUICK if chosen.quick else [*BUILDERS]
    )
    names = _names(parser, chosen.cases, [str(case) for case in Case], list(Case))
    # A cold build is what every later case builds on.
    chosen.cases = [case for case in Case if case in names or case is Case.COLD]
    if chosen.resume and not (chosen.work and chosen.json):
        parser.error("--resume needs the --work and the --json of the interrupted run")
    if chosen.rounds < 1:
        parser.error("--rounds takes 1 or more")
    return chosen


def _names(
    parser: argparse.ArgumentParser, text: str, known: Sequence[str], default: Sequence[str]
) -> list[str]:
    if not text:
        return list(default)
    names = text.split(",")
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}")
    return [name for name in known if name in names]


def make_job(profile_path: Path, mirror: str, work: Path) -> Job:
    """Resolve the packages once, so that all builders get the same versions."""
    profile = load_profile(profile_path)
    mirrors = find_mirrors(option=mirror, profile=profile.image.mirror)
    wanted = Request(
        profile.system.suite, tuple(profile.image.components), design(profile).wishes,
        image_requirements(),
    )  # fmt: skip
    say("resolving the packages (not measured)")
    folder = work / "apt"
    folder.mkdir(parents=True, exist_ok=True)
    lock = make_lock(wanted, mirrors, find_keyring(), folder=folder)
    lock_path = work / "bench.lock"
    lock_path.write_text(model.dump(lock))
    return Job(
        lock, lock_path, profile_path.absolute(), mirrors.debian, work,
        profile.image.compression_level,
    )  # fmt: skip


def order(tools: Sequence[str], round_number: int) -> list[str]:
    """Return the tools in the order of a round: another one begins each time."""
    first = round_number % len(tools)
    return [*tools[first:], *tools[:first]]


def turns(
    tools: Sequence[str], cases: Sequence[Case], rounds: int, filled: Container[str] = ()
) -> Iterator[tuple[int, Case, str, bool]]:
    """Yield (round, case, tool, whether it counts).

    The download fills the caches, so the first round begins with it, but for tools that have been
    ``filled``; it depends on the network more than on the tool, so later rounds leave it out.
    """
    for number in range(rounds):
        for case in Case:
            for tool in order(tools, number):
                counts = case in cases
                if case is Case.DOWNLOAD:
                    due = number == 0 and (counts or tool not in filled)
                else:
                    due = counts
                if due:
                    yield number, case, tool, counts


def await_quiet(patience_s: float) -> None:
    """Wait until nobody else computes, but no longer than this."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and others_cores(QUIET_WINDOW_S) > QUIET_CORES:
        pass


def run_turn(builder: Builder, case: Case, number: int, logs: Path) -> Sample:
    """Do one build and return what it took."""
    builder.prepare(case)
    usage = measure(
        builder.commands(case),
        cwd=_folder(builder),
        env=builder.env,
        folders=[builder.job.work],
        log_file=logs / f"{builder.name}-{case}-{number}.log",
    )
    if case is Case.DOWNLOAD:
        mark_filled(builder)
    size = builder.result().stat().st_blocks * 512
    return Sample(builder.name, case, number, usage, size)


def _folder(builder: Builder) -> Path:
    live = builder.job.work / "live"
    return live if live.is_dir() else builder.job.work


@dataclass
class Outcome:
    """What a run gave, whole or not."""

    samples: list[Sample] = field(default_factory=list)
    failed: dict[str, ToolFailedError] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def rows(self) -> list[Row]:
        """The medians."""
        return rows_of(self.samples)

    def exit_code(self) -> ExitCode:
        """Return what the command line ends with."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.failed:
            return ExitCode.TOOL_FAILED
        missed = any(not goal.reached for goal in goals_of(self.rows))
        return ExitCode.FINDINGS if missed else ExitCode.OK


def earlier_samples(path: Path, lock_sha256: str) -> list[Sample]:
    """Return what an interrupted run of the same lock has measured."""
    try:
        figures = json.loads(path.read_text())
    except FileNotFoundError:
        return []
    if figures["lock_sha256"] != lock_sha256:
        say("the packages have changed since: everything is measured again")
        return []
    return [Sample.of(data) for data in figures["samples"]]


def run_all(
    builders: dict[str, Builder], chosen: argparse.Namespace, logs: Path, outcome: Outcome
) -> None:
    """Do all turns that the outcome lacks, and note each result in it and in the JSON.

    A builder that fails is left out from then on; an interrupted run keeps its figures.
    """
    done = {(sample.round, sample.case, sample.tool) for sample in outcome.samples}
    filled = [name for name, builder in builders.items() if is_filled(builder)]
    try:
        for turn in turns(list(builders), chosen.cases, chosen.rounds, filled):
            if turn[2] not in outcome.failed and turn[:3] not in done:
                await_quiet(chosen.patience)
                _take_turn(builders, turn, logs, outcome)
                if chosen.json:
                    write_json(chosen.json, report(builders, outcome))
    except KeyboardInterrupt:
        outcome.interrupted = True


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write all figures."""
    path.write_text(json.dumps(figures, indent=1) + "\n")


def _take_turn(
    builders: dict[str, Builder], turn: tuple[int, Case, str, bool], logs: Path, outcome: Outcome
) -> None:
    number, case, tool, counts = turn
    try:
        sample = run_turn(builders[tool], case, number, logs)
    except ToolFailedError as error:
        outcome.failed[tool] = error
        say(f"{tool} is left out: {error}")
        return
    others = f"others {sample.usage.others_cores:.1f} cores"
    say(f"round {number + 1}, {case}, {tool}: {sample.usage.wall_s:.1f} s, {others}")
    if counts:
        outcome.samples.append(sample)


def report(builders: dict[str, Builder], outcome: Outcome) -> dict[str, Any]:
    """Return everything that was measured, and with what."""
    rows = outcome.rows
    job = next(iter(builders.values())).job
    return {
        "archibald": __version__,
        "cpus": os.cpu_count(),
        "kernel": os.uname().release,
        "suite": job.lock.suite,
        "lock_sha256": sha256_of(job.lock_path),
        "snapshot": job.lock.snapshot.isoformat(),
        "packages": len(job.lock.packages),
        "packages_bytes": sum(package.size for package in job.lock.packages),
        "cases": {case: case.text for case in Case},
        "tools": {
            name: {
                "versions": tool_versions(builder.packages),
                "notes": builder.notes,
                "commands": configuration(builder),
            }
            for name, builder in builders.items()
        },
        "rows": [asdict(row) for row in rows],
        "samples": [asdict(sample) for sample in outcome.samples],
        "goals": [asdict(goal) for goal in goals_of(rows)],
        "failed": {name: error.what for name, error in outcome.failed.items()},
        "interrupted": outcome.interrupted,
    }


def print_report(figures: dict[str, Any], rows: list[Row]) -> None:
    """Print the table, the goals and what each tool is."""
    lines = [
        f"{figures['packages']} packages of {figures['suite']} ({figures['snapshot']}), "
        f"{figures['packages_bytes'] / 2**20:.0f} MiB; {figures['cpus']} CPUs", "",
        table_of(rows),
        *(f"{case}: {text}" for case, text in figures["cases"].items()), "",
    ]  # fmt: skip
    for name, tool in figures["tools"].items():
        versions = ", ".join(f"{key} {value}" for key, value in tool["versions"].items())
        lines += [f"{name} ({versions})", *(f"  {note}" for note in tool["notes"])]
    lines.append("")
    for goal in goals_of(rows):
        lines.append(f"goal: {goal.text}: {goal.figure}, {'ok' if goal.reached else 'missed'}")
    for name, what in figures["failed"].items():
        lines.append(f"failed: {name}: {what}")
    sys.stdout.write("\n".join(lines) + "\n")


def bench(chosen: argparse.Namespace, work: Path) -> int:
    """Prepare, measure and report; return the exit code."""
    adopt_orphans()
    require_root(chosen.tools)
    for name in chosen.tools:
        install_peer(name, ROOT)
    job = make_job(chosen.profile, chosen.mirror, work)
    builders = {name: make_builder(name, job) for name in chosen.tools}
    logs = work / LOGS
    logs.mkdir(exist_ok=True)
    outcome = Outcome()
    if chosen.resume:
        outcome.samples += earlier_samples(chosen.json, sha256_of(job.lock_path))
    run_all(builders, chosen, logs, outcome)
    figures = report(builders, outcome)
    print_report(figures, outcome.rows)
    if chosen.json:
        write_json(chosen.json, figures)
    if chosen.chart:
        title = f"Seconds to build the {job.profile.stem} image"
        chosen.chart.write_text(chart_of(outcome.rows, title=title))
    if outcome.failed:
        say(f"the logs are in {logs}")
    return outcome.exit_code()


def free_loop_devices(work: Path) -> None:
    """Detach the loop devices that a killed build leaves."""
    listing = run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"], check=False)
    for line in listing.stdout.splitlines():
        device, _, file = line.partition(" ")
        if file.strip().startswith(f"{work}/"):
            run(["losetup", "--detach", device], check=False)


def _on_sigterm(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str]) -> int:
    """Run the benchmark and return its exit code."""
    chosen = arguments(argv)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup the signal is ignored, and stays so.
        if signal.getsignal(sig) == signal.SIG_DFL:
            signal.signal(sig, _on_sigterm)
    # Not TMPDIR: that is often in memory, and a build takes gigabytes.
    work = chosen.work or Path(tempfile.mkdtemp(prefix="archibald-bench-", dir="/var/tmp"))
    work = work.absolute()
    code: int = ExitCode.TOOL_FAILED
    try:
        code = bench(chosen, work)
    except ArchibaldError as error:
        say(f"bench/image.py: {error}")
        code = error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        code = ExitCode.INTERRUPTED
    finally:
        free_loop_devices(work)
        if chosen.work is None:
            for entry in work.iterdir():
                if code != ExitCode.TOOL_FAILED or entry.name != LOGS:
                    remove_tree(entry) if entry.is_dir() else entry.unlink()
            with suppress(OSError):
                work.rmdir()
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
