"""Tuning in an installed system that boots: what is set for good is there after a reboot.

One disk of the core image, three boots. First the system as it was built: what its profile governs
is so, and the units beside the audio do their work under their own sandboxes. Then another profile
is applied for good; after a reboot all of it holds; a rollback brings back the first state, which
the last boot shows.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import CORE, archibald
from .guest import Guest, booted

pytestmark = [pytest.mark.vm, pytest.mark.torture]

USER, UID = "audio-user", 1000

#: Nobody holds the latency: PM_QOS_CPU_LATENCY_DEFAULT_VALUE of the kernel.
NOBODY_US = 2_000_000_000

PROFILE = "/root/other.toml"

#: systemd's name for when a service was started; 0 for never.
STARTED = "ExecMainStartTimestampMonotonic"

#: Another profile than the image's, in every family that files decide.
OTHER = """\
format = 1

[desktop]
enable = false

[audio]
rate = 48000
quantum = 128
min_quantum = 32
max_quantum = 256
data_loop_priority = 80

[realtime]
watchdog = true
swappiness = 7
stat_interval_s = 25
inotify_watches = 700000
timer_migration = true
percpu_free_fraction = 512
priority_limit = 97
"""

#: The checks that this profile makes bad, and that files put right.
CHANGED = {
    "pipewire.rate", "pipewire.quantum", "pipewire.min-quantum", "pipewire.max-quantum",
    "pipewire.data-loop", "irq.card-priority", "services.watchdog", "sysctl.vm.swappiness",
    "sysctl.vm.stat_interval", "sysctl.fs.inotify.max_user_watches",
    "sysctl.kernel.timer_migration", "sysctl.vm.percpu_pagelist_high_fraction", "limits.session",
}  # fmt: skip

SETTINGS = (
    "/proc/sys/vm/swappiness", "/proc/sys/vm/stat_interval",
    "/proc/sys/fs/inotify/max_user_watches", "/proc/sys/kernel/timer_migration",
    "/proc/sys/vm/percpu_pagelist_high_fraction", "/sys/devices/virtual/workqueue/cpumask",
)  # fmt: skip

HELD = "import struct; print(struct.unpack('=i', open('/dev/cpu_dma_latency', 'rb').read(4))[0])"

#: A thread in an endless loop on one CPU.
HOG = ("systemd-run", "--unit=hog", "--property=CPUSchedulingPolicy=fifo",
       "--property=CPUSchedulingPriority=60", "--property=CPUAffinity=0",
       "/bin/sh", "-c", "while :; do :; done")  # fmt: skip


@pytest.fixture(scope="module")
def disk(vm_folder: Path) -> Path:
    """A disk of the core image that may be written."""
    done = archibald("build", "disk", "--profile", CORE, "--output", vm_folder / "tuning", "--json")
    assert done.code == 0, done.err
    return Path(done.document["image"])


@pytest.fixture(scope="module")
def own_disk(disk: Path, vm_folder: Path) -> Iterator[Path]:
    """A copy of the disk, for this file alone."""
    copy = vm_folder / "tuned.img"
    shutil.copyfile(disk, copy)
    yield copy
    copy.unlink()


@pytest.fixture
def console(tmp_path: Path) -> Path:
    """Where the console's text goes."""
    return tmp_path / "console.log"


def findings(guest: Guest, *options: str) -> dict[str, dict[str, Any]]:
    """Return what the audit in the guest says, by check."""
    answer = guest.ask("archibald", "audit", "--json", *options)
    assert answer.code in (0, 1), answer
    return {finding["check"]: finding for finding in answer.document["findings"]}


def governed(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return check → answer and what was seen, of what some key of the profile governs."""
    return {
        # Without the numbers of processes, which are others after every boot.
        check: (finding["answer"], re.sub(r" \(\d+\)", "", finding["observed"]))
        for check, finding in found.items()
        if any(origin["keys"] for origin in finding["wanted_by"])
    }


def wrong(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the governed checks that are not as they should be, or cannot be told."""
    good = ("ok", "not-applicable")
    return {check: seen for check, seen in governed(found).items() if seen[0] not in good}


def wait_for_sound(guest: Guest) -> None:
    """Wait until PipeWire answers, and the unit of the card has done its work."""

    def answers() -> bool:
        return guest.ask(
            "runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{UID}",
            "pw-cli", "info", "0",
        ).code == 0  # fmt: skip

    guest.until(answers, "PipeWire does not answer")

    def done() -> bool:
        # After the boot, and once for each card; dead is also what has not begun.
        now = card_service(guest)
        idle = not guest.run("systemctl", "list-jobs", "--no-legend")
        return idle and now["SubState"] == "dead" and now[STARTED] != "0"

    guest.until(done, "the card's service hangs")


def card_service(guest: Guest) -> dict[str, str]:
    """Return what systemd knows of the card's service."""
    text = guest.run(
        "systemctl", "show", "archibald-card.service", "--property="
        f"SubState,Result,ExecMainStatus,{STARTED}",
    )  # fmt: skip
    return dict(line.split("=", 1) for line in text.splitlines())


def first_state(guest: Guest) -> dict[str, str]:
    """Return settings of the kernel, and everything in /etc with its content."""
    state = {path: guest.text(path) for path in SETTINGS}
    state["/etc"] = guest.run(
        "sh", "-c", "cd /etc && find . -type f -exec sha256sum {} + | sort -k 2 && "
        "find . ! -type f -printf '%p %y %m %l\\n' | sort",
    )  # fmt: skip
    return state


def held_us(guest: Guest) -> int:
    """Return the latency that somebody asks the kernel for."""
    return int(guest.run("python3", "-c", HELD))


def user_systemctl(guest: Guest, *words: str) -> str:
    """Talk to the user's systemd."""
    return guest.as_user(USER, UID, "systemctl", "--user", *words)


def cpus_stay_awake_as_long_as_pipewire_lives(guest: Guest) -> None:
    guest.until(lambda: held_us(guest) == 20, "nobody holds the latency")
    # No new one, so that what happens after a kill can be seen.
    folder = f"/run/user/{UID}/systemd/user/pipewire.service.d"
    guest.as_user(USER, UID, "mkdir", "-p", folder)
    guest.write(f"{folder}/test.conf", "[Service]\nRestart=no\n")
    user_systemctl(guest, "daemon-reload")
    for end in (("kill", "--signal=KILL"), ("stop",), ("kill", "--signal=SEGV")):
        user_systemctl(guest, "start", "pipewire.service")
        guest.until(lambda: held_us(guest) == 20, "nobody holds the latency")
        user_systemctl(guest, "stop", "pipewire.socket", "pipewire-pulse.socket")
        user_systemctl(guest, *end, "pipewire.service")
        guest.until(lambda: held_us(guest) == NOBODY_US, f"after {end} it is still held")
    guest.run("rm", "-r", folder)
    user_systemctl(guest, "daemon-reload")
    user_systemctl(guest, "reset-failed")
    user_systemctl(guest, "start", "pipewire.socket", "pipewire-pulse.socket", "pipewire.service",
                   "wireplumber.service")  # fmt: skip
    guest.until(lambda: held_us(guest) == 20, "nobody holds the latency")


def card_that_appears_gets_its_interrupts(guest: Guest) -> None:
    before = card_service(guest)
    assert (before["Result"], before["ExecMainStatus"]) == ("success", "0"), before
    found = findings(guest)
    assert found["irq.card-priority"]["observed"] == "FIFO 90"
    # Somebody undoes it; another card appears.
    work = "/sys/devices/virtual/workqueue/cpumask"
    assert guest.text(work) == "1"
    guest.write(work, "3")
    for row in found["irq.card-priority"]["evidence"].splitlines():
        pid = row.partition("(")[2].partition(")")[0]
        guest.run("chrt", "--fifo", "--pid", "50", pid)
    cards = guest.text("/proc/asound/cards")
    guest.plug("usb-audio", id="second", audiodev="usb", bus="xhci.0")
    guest.until(lambda: guest.text("/proc/asound/cards") != cards, "the card does not appear")

    def ran() -> bool:
        now = card_service(guest)
        return now["SubState"] == "dead" and now[STARTED] != before[STARTED]

    guest.until(ran, "udev started nothing")
    after = card_service(guest)
    assert (after["Result"], after["ExecMainStatus"]) == ("success", "0"), after
    assert guest.text(work) == "1"
    assert findings(guest)["irq.card-priority"]["observed"] == "FIFO 90"


def watchdog_demotes_a_hog(guest: Guest) -> None:
    assert guest.text("/proc/sys/kernel/sched_rt_runtime_us") == "950000"
    guest.run("systemctl", "is-active", "archibald-watchdog.service")
    guest.run(*HOG)
    pid = guest.run("systemctl", "show", "--property=MainPID", "--value", "hog").strip()
    guest.until(
        lambda: "SCHED_OTHER" in guest.run("chrt", "--pid", pid, timeout_s=600.0),
        "the hog was not demoted", timeout_s=600.0,
    )  # fmt: skip
    journal = guest.run("journalctl", "--unit=archibald-watchdog.service", "--output=cat")
    assert f"(process {pid}, thread {pid}, FIFO 60)" in journal, journal
    guest.run("systemctl", "stop", "hog")


def applied_for_good(guest: Guest) -> None:
    guest.write(PROFILE, OTHER)
    assert set(wrong(findings(guest, "--profile", PROFILE))) >= CHANGED
    plan = guest.run("archibald", "plan", "--persist", "--profile", PROFILE)
    answer = guest.ask(
        "archibald", "apply", "--persist", "--yes", "--json", "--profile", PROFILE
    )  # fmt: skip
    steps = answer.document["steps"]
    assert [step for step in steps if step["outcome"] != "set"] == []
    assert (answer.code, answer.document["failed"]) == (0, []), answer
    assert all(step["target"] in plan for step in steps)
    guest.run("systemctl", "is-active", "archibald-watchdog.service")


def rolled_back(guest: Guest, first: dict[str, str]) -> None:
    answer = guest.ask("archibald", "rollback", "--json")
    assert (answer.code, answer.document["failed"]) == (0, []), answer
    outcomes = {change["outcome"] for change in answer.document["changes"]}
    assert outcomes <= {"restored", "gone", "already"}
    assert first_state(guest) == first
    assert guest.ask("systemctl", "is-active", "archibald-watchdog.service").code != 0
    assert guest.ask("archibald", "rollback", "--json").document["changes"] == []


def test_set_for_good_and_taken_back(own_disk: Path, console: Path) -> None:
    with booted(own_disk, console) as guest:
        wait_for_sound(guest)
        found = findings(guest)
        assert wrong(found) == {}
        begun = governed(found)
        cpus_stay_awake_as_long_as_pipewire_lives(guest)
        card_that_appears_gets_its_interrupts(guest)
        first = first_state(guest)
        applied_for_good(guest)
        guest.reboot()
    with booted(own_disk, console) as guest:
        wait_for_sound(guest)
        # Without naming it: the profile that was applied is the machine's now.
        found = findings(guest)
        assert wrong(found) == {}
        assert {check: governed(found)[check][0] for check in CHANGED} == dict.fromkeys(
            CHANGED, "ok"
        )
        drift = guest.ask("archibald", "drift", "--json").document
        # An emulated CPU's counter may be found unstable at any time.
        assert (drift["lost"], set(drift["no_longer_ok"]) - {"kernel.clocksource"}) == ([], set())
        watchdog_demotes_a_hog(guest)
        rolled_back(guest, first)
        guest.reboot()
    with booted(own_disk, console) as guest:
        wait_for_sound(guest)
        ended = governed(findings(guest))
        assert {check: seen[0] for check, seen in ended.items()} == {
            check: seen[0] for check, seen in begun.items()
        }
        assert {check: ended[check] for check in CHANGED} == {
            check: begun[check] for check in CHANGED
        }
        assert first_state(guest) == first
