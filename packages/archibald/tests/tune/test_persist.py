"""What survives a reboot: the files of an image, the boot loader, a module for NixOS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archibald.errors import MissingToolError
from archibald.profile.model import Profile
from archibald.run import Result, run
from archibald.system.compose import compose
from archibald.system.render import rendered_tree
from archibald.system.spec import Contribution, File, KernelArg, Origin, SystemSpec
from archibald.tune.apply import refresh
from archibald.tune.audit import make_scene
from archibald.tune.observe import Sight, live_sight, recorded_sight
from archibald.tune.persist import (
    FOLDERS,
    GRUB_DROP_IN,
    KERNEL_CMDLINE,
    booted_arguments,
    grub_drop_in,
    joined_arguments,
    nix_module,
    own_program,
    persisted,
    refreshers,
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
        if path in wants:
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


def test_the_nixos_module_says_the_same(scene):
    text = nix_module(scene("nixos"))
    assert 'boot.kernelParams = [ "cpufreq.default_governor=performance" ];' in text
    assert '"vm.swappiness" = "10";' in text
    assert 'users.users."artist".extraGroups = [ "audio" ];' in text
    assert '"default.clock.quantum" = 32;' in text
    assert text.count("{") == text.count("}")
    assert "mkDefault" not in text


def test_nix_strings_cannot_be_left(scene):
    it = scene("nixos", Profile.model_validate({"users": {"name": "artist"}}))
    wanted = KernelArg('x="${builtins.abort}"')
    spec = SystemSpec("default", (Contribution(wanted, (Origin("test", "hostile"),)),))
    text = nix_module(replace(it, spec=replace(spec, contributions=(
        *spec.contributions, *it.spec.contributions))))  # fmt: skip
    assert r'"x=\"\${builtins.abort}\""' in text


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
