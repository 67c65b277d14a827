"""The latency budget: sums, and what is said of 0.67 ms."""

from __future__ import annotations

import pytest

from archibald.measure.budget import INTERFACES, interface_of, latency_budget


def test_nominal_buffering_is_two_periods() -> None:
    found = latency_budget(32, 96000, "usb-high-speed")
    assert found.nominal_ms == pytest.approx(2 / 3)
    assert found.low_ms > found.nominal_ms
    assert found.statement.startswith("0.67 ms is nominal buffering")
    assert "not the round trip of a device" in found.statement


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
