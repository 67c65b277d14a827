"""What survives a reboot: the files of an image, the boot loader, a module for NixOS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from archibald.cli.common import cli
from archibald.errors import MissingToolError
from archibald.profile.load import canonical_json, load_resolved
from archibald.profile.model import Profile
from archibald.run import Result, run
from archibald.system.compose import compose
from archibald.system.modules.identity import PROFILE_PATH
from archibald.system.render import rendered_tree
from archibald.system.spec import File, SystemSpec
from archibald.tune.apply import execute, refresh
from archibald.tune.audit import make_scene
from archibald.tune.journal import Journal
from archibald.tune.observe import Sight, live_sight, recorded_sight
from archibald.tune.persist import (
    FOLDERS,
    GRUB_DROP_IN,
    KERNEL_CMDLINE,
    OWN_PROFILE,
    PROFILE,
    booted_arguments,
    grub_drop_in,
    joined_arguments,
    nix_modules,
    own_program,
    persisted,
    refreshers,
    undo_refreshers,
)
from archibald.tune.plan import make_plan
from archibald.tune.targets import TargetError, Targets, file_content
from archibald.vm.selftest.reader import SessionUser


def _files(scene) -> dict[str, bytes]:
    return {c.target: file_content(c.value) for c in persisted(scene) if c.kind == "file"}


def test_files_are_those_of_an_image(scene):
    it = scene("raspberry-pi")
    found = _files(it)
    tree = rendered_tree(compose(Profile(), it.machine.spec))
    assert len(found) >= len(FOLDERS)
    wants = [path for path in found if path.endswith(".d/archibald-watchdog.conf")
             or path.endswith(".d/archibald-awake.conf")]  # fmt: skip
    assert len(wants) == 2
    for path, content in found.items():
        if path in wants or path == OWN_PROFILE:
            continue
        node = tree[path]
        assert isinstance(node, File)
        assert node.content == content
    assert b"vm.swappiness = 10" in found["/etc/sysctl.d/60-archibald.conf"]


def test_units_are_wanted_by_files_that_a_rollback_can_remove(scene):
    it = scene("raspberry-pi")
    found = _files(it)
    assert found["/etc/systemd/system/multi-user.target.d/archibald-watchdog.conf"] == (
        b"[Unit]\nWants=archibald-watchdog.service\n"
    )
    assert found["/etc/systemd/user/pipewire.service.d/archibald-awake.conf"] == (
        b"[Unit]\nWants=archibald-awake.service\n"
    )
    assert ("systemctl", "daemon-reload") in refreshers(persisted(it))


def test_units_of_this_machine_call_the_program_where_it_is(scene):
    it = scene("raspberry-pi")
    live = replace(it, sight=replace(it.sight, root=Path("/")))
    unit = _files(live)["/etc/systemd/system/archibald-watchdog.service"].decode()
    assert f"ExecStart={own_program()} watchdog --after 5\n" in unit
    assert "/usr/bin/archibald" not in unit


def test_the_watchdog_runs_from_then_on_and_stops_with_its_unit(scene, tmp_path):
    it = scene("raspberry-pi")
    assert refreshers(persisted(it))[-2:] == (
        ("systemctl", "daemon-reload"), ("systemctl", "restart", "archibald-watchdog.service"),
    )  # fmt: skip
    targets, journal = Targets(it.sight), Journal(tmp_path / "journal")
    with journal.opened():
        execute(make_plan(it, targets, persist=True), it, targets, journal)
        undone = undo_refreshers(journal.history().active)
    assert undone[0] == ("systemctl", "stop", "archibald-watchdog.service")
    assert undone[-1] == ("systemctl", "daemon-reload")
    was_there = [replace(entry, before=entry.change.value) for entry in journal.history().active]
    assert undo_refreshers(was_there)[-1] == (
        "systemctl", "restart", "archibald-watchdog.service",
    )  # fmt: skip
    assert undo_refreshers([e for e in was_there if "watchdog" not in e.change.target])[-1] == (
        "systemctl", "daemon-reload",
    )  # fmt: skip


def test_the_profile_is_kept_for_the_units_and_the_next_audit(scene):
    variant = {"name": "low", "title": "Low", "audio": {"quantum": 16}}
    wanted = Profile.model_validate({"audio": {"quantum": 64}, "variant": [variant]})
    it = scene("raspberry-pi", wanted)
    cmdline = it.sight.path("/proc/cmdline")
    cmdline.write_text(f"{cmdline.read_text().strip()} archibald.variant=low\n")
    it = scene("raspberry-pi", wanted)
    assert it.profile.audio.quantum == 16
    # The whole profile, and not only what this boot entry makes of it.
    assert load_resolved(_files(it)[OWN_PROFILE]) == wanted
    assert PROFILE in {change.check for change in persisted(it)}
    # What an image says already is not said again.
    image = it.sight.path(PROFILE_PATH)
    image.parent.mkdir(parents=True)
    image.write_bytes(canonical_json(wanted))
    assert OWN_PROFILE not in _files(it)
    image.write_bytes(canonical_json(Profile()))
    assert OWN_PROFILE in _files(it)


def test_what_the_profile_does_without_is_not_written(scene):
    none = {"watchdog": False, "keep_awake": False, "card_first": False}
    it = scene("raspberry-pi", Profile.model_validate({"realtime": none}))
    assert [path for path in _files(it) if "systemd" in path or "card" in path] == []


def test_a_container_gets_no_units(machine):
    scene = make_scene(recorded_sight(machine("container")), Profile(), adapt=True)
    assert [path for path in _files(scene) if "systemd" in path] == []


def test_grub_gets_a_drop_in(scene):
    it = scene("desktop-usb")
    text = _files(it)[GRUB_DROP_IN].decode()
    assert text.endswith('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX '
                         'cpufreq.default_governor=performance"\n')  # fmt: skip
    assert ("update-grub",) in refreshers(persisted(it))


def test_a_grub_drop_in_is_shell_that_adds(tmp_path):
    (tmp_path / "x.cfg").write_text(grub_drop_in(["nohz_full=1-3", "threadirqs"]))
    script = f'GRUB_CMDLINE_LINUX=quiet; . {tmp_path}/x.cfg; echo "$GRUB_CMDLINE_LINUX"'
    assert run(["sh", "-c", script]).stdout == "quiet nohz_full=1-3 threadirqs\n"


def test_systemd_boot_gets_its_line(scene):
    it = scene("laptop-hybrid")
    assert _files(it)[KERNEL_CMDLINE] == (
        b"root=UUID=77aa rw quiet cpufreq.default_governor=performance\n"
    )
    assert ("kernel-install", "add-all") in refreshers(persisted(it))
    # Once it stands there it is not added again.
    it.sight.path(KERNEL_CMDLINE).write_bytes(_files(it)[KERNEL_CMDLINE])
    assert KERNEL_CMDLINE not in _files(it)


def test_another_value_of_an_argument_is_replaced():
    now = "root=/dev/sda2 nohz_full=3 rcu_nocbs=3 console=tty0 quiet"
    assert joined_arguments(now, ["nohz_full=1", "rcu_nocbs=3", "console=ttyS0"]) == (
        "root=/dev/sda2 rcu_nocbs=3 console=tty0 quiet nohz_full=1 console=ttyS0"
    )
    assert joined_arguments(now, []) == now


def test_a_drop_in_without_wanted_arguments_is_emptied(scene):
    it = scene("desktop-usb")
    none = replace(it, spec=SystemSpec("default", ()))
    assert GRUB_DROP_IN not in _files(none)
    path = it.sight.path(GRUB_DROP_IN)
    path.parent.mkdir(parents=True)
    path.write_text(grub_drop_in(["nohz_full=3"]))
    assert b"nohz_full" not in _files(none)[GRUB_DROP_IN]


def test_what_the_boot_loader_adds_is_not_kept():
    line = "BOOT_IMAGE=/vmlinuz initrd=\\efi\\x root=/dev/sda2 quiet"
    assert booted_arguments(line) == "root=/dev/sda2 quiet"


def test_a_container_has_no_boot_loader(machine):
    scene = make_scene(recorded_sight(machine("container")), Profile(), adapt=True)
    assert GRUB_DROP_IN not in _files(scene)


def test_single_checks_write_no_files(scene):
    it = scene("raspberry-pi")
    plan = make_plan(it, Targets(it.sight), only=["sysctl.vm.swappiness"], persist=True)
    assert [step.change.kind for step in plan.steps] == ["value"]


def test_nixos_files_are_left_alone(scene):
    assert persisted(scene("nixos")) == []


def test_nixos_gets_our_modules(scene):
    wanted = {"audio": {"quantum": 64}, "cpu": {"minimum": 4}, "users": {"name": "singer"}}
    text = nix_modules(scene("nixos", Profile.model_validate(wanted)))
    assert "archibald.nixosModules.audio\n" in text
    assert "quantum = 64;" in text
    assert 'users.users.artist.extraGroups = [ "audio" ];' in text
    # The watchdog is the module's own service; tables that it does not read are left out.
    assert "das_watchdog" not in text
    assert "singer" not in text


def test_nixos_gets_them_after_a_change_too(machine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["apply", "--persist", "--yes", "--json", "--root", str(machine("nixos")), "--journal",
             str(tmp_path / "journal")]  # fmt: skip
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    data = json.loads(result.output)
    assert data["steps"]
    assert "archibald.nixosModules.audio" in data["nixos_modules"]


def _noting(asked):
    def runner(argv, **_options):
        asked.append(list(argv))
        return Result(tuple(argv), 0, "", "")

    return runner


def test_programs_that_make_files_take_effect():
    asked: list[list[str]] = []

    def runner(argv, **_options):
        asked.append(list(argv))
        if argv[0] == "update-grub":
            raise MissingToolError("this step needs update-grub")

    sight = live_sight(SessionUser("root", 0))
    commands = (("udevadm", "control", "--reload"), ("update-grub",))
    failed = refresh(commands, Targets(sight, runner))
    assert asked == [list(argv) for argv in commands]
    assert failed == ["update-grub: this step needs update-grub"]


def test_no_program_runs_for_a_recorded_machine(scene):
    def runner(argv, **_options):
        raise AssertionError(argv)

    assert refresh((("update-grub",),), Targets(scene("desktop-usb").sight, runner)) == []


def test_members_of_a_group_are_changed_by_gpasswd(tmp_path):
    asked: list[list[str]] = []
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("audio:x:29:\n")
    sight = live_sight(SessionUser("root", 0))
    targets = Targets(sight, _noting(asked))
    targets.write("member", "audio ann", "yes")
    targets.write("member", "audio ann", "no")
    assert asked == [["gpasswd", "--add", "ann", "audio"], ["gpasswd", "--delete", "ann", "audio"]]
    recorded = Targets(recorded_sight(tmp_path))
    assert recorded.read("member", "audio ann") == "no"
    with pytest.raises(TargetError, match="recorded machine"):
        recorded.write("member", "audio ann", "yes")
    with pytest.raises(TargetError, match="there is no group studio"):
        recorded.read("member", "studio ann")


def test_units_are_asked_and_changed_by_systemctl():
    asked: list[list[str]] = []
    answers = {"is-active": "active\n"}

    def commands(argv, *, in_session, accept):
        assert not in_session
        assert 3 in accept
        return answers[argv[1]]

    sight = Sight(Path("/"), SessionUser("root", 0), commands)
    targets = Targets(sight, _noting(asked))
    assert targets.read("unit", "man-db.timer") == "active"
    answers["is-active"] = "failed\n"
    assert targets.read("unit", "man-db.timer") == "inactive"
    targets.write("unit", "man-db.timer", "inactive")
    targets.write("unit", "man-db.timer", "active")
    assert asked == [["systemctl", "stop", "man-db.timer"], ["systemctl", "start", "man-db.timer"]]
