"""What the machine is: CPUs and which of them share a core, sound cards and their interrupts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archibald.errors import UsageError
from archibald.system.spec import Hardware
from archibald.tune.observe import MissingError, Sight
from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.pipewire import parse_cards, parse_cpu_list

CPU_ROOT = "/sys/devices/system/cpu"

_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$")


class NoSuchCardError(UsageError):
    """The card that was asked for is not there."""


@dataclass(frozen=True)
class Cpu:
    """A logical CPU. ``siblings`` are the CPUs of its core, itself included."""

    number: int
    siblings: frozenset[int]
    efficiency: bool = False


@dataclass(frozen=True)
class Card:
    """A sound card. ``device`` is its folder in /sys, ``controller`` the device that interrupts."""

    number: int
    id: str
    name: str
    bus: str
    device: str
    controller: str
    irqs: tuple[int, ...]
    plays: bool
    display: bool

    def __str__(self) -> str:
        return f"{self.id} ({self.bus})"


@dataclass(frozen=True)
class Machine:
    """The machine, as far as tuning depends on it. ``card`` is the interface that counts."""

    cpus: tuple[Cpu, ...]
    smt: bool
    hybrid: bool
    virtualization: str
    container: str
    memory_mib: int
    kernel: str
    kernel_version: str
    cmdline: str
    distribution: str
    boot_loader: str
    cards: tuple[Card, ...]
    card: Card | None

    @property
    def spec(self) -> Hardware:
        """What composition needs to know."""
        return Hardware(cpus=len(self.cpus) or None, virtual_machine=bool(self.virtualization))

    def cpu(self, number: int) -> Cpu | None:
        """Return a CPU by its number."""
        return next((cpu for cpu in self.cpus if cpu.number == number), None)


def detect(sight: Sight, *, card: str = "") -> Machine:
    """Look at the machine. ``card`` is the id or number of the interface to take.

    Raises UnreadableError when /proc is not there, and :class:`NoSuchCardError`.
    """
    version = sight.value("/proc/version")
    cards = tuple(_cards(sight))
    cpus = _cpus(sight)
    return Machine(
        cpus=cpus,
        smt=any(len(cpu.siblings) > 1 for cpu in cpus),
        hybrid=len({cpu.efficiency for cpu in cpus}) > 1,
        virtualization=_virtualization(sight),
        container=_container(sight),
        memory_mib=_memory_mib(sight),
        kernel=version.split()[2] if version.count(" ") >= 2 else "",
        kernel_version=version.rpartition("#")[2] and f"#{version.rpartition('#')[2]}",
        cmdline=sight.value("/proc/cmdline"),
        distribution=_distribution(sight),
        boot_loader=_boot_loader(sight),
        cards=cards,
        card=choose_card(cards, card),
    )


def _cpus(sight: Sight) -> tuple[Cpu, ...]:
    try:
        numbers = parse_cpu_list(sight.value(f"{CPU_ROOT}/present"))
    except (MissingError, ValueError):
        found = [name for name in sight.names(CPU_ROOT) if re.fullmatch(r"cpu\d+", name)]
        numbers = {int(name[3:]) for name in found}
    small = _efficiency_cpus(sight, numbers)
    return tuple(
        Cpu(number, _siblings(sight, number), number in small) for number in sorted(numbers)
    )


def _siblings(sight: Sight, number: int) -> frozenset[int]:
    text = sight.optional(f"{CPU_ROOT}/cpu{number}/topology/thread_siblings_list")
    try:
        return frozenset(parse_cpu_list(text or str(number)))
    except ValueError:
        return frozenset({number})


def _efficiency_cpus(sight: Sight, numbers: set[int]) -> set[int]:
    """Return the slow cores: Intel names them, ARM gives every core a capacity."""
    atom = sight.optional("/sys/devices/cpu_atom/cpus")
    if atom:
        return parse_cpu_list(atom)
    capacity = {}
    for number in numbers:
        text = sight.optional(f"{CPU_ROOT}/cpu{number}/cpu_capacity")
        if text and text.isdigit():
            capacity[number] = int(text)
    if not capacity:
        return set()
    # Cores of one kind differ by a few per cent on CPUs with preferred cores.
    limit = 0.75 * max(capacity.values())
    return {number for number, value in capacity.items() if value < limit}


def _virtualization(sight: Sight) -> str:
    """Return the name of the hypervisor, "" on real machines."""
    vendor = sight.optional("/sys/class/dmi/id/sys_vendor") or ""
    product = sight.optional("/sys/class/dmi/id/product_name") or ""
    for name in ("QEMU", "VMware", "VirtualBox", "KVM", "Xen", "Bochs", "Parallels", "Apple Virt"):
        if name.lower() in f"{vendor} {product}".lower():
            return name.lower()
    try:
        flags = re.search(r"^flags\s*:.*\bhypervisor\b", sight.text("/proc/cpuinfo"), re.MULTILINE)
    except UnreadableError:
        return ""
    return (sight.optional("/sys/hypervisor/type") or "hypervisor") if flags else ""


def _container(sight: Sight) -> str:
    named = sight.optional("/run/systemd/container")
    if named:
        return named
    marks = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
    return next((name for path, name in marks.items() if sight.exists(path)), "")


def _memory_mib(sight: Sight) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", sight.text("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def _distribution(sight: Sight) -> str:
    text = sight.optional("/etc/os-release") or sight.optional("/usr/lib/os-release") or ""
    found = re.search(r"^ID=\"?([a-z0-9._-]+)", text, re.MULTILINE)
    return found.group(1) if found else ""


def _boot_loader(sight: Sight) -> str:
    """Return "grub", "systemd-boot" or "" when neither can be seen."""
    if sight.exists("/etc/default/grub"):
        return "grub"
    if sight.exists("/etc/kernel/cmdline") or sight.exists("/boot/loader/loader.conf"):
        return "systemd-boot"
    return "systemd-boot" if sight.exists("/efi/loader/loader.conf") else ""


def _cards(sight: Sight) -> list[Card]:
    try:
        listing = sight.text("/proc/asound/cards")
    except MissingError:
        return []
    return [_card(sight, card.number, card.name) for card in parse_cards(listing)]


def _card(sight: Sight, number: int, name: str) -> Card:
    device = sight.real(f"/sys/class/sound/card{number}")
    parts = device.split("/")
    usb = next((i for i, part in enumerate(parts) if re.fullmatch(r"usb\d+", part)), None)
    ahead = parts[:usb] if usb is not None else parts
    last = next((i for i in range(len(ahead) - 1, 0, -1) if _PCI.fullmatch(ahead[i])), None)
    controller = "/".join(ahead[: last + 1]) if last is not None else ""
    bus = "usb" if usb is not None else "pci" if controller else "platform"
    if "/virtual/" in device:
        bus = "virtual"
    kinds = _pcms(sight, number)
    return Card(
        number=number,
        id=sight.optional(f"/proc/asound/card{number}/id") or str(number),
        name=name,
        bus=bus,
        device=_usb_device(parts, usb) if usb is not None else device,
        controller=controller,
        irqs=_irqs(sight, controller),
        plays=bool(kinds),
        display=bool(kinds) and all("HDMI" in kind or "DisplayPort" in kind for kind in kinds),
    )


def _usb_device(parts: list[str], usb: int) -> str:
    """Return the folder of the USB device: the last part before its interface ``1-2:1.0``."""
    end = next((i for i, part in enumerate(parts) if i > usb and ":" in part), len(parts))
    return "/".join(parts[:end])


def _pcms(sight: Sight, number: int) -> list[str]:
    """Return the names of the card's PCM devices."""
    folder = f"/proc/asound/card{number}"
    try:
        names = [name for name in sight.names(folder) if re.fullmatch(r"pcm\d+[pc]", name)]
    except UnreadableError:
        return []
    return [sight.optional(f"{folder}/{name}/info") or "" for name in names]


def _irqs(sight: Sight, controller: str) -> tuple[int, ...]:
    """Return the interrupts of a PCI device: message-signalled ones, else its line."""
    if not controller:
        return ()
    try:
        return tuple(sorted(int(name) for name in sight.names(f"{controller}/msi_irqs")))
    except (UnreadableError, ValueError):
        line = sight.optional(f"{controller}/irq") or "0"
        return (int(line),) if line.isdigit() and line != "0" else ()


def choose_card(cards: Sequence[Card], wanted: str = "") -> Card | None:
    """Return the interface that counts: the one asked for, else USB before built-in.

    Outputs of displays come last, cards without PCM devices never. Raises
    :class:`NoSuchCardError`.
    """
    if wanted:
        for card in cards:
            if wanted in (card.id, str(card.number)):
                return card
        names = ", ".join(f"{card.number} {card.id}" for card in cards) or "none"
        raise NoSuchCardError(
            f"there is no sound card {wanted!r}",
            why=f"this machine has: {names}",
            next_step="name one of them by its id or number (cat /proc/asound/cards)",
        )
    order = {"usb": 0, "pci": 1, "platform": 2, "virtual": 3}
    usable = [card for card in cards if card.plays]
    return min(
        usable, key=lambda card: (card.display, order.get(card.bus, 4), card.number), default=None
    )


def parse_interrupts(text: str) -> dict[int, str]:
    """Return ``number → what it is for`` of /proc/interrupts; named ones such as NMI are left out.

    The last column lists the drivers, separated by commas.
    """
    lines = text.splitlines()
    if not lines or "CPU" not in lines[0]:
        raise ValueError(f"no table of interrupts: {text[:80]!r}")
    columns = len(lines[0].split())
    found = {}
    for line in lines[1:]:
        number, _, rest = line.partition(":")
        if number.strip().isdigit():
            # After the counters come chip, hardware interrupt and the drivers.
            found[int(number)] = " ".join(rest.split()[columns:])
    return found
