"""The machine that runs the tests: every setting of the kernel that a plain machine lets change.

Bytes are compared before and after, and restored also when a test fails.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archibald.profile.model import Profile
from archibald.run import run
from archibald.tune.apply import execute, roll_back
from archibald.tune.audit import audit, make_scene
from archibald.tune.journal import Journal
from archibald.tune.model import Change, Scene
from archibald.tune.observe import live_sight
from archibald.tune.plan import Plan, Step, make_plan
from archibald.tune.targets import TargetError, Targets
from archibald.vm.selftest.model import Answer
from archibald.vm.selftest.reader import SessionUser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="changing the kernel's settings needs root"),
]

CPU = "/sys/devices/system/cpu/cpu1"

#: Numbers that may be one more or one less; the second value is tried where the first is there.
NUMBERS = {
    "/proc/sys/vm/swappiness": ("10", "11"),
    "/proc/sys/vm/stat_interval": ("10", "11"),
    "/proc/sys/vm/percpu_pagelist_high_fraction": ("1024", "1000"),
    "/proc/sys/vm/dirty_ratio": ("21", "22"),
    "/proc/sys/vm/dirty_expire_centisecs": ("2999", "2998"),
    "/proc/sys/kernel/sched_rt_runtime_us": ("940000", "950000"),
    "/proc/sys/kernel/timer_migration": ("0", "1"),
    "/proc/sys/fs/inotify/max_user_watches": ("524288", "524289"),
    "/proc/sys/net/core/netdev_max_backlog": ("1001", "1002"),
    "/proc/sys/net/ipv4/tcp_rmem": ("4096\t131072\t6291000", "4096\t131072\t6291456"),
    f"{CPU}/power/pm_qos_resume_latency_us": ("n/a", "20"),
    f"{CPU}/cpuidle/state0/disable": ("1", "0"),
}
CHOICES = ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/block/*/queue/scheduler")


def _writable() -> Iterator[Change]:
    for path, (first, second) in NUMBERS.items():
        if os.access(path, os.W_OK):
            now = " ".join(Path(path).read_text().split())
            value = second if now == " ".join(first.split()) else first
            yield Change("sysctl.vm.swappiness", "value", path, value)
    for pattern in CHOICES:
        for file in sorted(Path("/").glob(pattern[1:])):
            words = file.read_text().split()
            others = [word for word in words if not word.startswith("[")]
            if others and len(words) > len(others):
                yield Change("memory.huge-pages", "choice", str(file), others[0])
    mask = Path("/sys/devices/virtual/workqueue/cpumask")
    if os.access(mask, os.W_OK) and (os.cpu_count() or 1) > 1:
        other = "1" if int(mask.read_text().replace(",", ""), 16) != 1 else "3"
        yield Change("scheduler.workqueues", "mask", str(mask), other)
    for folder in sorted(Path("/proc/irq").glob("[0-9]*")):
        if _movable(folder):
            now = (folder / "smp_affinity_list").read_text().strip()
            yield Change("irq.audio-cpu", "irq", folder.name, "0" if now != "0" else "1")


def _movable(folder: Path) -> bool:
    """Writing back what is there is refused for interrupts that the kernel manages itself."""
    path = folder / "smp_affinity_list"
    try:
        path.write_text(path.read_text())
    except OSError:
        return False
    return (os.cpu_count() or 1) > 1


def _path(change: Change) -> Path:
    name = change.target
    return Path(f"/proc/irq/{name}/smp_affinity_list" if change.kind == "irq" else name)


@pytest.fixture
def changes() -> Iterator[list[Change]]:
    """What can be changed here; afterwards it is as it was, whatever the test did."""
    found = list(_writable())
    before = {_path(change): _path(change).read_text() for change in found}
    yield found
    for path, text in before.items():
        if path.read_text() != text:
            marked = re.search(r"\[(\S+)\]", text)
            path.write_text(marked.group(1) if marked else text)


@pytest.fixture
def live() -> Scene:
    """The machine that runs the tests, without a session."""
    return make_scene(live_sight(SessionUser("root", 0)), Profile(), adapt=True)


def _bytes(changes: list[Change]) -> dict[str, bytes]:
    return {change.target: _path(change).read_bytes() for change in changes}


def _plan(changes: list[Change], targets: Targets) -> Plan:
    return Plan(tuple(Step(c, targets.read(c.kind, c.target)) for c in changes))


def test_every_writable_setting_goes_there_and_back(live, changes, tmp_path):
    kinds = {change.kind for change in changes}
    assert "value" in kinds
    assert len(changes) >= 6
    targets, journal, before = Targets(live.sight), Journal(tmp_path / "j"), _bytes(changes)
    with journal.opened():
        _, results = execute(_plan(changes, targets), live, targets, journal)
        assert [r for r in results if r.outcome not in ("set", "refused")] == []
        assert sum(result.outcome == "set" for result in results) >= 6
        during = _bytes(changes)
        undone = roll_back(journal, live, targets)
    refused = {r.step.change.target for r in results if r.outcome == "refused"}
    assert {name for name in before if during[name] == before[name]} == refused
    assert {result.outcome for result in undone} == {"restored"}
    assert _bytes(changes) == before


def test_killed_after_each_action_everything_comes_back(live, changes, tmp_path):
    targets, before = Targets(live.sight), _bytes(changes)
    for number in range(1, len(changes) + 1):
        journal = Journal(tmp_path / str(number))
        child = os.fork()
        if child == 0:

            def watch(event: str, which: int, wanted: int = number) -> None:
                # Before the outcome is journaled: the worst moment.
                if (event, which) == ("written", wanted):
                    os.kill(os.getpid(), signal.SIGKILL)

            try:
                with journal.opened():
                    execute(_plan(changes, targets), live, targets, journal, watch=watch)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with journal.opened():
            undone = roll_back(journal, live, targets)
        assert {result.outcome for result in undone} <= {"restored", "already"}
        assert _bytes(changes) == before, number


def test_the_plan_of_this_machine(live, changes, tmp_path):
    """What audit finds bad here and apply can set is ok after, and as before after rollback."""
    targets, journal, before = Targets(live.sight), Journal(tmp_path / "j"), _bytes(changes)
    plan = make_plan(live, targets, only=["sysctl.vm.swappiness", "sysctl.vm.stat_interval"])
    names = {step.change.check for step in plan.steps}
    with journal.opened():
        execute(plan, live, targets, journal)
        now = {finding.check: finding.answer for finding in audit(live.again()).findings}
        assert {now[name] for name in names} <= {Answer.OK}
        roll_back(journal, live, targets)
    assert _bytes(changes) == before


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_thread_gets_its_priority_and_loses_it(live, sleeper, tmp_path):
    targets, journal = Targets(live.sight), Journal(tmp_path / "j")
    while Path(f"/proc/{sleeper.pid}/comm").read_text() != "sleep\n":
        time.sleep(0.01)
    change = Change("irq.card-priority", "thread", f"{sleeper.pid} sleep", "FIFO 5")
    with journal.opened():
        execute(_plan([change], targets), live, targets, journal)
        assert os.sched_getscheduler(sleeper.pid) == os.SCHED_FIFO
        assert os.sched_getparam(sleeper.pid).sched_priority == 5
        roll_back(journal, live, targets)
    assert os.sched_getscheduler(sleeper.pid) == os.SCHED_OTHER
    other = Change("irq.card-priority", "thread", f"{sleeper.pid} irq/9-gone", "FIFO 5")
    with pytest.raises(TargetError, match="has ended"):
        targets.read(other.kind, other.target)


def test_read_only_settings_are_refused_one_by_one(tmp_path):
    """As in a container: /proc/sys is there, but nobody may write it."""
    before = Path("/proc/sys/vm/swappiness").read_text()
    wanted = "10" if before.strip() != "10" else "11"
    (tmp_path / "p.toml").write_text(f"format = 1\n[realtime]\nswappiness = {wanted}\n")
    command = f"{sys.executable} -m archibald apply --yes -p {tmp_path}/p.toml"
    script = (
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && "
        f"exec {command} --journal {tmp_path}/j sysctl.vm.swappiness"
    )
    ended = run(["unshare", "--mount", "sh", "-c", script], check=False)
    assert ended.returncode == 1, ended.stderr
    assert "0 of 1 changes are in place" in ended.stdout
    assert "Read-only file system" in ended.stdout
    assert Path("/proc/sys/vm/swappiness").read_text() == before
