"""Sound cards and the kernel modules behind them."""

from __future__ import annotations

import re

from archibald.system.spec import KernelModule
from archibald.tune.knobs.base import because, evidence, module_options, read_all, words
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.kernel import built_in_modules, loaded_modules
from archibald.vm.selftest.model import NotApplicableError, UnreadableError, Verdict, verdict

FAMILY = Family("sound", "Sound cards and modules")

CARD = Page(
    "sound.card",
    "There is a sound card that can play or record",
    Severity.HIGH,
    "/proc/asound/cards and the PCM devices of each card",
    "Of several cards the USB interface is taken before the built-in one, and outputs of displays "
    "come last; --card names another. All that is said about interrupts and USB power is about "
    "that card.",
    "plug the interface in, and look at the kernel's log (dmesg) if it does not appear",
)
MODULES = Page(
    "sound.modules",
    "The MIDI modules are loaded",
    Severity.LOW,
    "/proc/modules, /lib/modules/RELEASE/modules.builtin",
    "The sequencer is loaded by the first program that asks for it; programs that look before that "
    "see no MIDI ports.",
    "archibald apply --persist (modprobe -a snd-seq snd-rawmidi loads them at once)",
)
OPTIONS = Page(
    "sound.module-options",
    "No module option that does not exist",
    Severity.LOW,
    "/etc/modprobe.d/*.conf",
    "Old guides set nrpacks=1 and low_latency=1 for snd_usb_audio. The first is gone, the second "
    "never existed (the option is lowlatency, and on by default): the kernel says 'unknown "
    "parameter ignored' and nothing gets faster. dmix settings in asound.conf have no effect under "
    "PipeWire either.",
    "remove the option from the file",
)
PARAMETERS = Page(
    "sound.module-parameters",
    "Parameters of sound modules are the profile's",
    Severity.MEDIUM,
    "/sys/module/*/parameters/*",
    "An HDA codec with power_save powers down after seconds of silence, and clicks or swallows the "
    "first note when it wakes.",
    "archibald apply",
)

PAGES = (CARD, MODULES, OPTIONS, PARAMETERS)

#: Module → options of old guides that it does not have (checked with modinfo on 6.12 and 7.2).
GONE = {"snd_usb_audio": ("nrpacks", "low_latency")}


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    wanted = [item.name for item in scene.spec.of(KernelModule)]
    return [
        Knob(CARD, "a card with a PCM device", lambda: _card(scene)),
        Knob(
            MODULES,
            ", ".join(wanted) or "none",
            lambda: _modules(scene, wanted),
            origins=because("MIDI ports exist before the first application asks", "audio.midi"),
        ),
        Knob(OPTIONS, "none", lambda: _options(scene)),
        _parameters(scene),
    ]


def _card(scene: Scene) -> Verdict:
    cards = scene.machine.cards
    listing = "\n".join(f"{card.number} {card}: {card.name}" for card in cards)
    chosen = scene.machine.card
    if chosen is None and scene.machine.virtualization and not cards:
        raise NotApplicableError(f"a {scene.machine.virtualization} machine without a card")
    if chosen is None:
        return verdict(False, "no card" if not cards else "no card has a PCM device", listing)
    others = f", {len(cards) - 1} other" if len(cards) > 1 else ""
    return verdict(True, f"{chosen}{others}", listing)


def _modules(scene: Scene, wanted: list[str]) -> Verdict:
    if not wanted:
        raise NotApplicableError("the profile asks for none")
    if scene.machine.container:
        raise NotApplicableError("a container has the modules of its host")
    listing = scene.sight.optional("/proc/modules")
    built_in = scene.sight.optional(f"/lib/modules/{scene.machine.kernel}/modules.builtin")
    if listing is None and built_in is None:
        raise UnreadableError("/proc/modules: No such file or directory")
    loaded = loaded_modules(listing or "")
    there = loaded | built_in_modules(built_in or "")
    missing = [name for name in wanted if name.replace("-", "_") not in there]
    observed = f"not loaded: {', '.join(missing)}" if missing else "loaded"
    return verdict(not missing, observed, f"{len(loaded)} modules in /proc/modules")


def _options(scene: Scene) -> Verdict:
    folder = "/etc/modprobe.d"
    try:
        names = [name for name in scene.sight.names(folder) if name.endswith(".conf")]
    except MissingError:
        raise NotApplicableError(f"there is no {folder}") from None
    found, unread = [], []
    for name in names:
        try:
            text = scene.sight.text(f"{folder}/{name}")
        except UnreadableError as error:
            unread.append(str(error))
            continue
        for line in text.splitlines():
            match = re.match(r"\s*options\s+(\S+)\s+(.+)", line)
            if match and _gone(match.group(1), match.group(2)):
                found.append(f"{folder}/{name}: {line.strip()}")
    if unread and not found:
        raise UnreadableError("; ".join(unread))
    observed = f"{len(found)} lines" if found else f"none in {len(names)} files"
    return verdict(not found, observed, "\n".join(found))


def _gone(module: str, options: str) -> bool:
    names = {option.partition("=")[0] for option in options.split()}
    return bool(names & set(GONE.get(module.replace("-", "_"), ())))


def _parameters(scene: Scene) -> Knob:
    wanted = module_options(scene)
    absent = "no such module is loaded"

    def judge() -> Verdict:
        values = read_all(scene.sight, list(wanted), absent)
        wrong = {path: value for path, value in values.items() if value != words(wanted[path][0])}
        shown = ", ".join(f"{path.rpartition('/')[2]}={value}" for path, value in values.items())
        return verdict(not wrong, shown, evidence(values))

    def changes() -> tuple[Change, ...]:
        values = read_all(scene.sight, list(wanted), absent)
        return tuple(
            Change(PARAMETERS.id, "value", path, wanted[path][0])
            for path, value in values.items()
            if value != words(wanted[path][0])
        )

    shown = ", ".join(f"{path.rpartition('/')[2]}={value}" for path, (value, _) in wanted.items())
    origins = tuple(sorted({origin for _, found in wanted.values() for origin in found}))
    return Knob(PARAMETERS, shown or "none", judge, changes, origins=origins)
