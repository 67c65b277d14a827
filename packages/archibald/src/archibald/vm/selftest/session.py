"""Probes of the user's session: what its processes may do, and who helps sandboxed ones."""

from __future__ import annotations

import re

from archibald.profile.model import Realtime
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import (
    Check,
    NotApplicableError,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.pipewire import pipewire_pid, status_field
from archibald.vm.selftest.reader import Reader

GROUP = "session"

_SHELLS = frozenset({"bash", "zsh", "fish", "dash", "sh"})


def session_checks(reader: Reader, expected: Expectation) -> list[Check]:
    """Return all checks of this group."""
    realtime = expected.profile.realtime
    return [
        limits(reader, realtime, "pipewire"),
        limits(reader, realtime, "user-manager"),
        limits(reader, realtime, "login-session"),
        rtkit(reader, expected),
    ]


def parse_limits(text: str) -> dict[str, str]:
    """Return ``name → soft limit`` of a /proc/PID/limits file."""
    rows = re.findall(r"^(Max [a-z ]+?) {2,}(\S+) +(\S+)", text, re.MULTILINE)
    found = {name: soft for name, soft, _ in rows}
    if "Max realtime priority" not in found:
        raise ValueError(f"no limits in {text.strip()[:120]!r}")
    return found


def expected_limits(realtime: Realtime) -> dict[str, str]:
    """Return the soft limits that the profile promises, as the kernel counts them."""
    memory = realtime.memory_lock_mib
    return {
        "Max realtime priority": str(realtime.priority_limit),
        "Max locked memory": "unlimited" if memory == "unlimited" else str(memory * 1024 * 1024),
        # setrlimit(2): nice values 19..-20 are stored as 1..40.
        "Max nice priority": str(20 - realtime.nice_limit),
    }


def _readable(found: dict[str, str]) -> str:
    memory = found["Max locked memory"]
    mib = memory if memory == "unlimited" else f"{int(memory) // 1048576} MiB"
    nice = 20 - int(found["Max nice priority"])
    return f"rtprio {found['Max realtime priority']}, memlock {mib}, nice {nice}"


def limits(reader: Reader, realtime: Realtime, which: str) -> Check:
    """Limits of a process of the session: real-time priority, locked memory, nice value."""
    wanted = expected_limits(realtime)

    def judge() -> Verdict:
        pid = {"pipewire": pipewire_pid, "user-manager": manager_pid, "login-session": login_pid}[
            which
        ](reader)
        text = reader.text(f"/proc/{pid}/limits")
        found = parse_limits(text)
        good = all(found.get(name) == value for name, value in wanted.items())
        rows = [line for line in text.splitlines() if line.startswith(tuple(wanted))]
        return verdict(good, _readable(found), f"/proc/{pid}/limits\n" + "\n".join(rows))

    return make_check(f"limits.{which}", GROUP, _readable(wanted), judge)


def manager_pid(reader: Reader) -> int:
    """Return the process of the session user's systemd."""
    text = reader.command(
        ["systemctl", "show", "--property=MainPID", f"user@{reader.user.uid}.service"]
    )
    found = re.search(r"MainPID=([1-9]\d*)", text)
    if not found:
        raise UnreadableError(f"user@{reader.user.uid}.service does not run")
    return int(found.group(1))


def login_pid(reader: Reader) -> int:
    """Return a process of the user in a login session: a shell if there is one, else any."""
    candidates: list[tuple[bool, int]] = []
    for pid in [name for name in reader.names("/proc") if name.isdigit()]:
        try:
            status = reader.text(f"/proc/{pid}/status")
            if int(status_field(status, "Uid").split()[0]) != reader.user.uid:
                continue
            cgroup = reader.text(f"/proc/{pid}/cgroup")
        except UnreadableError:
            continue  # it ended meanwhile
        if re.search(r"/session-[^/]+\.scope", cgroup):
            candidates.append((status_field(status, "Name") not in _SHELLS, int(pid)))
    if not candidates:
        raise NotApplicableError(f"{reader.user.name} has no login session")
    return min(candidates)[1]


def rtkit(reader: Reader, expected: Expectation) -> Check:
    """rtkit answers on the system bus, or is absent, as the profile says."""
    wanted = expected.profile.realtime.rtkit

    def judge() -> Verdict:
        state = reader.command(
            ["systemctl", "show", "--property=LoadState,ActiveState", "rtkit-daemon.service"]
        )
        if not wanted:
            return verdict("ActiveState=active" not in state, " ".join(state.split()), state)
        if "LoadState=loaded" not in state:
            return verdict(False, "not installed", state)
        answer = reader.command(
            ["busctl", "--system", "get-property", "org.freedesktop.RealtimeKit1",
             "/org/freedesktop/RealtimeKit1", "org.freedesktop.RealtimeKit1",
             "MaxRealtimePriority"]
        )  # fmt: skip
        found = re.fullmatch(r"i (-?\d+)\s*", answer)
        if not found:
            raise ValueError(f"unexpected answer of rtkit: {answer.strip()!r}")
        priority = int(found.group(1))
        return verdict(priority >= 1, f"answers, priorities up to {priority}", state + answer)

    return make_check("rtkit", GROUP, "answers on the bus" if wanted else "not active", judge)
