"""Histograms of latencies: bins of 1 us, what lies beyond the last bin, and cyclictest's own file.

Bin ``k`` counts latencies in [k, k + 1) us. Bins that counted nothing are left out. What is at or
beyond ``limit_us`` is only counted (``overflow``), so nothing else is known of it than that, and
the largest value of all.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archibald.errors import UsageError

Count = Annotated[int, Field(ge=0)]

#: A latency beyond an hour, or a bin there, is no measurement.
MAX_US = 3_600_000_000


class HistogramError(UsageError):
    """A histogram cannot be understood, or is not what it says."""


class QuantileError(UsageError):
    """The sample is too small for the quantile, or the quantile lies beyond the last bin."""


class Histogram(BaseModel):
    """Counts per microsecond; ``max_us`` is the largest value, whether or not it has a bin."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bins: dict[Annotated[int, Field(ge=0, le=MAX_US)], Annotated[int, Field(ge=1)]] = Field(
        description="Microseconds → how many latencies were in [us, us + 1); no empty bins."
    )
    overflow: Count = Field(0, description="How many were at or beyond limit_us.")
    limit_us: Annotated[int, Field(ge=1, le=MAX_US)] = Field(
        description="Latencies from here on are only counted."
    )
    max_us: Annotated[float, Field(ge=0, le=MAX_US)] = Field(description="The largest latency.")
    mean_us: Annotated[float, Field(ge=0, le=MAX_US)] = Field(description="Mean of all latencies.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.bins and max(self.bins) >= self.limit_us:
            raise ValueError(f"bin {max(self.bins)} lies beyond limit_us {self.limit_us}")
        if self.overflow and self.max_us < self.limit_us:
            raise ValueError(f"{self.overflow} overflowed, but max_us is below limit_us")
        if self.bins and not self.overflow and not 0 <= self.max_us - max(self.bins) <= 1:
            raise ValueError(f"max_us is {self.max_us}, but the last bin is {max(self.bins)}")
        return self

    @property
    def cycles(self) -> int:
        """How many latencies were measured."""
        return sum(self.bins.values()) + self.overflow

    def above(self, us: float) -> int:
        """How many latencies surely were at or above ``us`` (rounded up to a bin)."""
        edge = math.ceil(us)
        return sum(count for bin_us, count in self.bins.items() if bin_us >= edge) + (
            self.overflow if edge <= self.limit_us else 0
        )

    def quantile(self, q: float) -> int:
        """Return the bin of the q-quantile: the smallest bin with at least q of all at or below.

        Raises :class:`QuantileError` when fewer than ten latencies lie beyond it, or when it lies
        in the overflow: such a figure would be one of luck.
        """
        if not 0 < q < 1:
            raise ValueError(f"a quantile lies between 0 and 1: {q}")
        needed = math.ceil(round(10 / (1 - q), 6))
        if self.cycles < needed:
            raise QuantileError(
                f"{self.cycles} cycles are too few for p{100 * q:g}",
                why=f"ten latencies beyond it take {needed} cycles",
                next_step="measure longer",
            )
        rank, seen = math.ceil(round(q * self.cycles, 6)), 0
        for bin_us in sorted(self.bins):
            seen += self.bins[bin_us]
            if seen >= rank:
                return bin_us
        raise QuantileError(
            f"p{100 * q:g} lies beyond the last bin",
            why=f"{self.overflow} of {self.cycles} latencies were {self.limit_us} us or more",
            next_step="measure with a larger histogram limit",
        )

    def quantile_or_none(self, q: float) -> int | None:
        """Return :meth:`quantile`, or None when the sample cannot give it."""
        try:
            return self.quantile(q)
        except QuantileError:
            return None


def from_values(values_us: Iterable[float], *, limit_us: int) -> Histogram:
    """Return the histogram of latencies. Raises :class:`HistogramError` when there are none."""
    values = list(values_us)
    if not values:
        raise HistogramError("a histogram of nothing", why="no latency was measured")
    bins = Counter(int(value) for value in values if value < limit_us)
    return Histogram(
        bins=dict(sorted(bins.items())),
        overflow=len(values) - bins.total(),
        limit_us=limit_us,
        max_us=max(values),
        mean_us=math.fsum(values) / len(values),
    )


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of histograms, as if they had been measured in one go.

    With different limits, what one of them binned beyond the smallest limit is overflow, too.
    Raises :class:`HistogramError` when there are none.
    """
    parts = list(histograms)
    if not parts:
        raise HistogramError("a histogram of nothing", why="no latency was measured")
    limit = min(part.limit_us for part in parts)
    bins: Counter[int] = Counter()
    for part in parts:
        bins.update(part.bins)
    kept = {us: count for us, count in sorted(bins.items()) if us < limit}
    cycles = sum(part.cycles for part in parts)
    total = math.fsum(part.mean_us * part.cycles for part in parts)
    return Histogram(
        bins=kept,
        overflow=cycles - sum(kept.values()),
        limit_us=limit,
        max_us=max(part.max_us for part in parts),
        mean_us=total / cycles if cycles else 0.0,
    )


def parse_cyclictest(text: str, *, filename: str) -> dict[int, Histogram]:
    """Return thread number → histogram of the file that ``cyclictest --json`` writes.

    Its keys are odd (``"cmdline:"``), and it names no overflow: that is the cycles that no bin
    counts. Raises :class:`HistogramError`.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HistogramError(f"{filename} is no JSON", why=str(error)) from None
    if not is_cyclictest(data):
        raise HistogramError(
            f"{filename} is not a file of cyclictest",
            next_step="make one: cyclictest -q -h 400 -D 20 --json=FILE",
        )
    limit = _limit(str(data.get("cmdline:", "")))
    found = {}
    for name, thread in data["thread"].items():
        try:
            found[int(name)] = _thread(thread, limit)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise HistogramError(
                f"{filename}: thread {str(name)[:20]!r} cannot be understood", why=_one_line(error)
            ) from None
    return found


def is_cyclictest(data: Any) -> bool:
    """Tell a file of cyclictest from others."""
    return (
        isinstance(data, Mapping)
        and "rt_test_version:" in data
        and "cyclictest" in str(data.get("cmdline:", ""))
        and isinstance(data.get("thread"), Mapping)
        and bool(data["thread"])
    )


def _limit(cmdline: str) -> int | None:
    """Return what ``-h``, ``-H``, ``--histogram`` or ``--histofall`` say."""
    try:
        words = shlex.split(cmdline)
    except ValueError:
        words = cmdline.split()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        joined = re.fullmatch(r"(?:-[hH]|--histogram=|--histofall=)(\d+)", word)
        if joined:
            return int(joined[1])
        if word in ("-h", "-H", "--histogram", "--histofall") and following.isdigit():
            return int(following)
    return None


def _thread(thread: Mapping[str, Any], limit: int | None) -> Histogram:
    bins = {int(us): int(count) for us, count in thread["histogram"].items() if int(count)}
    cycles = int(thread["cycles"])
    if not cycles:
        raise ValueError("it ran no cycle")
    overflow = cycles - sum(bins.values())
    if overflow < 0:
        raise ValueError(f"its histogram counts {-overflow} more than its {cycles} cycles")
    return Histogram(
        bins=dict(sorted(bins.items())),
        overflow=overflow,
        # Without the option nothing is known of what overflowed but that no bin counts it.
        limit_us=limit or max(bins, default=0) + 1,
        max_us=float(thread["max"]),
        mean_us=float(thread["avg"]),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
