"""The running PipeWire: what it really does, not what its files say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from archibald.system.spec import Origin
from archibald.tune.knobs.base import evidence, from_check, origins_of, unless
from archibald.tune.knobs.limits import expectation
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.vm.selftest import audio
from archibald.vm.selftest.model import Check, NotApplicableError, Verdict, verdict
from archibald.vm.selftest.pipewire import card_number, parse_dump, parse_metadata, properties

FAMILY = Family("audio", "Audio server")

RUNNING = Page(
    "pipewire.running",
    "PipeWire runs in the user's session",
    Severity.HIGH,
    "names and owners of all processes",
    "All other answers of this group come from the running server. As root, the session is the one "
    "of the user who has a PipeWire; nobody but root may ask the server of another user. Where "
    "jackd runs instead, its command line decides rate and period, and PipeWire is not asked.",
    "systemctl --user start pipewire wireplumber",
)
RATE = Page(
    "pipewire.rate",
    "The graph's rate is the profile's",
    Severity.MEDIUM,
    "pw-metadata -n settings 0: clock.rate",
    "What the server was started with. Streams of another rate are resampled, which costs time and "
    "adds latency.",
    "archibald apply; archibald apply --persist keeps it",
)
QUANTUM = Page(
    "pipewire.quantum",
    "The graph's quantum is the profile's",
    Severity.HIGH,
    "pw-metadata -n settings 0: clock.quantum",
    "The frames of one cycle, when no client asks for another number. The buffering of a round "
    "trip is two quanta plus what the hardware adds.",
    "archibald apply; archibald apply --persist keeps it",
)
MINIMUM = Page(
    "pipewire.min-quantum",
    "Clients may ask for the profile's smallest quantum",
    Severity.MEDIUM,
    "pw-metadata -n settings 0: clock.min-quantum",
    "PipeWire's own rule raises it to 1024 inside virtual machines, over what a drop-in says: an "
    "image that is tried in one then looks slow. The profile's drop-in overrides the rule.",
    "archibald apply; archibald apply --persist keeps it",
)
MAXIMUM = Page(
    "pipewire.max-quantum",
    "No client may raise the quantum over the profile's largest",
    Severity.MEDIUM,
    "pw-metadata -n settings 0: clock.max-quantum",
    "One browser that asks for 8192 frames would raise the latency of everybody else, because all "
    "nodes of a graph share one cycle.",
    "archibald apply; archibald apply --persist keeps it",
)
GRAPH = Page(
    "pipewire.graph",
    "The graph that runs now uses the wanted rate and quantum",
    Severity.HIGH,
    "pw-profiler -J -n 1: clock of every driver",
    "Settings are limits; this is what is in use. A client may hold the quantum up "
    "(node.latency), the card may refuse the rate, clock.force-quantum may be left over from an "
    "experiment. While nothing plays, no graph runs.",
    "see who asks: pw-top, column QUANT; pw-metadata -n settings 0 clock.force-quantum 0",
)
DRIVER = Page(
    "pipewire.driver",
    "The card is the clock of the graph",
    Severity.MEDIUM,
    "pw-profiler -J -n 1: drivers with followers; pw-dump: their devices",
    "The driver is the node whose clock wakes up the graph. If it is not the interface that is "
    "listened to, samples are resampled between two clocks (headroom, adaptive resampling), and "
    "another device decides when the graph runs.",
    "make the interface the default output (wpctl set-default ID)",
)
LOOP = Page(
    "pipewire.data-loop",
    "The data loop has real-time priority",
    Severity.HIGH,
    "/proc/PID/task/*/stat of the threads data-loop.*: policy and priority",
    "The one thread that must not be late. Whether real-time scheduling really arrived there is "
    "what nobody can tell from a file of settings: the right may be missing, rtkit may have "
    "refused, or a limit may have lowered it.",
    "archibald apply --persist, then log in again; limits.session says what is missing",
)
LOOP_CPU = Page(
    "pipewire.data-loop-cpu",
    "The data loop runs on the audio CPUs",
    Severity.LOW,
    "Cpus_allowed_list of the threads data-loop.*",
    "A thread that stays on one CPU keeps its cache, and interrupts and other work can be kept off "
    "that CPU. Pinning the loop does that without isolating the CPU.",
    "archibald apply --persist, then restart PipeWire",
)
XRUNS = Page(
    "pipewire.xruns",
    "No node of the running graph missed its deadline",
    Severity.HIGH,
    "pw-profiler -J -n 1: xrun_count of drivers and followers",
    "The counters start with the node. They count wake-ups missed, not dropouts: a client that is "
    "stopped for 100 ms adds hundreds. A node with a high number is the one to look at. To count "
    "from now on, compare two audits.",
    "look for the node that is late: pw-top, columns B/Q and ERR",
)
SUSPEND = Page(
    "pipewire.suspend",
    "Sound cards are not suspended",
    Severity.LOW,
    "pw-dump: session.suspend-timeout-seconds of nodes on cards",
    "WirePlumber closes a card after five seconds of silence. It loses its clock, and clicks or "
    "swallows the first note when it is opened again.",
    "archibald apply --persist, then restart WirePlumber",
)
PROFILE = Page(
    "pipewire.profile",
    "The interface has a profile that plays",
    Severity.MEDIUM,
    "pw-dump: the active profile of the device on the chosen card",
    "A card with the profile off has no ports. Pro Audio gives every channel as it is and lets the "
    "card's interrupt drive the graph, which is the shortest way; the profiles for people who "
    "listen use a timer.",
    "choose a profile in pavucontrol, or: wpctl set-profile ID INDEX",
)
SERVERS = Page(
    "pipewire.servers",
    "One audio server has the card",
    Severity.MEDIUM,
    "names of all processes: pipewire, pulseaudio, jackd, jackdbus",
    "Two servers cannot share a card: the second one gets nothing, or takes it away. PipeWire does "
    "what PulseAudio and JACK do.",
    "stop the other one (systemctl --user disable --now pulseaudio.socket; jack_control exit)",
)

PAGES = (
    RUNNING, RATE, QUANTUM, MINIMUM, MAXIMUM, GRAPH, DRIVER, LOOP, LOOP_CPU, XRUNS, SUSPEND,
    PROFILE, SERVERS,
)  # fmt: skip

SETTINGS_COMMAND = ("pw-metadata", "-n", "settings", "0")
PROFILER_COMMAND = ("pw-profiler", "-J", "-n", "1")
DUMP_COMMAND = ("pw-dump",)

_FILE = "file:/etc/pipewire/pipewire.conf.d/92-low-latency.conf"


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    origins = origins_of(scene, _FILE)
    reason = not_running(scene)
    wanted = scene.profile.audio
    clocks = (
        (RATE, "rate", wanted.rate, "Hz"),
        (QUANTUM, "quantum", wanted.quantum, "frames"),
        (MAXIMUM, "max-quantum", wanted.max_quantum, "frames"),
    )
    expected = expectation(scene)
    return [
        _running(scene, origins),
        *(
            _clock(scene, page, key, value, unit, reason, origins)
            for page, key, value, unit in clocks
        ),
        _minimum(scene, reason, origins),
        _live(scene, GRAPH, f"{wanted.quantum} frames at {wanted.rate} Hz", reason, _graph),
        _live(scene, DRIVER, "the card", reason, _driver),
        _probe(LOOP, f"FIFO {wanted.data_loop_priority}", reason, origins,
               lambda: audio.scheduling(scene.sight, expected)),
        _probe(LOOP_CPU, _cpus(scene), reason, origins,
               lambda: audio.affinity(scene.sight, expected)),
        _live(scene, XRUNS, "none", reason, _xruns),
        _live(scene, SUSPEND, "never", reason, _suspend),
        _live(scene, PROFILE, "any but off", reason, _card_profile),
        Knob(SERVERS, "one", lambda: _servers(scene)),
    ]  # fmt: skip


def questions() -> list[tuple[tuple[str, ...], bool]]:
    """Return what programs are asked, so that it can be asked at once."""
    return [(argv, True) for argv in (SETTINGS_COMMAND, DUMP_COMMAND)]


def _cpus(scene: Scene) -> str:
    return f"CPU {', '.join(map(str, scene.audio_cpus))}" if scene.audio_cpus else "any CPU"


def _daemons(scene: Scene) -> dict[int, int]:
    """Return ``process → user`` of the PipeWire daemons."""
    return {
        process.pid: scene.sight.uid_of(process.pid)
        for process in scene.sight.processes
        if process.comm == "pipewire"
    }


def not_running(scene: Scene) -> str:
    """Return why the user's PipeWire cannot be asked, "" when it can."""
    if scene.sight.user.uid in _daemons(scene).values():
        return ""
    return f"no PipeWire of {scene.sight.user.name} runs"


def _running(scene: Scene, origins: tuple[Origin, ...]) -> Knob:
    def judge() -> Verdict:
        found, user = _daemons(scene), scene.sight.user
        rows = "\n".join(f"pipewire ({pid}): user {uid}" for pid, uid in found.items())
        jack = [p for p in scene.sight.processes if p.comm in ("jackd", "jackdbus")]
        if user.uid in found.values():
            return verdict(True, f"of {user.name}", rows)
        if jack:
            raise NotApplicableError(f"{jack[0].comm} ({jack[0].pid}) is the audio server")
        others = sorted({str(uid) for uid in found.values()})
        observed = f"only of user {', '.join(others)}" if others else "none"
        return verdict(False, observed, rows or f"{len(scene.sight.processes)} processes")

    return Knob(RUNNING, f"of {scene.sight.user.name}", judge, origins=origins)


def _probe(
    page: Page, wanted: str, reason: str, origins: tuple[Origin, ...], check: Callable[[], Check]
) -> Knob:
    return Knob(page, wanted, unless(reason, lambda: from_check(check())), origins=origins)


def _settings(scene: Scene) -> dict[str, str]:
    return parse_metadata(scene.sight.command(SETTINGS_COMMAND, in_session=True))


def _setting_change(page: Page, key: str, value: int) -> tuple[Change, ...]:
    return (Change(page.id, "pipewire", f"clock.{key}", str(value)),)


def _clock(
    scene: Scene, page: Page, key: str, value: int, unit: str, reason: str,
    origins: tuple[Origin, ...],
) -> Knob:  # fmt: skip
    return Knob(
        page,
        f"{value} {unit}",
        unless(reason, lambda: from_check(audio.setting(scene.sight, key, value, unit))),
        partial(_setting_change, page, key, value),
        origins=origins,
    )


def _minimum(scene: Scene, reason: str, origins: tuple[Origin, ...]) -> Knob:
    wanted = scene.profile.audio
    if wanted.virtual_machine_quantum and scene.machine.virtualization:
        reason = reason or "the profile keeps PipeWire's rule for virtual machines"

    def judge() -> Verdict:
        return from_check(audio.setting(scene.sight, "min-quantum", wanted.min_quantum, "frames"))

    return Knob(
        MINIMUM,
        f"{wanted.min_quantum} frames",
        unless(reason, judge),
        partial(_setting_change, MINIMUM, "min-quantum", wanted.min_quantum),
        origins=origins,
    )


def _live(
    scene: Scene, page: Page, wanted: str, reason: str, judge: Callable[[Scene], Verdict]
) -> Knob:
    return Knob(page, wanted, unless(reason, lambda: judge(scene)))


@dataclass(frozen=True)
class Running:
    """A driver of a graph that runs, with its followers' missed wake-ups by name."""

    object_id: int
    name: str
    quantum: int
    rate: int
    missed: Mapping[str, int]
    followers: int


def parse_profiler(text: str) -> list[Running]:
    """Return the drivers of ``pw-profiler -J``, each with its last state.

    The output is JSON records in lists, cut off where the program was ended; records of one driver
    follow each other: info, clock, driver, followers. Raises ValueError when there is no record.
    """
    drivers: dict[int, Running] = {}
    clock: Mapping[str, Any] = {}
    current: Running | None = None
    for record in _records(text):
        kind = record.get("type")
        if kind == "clock":
            clock, current = record, None
        elif kind == "driver":
            current = _driver_record(record, clock)
            drivers[current.object_id] = current
        elif kind == "follower" and current is not None:
            name = str(record.get("name", ""))
            current = Running(
                current.object_id, current.name, current.quantum, current.rate,
                {**current.missed, name: int(record.get("xrun_count", 0))}, current.followers + 1,
            )  # fmt: skip
            drivers[current.object_id] = current
    return list(drivers.values())


def _records(text: str) -> list[dict[str, Any]]:
    decoder, found, start = json.JSONDecoder(), [], 0
    while (start := text.find("{", start)) >= 0:
        try:
            record, start = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            break
        if isinstance(record, dict):
            found.append(record)
    if not found:
        raise ValueError(f"no record in {text.strip()[:120]!r}")
    return found


def _driver_record(record: Mapping[str, Any], clock: Mapping[str, Any]) -> Running:
    name = str(record.get("name", ""))
    _, _, rate = str(clock.get("rate", "0/0")).partition("/")
    return Running(
        int(record.get("id", -1)), name, int(clock.get("duration", 0)), int(rate or 0),
        {name: int(record.get("xrun_count", 0))}, 0,
    )  # fmt: skip


def _drivers(scene: Scene) -> list[Running]:
    """Return the drivers that run. Raises NotApplicableError when nothing plays."""
    states = {
        (item.get("info") or {}).get("state")
        for item in _objects(scene)
        if item.get("type") == "PipeWire:Interface:Node"
    }
    # The profiler says nothing, for ever, while no graph runs.
    if "running" not in states:
        raise NotApplicableError("nothing plays, so no graph runs")
    return parse_profiler(scene.sight.command(PROFILER_COMMAND, in_session=True))


def _graph(scene: Scene) -> Verdict:
    wanted = scene.profile.audio
    rows = {
        driver.name: f"{driver.quantum} frames at {driver.rate} Hz, {driver.followers} followers"
        for driver in _drivers(scene)
    }
    good = all(
        (driver.quantum, driver.rate) == (wanted.quantum, wanted.rate) for driver in _drivers(scene)
    )
    shown = "; ".join(f"{name}: {text}" for name, text in rows.items())
    return verdict(good, shown, evidence(rows))


def _xruns(scene: Scene) -> Verdict:
    missed = {name: count for driver in _drivers(scene) for name, count in driver.missed.items()}
    late = {name: count for name, count in missed.items() if count}
    shown = ", ".join(f"{name} {count}" for name, count in late.items())
    rows = {name: str(count) for name, count in missed.items()}
    return verdict(not late, shown or f"none in {len(missed)} nodes", evidence(rows))


def _objects(scene: Scene) -> list[Mapping[str, Any]]:
    return parse_dump(scene.sight.command(DUMP_COMMAND, in_session=True))


def _chosen_card(scene: Scene) -> int:
    if scene.machine.card is None:
        raise NotApplicableError("this machine has no sound card")
    return scene.machine.card.number


def _cards_of_nodes(objects: list[Mapping[str, Any]]) -> dict[int, int]:
    """Return ``id of a node → number of its card``."""
    devices = {
        item.get("id"): card_number(properties(item))
        for item in objects
        if item.get("type") == "PipeWire:Interface:Device"
    }
    found = {}
    for item in objects:
        props = properties(item)
        if item.get("type") != "PipeWire:Interface:Node":
            continue
        number = card_number(props)
        number = devices.get(props.get("device.id")) if number is None else number
        if number is not None:
            found[int(item.get("id", -1))] = number
    return found


def _driver(scene: Scene) -> Verdict:
    card = _chosen_card(scene)
    busy = [driver for driver in _drivers(scene) if driver.followers]
    if not busy:
        raise NotApplicableError("no node follows a driver")
    cards = _cards_of_nodes(_objects(scene))
    rows = {
        driver.name: f"card {cards[driver.object_id]}" if driver.object_id in cards else "no card"
        for driver in busy
    }
    good = all(cards.get(driver.object_id) == card for driver in busy)
    return verdict(good, ", ".join(rows), evidence(rows))


def _suspend(scene: Scene) -> Verdict:
    objects = _objects(scene)
    cards = _cards_of_nodes(objects)
    rows = {}
    for item in objects:
        if item.get("id") in cards and item.get("type") == "PipeWire:Interface:Node":
            props = properties(item)
            # WirePlumber's default, where no rule says anything else.
            rows[str(props.get("node.name", item.get("id")))] = str(
                props.get("session.suspend-timeout-seconds", 5)
            )
    if not rows:
        raise NotApplicableError("PipeWire has no card")
    sleepy = {name: seconds for name, seconds in rows.items() if seconds != "0"}
    observed = f"after {', '.join(sorted(set(sleepy.values())))} s" if sleepy else "never"
    return verdict(not sleepy, observed, evidence(rows))


def _card_profile(scene: Scene) -> Verdict:
    number = _chosen_card(scene)
    for item in _objects(scene):
        if item.get("type") != "PipeWire:Interface:Device":
            continue
        if card_number(properties(item)) != number:
            continue
        params = (item.get("info") or {}).get("params") or {}
        active = params.get("Profile") or []
        name = str(active[0].get("name", "")) if active else ""
        if not name:
            raise ValueError(f"device {item.get('id')} names no profile")
        return verdict(name != "off", name, json.dumps(active[0], sort_keys=True))
    return verdict(False, f"card {number} is no device of PipeWire")


def _servers(scene: Scene) -> Verdict:
    names = re.compile(r"pipewire|pulseaudio|jackd|jackdbus")
    rows = {
        f"{process.comm} ({process.pid})": process.comm
        for process in scene.sight.processes
        if names.fullmatch(process.comm)
    }
    kinds = {"jackd" if comm == "jackdbus" else comm for comm in rows.values()}
    if not kinds:
        raise NotApplicableError("no audio server runs")
    return verdict(len(kinds) == 1, ", ".join(sorted(kinds)), evidence(rows))
