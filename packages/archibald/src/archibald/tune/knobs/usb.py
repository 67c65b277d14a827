"""USB interfaces: they may not fall asleep."""

from __future__ import annotations

import re

from archibald.tune.hardware import Card
from archibald.tune.knobs.base import evidence, files_in, read_all
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict

FAMILY = Family("usb", "USB")

POWER = Page(
    "usb.power",
    "The USB interface and its hubs stay awake",
    Severity.HIGH,
    "power/control of the interface and of every hub between it and the controller",
    "With auto, a device that was idle for two seconds is suspended; an interface that wakes up "
    "drops its first samples, some never come back. Only the audio interface and its hubs are kept "
    "on: the mouse may sleep.",
    "archibald apply",
)
LOW_LATENCY = Page(
    "usb.low-latency",
    "The USB driver submits small packets",
    Severity.MEDIUM,
    "/sys/module/snd_usb_audio/parameters/lowlatency",
    "The option is on by default; with N the driver queues whole periods ahead, and the latency "
    "that is measured is that of the queue.",
    "remove lowlatency=0 from /etc/modprobe.d and load the module again",
)

PAGES = (POWER, LOW_LATENCY)


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [_power(scene), Knob(LOW_LATENCY, "on", lambda: _low_latency(scene))]


def _usb_card(scene: Scene) -> Card:
    card = scene.machine.card
    if card is None:
        raise NotApplicableError("this machine has no sound card")
    if card.bus != "usb":
        raise NotApplicableError(f"{card} is not on USB")
    return card


def device_and_hubs(device: str) -> list[str]:
    """Return the folders of a USB device and of the hubs above it, root hub included."""
    parts = device.split("/")
    first = next((i for i, part in enumerate(parts) if re.fullmatch(r"usb\d+", part)), len(parts))
    return ["/".join(parts[: end + 1]) for end in range(first, len(parts))]


def _power(scene: Scene) -> Knob:
    def values() -> dict[str, str]:
        folders = device_and_hubs(_usb_card(scene).device)
        paths = [f"{folder}/power/control" for folder in reversed(folders)]
        return read_all(scene.sight, paths, "this kernel never suspends USB devices")

    def judge() -> Verdict:
        found = values()
        asleep = [path for path, value in found.items() if value != "on"]
        observed = f"{len(asleep)} of {len(found)} may sleep" if asleep else "on"
        return verdict(not asleep, observed, evidence(found))

    def changes() -> tuple[Change, ...]:
        return tuple(
            Change(POWER.id, "value", path, "on") for path, value in values().items()
            if value != "on"
        )  # fmt: skip

    origins = tuple(
        origin
        for item, contribution in files_in(scene, "/etc/udev/rules.d/")
        if b"power/control" in item.content
        for origin in contribution.origins
    )
    return Knob(POWER, "on", judge, changes, origins=origins)


def _low_latency(scene: Scene) -> Verdict:
    _usb_card(scene)
    path = "/sys/module/snd_usb_audio/parameters/lowlatency"
    try:
        value = scene.sight.value(path)
    except MissingError:
        raise NotApplicableError("the driver is older than the option") from None
    return verdict(value == "Y", "on" if value == "Y" else "off", f"{path}: {value}")
