"""What a jitter run says about quanta: P(xrun in 10 min) for each, or why it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archibald.measure.records import JitterData, JitterSeries
from archibald.measure.tail import Prediction, Tail, TailError, fit_tail, predict

QUANTA = (16, 32, 64, 128, 256, 512, 1024)

#: Shares of the cycle that DSP takes, from a light session to a full one.
LOADS = (0.3, 0.5, 0.7)

#: Rates in Hz that are one.
RATES = range(8000, 768001)


@dataclass(frozen=True)
class Forecast:
    """The predictions of a series, or the reason why there are none."""

    series: JitterSeries
    tail: Tail | None
    refusal: str
    predictions: tuple[Prediction, ...]
    rate: int | None = None

    def at(self, quantum: int, dsp_load: float) -> Prediction | None:
        """Return the prediction for a quantum and a DSP load."""
        return next(
            (p for p in self.predictions if p.quantum == quantum and p.dsp_load == dsp_load), None
        )


def worst_series(data: JitterData) -> JitterSeries:
    """Return the series to predict from: loaded before idle, then the largest latency."""
    return max(data.series, key=lambda s: (bool(s.load), s.histogram.max_us))


def forecast(
    series: JitterSeries, *, rate: int, quanta: Sequence[int] = QUANTA,
    loads: Sequence[float] = LOADS, reserve_us: float = 0.0,
) -> Forecast:  # fmt: skip
    """Return what a series predicts."""
    try:
        tail = fit_tail(series)
    except TailError as error:
        return Forecast(series, None, f"{error.what}: {error.why}", (), rate)
    found = tuple(
        predict(tail, quantum=quantum, rate=rate, dsp_load=load, reserve_us=reserve_us)
        for quantum in quanta
        for load in loads
    )
    return Forecast(series, tail, "", found, rate)


def forecast_at_setting(series: JitterSeries, rate: object) -> Forecast:
    """Return what a series predicts at the rate that its run says (Hz).

    Deadlines are Q / R, so without a rate there are none: it is refused, never assumed.
    """
    if isinstance(rate, int) and not isinstance(rate, bool) and rate in RATES:
        return forecast(series, rate=rate)
    said = "the run does not say its rate" if rate is None else f"{rate!r} is no rate in Hz"
    reason = f"{said}, and a deadline is Q / R; archibald advise takes one: --rate HZ"
    return Forecast(series, None, reason, ())


def assumptions(found: Forecast) -> str:
    """Return what the intervals rest on."""
    tail = found.tail
    if tail is None:
        return ""
    blocks = (
        f"{tail.blocks} blocks of {found.series.block_s:g} s, which vary {tail.inflation:.1f} "
        "times as much as independent cycles"
        if tail.blocks >= 10
        else "one histogram, so the interval assumes independent cycles"
    )
    hidden = (
        " Idle states were hidden while measuring: without the session's hold on "
        "/dev/cpu_dma_latency it is worse."
        if found.series.idle_states_hidden
        else ""
    )
    return (
        f"Tail over {tail.threshold_us} us, {tail.excesses} of {tail.histogram.cycles} cycles, "
        f"shape {tail.fit.xi:.2f}; {blocks}. Deadlines beyond "
        f"the largest latency seen, {tail.histogram.max_us:g} us, are extrapolated. Every late "
        f"cycle counts as an xrun.{hidden}"
    )


def percent(prediction: Prediction) -> str:
    """Return P and its interval for people; never 0, and never more certain than it is."""
    value = _percent(prediction.value)
    if prediction.bounded:
        return value if value.startswith("<") else f"< {value}"
    return f"{value}{_interval(prediction)}"


def _interval(prediction: Prediction) -> str:
    low, high = _percent(prediction.low), _percent(prediction.high)
    return "" if low == high == _percent(prediction.value) else f" ({low} to {high})"


def _percent(share: float) -> str:
    if share < 1e-6:
        return "<0.0001 %"
    if share > 0.9995:
        return ">99.9 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
