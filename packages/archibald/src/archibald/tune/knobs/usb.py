"""USB interfaces: they may not fall asleep."""

from __future__ import annotations

from archibald.tune.hardware import Card
from archibald.tune.knobs.base import files_in, read_all
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict

FAMILY = Family("usb", "USB")

POWER = Page(
    "usb.power",
    "The USB interface stays awake",
    Severity.HIGH,
    "power/control of the interface",
    "With auto, a device that was idle for two seconds is suspended; an interface that wakes up "
    "drops its first samples, some never come back. Only the audio interface is kept on: the mouse "
    "may sleep. Hubs may stay at auto, because the kernel never suspends one above a device that "
    "is awake.",
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


def _power(scene: Scene) -> Knob:
    def control() -> tuple[str, str]:
        # Of the interface alone: no hub is suspended above a device that is awake.
        path = f"{_usb_card(scene).device}/power/control"
        return path, read_all(scene.sight, [path], "this kernel never suspends USB devices")[path]

    def judge() -> Verdict:
        path, value = control()
        return verdict(value == "on", value, f"{path}: {value}")

    def changes() -> tuple[Change, ...]:
        return (Change(POWER.id, "value", control()[0], "on"),)

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
