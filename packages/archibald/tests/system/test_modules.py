"""What each module contributes, and when it refuses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ExitCode
from archibald.profile.load import load_resolved
from archibald.profile.model import (
    Audio,
    CpuTable,
    Desktop,
    Image,
    Profile,
    Realtime,
    System,
    Users,
)
from archibald.system.compose import compose
from archibald.system.modules import realtime
from archibald.system.modules.common import cpu_list
from archibald.system.render import kernel_command_line, rendered_tree
from archibald.system.spec import (
    File,
    Forbidden,
    Group,
    Hardware,
    Link,
    Package,
    Sysctl,
    Unit,
    User,
)


def core(**tables):
    return Profile(**{"desktop": Desktop(enable=False), **tables})


def packages(profile):
    return {package.name for package in compose(profile).of(Package)}


def file_of(profile, path):
    node = rendered_tree(compose(profile))[path]
    assert isinstance(node, File)
    return node


def text(profile, path):
    return file_of(profile, path).content.decode()


def states(profile):
    return {unit.name: unit.state for unit in compose(profile).of(Unit)}


def forbidden(profile):
    return {item.unit for item in compose(profile).of(Forbidden)}


class TestBase:
    @pytest.mark.parametrize(
        ("kernel", "generic", "expected"),
        [
            ("rt", True, {"linux-image-rt-amd64", "linux-image-amd64"}),
            ("rt", False, {"linux-image-rt-amd64"}),
            ("generic", True, {"linux-image-amd64"}),
            ("generic", False, {"linux-image-amd64"}),
        ],
    )
    def test_kernels(self, kernel, generic, expected):
        profile = core(system=System(kernel=kernel), image=Image(generic_kernel=generic))
        assert {name for name in packages(profile) if name.startswith("linux-image")} == expected

    def test_what_a_live_system_cannot_do_without(self):
        needed = {
            "systemd-sysv", "udev", "kmod", "live-boot", "initramfs-tools", "zstd", "locales",
            "libpam-systemd", "dbus-user-session", "login", "passwd", "python3", "tzdata",
        }  # fmt: skip
        assert needed <= packages(core())

    def test_packages_of_the_image_table(self):
        assert "tmux" in packages(core(image=Image(packages=["tmux"])))

    def test_names_and_language(self):
        profile = core(
            system=System(hostname="studio-1", locale="de_DE.UTF-8", timezone="Europe/Berlin")
        )
        tree = rendered_tree(compose(profile))
        assert file_of(profile, "/etc/hostname").content == b"studio-1\n"
        assert "127.0.1.1 studio-1" in text(profile, "/etc/hosts")
        assert text(profile, "/etc/locale.gen").endswith("de_DE.UTF-8 UTF-8\n")
        assert text(profile, "/etc/locale.conf").endswith("LANG=de_DE.UTF-8\n")
        assert tree["/etc/localtime"] == Link("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin")

    def test_the_american_keyboard_needs_no_package(self):
        assert not {"kbd", "console-setup", "keyboard-configuration"} & packages(core())

    def test_another_keyboard_brings_its_tools(self):
        profile = core(system=System(keymap="de-nodeadkeys"))
        assert {"kbd", "console-setup", "keyboard-configuration"} <= packages(profile)
        keyboard = text(profile, "/etc/default/keyboard")
        assert 'XKBLAYOUT="de"\nXKBVARIANT="nodeadkeys"' in keyboard
        cached = file_of(profile, "/etc/console-setup/cached_setup_keyboard.sh")
        assert not cached.mode & 0o111

    def test_no_network(self):
        profile = core(system=System(network="off"))
        assert not {"systemd-resolved", "network-manager"} & packages(profile)
        assert "/etc/systemd/network/80-archibald.network" not in rendered_tree(compose(profile))
        assert {"NetworkManager.service", "systemd-networkd.service"} <= forbidden(profile)

    def test_network_on_demand_can_be_started_but_does_not_start(self):
        profile = core()
        assert "systemd-resolved" in packages(profile)
        assert states(profile)["systemd-networkd.service"] == "disabled"
        assert states(profile)["systemd-resolved.service"] == "disabled"
        assert {"systemd-networkd.service", "systemd-resolved.service"} <= forbidden(profile)

    def test_network_on(self):
        profile = core(system=System(network="on"))
        assert states(profile)["systemd-networkd.service"] == "enabled"
        assert states(profile)["systemd-resolved.service"] == "enabled"
        assert "systemd-networkd.service" not in forbidden(profile)
        wants = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
        assert wants in rendered_tree(compose(profile))

    def test_the_desktop_has_network_manager(self):
        on_demand, on = Profile(), Profile(system=System(network="on"))
        assert {"network-manager", "wpasupplicant"} <= packages(on_demand)
        assert states(on_demand)["NetworkManager.service"] == "disabled"
        assert states(on)["NetworkManager.service"] == "enabled"
        assert "NetworkManager.service" not in forbidden(on)
        assert "systemd-networkd.service" in forbidden(on)

    def test_nothing_listens_for_names(self):
        profile = core(system=System(network="on"))
        for path in (
            "/etc/systemd/network/80-archibald.network",
            "/etc/systemd/resolved.conf.d/archibald.conf",
        ):
            assert "LLMNR=no\nMulticastDNS=no" in text(profile, path)

    def test_bluetooth(self):
        off, on = core(), core(system=System(bluetooth=True))
        assert "bluez" not in packages(off)
        assert "bluetooth.service" in forbidden(off)
        assert {"bluez", "libspa-0.2-bluetooth"} <= packages(on)
        assert "bluetooth.service" not in forbidden(on)
        assert states(on)["bluetooth.service"] == "enabled"

    def test_timers_that_disturb_are_off_and_forbidden_but_not_masked(self):
        for name in ("apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer"):
            assert states(core())[name] == "disabled"
            assert name in forbidden(core())

    def test_the_profile_is_inside_the_system(self):
        profile = core(audio=Audio(quantum=64))
        data = file_of(profile, "/usr/lib/archibald/profile.json").content
        assert load_resolved(data).audio.quantum == 64


class TestAudio:
    PATH = "/etc/pipewire/pipewire.conf.d/92-low-latency.conf"

    def test_clock(self):
        conf = text(core(audio=Audio(rate=48000, quantum=64)), self.PATH)
        for line in (
            "default.clock.rate = 48000",
            "default.clock.allowed-rates = [ 48000 ]",
            "default.clock.quantum = 64",
            "default.clock.min-quantum = 16",
            "default.clock.max-quantum = 64",
        ):
            assert line in conf

    def test_the_rule_for_virtual_machines_is_overridden(self):
        rule = text(core(), self.PATH).partition("context.properties.rules")[2]
        assert "cpu.vm.name = !null" in rule
        assert "default.clock.min-quantum = 16" in rule
        assert "default.clock.max-quantum = 64" in rule

    def test_the_rule_for_virtual_machines_can_be_kept_and_is_not_capped(self):
        conf = text(core(audio=Audio(virtual_machine_quantum=True)), self.PATH)
        rule = conf.partition("context.properties.rules")[2]
        assert "default.clock.min-quantum = 1024" in rule
        assert "default.clock.max-quantum = 1024" in rule
        assert "default.clock.max-quantum = 64" in conf.partition("context.properties.rules")[0]

    def test_the_data_loop_has_its_priority_and_cpus(self):
        profile = core(audio=Audio(data_loop_priority=70), cpu=CpuTable(minimum=4, audio=[3, 1]))
        conf = text(profile, self.PATH)
        assert "loop.rt-prio = 70" in conf
        assert "thread.affinity = [ 1 3 ]" in conf

    def test_without_cpus_the_data_loop_is_not_pinned(self):
        assert "affinity" not in text(core(cpu=CpuTable(audio=[])), self.PATH)

    def test_braces_and_brackets_are_balanced(self):
        for path in (self.PATH, "/etc/wireplumber/wireplumber.conf.d/92-archibald.conf"):
            conf = text(core(), path)
            assert conf.count("{") == conf.count("}")
            assert conf.count("[") == conf.count("]")

    @pytest.mark.parametrize(
        ("option", "package"),
        [("alsa", "pipewire-alsa"), ("pulse", "pipewire-pulse"), ("jack", "pipewire-jack")],
    )
    def test_kinds_of_clients(self, option, package):
        assert package in packages(core())
        assert package not in packages(core(audio=Audio.model_validate({option: False})))

    def test_libjack_of_pipewire_comes_before_the_library_folder(self):
        paths = [
            path for path in rendered_tree(compose(core())) if path.startswith("/etc/ld.so.conf.d")
        ]
        assert len(paths) == 1
        # ldconfig reads the folder in the order of names, and this is Debian's own.
        assert paths[0] < "/etc/ld.so.conf.d/x86_64-linux-gnu.conf"
        assert paths[0] not in rendered_tree(compose(core(audio=Audio(jack=False))))

    def test_the_empty_filter_chain_of_debian_does_not_start(self):
        assert states(core())["filter-chain.service"] == "disabled"

    def test_midi(self):
        assert "snd-seq" in text(core(), "/etc/modules-load.d/archibald.conf")
        tree = rendered_tree(compose(core(audio=Audio(midi=False))))
        assert "/etc/modules-load.d/archibald.conf" not in tree

    def test_bluetooth_is_not_looked_for_when_it_is_off(self):
        path = "/etc/wireplumber/wireplumber.conf.d/92-archibald.conf"
        assert "hardware.bluetooth = disabled" in text(core(), path)
        assert "bluetooth" not in text(core(system=System(bluetooth=True)), path).partition("\n")[2]


class TestRealtime:
    def test_limits(self):
        profile = core(
            audio=Audio(data_loop_priority=70),
            realtime=Realtime(priority_limit=80, nice_limit=-11, memory_lock_mib=4096),
        )
        limits = text(profile, "/etc/security/limits.d/95-archibald.conf").splitlines()
        for group in ("@audio", "@pipewire"):
            assert f"{group} - rtprio 80" in limits
            assert f"{group} - nice -11" in limits
            assert f"{group} - memlock 4194304" in limits

    def test_unlimited_memory(self):
        assert "@audio - memlock unlimited" in text(
            core(), "/etc/security/limits.d/95-archibald.conf"
        )

    def test_sysctls(self):
        profile = core(realtime=Realtime(swappiness=5, timer_migration=True, stat_interval_s=30))
        values = {item.name: item.value for item in compose(profile).of(Sysctl)}
        assert values == {
            "vm.swappiness": "5",
            "fs.inotify.max_user_watches": "524288",
            "kernel.timer_migration": "1",
            "kernel.nmi_watchdog": "0",
            "kernel.numa_balancing": "0",
            "vm.percpu_pagelist_high_fraction": "1024",
            "vm.stat_interval": "30",
            "kernel.sched_rt_runtime_us": "950000",
        }

    def test_devices_belong_to_the_audio_group(self):
        rules = text(core(), "/etc/udev/rules.d/95-archibald-realtime.rules")
        for device in ("cpu_dma_latency", "hpet", "rtc0"):
            assert re.search(rf'^KERNEL=="{device}".*GROUP="audio", MODE="0660"$', rules, re.M)

    def test_an_rt_kernel_is_not_told_to_thread_its_interrupts(self):
        line = kernel_command_line(compose(core())).split()
        assert "threadirqs" not in line
        assert "preempt=full" not in line

    def test_an_ordinary_kernel_is(self):
        line = kernel_command_line(compose(core(system=System(kernel="generic")))).split()
        assert {"threadirqs", "preempt=full"} <= set(line)

    def test_nothing_is_isolated_unless_asked_for(self):
        line = kernel_command_line(compose(core()))
        for name in ("isolcpus", "nohz_full", "rcu_nocbs", "irqaffinity", "mitigations", "idle"):
            assert name not in line

    def test_isolation_moves_interrupts_to_the_other_cpus(self):
        cpu = CpuTable(minimum=8, audio=[1], isolated=[2, 3, 5], tickless=[3, 5])
        line = kernel_command_line(compose(core(cpu=cpu))).split()
        assert "isolcpus=managed_irq,domain,2-3,5" in line
        assert "nohz_full=3,5" in line
        assert "rcu_nocbs=3,5" in line
        assert "irqaffinity=0,4,6-7" in line

    def test_interrupts_use_all_cpus_of_a_known_machine(self):
        profile = core(cpu=CpuTable(minimum=2, audio=[], isolated=[1]))
        line = kernel_command_line(compose(profile, Hardware(cpus=4))).split()
        assert "irqaffinity=0,2-3" in line

    def test_no_interrupt_affinity_when_no_cpu_is_left(self):
        profile = core(cpu=CpuTable(minimum=2, audio=[0], isolated=[1]))
        assert "irqaffinity" not in kernel_command_line(compose(profile))

    def test_further_arguments(self):
        profile = core(cpu=CpuTable(kernel_args=["pcie_aspm=off"]))
        assert "pcie_aspm=off" in kernel_command_line(compose(profile)).split()

    def test_a_machine_without_the_cpus_is_refused(self):
        profile = core(cpu=CpuTable(minimum=4, isolated=[3]))
        with pytest.raises(realtime.CpuMismatchError, match=r"cpu\.isolated names CPU 3") as caught:
            compose(profile, Hardware(cpus=2))
        assert caught.value.exit_code == ExitCode.REFUSED
        assert "2 (0 to 1)" in caught.value.why

    def test_rtkit(self):
        assert "rtkit" in packages(core())
        without = core(realtime=Realtime(rtkit=False))
        assert "rtkit" not in packages(without)
        assert "rtkit.enabled = false" in text(without, TestAudio.PATH)

    @given(st.sets(st.integers(0, 40)))
    def test_cpu_lists_name_exactly_the_cpus(self, cpus):
        named = set()
        for part in filter(None, cpu_list(list(cpus)).split(",")):
            first, _, last = part.partition("-")
            named |= set(range(int(first), int(last or first) + 1))
        assert named == cpus


class TestUsers:
    def test_the_user(self):
        profile = core(users=Users(name="ada", full_name="Ada", groups=["audio", "video"]))
        (user,) = compose(profile).of(User)
        assert (user.name, user.uid, user.home) == ("ada", 1000, "/home/ada")
        assert user.groups == ("audio", "video")
        assert {group.name for group in compose(profile).of(Group)} == {"audio", "video"}

    def test_sudo(self):
        node = file_of(core(), "/etc/sudoers.d/archibald")
        assert node.mode == 0o440
        assert b"audio-user ALL=(ALL:ALL) NOPASSWD: ALL\n" in node.content
        without = core(users=Users(sudo=False))
        assert "sudo" not in packages(without)
        assert "/etc/sudoers.d/archibald" not in rendered_tree(compose(without))

    def test_the_console_logs_in_by_itself(self):
        path = "/etc/systemd/system/getty@tty1.service.d/archibald.conf"
        assert "--autologin audio-user" in text(core(), path)
        without = core(desktop=Desktop(enable=False, autologin=False))
        assert not [p for p in rendered_tree(compose(without)) if "getty" in p]

    def test_the_serial_console_only_when_it_is_offered(self):
        path = "/etc/systemd/system/serial-getty@.service.d/archibald.conf"
        assert "--keep-baud" in text(core(), path)
        assert path not in rendered_tree(compose(core(image=Image(serial_console=False))))
