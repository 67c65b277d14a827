"""Rights: real-time priority and locked memory for the one who makes music."""

from __future__ import annotations

from archibald.system.spec import User
from archibald.tune.knobs.base import because, from_check, origins_of
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest import session
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import NotApplicableError, UnreadableError, Verdict, verdict

FAMILY = Family("limits", "Limits and groups")

SESSION = Page(
    "limits.session",
    "Programs of the session may run real-time threads and lock memory",
    Severity.HIGH,
    "/proc/PID/limits of PipeWire, or else of a process of the user's login",
    "The limits that count are those of processes that run, not those in a file: a file that was "
    "changed after the login changes nothing yet, and one with the ending .disabled (as the jackd2 "
    "package of Debian leaves its own) never will. 95 is enough for every audio program and keeps "
    "below the kernel's threads; memory has to be unlimited because samplers lock all they load.",
    "archibald apply --persist, then log in again",
)
GROUPS = Page(
    "limits.groups",
    "The user is in the group that the limits are for",
    Severity.HIGH,
    "/etc/passwd, /etc/group",
    "Limits, timers and sleep states are given to the group audio. On distributions with "
    "systemd-logind the group is not needed to open sound cards, and on a machine with several "
    "users it lets everybody in it listen to the microphone: it is for the one who makes music. "
    "Groups named jackuser, realtime or pipewire are other projects' names for the same.",
    "archibald apply --persist, then log in again",
)
NOT_ROOT = Page(
    "limits.not-root",
    "The audio server does not run as root",
    Severity.MEDIUM,
    "owner of the processes pipewire, wireplumber, jackd, pulseaudio",
    "As root everything has real-time rights, so wrong limits are not noticed; and every plug-in "
    "that an application loads may do anything to the machine.",
    "start the session as an ordinary user",
)
RTKIT = Page(
    "limits.rtkit",
    "rtkit answers, if the profile wants it",
    Severity.LOW,
    "systemctl show and busctl get-property of rtkit-daemon",
    "Programs without limits of their own, such as sandboxed ones, ask rtkit for real-time "
    "priority. It grants at most 20, which is why limits matter more.",
    "install rtkit (Debian: apt install rtkit)",
)

PAGES = (SESSION, GROUPS, NOT_ROOT, RTKIT)

#: What the probe of rtkit asks first.
RTKIT_COMMAND = (
    "systemctl", "show", "--property=LoadState,ActiveState", "rtkit-daemon.service",
)  # fmt: skip

_SERVERS = ("pipewire", "wireplumber", "jackd", "jackdbus", "pulseaudio")


def expectation(scene: Scene) -> Expectation:
    """Return the promise as the probes of the self-test take it."""
    return Expectation(scene.profile, scene.spec, scene.spec.variant)


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    realtime = scene.profile.realtime
    keys = ("realtime.priority_limit", "realtime.nice_limit", "realtime.memory_lock_mib")
    return [
        Knob(
            SESSION,
            f"rtprio {realtime.priority_limit}, memlock {realtime.memory_lock_mib}, "
            f"nice {realtime.nice_limit}",
            lambda: _session(scene),
            origins=origins_of(scene, "file:/etc/security/limits.d/95-archibald.conf")
            or because("rights of the group audio", *keys),
        ),
        _groups(scene),
        Knob(NOT_ROOT, "an ordinary user", lambda: _not_root(scene)),
        Knob(
            RTKIT,
            "answers on the bus" if realtime.rtkit else "not active",
            lambda: from_check(session.rtkit(scene.sight, expectation(scene))),
            origins=origins_of(scene, "package:rtkit"),
        ),
    ]


def _session(scene: Scene) -> Verdict:
    wanted = session.expected_limits(scene.profile.realtime)
    pid, what = _judged_process(scene)
    text = scene.sight.text(f"/proc/{pid}/limits")
    found = session.parse_limits(text)
    short = [name for name, value in wanted.items() if _count(found.get(name, "0")) < _count(value)]
    rows = [line for line in text.splitlines() if line.startswith(tuple(wanted))]
    shown = ", ".join(
        f"{name.removeprefix('Max ').removesuffix(' priority')} {found.get(name)}" for name in short
    )
    observed = f"{what}: {shown}" if short else f"{what} has them"
    return verdict(not short, observed, f"/proc/{pid}/limits\n" + "\n".join(rows))


def _count(limit: str) -> float:
    return float("inf") if limit == "unlimited" else float(limit)


def _judged_process(scene: Scene) -> tuple[int, str]:
    """Return the process whose limits count, and what it is."""
    uid = scene.sight.user.uid
    for name in ("pipewire", "jackd"):
        for process in scene.sight.processes:
            if process.comm == name and scene.sight.uid_of(process.pid) == uid:
                return process.pid, f"the audio server ({process.pid})"
    if scene.sight.user.uid == 0:
        raise NotApplicableError("no session of an ordinary user; root has every right")
    pid = session.login_pid(scene.sight)
    return pid, f"the session of {scene.sight.user.name}"


def group_members(text: str, group: str) -> set[str] | None:
    """Return the members of a group of /etc/group, or None when there is no such group."""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[0] == group:
            return {name for name in fields[3].split(",") if name}
    return None


def _groups(scene: Scene) -> Knob:
    user = scene.sight.user

    def judge() -> Verdict:
        if user.uid == 0:
            raise NotApplicableError("root needs no group")
        try:
            text = scene.sight.text("/etc/group")
        except MissingError:
            raise UnreadableError("/etc/group: No such file or directory") from None
        members = group_members(text, "audio")
        lines = [line for line in text.splitlines() if line.startswith(("audio:", "pipewire:"))]
        if members is None:
            return verdict(False, "there is no group audio", f"{text.count(':') // 3} groups")
        inside = user.name in members
        observed = f"{user.name} is {'in' if inside else 'not in'} audio"
        return verdict(inside, observed, "\n".join(lines))

    def changes() -> tuple[Change, ...]:
        return (Change(GROUPS.id, "member", f"audio {user.name}", "yes", lasts=True),)

    origins = tuple(
        origin for c in scene.spec.contributions if isinstance(c.item, User) for origin in c.origins
    )
    return Knob(GROUPS, f"{user.name} in audio", judge, changes, origins=origins)


def _not_root(scene: Scene) -> Verdict:
    owners = {}
    for process in scene.sight.processes:
        if process.comm in _SERVERS:
            owners[f"{process.comm} ({process.pid})"] = scene.sight.uid_of(process.pid)
    if not owners:
        raise NotApplicableError("no audio server runs")
    bad = [name for name, uid in owners.items() if uid == 0]
    rows = "\n".join(f"{name}: user {uid}" for name, uid in owners.items())
    observed = f"as root: {', '.join(bad)}" if bad else f"{len(owners)} processes, none as root"
    return verdict(not bad, observed, rows)
