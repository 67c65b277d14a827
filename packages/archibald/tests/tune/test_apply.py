"""Apply and roll back: on recorded trees, killed at every point, against changes of others."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archibald.errors import DiskFullError
from archibald.profile.model import Profile
from archibald.run import run
from archibald.tune.apply import Applied, execute, finish, roll_back
from archibald.tune.audit import audit, make_scene
from archibald.tune.drift import drift, standings
from archibald.tune.journal import Journal
from archibald.tune.model import Change, Scene
from archibald.tune.observe import recorded_sight
from archibald.tune.plan import Plan, Step, make_plan
from archibald.tune.targets import Targets
from archibald.vm.selftest.model import Answer

SWAPPINESS = "/proc/sys/vm/swappiness"


def _tree(root: Path) -> dict[str, bytes | None]:
    """Return every file with its bytes, and every folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def _journal(root: Path) -> Journal:
    return Journal(root.parent / f"{root.name}.journal")


def _apply(
    scene: Scene, plan: Plan | None = None, *, persist: bool = True,
    watch: Callable[[str, int], None] = lambda _event, _number: None,
) -> list[Applied]:  # fmt: skip
    targets, journal = Targets(scene.sight), _journal(scene.sight.root)
    plan = plan or make_plan(scene, targets, persist=persist)
    with journal.opened():
        name, results = execute(plan, scene, targets, journal, watch=watch)
        finish(journal, name, [f.check for f in audit(scene.again()).of(Answer.OK)])
    return results


def _roll_back(scene: Scene, **options) -> dict[str, str]:
    journal = _journal(scene.sight.root)
    with journal.opened():
        found = roll_back(journal, scene, Targets(scene.sight), **options)
    return {undone.entry.change.target: undone.outcome for undone in found}


@pytest.mark.parametrize("name", ["desktop-usb", "laptop-hybrid", "raspberry-pi", "vm-2cpu"])
def test_the_first_state_comes_back_byte_for_byte(scene, name):
    it = scene(name)
    before = _tree(it.sight.root)
    results = _apply(it)
    assert sum(result.outcome == "set" for result in results) > 10
    assert _tree(it.sight.root) != before
    outcomes = _roll_back(it)
    assert set(outcomes.values()) == {"restored"}
    assert _tree(it.sight.root) == before
    assert _roll_back(it) == {}


def test_what_was_bad_and_could_be_set_is_ok_after(scene):
    it = scene("raspberry-pi")
    planned = {s.change.check for s in make_plan(it, Targets(it.sight)).steps}
    _apply(it, persist=False)
    bad = {finding.check for finding in audit(it.again()).of(Answer.BAD)}
    # Threads of a recorded machine cannot be scheduled.
    assert planned & bad == {"irq.card-priority"}


def test_twice_changes_nothing(scene):
    it = scene("laptop-hybrid")
    _apply(it)
    after = _tree(it.sight.root)
    plan = make_plan(it.again(), Targets(it.sight), persist=True)
    assert plan.steps == ()
    assert _tree(it.sight.root) == after


def _steps_and_events(scene: Scene) -> list[tuple[str, int]]:
    count = len(make_plan(scene, Targets(scene.sight), persist=True).steps)
    return [(event, n) for n in range(1, count + 1) for event in ("journaled", "written", "done")]


@pytest.mark.torture
@pytest.mark.parametrize("name", ["raspberry-pi"])
def test_killed_at_any_point_everything_comes_back(scene, name):
    it = scene(name)
    before = _tree(it.sight.root)
    reached = 0
    for where in _steps_and_events(it):
        if not _killed_at(it, where):
            continue  # a step that is refused is never written
        reached += 1
        history = _journal(it.sight.root).history()
        assert len(history.interrupted) == 1
        outcomes = _roll_back(it)
        assert set(outcomes.values()) <= {"restored", "already"}, (where, outcomes)
        assert _tree(it.sight.root) == before, where
    assert reached > 30


def _killed_at(scene: Scene, where: tuple[str, int]) -> bool:
    """Apply in a process of its own that is killed there; say whether it got there."""
    child = os.fork()
    if child == 0:

        def watch(event: str, number: int) -> None:
            if (event, number) == where:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            _apply(scene, watch=watch)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    _roll_back(scene)
    return False


def test_a_value_that_somebody_else_has_set_stays(scene):
    it = scene("raspberry-pi")
    _apply(it, persist=False)
    it.sight.path(SWAPPINESS).write_text("33\n")
    asked = []

    def ask(entry, now):
        asked.append((entry.before, now))
        return False

    outcomes = _roll_back(it, ask=ask)
    assert asked == [("60", "33")]
    assert outcomes.pop(SWAPPINESS) == "foreign"
    assert set(outcomes.values()) == {"restored"}
    assert it.sight.value(SWAPPINESS) == "33"
    # It is not forgotten, and comes back when that is wanted.
    assert _roll_back(it, ask=lambda _entry, _now: True) == {SWAPPINESS: "forced"}
    assert it.sight.value(SWAPPINESS) == "60"


def test_a_single_check(scene):
    it = scene("raspberry-pi")
    _apply(it, persist=False)
    assert _roll_back(it, only=["sysctl.vm.swappiness"]) == {SWAPPINESS: "restored"}
    assert (it.sight.value(SWAPPINESS), it.sight.value("/proc/sys/vm/stat_interval")) == (
        "60", "10",
    )  # fmt: skip


def test_a_dry_rollback_writes_nothing(scene):
    it = scene("raspberry-pi")
    _apply(it)
    before, journal = _tree(it.sight.root), _journal(it.sight.root).path.read_bytes()
    found = roll_back(_journal(it.sight.root), it, Targets(it.sight), dry_run=True)
    assert {undone.outcome for undone in found} == {"restored"}
    assert (_tree(it.sight.root), _journal(it.sight.root).path.read_bytes()) == (before, journal)


def test_after_a_reboot(scene):
    it = scene("raspberry-pi")
    _apply(it)
    # The kernel starts with its own values; drop-ins set ours again; interrupts are numbered anew.
    it.sight.path("/proc/sys/kernel/random/boot_id").write_text("another\n")
    it.sight.path("/proc/sys/vm/stat_interval").write_text("1\n")
    it.sight.path("/proc/irq/34/smp_affinity_list").write_text("2\n")
    found = {s.entry.change.target: s.state for s in
             standings(_journal(it.sight.root).history(), it, Targets(it.sight))}  # fmt: skip
    assert found["/proc/sys/vm/stat_interval"] == "reverted"
    assert found[SWAPPINESS] == "holds"
    assert found["34"] == "gone"
    outcomes = _roll_back(it)
    assert (outcomes["34"], outcomes[SWAPPINESS]) == ("gone", "restored")
    assert outcomes["/proc/sys/vm/stat_interval"] == "already"
    assert it.sight.value("/proc/irq/34/smp_affinity_list") == "2"
    assert not it.sight.exists("/etc/sysctl.d")


def test_unplugged_between_plan_and_apply(scene):
    it = scene("raspberry-pi")
    plan = make_plan(it, Targets(it.sight), only=["usb.power", "sysctl.vm.swappiness"])
    control = next(it.sight.root.rglob("1-1.3/power/control"))
    control.unlink()
    outcomes = {r.step.change.check: r.outcome for r in _apply(it, plan)}
    assert outcomes == {"usb.power": "gone", "sysctl.vm.swappiness": "set"}
    assert not control.exists()
    # Plugged in after it was set, and out again before the rollback: nothing is left to restore.
    assert _roll_back(it) == {SWAPPINESS: "restored"}


def test_a_value_that_changed_after_the_plan_is_what_comes_back(scene):
    it = scene("raspberry-pi")
    plan = make_plan(it, Targets(it.sight), only=["sysctl.vm.swappiness"])
    it.sight.path(SWAPPINESS).write_text("42\n")
    assert [result.outcome for result in _apply(it, plan)] == ["set"]
    _roll_back(it)
    assert it.sight.value(SWAPPINESS) == "42"


def test_interrupted_by_the_user_nothing_is_left(scene):
    it = scene("raspberry-pi")
    before = _tree(it.sight.root)

    def watch(event: str, number: int) -> None:
        if (event, number) == ("written", 9):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _apply(it, watch=watch)
    assert _tree(it.sight.root) == before
    assert set(_roll_back(it).values()) == {"already"}


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_done(scene):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    it = scene("raspberry-pi")
    before = _tree(it.sight.root)
    folder = _journal(it.sight.root).folder
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder])
    try:
        with pytest.raises(DiskFullError):
            _apply(it)
        assert _journal(it.sight.root).history().active
        assert _tree(it.sight.root) == before
    finally:
        run(["umount", folder])


def test_a_journal_names_no_path_outside(scene):
    it = scene("raspberry-pi")
    for kind, target in (
        ("value", "/etc/passwd"),
        ("value", "/sys/../etc/passwd"),
        ("file", "/usr/bin/true"),
        ("file", "/etc/../usr/bin/true"),
        ("irq", "../../etc/passwd"),
        ("unit", "--now"),
        ("member", "audio --help"),
        ("pipewire", "-d"),
    ):
        plan = Plan((Step(Change("cpu.governor", kind, target, "yes"), None),))
        assert [result.outcome for result in _apply(it, plan)] == ["refused"], target


def test_a_link_in_etc_is_left_alone(scene):
    it = scene("raspberry-pi")
    elsewhere = it.sight.root / "elsewhere.conf"
    link = it.sight.path("/etc/sysctl.d/60-archibald.conf")
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    plan = make_plan(it, Targets(it.sight), persist=True)
    assert any("is a link" in text for text in plan.unreadable)
    _apply(it, plan)
    assert not elsewhere.exists()


def test_drift_after_an_update(scene):
    it = scene("raspberry-pi")
    targets, history = Targets(it.sight), _journal(it.sight.root)
    assert drift(history.history(), it, targets) is None
    _apply(it)
    found = drift(history.history(), it.again(), targets)
    assert found is not None
    assert not found
    # An update replaces a drop-in and the kernel; a card's parameter is back.
    it.sight.path("/etc/sysctl.d/60-archibald.conf").write_text("vm.swappiness = 60\n")
    version = it.sight.path("/proc/version")
    version.write_text("Linux version 7.3.0-arm64 (a) (b) #1 SMP PREEMPT_DYNAMIC Debian\n")
    (it.sight.root / "boot/config-7.3.0-arm64").write_text("CONFIG_HIGH_RES_TIMERS=y\n")
    now = make_scene(recorded_sight(it.sight.root), it.profile)
    found = drift(history.history(), now, targets)
    assert found is not None
    assert [(s.entry.change.target, s.state) for s in found.lost] == [
        ("/etc/sysctl.d/60-archibald.conf", "changed")
    ]
    assert found.worse == ("kernel.preemption", "kernel.threaded-irqs")
    assert (found.kernel_then, found.kernel_now) == ("7.2.12-arm64-rt", "7.3.0-arm64")


def test_what_a_boot_sets_anew_has_not_drifted(scene):
    it = scene("raspberry-pi")
    targets, history = Targets(it.sight), _journal(it.sight.root)
    _apply(it)
    it.sight.path("/proc/sys/kernel/random/boot_id").write_text("another\n")
    found = drift(history.history(), it.again(), targets)
    assert found is not None
    # Interrupts end with a boot; here a service has set them to the same again.
    assert any(s.state == "gone" for s in standings(history.history(), it, targets))
    assert not found
    irq = it.sight.path("/proc/irq/34/smp_affinity_list")
    irq.write_text("0-3\n")
    found = drift(history.history(), it.again(), targets)
    assert found is not None
    assert [(s.entry.change.target, s.state) for s in found.lost] == [("34", "gone")]
    assert found.worse == ("irq.card-affinity",)


_VALUES = st.integers(min_value=0, max_value=50)
_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), _VALUES),
        st.tuples(st.sampled_from(["journaled", "written"]), _VALUES),
        st.tuples(st.just("foreign"), st.integers(min_value=51, max_value=99)),
        st.tuples(st.just("rollback"), st.just(0)),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(operations=_OPERATIONS)
def test_whatever_happens_rollback_restores_ours_and_keeps_the_others(tmp_path_factory, operations):
    root = tmp_path_factory.mktemp("m")
    for name, text in {
        "proc/version": "Linux version 7", "proc/cmdline": "", "proc/meminfo": "",
        SWAPPINESS[1:]: "60\n", "sys/devices/system/cpu/present": "0-3\n",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    scene = make_scene(recorded_sight(root), Profile())
    targets, journal = Targets(scene.sight), _journal(root)
    original = "60"
    for kind, value in operations:
        if kind == "foreign":
            (root / SWAPPINESS[1:]).write_text(f"{value}\n")
            # From here on, this is what was there before us.
            original = str(value)
        elif kind == "rollback":
            _roll_back(scene)
            assert targets.read("value", SWAPPINESS) == original
        else:
            _crashing_apply(scene, targets, journal, str(value), kind)
    _roll_back(scene)
    assert targets.read("value", SWAPPINESS) == original


def _crashing_apply(
    scene: Scene, targets: Targets, journal: Journal, value: str, where: str
) -> None:
    change = Change("sysctl.vm.swappiness", "value", SWAPPINESS, value)
    plan = Plan((Step(change, targets.read("value", SWAPPINESS)),))
    child = os.fork()
    if child == 0:

        def watch(event: str, _number: int) -> None:
            if event == where:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with journal.opened():
                execute(plan, scene, targets, journal, watch=watch)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
