"""Which quantum, rate, headroom, CPUs and interrupts: from measured runs and the machine itself.

Every recommendation has its reason. Without a jitter run there is none for the quantum; with one
whose tail cannot be predicted, only what was counted speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from archibald.measure.document import Run
from archibald.measure.forecast import QUANTA, Forecast, forecast, percent, worst_series
from archibald.measure.latency_fit import FitError, fit_points
from archibald.measure.records import JitterData, JitterSeries, LatencyData, XrunData
from archibald.measure.tail import budget_us
from archibald.measure.xrunstats import summarize
from archibald.profile.model import Profile
from archibald.tune.hardware import Machine

#: A session of ten minutes should fail less often than this.
TARGET = 0.05

#: Without a prediction the deadline should be this far beyond everything that was seen.
_SAFETY = 1.5


@dataclass(frozen=True)
class Advice:
    """One recommendation. ``key`` is the profile's option, empty where there is none;
    ``value`` is None when the runs do not say."""

    subject: str
    key: str
    value: Any
    text: str
    reason: str


@dataclass(frozen=True)
class Choice:
    """A row of the trade-off: what a quantum costs, and what it risks."""

    quantum: int
    rate: int
    buffering_ms: float
    round_trip_ms: float | None
    budget_us: float
    risk: str
    risk_high: float | None
    allowed: bool
    observed: str


@dataclass(frozen=True)
class Recommendation:
    """All advice, and the table it rests on."""

    advice: tuple[Advice, ...]
    choices: tuple[Choice, ...]
    forecast: Forecast | None
    dsp_load: float
    target: float
    warnings: tuple[str, ...]

    def changes(self, profile: Profile) -> dict[str, Any]:
        """Return the options that differ from the profile, with limits moved where needed."""
        values = {one.key: one.value for one in self.advice if one.key and one.value is not None}
        quantum = values.get("audio.quantum")
        if quantum is not None and quantum > profile.audio.max_quantum:
            values["audio.max_quantum"] = quantum
        if quantum is not None and quantum < profile.audio.min_quantum:
            values["audio.min_quantum"] = quantum
        flat = {key: getattr(getattr(profile, key.split(".")[0]), key.split(".")[1])
                for key in values}  # fmt: skip
        return {key: value for key, value in values.items() if flat[key] != value}


def advise(
    runs: Sequence[Run], profile: Profile, machine: Machine | None, *, dsp_load: float = 0.5,
    target: float = TARGET, rate: int | None = None,
) -> Recommendation:  # fmt: skip
    """Return the recommendation for a DSP load (share of the cycle) and a tolerated risk."""
    used = rate or profile.audio.rate
    series = _jitter(runs)
    found = (
        forecast(series, rate=used, quanta=QUANTA, loads=(dsp_load,))
        if series is not None
        else None
    )
    choices = tuple(_choice(q, used, found, runs, dsp_load, target) for q in QUANTA)
    return Recommendation(
        advice=(
            _quantum(choices, found, dsp_load, target),
            _rate(choices, used),
            _headroom(runs),
            *_machine(machine, runs),
        ),
        choices=choices,
        forecast=found,
        dsp_load=dsp_load,
        target=target,
        warnings=tuple(_warnings(runs)),
    )


def _jitter(runs: Sequence[Run]) -> JitterSeries | None:
    found = [worst_series(run.data) for run in runs if isinstance(run.data, JitterData)]
    return max(found, key=lambda s: (bool(s.load), s.histogram.max_us), default=None)


def _choice(
    quantum: int, rate: int, found: Forecast | None, runs: Sequence[Run], dsp_load: float,
    target: float,
) -> Choice:  # fmt: skip
    budget = budget_us(quantum, rate, dsp_load)
    risk, high, allowed = "not measured", None, False
    if found is not None:
        predicted = found.at(quantum, dsp_load)
        if predicted is not None:
            risk, high = percent(predicted), predicted.high
            allowed = predicted.high <= target
        else:
            top = found.series.histogram.max_us
            allowed = budget > _SAFETY * top
            risk = "no prediction"
    observed, bad = _observed(quantum, rate, dsp_load, runs)
    line = _constant(runs)
    whole = None if line is None else line[0] * 1000 * quantum / rate + line[1]
    return Choice(
        quantum=quantum,
        rate=rate,
        buffering_ms=2000 * quantum / rate,
        round_trip_ms=whole,
        budget_us=budget,
        risk=risk,
        risk_high=high,
        allowed=allowed and not bad,
        observed=observed,
    )  # fmt: skip


def _observed(quantum: int, rate: int, dsp_load: float, runs: Sequence[Run]) -> tuple[str, bool]:
    """Return what sessions at this quantum showed, at this load or a lower one."""
    for run in runs:
        data = run.data
        if not isinstance(data, XrunData) or (data.quantum, data.rate) != (quantum, rate):
            continue
        rates = [
            summarize(node.events, data.observed_s, resolution_s=data.resolution_s).rate
            for node in data.nodes
        ]
        if not rates:
            continue
        worst = max(rates, key=lambda one: one.count)
        text = f"{worst.count} in {data.observed_s / 60:.1f} min at {100 * data.dsp_load:.0f} %"
        return text, worst.count > 0 and data.dsp_load <= dsp_load
    return "", False


def _constant(runs: Sequence[Run]) -> tuple[float, float] | None:
    """Return (periods, constant in ms) of the last cable measurement."""
    for run in reversed(runs):
        if isinstance(run.data, LatencyData) and run.data.path == "cable":
            try:
                fit = fit_points(run.data.points, path=run.data.path)
            except FitError:
                continue
            return (fit.periods if fit.exact else fit.slope), fit.constant_ms
    return None


def _quantum(
    choices: Sequence[Choice], found: Forecast | None, dsp_load: float, target: float
) -> Advice:
    if found is None:
        text = "no advice: archibald measure jitter has not been run"
        return Advice("quantum", "audio.quantum", None, text, "no run of jitter was named")
    best = next((one for n, one in enumerate(choices) if all(c.allowed for c in choices[n:])), None)
    if best is None:
        text = "no advice: none up to 1024 frames is safe enough"
        reason = found.refusal or f"each may fail more often than {100 * target:g} % of sessions"
        return Advice("quantum", "audio.quantum", None, text, reason)
    if found.refusal:
        reason = (
            f"no prediction ({found.refusal}); its deadline of {best.budget_us:.0f} us is "
            f"{_SAFETY} times the largest latency seen, {found.series.histogram.max_us:g} us"
        )
    else:
        reason = (
            f"smallest whose P(xrun in 10 min) at {100 * dsp_load:.0f} % DSP load stays under "
            f"{100 * target:g} % with 95 % confidence: {best.risk}"
        )
    return Advice("quantum", "audio.quantum", best.quantum, f"{best.quantum} frames", reason)


def _rate(choices: Sequence[Choice], rate: int) -> Advice:
    period = next((c.quantum for c in choices if c.allowed), None)
    reason = (
        "a cycle's deadline is Q / R: at half the rate half the frames give the same latency and "
        "the same risk for half the DSP work"
    )
    if period is not None and period > 64 and rate > 48000:
        reason += f"; {period // 2} frames at 48000 Hz cost as much latency as {period} here"
    return Advice("rate", "audio.rate", rate, f"{rate} Hz", reason)


def _headroom(runs: Sequence[Run]) -> Advice:
    for run in reversed(runs):
        if not isinstance(run.data, LatencyData) or run.data.path != "cable":
            continue
        try:
            fit = fit_points(run.data.points, path="cable")
        except FitError as error:
            return Advice("headroom", "", None, "no advice", f"{error.what}: {error.why}")
        if fit.exact and fit.periods == 2:
            return Advice("headroom", "", 0, "0 frames", f"round trips show {fit.meaning}")
        text = "use the Pro Audio profile of the card, then headroom 0"
        return Advice("headroom", "", None, text, f"round trips show {fit.meaning}")
    text = "no advice: archibald measure latency has not been run over a cable"
    return Advice("headroom", "", None, text, "only a round trip shows what the device adds")


def _machine(machine: Machine | None, runs: Sequence[Run]) -> Iterator[Advice]:
    if machine is None or not machine.cpus:
        return
    cpu, reason = audio_cpu(machine, runs)
    if cpu is None:
        yield Advice("audio CPU", "cpu.audio", None, "leave the choice to the scheduler", reason)
        return
    yield Advice("audio CPU", "cpu.audio", [cpu], f"CPU {cpu}", reason)
    card = machine.card
    if card and card.irqs:
        numbers = ", ".join(map(str, card.irqs))
        yield Advice(
            "interrupts", "", cpu, f"IRQ {numbers} of {card.id} to CPU {cpu}, all others off it",
            "the card's interrupt wakes the data loop: on one CPU no other has to be woken; "
            "archibald session does it",
        )  # fmt: skip
    else:
        why = "no sound card" if card is None else f"{card.id} has no interrupt of its own"
        yield Advice("interrupts", "", None, "nothing to assign", why)


def audio_cpu(machine: Machine, runs: Sequence[Run]) -> tuple[int | None, str]:
    """Return the CPU for the data loop: the calmest measured, else a fast core apart from CPU 0."""
    numbers = {cpu.number for cpu in machine.cpus}
    if len(numbers) < 2:
        return None, "there is one CPU"
    worst: dict[int, float] = {}
    for run in runs:
        if isinstance(run.data, JitterData):
            for series in run.data.series:
                if series.cpu in numbers:
                    top = max(worst.get(series.cpu, 0.0), series.histogram.max_us)
                    worst[series.cpu] = top
    fast = {cpu.number for cpu in machine.cpus if not cpu.efficiency}
    measured = {cpu: top for cpu, top in worst.items() if cpu in fast}
    if len(measured) > 1:
        best = min(measured, key=lambda cpu: (measured[cpu], -cpu))
        listed = ", ".join(f"CPU {cpu}: {top:g}" for cpu, top in sorted(measured.items()))
        return best, f"the smallest largest latency (us: {listed})"
    zero = machine.cpu(0)
    beside = zero.siblings if zero else frozenset({0})
    apart = sorted(fast - beside) or sorted(fast - {0}) or sorted(numbers - {0})
    return apart[-1], "a fast core apart from CPU 0, where most interrupts arrive; not measured"


def _warnings(runs: Sequence[Run]) -> Iterator[str]:
    if len({run.machine.fingerprint for run in runs}) > 1:
        yield "the runs are of different machines"
    if len({run.kernel.release + run.kernel.version for run in runs}) > 1:
        yield "the runs are of different kernels"
    jitter = [run for run in runs if isinstance(run.data, JitterData)]
    if jitter and not any(s.load for run in jitter for s in run.data.series):  # type: ignore[union-attr]
        yield "no run under load: an idle machine says little about a session"
    short = [run for run in jitter if run.duration_s < 300]
    if short:
        yield f"{len(short)} jitter run(s) under 5 minutes: rare latencies may be missing"
