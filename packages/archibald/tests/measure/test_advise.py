"""Advice: what the runs say, and nothing where they say nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from packages.archibald.tests.measure.samples import jitter_data, jitter_series, recorded, run_of

from archibald.measure.advise import Recommendation, advise, audio_cpu
from archibald.measure.advise_chart import trade_off_svg
from archibald.measure.document import Run
from archibald.measure.histogram import Histogram
from archibald.measure.records import (
    LatencyData,
    LatencyPoint,
    XrunData,
    XrunEvent,
    XrunNode,
)
from archibald.profile.model import Profile
from archibald.tune.hardware import Card, Cpu, Machine


def calm(seed: int = 1, *, cpu: int = 1, scale: float = 4.0) -> Run:
    """A run with an exponential tail over 10 us."""
    source = random.Random(seed)
    blocks = []
    for _ in range(60):
        values = [10 + source.expovariate(1 / scale) for _ in range(40)]
        bins = Counter([*(int(value) for value in values), *([5] * 2000)])
        blocks.append(
            Histogram(bins=dict(sorted(bins.items())), limit_us=400, max_us=max(values), mean_us=5)
        )
    series = jitter_series(blocks=blocks, name="load", load="hackbench", cpu=cpu)
    return run_of(jitter_data(series), duration_s=600)


def machine(*cpus: Cpu, card: Card | None = None) -> Machine:
    return Machine(
        cpus=cpus, smt=False, hybrid=False, virtualization="", container="", memory_mib=4096,
        kernel="6.12", kernel_version="#1", cmdline="", distribution="debian", boot_loader="grub",
        cards=(card,) if card else (), card=card,
    )  # fmt: skip


FOUR = machine(*(Cpu(n, frozenset({n})) for n in range(4)))


def of(found: Recommendation, subject: str):
    return next(one for one in found.advice if one.subject == subject)


def test_without_runs_only_the_machine_speaks() -> None:
    found = advise([], Profile(), FOUR)
    assert of(found, "quantum").value is None
    assert of(found, "headroom").value is None
    assert of(found, "audio CPU").value == [3]
    assert {choice.risk for choice in found.choices} == {"not measured"}


def test_a_calm_machine_may_have_a_small_quantum() -> None:
    found = advise([calm()], Profile(), FOUR)
    assert of(found, "quantum").value in (16, 32)
    assert not found.warnings
    assert trade_off_svg(found).startswith("<svg")


def test_more_load_and_longer_tails_never_make_it_smaller() -> None:
    values = [
        of(advise([calm(scale=scale)], Profile(), None, dsp_load=load), "quantum").value
        for scale, load in ((4, 0.3), (4, 0.8), (12, 0.8))
    ]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_a_tail_that_cannot_be_predicted_gives_only_what_was_seen() -> None:
    found = advise([run_of(jitter_data())], Profile(), FOUR)
    assert found.forecast is not None
    assert found.forecast.refusal
    assert of(found, "quantum").value is None
    assert {choice.risk for choice in found.choices} == {"no prediction"}
    assert any("under 5 minutes" in text for text in found.warnings)


def test_xruns_that_happened_overrule_the_prediction() -> None:
    quantum = of(advise([calm()], Profile(), None), "quantum").value
    node = XrunNode(name="synth", events=(XrunEvent(at_s=1, missed=1),))
    seen = run_of(
        XrunData(server="jackd", quantum=quantum, rate=96000, dsp_load=0.4, observed_s=600,
                 resolution_s=0, nodes=(node,))
    )  # fmt: skip
    assert of(advise([calm(), seen], Profile(), None), "quantum").value > quantum


@pytest.mark.parametrize(("slope", "value"), [(2, 0), (4, None)])
def test_headroom_follows_the_round_trips(slope: int, value: int | None) -> None:
    points = tuple(
        LatencyPoint(quantum=q, rate=96000, rtts_frames=(slope * q + 60.0,) * 6)
        for q in (32, 64, 128)
    )
    run = run_of(LatencyData(path="cable", method="jack_iodelay", points=points))
    found = advise([run], Profile(), None)
    assert of(found, "headroom").value == value
    assert found.choices[1].round_trip_ms == pytest.approx((slope * 32 + 60) / 96)


def test_the_calmest_measured_cpu_gets_the_data_loop() -> None:
    runs = [calm(1, cpu=2, scale=4), calm(2, cpu=3, scale=12)]
    assert audio_cpu(FOUR, runs)[0] == 2
    assert audio_cpu(FOUR, runs[1:])[0] == 3


def test_slow_cores_and_siblings_of_cpu_0_are_avoided() -> None:
    pair = frozenset({0, 3})
    cpus = (Cpu(0, pair), Cpu(1, frozenset({1})), Cpu(2, frozenset({2}), True), Cpu(3, pair))
    assert audio_cpu(machine(*cpus), [])[0] == 1
    assert audio_cpu(machine(Cpu(0, frozenset({0}))), [])[0] is None


def test_interrupts_follow_the_cpu() -> None:
    card = Card(0, "USB", "Scarlett", "usb", "/d", "/c", (131,), plays=True, display=False)
    found = advise([], Profile(), machine(*FOUR.cpus, card=card))
    assert "IRQ 131 of USB to CPU 3" in of(found, "interrupts").text


def test_limits_move_with_the_quantum() -> None:
    found = advise([calm(scale=40)], Profile(), None, dsp_load=0.7)
    quantum = of(found, "quantum").value
    assert quantum > 64
    assert found.changes(Profile()) == {"audio.quantum": quantum, "audio.max_quantum": quantum}


def test_runs_of_several_machines_are_named() -> None:
    run = run_of(jitter_data(jitter_series(recorded())))
    other = run.model_copy(
        update={"machine": run.machine.model_copy(update={"fingerprint": "f" * 16})}
    )
    warnings = advise([run, other], Profile(), None).warnings
    assert "the runs are of different machines" in warnings
    assert any("no run under load" in text for text in warnings)
