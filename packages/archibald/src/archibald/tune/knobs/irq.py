"""Interrupts: the card's on the audio CPU, early enough; the others elsewhere."""

from __future__ import annotations

from archibald.system.modules.common import cpu_list
from archibald.tune.hardware import Card, parse_interrupts
from archibald.tune.knobs.base import because, evidence
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError, Process
from archibald.vm.selftest.kernel import is_realtime
from archibald.vm.selftest.model import (
    Answer,
    NotApplicableError,
    UnreadableError,
    Verdict,
    verdict,
)
from archibald.vm.selftest.pipewire import parse_cpu_list

FAMILY = Family("irq", "Interrupts")

CARD_AFFINITY = Page(
    "irq.card-affinity",
    "The interface interrupts the audio CPU",
    Severity.MEDIUM,
    "/proc/irq/N/smp_affinity_list of the card, or of the USB controller that it hangs on",
    "When the interrupt arrives on the CPU of the data loop, the samples are in its cache, and no "
    "other CPU has to be woken first. The interrupt is found by the chosen card, not by the name "
    "of a driver: five cards may share one.",
    "archibald apply",
)
AUDIO_CPU = Page(
    "irq.audio-cpu",
    "Other devices do not interrupt the audio CPU",
    Severity.LOW,
    "/proc/interrupts, /proc/irq/*/{smp_affinity_list,effective_affinity_list}",
    "A disk or network card that interrupts the CPU of the data loop takes its time away without "
    "asking. Interrupts that the kernel manages itself (queues of NVMe and virtio disks) cannot be "
    "moved and are not counted: each serves the CPU that it is on, and comes only when that CPU "
    "asked for something. A kernel that does not say which these are (by files that are read-only) "
    "refuses the change, and apply says so. archibald-card.service moves the others when a sound "
    "card appears.",
    "archibald apply; archibald apply --persist keeps it",
)
CARD_PRIORITY = Page(
    "irq.card-priority",
    "The interface's interrupt thread comes before the data loop",
    Severity.HIGH,
    "/proc/PID/stat of the threads irq/N-*",
    "All interrupt threads start with priority 50, in no order. The data loop waits for the "
    "interrupt of its card, so the thread that handles it has to run first: two above the data "
    "loop, below the kernel's own threads at 99. Only the card's threads are raised.",
    "archibald apply",
)
SHARED = Page(
    "irq.shared",
    "The interface has its interrupt for itself",
    Severity.MEDIUM,
    "/proc/interrupts: several drivers on one line",
    "With a shared line, every handler on it runs for every interrupt of any of the devices. "
    "Message-signalled interrupts (PCI-MSI) are never shared; old slots and some laptops have "
    "lines.",
    "put the card into another slot, or another USB port with a controller of its own",
)

PAGES = (CARD_AFFINITY, AUDIO_CPU, CARD_PRIORITY, SHARED)


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [_affinity(scene), _audio_cpu(scene), _priority(scene), _shared(scene)]


def _card(scene: Scene) -> Card:
    """Return the interface. Raises NotApplicableError when it has no interrupt of its own."""
    card = scene.machine.card
    if card is None:
        raise NotApplicableError("this machine has no sound card")
    if not card.irqs:
        raise NotApplicableError(f"{card} has no interrupt that could be moved")
    return card


def _affinity_path(irq: int) -> str:
    return f"/proc/irq/{irq}/smp_affinity_list"


def _wanted_cpus(scene: Scene) -> set[int]:
    """Return the audio CPUs. Raises NotApplicableError where there is nothing to choose."""
    if len(scene.machine.cpus) < 2:
        raise NotApplicableError("this machine has one CPU")
    if not scene.audio_cpus:
        raise NotApplicableError("the profile leaves the choice to the scheduler")
    return set(scene.audio_cpus)


def _affinity(scene: Scene) -> Knob:
    def away() -> tuple[dict[str, str], list[int]]:
        wanted, card = _wanted_cpus(scene), _card(scene)
        rows, elsewhere = {}, []
        for irq in card.irqs:
            try:
                text = scene.sight.value(_affinity_path(irq))
            except MissingError:
                continue  # a vector that the driver does not use
            rows[f"IRQ {irq}"] = f"CPU {text}"
            if not parse_cpu_list(text) <= wanted:
                elsewhere.append(irq)
        if not rows:
            raise NotApplicableError(f"{card} uses no interrupt")
        return rows, elsewhere

    def judge() -> Verdict:
        rows, elsewhere = away()
        return verdict(not elsewhere, ", ".join(sorted(set(rows.values()))), evidence(rows))

    def changes() -> tuple[Change, ...]:
        value = cpu_list(list(scene.audio_cpus))
        return tuple(Change(CARD_AFFINITY.id, "irq", str(irq), value) for irq in away()[1])

    wanted = f"CPU {cpu_list(list(scene.audio_cpus))}" if scene.audio_cpus else "any CPU"
    origins = because("the data loop runs there", "cpu.audio")
    return Knob(CARD_AFFINITY, wanted, judge, changes, origins=origins)


def _can_be_moved(scene: Scene, irq: int) -> bool:
    """Say whether the kernel lets root choose the CPUs; it makes the file read-only where not."""
    try:
        return bool(scene.sight.node(_affinity_path(irq)).mode & 0o200)
    except UnreadableError:
        return False


def _audio_cpu(scene: Scene) -> Knob:
    def visitors() -> dict[int, str]:
        """Return the interrupts of other devices that arrive on an audio CPU alone."""
        mine = _wanted_cpus(scene)
        if not scene.other_cpus:
            raise NotApplicableError("every CPU is an audio CPU")
        card = scene.machine.card
        found = {}
        for irq, label in parse_interrupts(scene.sight.text("/proc/interrupts")).items():
            if card is not None and irq in card.irqs:
                continue
            allowed = scene.sight.optional(_affinity_path(irq))
            where = scene.sight.optional(f"/proc/irq/{irq}/effective_affinity_list") or allowed
            # One that was moved away arrives where it did until the next time that it comes.
            away = not allowed or not parse_cpu_list(allowed) & mine
            if where and not away and parse_cpu_list(where) <= mine and _can_be_moved(scene, irq):
                found[irq] = label
        return found

    def judge() -> Verdict:
        found = visitors()
        rows = {f"IRQ {irq}": label for irq, label in found.items()}
        observed = f"{len(found)} interrupts of other devices" if found else "none"
        return verdict(not found, observed, evidence(rows))

    def changes() -> tuple[Change, ...]:
        value = cpu_list(list(scene.other_cpus))
        return tuple(Change(AUDIO_CPU.id, "irq", str(irq), value) for irq in visitors())

    origins = because("the data loop runs there", "cpu.audio")
    return Knob(AUDIO_CPU, "none", judge, changes, origins=origins)


def card_priority(scene: Scene) -> int:
    """Return the priority of the card's interrupt thread: two above the data loop, at most 98."""
    return min(98, scene.profile.audio.data_loop_priority + 2)


def card_threads(scene: Scene) -> list[Process]:
    """Return the threads that handle the interface's interrupts. Raises NotApplicableError."""
    card = _card(scene)
    starts = tuple(f"irq/{irq}-" for irq in card.irqs)
    return [p for p in scene.sight.processes if p.comm.startswith(starts)]


def _priority(scene: Scene) -> Knob:
    wanted = card_priority(scene)

    def late() -> tuple[dict[str, str], list[Process]]:
        if not (
            is_realtime(scene.machine.kernel_version)
            or "threadirqs" in scene.machine.cmdline.split()
        ):
            raise NotApplicableError("this kernel's interrupts have no threads")
        threads = card_threads(scene)
        rows = {
            f"{p.comm} ({p.pid})": f"{p.scheduling.policy} {p.scheduling.priority}" for p in threads
        }
        return rows, [
            p for p in threads if (p.scheduling.policy, p.scheduling.priority) != ("FIFO", wanted)
        ]

    def judge() -> Verdict:
        rows, others = late()
        if not rows:
            return Verdict(Answer.CANNOT_TELL, "no thread of the card's interrupt was found")
        return verdict(not others, ", ".join(sorted(set(rows.values()))), evidence(rows))

    def changes() -> tuple[Change, ...]:
        return tuple(
            Change(CARD_PRIORITY.id, "thread", f"{p.pid} {p.comm}", f"FIFO {wanted}")
            for p in late()[1]
        )

    origins = because("before the data loop, which waits for it", "audio.data_loop_priority")
    return Knob(CARD_PRIORITY, f"FIFO {wanted}", judge, changes, origins=origins)


def _shared(scene: Scene) -> Knob:
    def judge() -> Verdict:
        card = _card(scene)
        table = parse_interrupts(scene.sight.text("/proc/interrupts"))
        rows = {f"IRQ {irq}": table[irq] for irq in card.irqs if irq in table}
        if not rows:
            raise NotApplicableError(f"{card} uses no interrupt")
        shared = {irq: label for irq, label in rows.items() if "," in label}
        observed = "; ".join(shared.values()) if shared else "for itself"
        return verdict(not shared, observed, evidence(rows))

    return Knob(SHARED, "for itself", judge)
