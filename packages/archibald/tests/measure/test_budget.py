"""The latency budget: sums, and what is said of 0.67 ms."""

from __future__ import annotations

import pytest

from archibald.measure.budget import (
    INTERFACES,
    Interface,
    capture_packets,
    interface_of,
    latency_budget,
)


def test_nominal_buffering_is_two_periods() -> None:
    found = latency_budget(32, 96000, "usb-high-speed")
    assert found.nominal_ms == pytest.approx(2 / 3)
    assert found.low_ms > found.nominal_ms
    assert found.statement.startswith("0.67 ms is nominal buffering")
    assert "not the round trip of a device" in found.statement


def test_it_says_why_0_67_ms_is_no_round_trip() -> None:
    found = latency_budget(32, 96000, "usb-high-speed")
    for words in ("two periods of 32 frames at 96000 Hz", "interrupt scheduling", "headroom",
                  f"{found.low_ms:.2f} to {found.high_ms:.2f} ms", "measure latency"):  # fmt: skip
        assert words in found.statement


@pytest.mark.parametrize(
    ("quantum", "rate", "packets"),
    [(32, 96000, 2), (16, 96000, 1), (64, 96000, 4), (128, 96000, 8), (1024, 96000, 8),
     (32, 48000, 2), (64, 48000, 4), (256, 48000, 8), (8, 44100, 1)],
)  # fmt: skip
def test_a_transfer_of_capture_is_shorter_than_a_period(quantum, rate, packets) -> None:
    assert capture_packets(quantum, rate) == packets
    assert packets == 1 or packets * 125e-6 < quantum / rate


def test_ranges_are_those_of_their_sources() -> None:
    """Microframes of 125 us, frames of a rate: what the sources say, in milliseconds."""
    usb = {stage.name: stage for stage in latency_budget(32, 96000, "usb-high-speed").stages}
    assert (usb["USB in"].low_ms, usb["USB in"].high_ms) == (0.125, 0.375)
    assert (usb["USB out"].low_ms, usb["USB out"].high_ms) == (0.125, 1.0)
    assert usb["DAC filter"].high_ms == pytest.approx(55 / 96)
    assert usb["ADC filter"].low_ms == pytest.approx(5 / 96)
    cards: tuple[tuple[Interface, tuple[float, float]], ...] = (
        ("pcie", (1 / 96, 16 / 96)), ("built-in", (15 / 96, 30 / 96)),
    )  # fmt: skip
    for interface, bounds in cards:
        stages = {stage.name: stage for stage in latency_budget(32, 96000, interface).stages}
        fifo = stages["device FIFO in"]
        assert (fifo.low_ms, fifo.high_ms) == pytest.approx(bounds)


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("scheduling", ["irq", "timer"])
def test_every_stage_has_formula_source_and_order(interface, scheduling) -> None:
    found = latency_budget(64, 48000, interface, scheduling=scheduling)
    for stage in found.stages:
        assert stage.formula
        assert len(stage.source) > 10
        assert 0 <= stage.low_ms <= stage.high_ms
    assert found.low_ms == pytest.approx(sum(stage.low_ms for stage in found.stages))


def test_timer_scheduling_adds_a_quantum_on_each_side() -> None:
    """32 + 32 frames of headroom at 96 kHz make 1.333 ms of buffering out of 0.667."""
    irq = latency_budget(32, 96000, "usb-high-speed")
    timer = latency_budget(32, 96000, "usb-high-speed", scheduling="timer")
    assert timer.low_ms - irq.low_ms == pytest.approx(2 / 3)
    given = latency_budget(32, 96000, "usb-high-speed", scheduling="timer", headroom_frames=0)
    assert given.low_ms == pytest.approx(irq.low_ms)


@pytest.mark.parametrize("quantum", [16, 32, 64, 256])
def test_a_software_loop_is_one_period(quantum: int) -> None:
    found = latency_budget(quantum, 96000, "software")
    assert found.low_ms == found.high_ms == pytest.approx(1000 * quantum / 96000)
    edges = latency_budget(quantum, 96000, "software", async_edges=2)
    assert edges.low_ms == pytest.approx(3 * found.low_ms)


@pytest.mark.parametrize(
    ("bus", "name", "interface"),
    [
        ("usb", "Scarlett", "usb-high-speed"),
        ("pci", "RME HDSPe", "pcie"),
        ("pci", "HDA Intel PCH", "built-in"),
        ("platform", "SoC", "built-in"),
        ("virtual", "Loopback", "software"),
    ],
)
def test_detected_cards(bus: str, name: str, interface: str) -> None:
    assert interface_of(bus, name) == interface
