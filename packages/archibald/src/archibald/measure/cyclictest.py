"""cyclictest: its command, the values that it streams, and running it.

With ``-v`` it prints each latency as ``thread:cycle:value``. That gives the histogram while it
runs, and histograms of consecutive blocks, which show how latencies follow each other. Its own
JSON, written at the end, counts the same: what the stream did not tell any more is added from it.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from archibald.errors import PreconditionError, ToolFailedError
from archibald.measure.histogram import Histogram, from_values, merged, parse_cyclictest
from archibald.run import require_tools, shell_quoted, spawn

_LINE = re.compile(rb"^ *(\d+): *(\d+): *(-?\d+)$")

#: Blocks that a run keeps of a thread; longer runs have longer blocks.
MOST_BLOCKS = 3600

#: How long cyclictest may take beyond its duration (s): starting, locking memory, writing.
_PATIENCE_S = 30.0

#: The stream may miss what came after its last look, every 10 ms: this many seconds are plenty.
_UNREAD_S = 5.0


@dataclass(frozen=True)
class Request:
    """What cyclictest is asked for. ``cpus`` get a thread each; ``hold_awake`` forbids sleep."""

    cpus: tuple[int, ...]
    other_cpu: int | None
    priority: int
    interval_us: int
    duration_s: int
    limit_us: int
    hold_awake: bool = False

    @property
    def block_cycles(self) -> int:
        """Cycles of a block: about one second, and not more than an hour's worth of blocks."""
        seconds = max(1.0, self.duration_s / MOST_BLOCKS)
        return max(1, round(seconds * 1e6 / self.interval_us))


def command_line(request: Request, json_file: Path) -> list[str]:
    """Return the command: no distance between threads, memory locked, values on stdout."""
    cpus = ",".join(map(str, request.cpus))
    return [
        "cyclictest", f"--affinity={cpus}", f"--threads={len(request.cpus)}", "--mlockall",
        f"--priority={request.priority}", "--policy=fifo", f"--interval={request.interval_us}",
        "--distance=0", f"--duration={request.duration_s}", f"--histogram={request.limit_us}",
        "--verbose", f"--json={json_file}",
        *([] if request.hold_awake else ["--default-system"]),
        *([] if request.other_cpu is None else [f"--mainaffinity={request.other_cpu}"]),
    ]  # fmt: skip


@dataclass
class ThreadStream:
    """What one thread has told so far: full blocks, the values (us) of the block that fills, and
    the counts of all of them."""

    block_cycles: int
    limit_us: int
    full: list[Histogram] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    bins: Counter[int] = field(default_factory=Counter)
    cycles: int = 0
    max_us: int = 0
    gap: bool = False

    def take(self, cycle: int, value_us: int) -> None:
        """Take the latency of a cycle; cycles count from 0."""
        if cycle != self.cycles:
            self.gap = True
        if len(self.values) >= self.block_cycles:
            self.full.append(from_values(self.values, limit_us=self.limit_us))
            self.values = []
        self.cycles += 1
        value_us = max(0, value_us)
        self.values.append(value_us)
        self.bins[min(value_us, self.limit_us)] += 1
        self.max_us = max(self.max_us, value_us)


class Stream:
    """Reads what cyclictest prints, piece by piece."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.threads = {index: self._thread() for index in range(len(request.cpus))}
        self._rest = b""

    def _thread(self) -> ThreadStream:
        return ThreadStream(self.request.block_cycles, self.request.limit_us)

    def feed(self, data: bytes) -> None:
        """Take bytes; lines that are no values (the header, the histogram) are passed over."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = _LINE.match(line)
            if found and int(found[1]) in self.threads:
                self.threads[int(found[1])].take(int(found[2]), int(found[3]))

    def bins(self) -> Counter[int]:
        """Return the latencies of all threads so far by microsecond; the limit holds the rest."""
        return sum((thread.bins for thread in self.threads.values()), Counter())

    @property
    def max_us(self) -> int:
        """The largest latency so far."""
        return max(thread.max_us for thread in self.threads.values())


@dataclass(frozen=True)
class Outcome:
    """One thread's latencies. Without ``blocks`` the stream could not be trusted."""

    histogram: Histogram
    blocks: tuple[Histogram, ...]


def outcome(stream: ThreadStream, final: Histogram, *, most_unread: int) -> Outcome:
    """Return the blocks, completed by what only the final histogram counts.

    Where the stream has gaps, or contradicts the final histogram, that one alone is returned.
    """
    limit = stream.limit_us
    missing = Counter(final.bins)
    missing.subtract({us: count for us, count in stream.bins.items() if us < limit})
    far = final.overflow - stream.bins[limit]
    unread = final.cycles - stream.cycles
    contradicts = min(missing.values(), default=0) < 0 or far < 0
    if stream.gap or not stream.cycles or contradicts or not 0 <= unread <= most_unread:
        return Outcome(final, ())
    rest: list[float] = [us for us, count in missing.items() for _ in range(count)]
    # Of what overflowed unread, only the largest of all may be known.
    rest += [final.max_us if final.max_us > stream.max_us else float(limit)] * min(far, 1)
    rest += [float(limit)] * max(0, far - 1)
    blocks = [*stream.full, from_values([*stream.values, *rest], limit_us=limit)]
    return Outcome(merged(blocks), tuple(blocks))


def run_cyclictest(
    request: Request,
    *,
    on_look: Callable[[Stream, float], None] = lambda _stream, _elapsed_s: None,
) -> dict[int, Outcome]:
    """Run it to its end; return CPU → latencies. ``on_look`` is called about 5 times a second.

    Raises MissingToolError, PreconditionError without the right to real-time priority or locked
    memory, and ToolFailedError.
    """
    require_tools(["cyclictest"], purpose="measuring wake-up latencies")
    stream = Stream(request)
    with tempfile.TemporaryDirectory(prefix="archibald-jitter-") as folder:
        json_file = Path(folder) / "cyclictest.json"
        argv = command_line(request, json_file)
        with (
            tempfile.TemporaryFile() as errors,
            spawn(argv, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            _follow(process, stream, argv, on_look)
            code = process.wait(timeout=_PATIENCE_S)
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
        if code != 0 or not json_file.exists():
            raise failure(argv, code, said, request)
        finals = parse_cyclictest(json_file.read_text("utf-8"), filename="cyclictest's output")
    return _outcomes(request, stream, finals, argv)


def _outcomes(
    request: Request, stream: Stream, finals: Mapping[int, Histogram], argv: Sequence[str]
) -> dict[int, Outcome]:
    if sorted(finals) != sorted(stream.threads):
        raise ToolFailedError(
            f"cyclictest told of {len(finals)} threads, not of {len(stream.threads)}",
            why=f"command: {shell_quoted(argv)}", next_step="run the command by hand",
        )  # fmt: skip
    unread = round(_UNREAD_S * 1e6 / request.interval_us)
    return {
        cpu: outcome(stream.threads[index], finals[index], most_unread=unread)
        for index, cpu in enumerate(request.cpus)
    }


def _follow(
    process: subprocess.Popen[bytes],
    stream: Stream,
    argv: Sequence[str],
    on_look: Callable[[Stream, float], None],
) -> None:
    pipe: IO[bytes] | None = process.stdout
    assert pipe is not None
    started = time.monotonic()
    shown = started
    deadline = started + stream.request.duration_s + _PATIENCE_S
    with pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now > deadline:
                raise ToolFailedError(
                    f"cyclictest did not end within {deadline - started:.0f} s",
                    why=f"command: {shell_quoted(argv)}", next_step="run the command by hand",
                )  # fmt: skip
            if now - shown >= 0.2:
                shown = now
                on_look(stream, now - started)
            if not selector.select(timeout=0.2):
                continue
            data = pipe.read1(65536)  # type: ignore[attr-defined]
            if not data:
                return
            stream.feed(data)


#: What cyclictest says → what is missing, and what helps.
_REFUSALS = (
    ("scheduling policy", "no right to real-time priority {priority}"),
    ("Operation not permitted", "no right to real-time priority {priority}"),
    ("mlockall", "no right to lock memory"),
)


def failure(
    argv: Sequence[str], code: int, said: str, request: Request
) -> PreconditionError | ToolFailedError:
    """Return the error for a cyclictest that failed: what is missing, where it says so."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("WARN")]
    for sign, text in _REFUSALS:
        if any(sign in line for line in lines):
            return PreconditionError(
                text.format(priority=request.priority),
                why=f"cyclictest: {' '.join(lines)[:300]}",
                next_step="join the group audio and log in again (archibald audit says what is "
                "missing), or run it with sudo",
            )
    state = f"signal {-code}" if code < 0 else f"exit status {code}"
    return ToolFailedError(
        f"cyclictest failed with {state}",
        why=f"{' '.join(lines)[:400] or '(it printed nothing)'}\n  command: {shell_quoted(argv)}",
        next_step="run the command by hand",
    )
