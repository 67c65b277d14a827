"""Recorded machines: answers and plans against texts that were reviewed by hand.

After a wanted change: ``ARCHIBALD_GOLDEN=write pytest packages/archibald/tests/tune``, then read
the difference.
"""

from __future__ import annotations

import os
from difflib import unified_diff
from pathlib import Path

import pytest

from archibald.cli.plan import plan_lines
from archibald.profile.model import Profile
from archibald.system.modules.realtime import CpuMismatchError
from archibald.tune.audit import audit, make_scene
from archibald.tune.hardware import Card, NoSuchCardError, choose_card
from archibald.tune.knobs import all_pages
from archibald.tune.observe import recorded_sight
from archibald.tune.plan import make_plan
from archibald.tune.targets import Targets
from archibald.vm.selftest.model import Answer

from .conftest import MACHINES, NAMES


def _golden(root: Path) -> str:
    scene = make_scene(recorded_sight(root), Profile(), adapt=True)
    lines = [f"{f.answer.value:<14} {f.check}: {f.observed}" for f in audit(scene).findings]
    for persist in (False, True):
        plan = make_plan(scene, Targets(scene.sight), persist=persist)
        lines += ["", "# plan --persist" if persist else "# plan", *plan_lines(plan)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_answers_and_plans_are_the_reviewed_ones(machine, name):
    path = MACHINES / f"{name}.golden"
    found = _golden(machine(name))
    if os.environ.get("ARCHIBALD_GOLDEN") == "write":
        path.write_text(found)
    wanted = path.read_text("utf-8")
    assert found == wanted, "\n".join(
        unified_diff(wanted.splitlines(), found.splitlines(), "reviewed", "found", lineterm="")
    )


def test_there_are_machines():
    assert len(NAMES) >= 6


def test_every_answer_occurs_for_what_can_have_it():
    """A check that is never bad on any machine, or never ok, has not been shown to work."""
    seen: dict[str, set[str]] = {}
    for name in NAMES:
        for line in (MACHINES / f"{name}.golden").read_text("utf-8").split("\n\n")[0].splitlines():
            answer, check = line.split()[:2]
            seen.setdefault(check.rstrip(":"), set()).add(answer)
    checks = {page.id for _, page in all_pages()}
    assert set(seen) == checks
    # Shown by tests of their own, in test_knobs.py, as are those that are never ok here.
    elsewhere = {
        "kernel.tickless", "cpu.smt", "cpu.audio-core", "pipewire.driver", "pipewire.profile",
        "services.disturbing", "sysctl.kernel.numa_balancing",
    }  # fmt: skip
    never_bad = {check for check in checks if "bad" not in seen[check]} - elsewhere
    never_ok = {check for check in checks if "ok" not in seen[check]} - elsewhere
    assert (never_bad, never_ok) == (set(), {
        "cpu.energy-preference", "memory.huge-pages", "memory.swap", "sound.module-parameters",
    })  # fmt: skip


def test_hardware_of_a_desktop(scene):
    found = scene("desktop-usb").machine
    assert (len(found.cpus), found.smt, found.hybrid, found.virtualization) == (12, True, False, "")
    assert found.card is not None
    assert (found.card.id, found.card.bus, found.card.irqs) == ("USB", "usb", (131,))
    assert found.card.device.endswith("/usb1/1-3/1-3.2")
    assert [card.display for card in found.cards] == [False, True, False]
    assert found.boot_loader == "grub"


def test_hardware_of_a_hybrid_laptop(scene):
    found = scene("laptop-hybrid").machine
    assert found.hybrid
    assert [cpu.number for cpu in found.cpus if cpu.efficiency] == list(range(4, 12))
    assert found.card is not None
    assert (found.card.bus, found.card.irqs, found.card.display) == ("pci", (16,), False)


def test_a_usb_card_behind_a_bridge_has_the_interrupt_of_its_controller(scene):
    card = scene("raspberry-pi").machine.card
    assert (card.id, card.irqs) == ("UMC22", (34,))
    assert card.controller.endswith("0000:01:00.0")


def test_the_card_that_is_asked_for(scene):
    assert scene("desktop-usb", card="PCH").machine.card.irqs == (129,)
    assert scene("desktop-usb", card="0").machine.card.id == "PCH"
    with pytest.raises(NoSuchCardError, match="no sound card '7'") as caught:
        scene("desktop-usb", card="7")
    assert "2 USB" in caught.value.why


def test_of_five_cards_the_interface_is_chosen():
    def card(number, name, bus, *, plays=True, display=False):
        return Card(number, name, name, bus, "", "", (), plays, display)

    five = [
        card(0, "HDMI", "pci", display=True), card(1, "PCH", "pci"),
        card(2, "Keys", "usb", plays=False), card(3, "Scarlett", "usb"), card(4, "Fireface", "usb"),
    ]  # fmt: skip
    assert str(choose_card(five)) == "Scarlett (usb)"
    assert str(choose_card(five, "Fireface")) == "Fireface (usb)"
    assert str(choose_card(five, "2")) == "Keys (usb)"
    assert str(choose_card(five[:3])) == "PCH (pci)"
    assert str(choose_card([five[0], five[2]])) == "HDMI (pci)"
    with pytest.raises(NoSuchCardError) as caught:
        choose_card(five, "USB")
    assert caught.value.why == "this machine has: 0 HDMI, 1 PCH, 2 Keys, 3 Scarlett, 4 Fireface"


def test_no_card_is_chosen_of_none():
    assert choose_card([]) is None


def test_a_cpu_that_the_machine_lacks_is_refused(scene):
    profile = Profile.model_validate({"cpu": {"minimum": 4, "audio": [3]}})
    with pytest.raises(CpuMismatchError, match="names CPU 3"):
        scene("vm-2cpu", profile)


def test_defaults_are_adapted_to_a_machine_with_one_cpu(machine):
    scene = make_scene(recorded_sight(machine("container")), Profile(), adapt=True)
    assert scene.audio_cpus == ()
    # Nothing is there that could be read, so nothing of it is ok.
    answers = {f.check: f.answer for f in audit(scene).findings}
    assert answers["sysctl.vm.swappiness"] is Answer.NOT_APPLICABLE
    assert answers["kernel.clocksource"] is Answer.CANNOT_TELL
