"""Programs in the background that disturb, or that undo what was tuned."""

from __future__ import annotations

from collections.abc import Sequence

from archibald.system.spec import Forbidden, Origin
from archibald.tune.knobs.base import because, evidence
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict
from archibald.vm.selftest.services import parse_unit_states

FAMILY = Family("services", "Services that disturb")

DISTURBING = Page(
    "services.disturbing",
    "No service runs that the profile keeps off",
    Severity.LOW,
    "systemctl show of every unit that the profile forbids",
    "Timers that fetch package lists, index manuals or scrub disks start in the middle of a "
    "recording; radio work of Bluetooth and network daemons interrupt. apply stops timers and "
    "local services until the next boot, but never what the network or a remote login depends on: "
    "those are listed, and stopping them is yours.",
    "archibald apply; stop network services by hand (sudo systemctl stop NAME)",
)
IRQBALANCE = Page(
    "services.irqbalance",
    "irqbalance does not run",
    Severity.MEDIUM,
    "names of all processes",
    "Every ten seconds it spreads the interrupts over the CPUs anew, and with them the card's: "
    "what was pinned is elsewhere.",
    "archibald apply",
)
MANAGERS = Page(
    "services.power-managers",
    "No power manager undoes the governor",
    Severity.LOW,
    "names of all processes; profiles of tuned",
    "TLP, auto-cpufreq, laptop-mode and thermald's like set governor, energy preference, USB and "
    "sound power again when the charger is plugged in or out. tuned is not counted while one of "
    "its latency profiles is active, power-profiles-daemon not while it is set to performance.",
    "stop it while you make music (sudo systemctl stop NAME)",
)
INDEXERS = Page(
    "services.indexers",
    "Nothing walks through the disks",
    Severity.LOW,
    "names of all processes",
    "Desktop search, updatedb and backup programs read whole disks, and samples that are streamed "
    "wait in the same queue.",
    "let it finish, or stop it (pkill NAME)",
)

WATCHDOG = Page(
    "services.watchdog",
    "A watchdog looks after runaway real-time threads",
    Severity.LOW,
    "names of all processes",
    "A real-time thread that never sleeps leaves 5 % of its CPU to everything else: no window "
    "moves, no program saves. archibald watchdog demotes it after some seconds and says who it "
    "was; das_watchdog, which does a part of this, counts as well. The profile may do without "
    "(realtime.watchdog), because the process takes memory.",
    "archibald apply --persist",
)

PAGES = (DISTURBING, IRQBALANCE, MANAGERS, INDEXERS, WATCHDOG)

#: Names of the process, which the kernel cuts after 15 bytes.
_WATCHDOGS = ("archibald-watch", "das_watchdog")

#: Stopping one of these may cut the user off: a remote login, the network, names.
NETWORK_UNITS = frozenset(
    {
        "ssh.service", "sshd.service", "NetworkManager.service", "systemd-networkd.service",
        "systemd-resolved.service", "wpa_supplicant.service", "ModemManager.service",
    }
)  # fmt: skip

_MANAGERS = ("tlp", "auto-cpufreq", "laptop-mode", "power-profiles-", "tuned", "system76-power")

_INDEXERS = (
    "tracker-miner-f", "localsearch-3", "baloo_file", "baloo_file_extr", "updatedb",
    "updatedb.plocat", "recollindex", "restic", "borg", "duplicity", "rsnapshot", "clamscan",
)  # fmt: skip


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [
        _disturbing(scene),
        Knob(
            IRQBALANCE,
            "not running",
            lambda: _not_running(scene, ("irqbalance",)),
            lambda: (Change(IRQBALANCE.id, "unit", "irqbalance.service", "inactive"),),
        ),
        Knob(MANAGERS, "none", lambda: _managers(scene)),
        Knob(INDEXERS, "none", lambda: _not_running(scene, _INDEXERS)),
        _watchdog(scene),
    ]


def disturbing_command(names: Sequence[str]) -> tuple[str, ...]:
    """Return the question about the units that the profile forbids."""
    return ("systemctl", "show", "--property=Id,LoadState,ActiveState", "--", *names)


def _disturbing(scene: Scene) -> Knob:
    chosen = [c for c in scene.spec.contributions if isinstance(c.item, Forbidden)]
    names = [item.unit for item in scene.spec.of(Forbidden)]

    def active() -> dict[str, str]:
        if not names:
            raise NotApplicableError("the profile keeps none off")
        if scene.sight.live and not scene.sight.exists("/run/systemd/system"):
            raise NotApplicableError("systemd does not run here")
        states = parse_unit_states(scene.sight.command(disturbing_command(names)))
        if len(states) != len(names):
            raise ValueError(f"asked for {len(names)} units, got {len(states)}")
        return {
            name: state.get("ActiveState", "")
            for name, state in zip(names, states, strict=True)
            if state.get("ActiveState") not in ("inactive", "failed")
        }

    def judge() -> Verdict:
        found = active()
        observed = ", ".join(found) if found else f"none of {len(names)}"
        return verdict(not found, observed, evidence(found))

    def changes() -> tuple[Change, ...]:
        return tuple(
            Change(DISTURBING.id, "unit", name, "inactive")
            for name in active()
            if name not in NETWORK_UNITS
        )

    origins: tuple[Origin, ...] = tuple(sorted({o for c in chosen for o in c.origins}))
    return Knob(DISTURBING, "none active", judge, changes, origins=origins)


def _running(scene: Scene, names: Sequence[str]) -> dict[str, str]:
    """Return ``name (pid) → user`` of the processes of these names (15 bytes of a name count)."""
    short = {name[:15] for name in names}
    return {
        f"{process.comm} ({process.pid})": "running"
        for process in scene.sight.processes
        if process.comm in short
    }


def _not_running(scene: Scene, names: Sequence[str]) -> Verdict:
    total = _process_count(scene)
    found = _running(scene, names)
    return verdict(not found, ", ".join(found) or "none", evidence(found) or f"{total} processes")


def _watchdog(scene: Scene) -> Knob:
    def judge() -> Verdict:
        if not scene.profile.realtime.watchdog:
            raise NotApplicableError("the profile does without")
        if scene.machine.container:
            raise NotApplicableError("the host of a container watches")
        total = _process_count(scene)
        found = _running(scene, _WATCHDOGS)
        return verdict(bool(found), ", ".join(found) or "none", f"{total} processes")

    origins = because("a runaway thread would lock the machine", "realtime.watchdog")
    return Knob(WATCHDOG, "running", judge, origins=origins)


def _managers(scene: Scene) -> Verdict:
    total = _process_count(scene)
    found = {
        f"{process.comm} ({process.pid})": "running"
        for process in scene.sight.processes
        if process.comm.startswith(_MANAGERS) and not _harmless(scene, process.comm)
    }
    return verdict(not found, ", ".join(found) or "none", evidence(found) or f"{total} processes")


def _process_count(scene: Scene) -> int:
    """Return how many processes can be seen. Raises ValueError for none: one looks, at least."""
    total = len(scene.sight.processes)
    if not total:
        raise ValueError("no process can be seen in /proc")
    return total


def _harmless(scene: Scene, comm: str) -> bool:
    if comm.startswith("tuned"):
        profile = scene.sight.optional("/etc/tuned/active_profile") or ""
        return any(word in profile for word in ("latency", "realtime", "audio"))
    if comm.startswith("power-profiles-"):
        state = scene.sight.optional("/var/lib/power-profiles-daemon/state.ini") or ""
        return "Profile=performance" in state
    return False
