"""Single checks: what no recorded machine shows, and the edges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from archibald.profile.model import Profile
from archibald.tune.audit import audit, make_scene
from archibald.tune.knobs import all_knobs
from archibald.tune.knobs.cpu import allows
from archibald.tune.knobs.limits import group_members
from archibald.tune.knobs.pipewire import parse_profiler
from archibald.tune.knobs.scheduler import mask, parse_mask
from archibald.tune.knobs.storage import mount_of, parse_mounts
from archibald.tune.model import Finding
from archibald.tune.observe import NOTES, Sight, patience_s, recorded_sight
from archibald.vm.selftest.model import Answer, NotApplicableError

UNITS = "systemctl show --property=Id,LoadState,ActiveState --"


def _edit(root: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        path = root / name.lstrip("/")
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _answer_commands(root: Path, commands: dict[str, str]) -> None:
    notes = json.loads((root / NOTES).read_text())
    notes["commands"].update(commands)
    (root / NOTES).write_text(json.dumps(notes))


def _find(root: Path, check: str, profile: Profile | None = None) -> Finding:
    scene = make_scene(recorded_sight(root), profile or Profile())
    return next(f for f in audit(scene).findings if f.check == check)


def test_without_systemd_no_service_of_it_disturbs(machine, monkeypatch):
    scene = make_scene(recorded_sight(machine("desktop-usb")), Profile())
    live = replace(scene, sight=replace(scene.sight, root=Path("/")))
    monkeypatch.setattr(Sight, "exists", lambda _self, path: path != "/run/systemd/system")
    knob = next(k for _, k in all_knobs(live) if k.page.id == "services.disturbing")
    with pytest.raises(NotApplicableError, match="systemd does not run here"):
        knob.judge()


CPU = "/sys/devices/system/cpu"
PROFILES = {"audio": [1, 7], "minimum": 8}


@pytest.mark.parametrize(
    ("check", "name", "files", "answer"),
    [
        ("kernel.preemption", "desktop-usb",
         {"/proc/version": "Linux version 7.2 (a) #1 SMP PREEMPT_DYNAMIC Debian"}, Answer.BAD),
        ("kernel.tickless", "desktop-usb", {f"{CPU}/nohz_full": "3\n"}, Answer.BAD),
        ("kernel.tickless", "desktop-usb", {f"{CPU}/nohz_full": None}, Answer.NOT_APPLICABLE),
        ("kernel.tickless", "desktop-usb", {f"{CPU}/nohz_full": "\n"}, Answer.OK),
        ("kernel.high-resolution-timers", "desktop-usb", {"/proc/cmdline": "highres=off"},
         Answer.BAD),
        ("kernel.arguments", "desktop-usb",
         {"/proc/cmdline": "cpufreq.default_governor=performance "
          "cpufreq.default_governor=ondemand"},
         Answer.BAD),
        ("cpu.audio-core", "laptop-hybrid", {"/sys/devices/cpu_atom/cpus": "0-3\n"}, Answer.BAD),
        ("cpu.governor", "raspberry-pi",
         {f"{CPU}/cpufreq/policy0/scaling_governor": "performance\n"}, Answer.OK),
        ("cpu.idle-latency", "desktop-usb",
         {f"{CPU}/cpu1/power/pm_qos_resume_latency_us": "20\n"}, Answer.OK),
        ("cpu.idle-latency", "desktop-usb", {f"{CPU}/cpu1/cpuidle/state2/disable": "1\n"},
         Answer.OK),
        ("memory.huge-pages", "laptop-hybrid",
         {"/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n"}, Answer.OK),
        ("memory.swap", "desktop-usb",
         {"/proc/swaps": "Filename Type Size Used Priority\n/dev/sda3 partition 8388604 10 -2\n"},
         Answer.OK),
        ("sysctl.kernel.numa_balancing", "desktop-usb",
         {"/proc/sys/kernel/numa_balancing": "1\n"}, Answer.BAD),
        ("sysctl.vm.swappiness", "desktop-usb", {"/proc/sys/vm/swappiness": None},
         Answer.NOT_APPLICABLE),
        ("sysctl.vm.swappiness", "desktop-usb", {"/proc/sys/vm/swappiness": "ten\n"},
         Answer.CANNOT_TELL),
        ("sysctl.fs.inotify.max_user_watches", "desktop-usb",
         {"/proc/sys/fs/inotify/max_user_watches": "8192\n"}, Answer.BAD),
        ("sound.module-parameters", "laptop-hybrid",
         {"/sys/module/snd_hda_intel/parameters/power_save": "0\n"}, Answer.OK),
        ("sound.modules", "laptop-hybrid",
         {"/lib/modules/7.2.12-amd64/modules.builtin": "kernel/sound/core/snd-rawmidi.ko\n"},
         Answer.OK),
        ("sound.modules", "laptop-hybrid",
         {"/proc/modules": None, "/lib/modules/7.2.12-amd64/modules.builtin": None},
         Answer.CANNOT_TELL),
        ("usb.power", "raspberry-pi",
         {"/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1"
          "/1-1.3/power/control": "on\n"}, Answer.OK),
        ("services.power-managers", "laptop-hybrid",
         {"/var/lib/power-profiles-daemon/state.ini": "Profile=balanced\n"}, Answer.BAD),
        ("limits.groups", "laptop-hybrid", {"/etc/group": None}, Answer.CANNOT_TELL),
        ("limits.groups", "laptop-hybrid", {"/etc/group": "wheel:x:1:musician\n"}, Answer.BAD),
        ("irq.shared", "desktop-usb", {"/proc/interrupts": None}, Answer.CANNOT_TELL),
        ("storage.library", "desktop-usb", {"/proc/self/mounts": None}, Answer.CANNOT_TELL),
    ],
)  # fmt: skip
def test_answers(machine, check, name, files, answer):
    root = machine(name)
    _edit(root, files)
    found = _find(root, check)
    assert found.answer is answer, found
    assert found.evidence or answer is Answer.NOT_APPLICABLE


def test_energy_preference_of_a_tuned_laptop(machine):
    root = machine("laptop-hybrid")
    name = f"{CPU}/cpufreq/policy{{}}/energy_performance_preference"
    _edit(root, {name.format(number): "performance\n" for number in range(12)})
    assert _find(root, "cpu.energy-preference").answer is Answer.OK
    wanted = Profile.model_validate({"realtime": {"governor": "schedutil"}})
    assert _find(root, "cpu.energy-preference", wanted).answer is Answer.NOT_APPLICABLE


def test_two_threads_of_one_core(machine):
    found = _find(machine("desktop-usb"), "cpu.smt", Profile.model_validate({"cpu": PROFILES}))
    assert (found.answer, found.observed) == (Answer.BAD, "[[1, 7]] share a core")


def test_tickless_cpus_that_the_kernel_cannot_give(machine):
    root = machine("laptop-hybrid")
    found = _find(root, "kernel.tickless", Profile.model_validate({"cpu": {"tickless": [1]}}))
    assert found.answer is Answer.BAD


def test_an_ordinary_kernel_may_be_what_is_wanted(machine):
    root = machine("laptop-hybrid")
    wanted = Profile.model_validate({"system": {"kernel": "generic"}})
    assert _find(root, "kernel.preemption", wanted).answer is Answer.BAD
    _edit(root, {"/proc/cmdline": "quiet preempt=full threadirqs\n"})
    assert _find(root, "kernel.preemption", wanted).answer is Answer.OK
    assert _find(root, "kernel.threaded-irqs", wanted).answer is Answer.OK


def _dump(*, profile: str, driver_card: int) -> str:
    device = {"type": "PipeWire:Interface:Device"}
    node = {"type": "PipeWire:Interface:Node"}
    return json.dumps([
        {"id": 40, **device, "info": {"props": {"api.alsa.card": 2},
                                      "params": {"Profile": [{"name": profile}]}}},
        {"id": 50, **node, "info": {"state": "running", "props": {
            "api.alsa.pcm.card": driver_card, "node.name": "sink",
            "session.suspend-timeout-seconds": 0}}},
    ])  # fmt: skip


def test_another_card_drives_the_graph(machine):
    root = machine("desktop-usb")
    _answer_commands(root, {"pw-dump": _dump(profile="off", driver_card=0)})
    assert _find(root, "pipewire.driver").answer is Answer.BAD
    assert _find(root, "pipewire.profile").answer is Answer.BAD
    assert _find(root, "pipewire.suspend").answer is Answer.OK


@pytest.mark.parametrize("text", ["", "[", "not JSON", '{"a": 1}'])
def test_a_dump_that_is_none(machine, text):
    root = machine("desktop-usb")
    _answer_commands(root, {"pw-dump": text})
    for check in ("pipewire.suspend", "pipewire.profile", "pipewire.graph"):
        assert _find(root, check).answer is Answer.CANNOT_TELL


def test_pipewire_of_another_user(machine):
    root = machine("desktop-usb")
    status = (root / "proc/1500/status").read_text().replace("1000", "1001")
    _edit(root, {"/proc/1500/status": status})
    found = _find(root, "pipewire.running")
    assert (found.answer, found.observed) == (Answer.BAD, "only of user 1001")
    assert _find(root, "pipewire.quantum").answer is Answer.NOT_APPLICABLE


def _states(*active: str) -> str:
    from archibald.system.compose import compose
    from archibald.system.spec import Forbidden

    names = [item.unit for item in compose(Profile()).of(Forbidden)]
    return "\n\n".join(
        f"Id={name}\nLoadState=loaded\nActiveState={'active' if name in active else 'inactive'}"
        for name in names
    )


def test_services_that_disturb(machine):
    from archibald.system.compose import compose
    from archibald.system.spec import Forbidden
    from archibald.tune.knobs import all_knobs

    root = machine("desktop-usb")
    names = " ".join(item.unit for item in compose(Profile()).of(Forbidden))
    _answer_commands(root, {f"{UNITS} {names}": _states()})
    assert _find(root, "services.disturbing").answer is Answer.OK
    running = _states("apt-daily.timer", "ssh.service", "NetworkManager.service")
    _answer_commands(root, {f"{UNITS} {names}": running})
    assert _find(root, "services.disturbing").answer is Answer.BAD
    scene = make_scene(recorded_sight(root), Profile())
    knob = next(k for _, k in all_knobs(scene) if k.page.id == "services.disturbing")
    # A remote login and the network are never cut.
    assert [change.target for change in knob.changes()] == ["apt-daily.timer"]


def test_a_file_that_only_root_may_read(machine, monkeypatch):
    root = machine("nixos")
    from archibald.tune import observe

    real = observe._read

    def read(path: Path) -> bytes:
        if path.name == "timer_list":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(observe, "_read", read)
    found = _find(root, "kernel.high-resolution-timers")
    assert (found.answer, found.needs_root) == (Answer.CANNOT_TELL, True)


@pytest.mark.parametrize(
    ("limit", "latency_us", "allowed"),
    [("0", 350, True), ("n/a", 1, False), ("n/a", 0, True), ("20", 20, True), ("20", 21, False)],
)
def test_limits_of_sleep_states(limit, latency_us, allowed):
    assert allows(limit, latency_us) is allowed


def test_masks():
    assert parse_mask("1,00000003") == {0, 1, 32}
    assert mask({0, 1, 32}) == "1,00000003"
    assert mask({3}) == "8"


def test_mounts():
    mounts = parse_mounts("/dev/a / ext4 rw 0 0\n/dev/b /my\\040disk xfs ro,noatime 0 0\n")
    assert mount_of(mounts, "/my disk/kick.wav").source == "/dev/b"
    assert mount_of(mounts, "/my disk2").source == "/dev/a"
    with pytest.raises(ValueError, match="no line"):
        parse_mounts("nonsense")


def test_interrupts_that_only_the_kernel_may_move_are_not_counted(machine):
    root = machine("desktop-usb")
    assert _find(root, "irq.audio-cpu").answer is Answer.BAD
    # The kernel makes the file read-only for queues that it manages itself.
    (root / "proc/irq/128/smp_affinity_list").chmod(0o444)
    assert _find(root, "irq.audio-cpu").answer is Answer.OK


def test_an_interrupt_that_was_moved_away_may_not_have_come_since(machine):
    root = machine("desktop-usb")
    effective = root / "proc/irq/128/effective_affinity_list"
    assert effective.read_text() == "1\n"
    (root / "proc/irq/128/smp_affinity_list").write_text("0,2-11\n")
    assert _find(root, "irq.audio-cpu").answer is Answer.OK


@pytest.mark.parametrize(("start_s", "wanted"), [(0.3, 20.0), (6.0, 120.0), (60.0, 180.0)])
def test_slow_machines_get_more_patience(start_s, wanted):
    assert patience_s(start_s) == wanted


def test_hubs_may_sleep_because_an_awake_interface_keeps_them_awake(machine):
    root = machine("desktop-usb")
    controls = sorted(path for path in root.rglob("power/control") if "usb1" in path.parts)
    hub, interface = controls[-1], next(p for p in controls if p.parents[1].name.startswith("1-3."))
    assert hub.parents[1].name == "usb1"
    interface.write_text("on\n")
    hub.write_text("auto\n")
    assert _find(root, "usb.power").answer is Answer.OK
    interface.write_text("auto\n")
    hub.write_text("on\n")
    assert _find(root, "usb.power").answer is Answer.BAD


def test_groups():
    assert group_members("audio:x:29:ann,bob\n", "audio") == {"ann", "bob"}
    assert group_members("audio:x:29:\n", "audio") == set()
    assert group_members("audio2:x:29:ann\n", "audio") is None


def test_profiler_output_that_was_cut_off():
    text = '[[{"type":"clock","rate":"1/48000","duration":64},{"type":"driver","id":3,"name":"a",'
    text += '"xrun_count":1},{"type":"follower","id":4,"name":"{b}","xrun_count":2},{"type":"fol'
    (driver,) = parse_profiler(text)
    assert (driver.quantum, driver.rate, driver.followers) == (64, 48000, 1)
    assert driver.missed == {"a": 1, "{b}": 2}
    with pytest.raises(ValueError, match="no record"):
        parse_profiler("[\n")
