"""All checks, one file per family. Every family has ``FAMILY``, ``PAGES`` and ``knobs(scene)``."""

from __future__ import annotations

from collections.abc import Container, Iterator

from archibald.tune.knobs import (
    cpu,
    irq,
    kernel,
    limits,
    memory,
    pipewire,
    scheduler,
    services,
    sound,
    storage,
    usb,
)
from archibald.tune.model import Family, Finding, Knob, Page, Scene, examine

#: In the order in which people read them: from the kernel up to the disk.
FAMILIES = (
    kernel, cpu, irq, scheduler, memory, limits, pipewire, sound, usb, services, storage,
)  # fmt: skip


def all_pages() -> Iterator[tuple[Family, Page]]:
    """Return every check with its family."""
    for module in FAMILIES:
        for page in module.PAGES:
            yield module.FAMILY, page


def all_knobs(scene: Scene) -> Iterator[tuple[Family, Knob]]:
    """Return every knob of a machine with its family."""
    for module in FAMILIES:
        for knob in module.knobs(scene):
            yield module.FAMILY, knob


def examined(scene: Scene, only: Container[str] = ()) -> list[tuple[Knob, Finding]]:
    """Judge every knob of a machine, or those of some checks: others are not even looked at."""
    return [
        (knob, examine(knob, family))
        for family, knob in all_knobs(scene)
        if not only or knob.page.id in only
    ]
