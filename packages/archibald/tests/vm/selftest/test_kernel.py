"""Probes of the kernel and its boot entry."""

from __future__ import annotations

from typing import Any

import pytest

from archibald.profile.model import Profile
from archibald.system.compose import compose
from archibald.system.render import kernel_command_line
from archibald.system.spec import KernelArg, KernelModule, Sysctl
from archibald.vm.selftest import kernel
from archibald.vm.selftest.expectation import argument, expectation
from archibald.vm.selftest.model import Answer

RT = "#1 SMP PREEMPT_RT Debian 7.2.12-1 (2026-10-22)\n"
GENERIC = "#1 SMP PREEMPT_DYNAMIC Debian 7.2.12-1 (2026-10-22)\n"

PROFILE = Profile.model_validate(
    {
        "desktop": {"enable": False},
        "variant": [
            {"name": "low-latency", "title": "Low latency", "audio": {"quantum": 16}},
        ],
    }
)

GENERIC_PROFILE = PROFILE.model_copy(
    update={"system": PROFILE.system.model_copy(update={"kernel": "generic"})}
)


def test_preemption(reader: Any) -> None:
    expected = expectation(PROFILE, "quiet")
    reader.commands = {"uname -v": RT}
    check = kernel.preemption(reader, expected)
    assert (check.answer, check.observed) == (Answer.OK, "PREEMPT_RT")
    reader.commands = {"uname -v": GENERIC}
    check = kernel.preemption(reader, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "PREEMPT_DYNAMIC")
    reader.commands = {}
    assert kernel.preemption(reader, expected).answer is Answer.CANNOT_TELL


def test_the_ordinary_kernel_is_right_in_its_own_boot_entry(reader: Any) -> None:
    line = kernel_command_line(compose(GENERIC_PROFILE))
    cmdline = f"boot=live {line} archibald.kernel=generic"
    expected = expectation(PROFILE, cmdline)
    reader.files = {"/proc/cmdline": cmdline}
    reader.commands = {"uname -v": GENERIC}
    assert kernel.preemption(reader, expected).answer is Answer.OK
    assert {item.text for item in expected.spec.of(KernelArg)} >= {"threadirqs", "preempt=full"}
    assert kernel.arguments(reader, expected).answer is Answer.OK
    reader.commands = {"uname -v": RT}
    assert kernel.preemption(reader, expected).answer is Answer.BAD


def test_variant(reader: Any) -> None:
    for cmdline, name, quantum in (
        ("quiet", "default", 32),
        ("quiet archibald.variant=low-latency", "low-latency", 16),
    ):
        expected = expectation(PROFILE, cmdline)
        reader.files = {"/proc/cmdline": cmdline}
        check = kernel.variant(reader, expected)
        assert (check.answer, check.observed) == (Answer.OK, name)
        assert expected.profile.audio.quantum == quantum


def test_variant_that_the_profile_lacks(reader: Any) -> None:
    cmdline = "quiet archibald.variant=lowlatency"
    reader.files = {"/proc/cmdline": cmdline}
    check = kernel.variant(reader, expectation(PROFILE, cmdline))
    assert (check.answer, check.observed) == (Answer.BAD, "lowlatency")


def test_last_argument_of_a_name_holds() -> None:
    assert argument("a=1 b a=2", "a") == "2"
    assert argument("ab=1", "a") is None
    assert argument("quiet", "quiet") == ""


@pytest.mark.parametrize(
    ("wanted", "cmdline", "missing"),
    [
        (["threadirqs", "isolcpus=3"], "quiet threadirqs isolcpus=3\n", []),
        (["isolcpus=3"], "isolcpus=2,3", ["isolcpus=3"]),
        (["isolcpus=3"], "isolcpus=3 isolcpus=1", ["isolcpus=3"]),
        (["threadirqs"], "nothreadirqs threadirqs=0", ["threadirqs"]),
        (["nosmt"], "nosmt=force", ["nosmt"]),
        ([], "quiet", []),
    ],
)
def test_arguments(wanted: list[str], cmdline: str, missing: list[str]) -> None:
    assert kernel.missing_arguments(wanted, cmdline) == missing


def test_sysctl(reader: Any) -> None:
    reader.files = {
        "/proc/sys/vm/swappiness": "10\n",
        "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    }
    assert kernel.sysctl(reader, Sysctl("vm.swappiness", "10")).answer is Answer.OK
    assert kernel.sysctl(reader, Sysctl("vm.swappiness", "60")).answer is Answer.BAD
    three = Sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456")
    assert kernel.sysctl(reader, three).answer is Answer.OK
    absent = kernel.sysctl(reader, Sysctl("kernel.numa_balancing", "0"))
    assert absent.answer is Answer.NOT_APPLICABLE


def test_modules(reader: Any) -> None:
    reader.files = {
        "/proc/modules": "snd_seq 118784 7 snd_seq_dummy, Live 0x0000000000000000\n",
        "/lib/modules/7.2.12-rt/modules.builtin": "kernel/sound/core/snd-rawmidi.ko\n",
    }
    reader.commands = {"uname -r": "7.2.12-rt\n"}
    loaded = kernel.module(reader, KernelModule("snd-seq"))
    assert (loaded.answer, loaded.observed) == (Answer.OK, "loaded")
    built_in = kernel.module(reader, KernelModule("snd-rawmidi"))
    assert (built_in.answer, built_in.observed) == (Answer.OK, "built in")
    assert kernel.module(reader, KernelModule("snd_usb")).answer is Answer.BAD
    del reader.files["/proc/modules"]
    assert kernel.module(reader, KernelModule("snd-seq")).answer is Answer.CANNOT_TELL


def test_huge_pages(reader: Any) -> None:
    expected = expectation(PROFILE, "quiet")
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    assert kernel.huge_pages(reader, expected).answer is Answer.NOT_APPLICABLE
    reader.files[path] = "always [madvise] never\n"
    assert kernel.huge_pages(reader, expected).answer is Answer.OK
    reader.files[path] = "[always] madvise never\n"
    assert kernel.huge_pages(reader, expected).answer is Answer.BAD
    reader.files[path] = "always madvise never\n"
    assert kernel.huge_pages(reader, expected).answer is Answer.CANNOT_TELL


def test_governor(reader: Any) -> None:
    expected = expectation(PROFILE, "quiet")
    root = "/sys/devices/system/cpu"
    reader.files = {f"{root}/cpu0/online": "1", f"{root}/cpufreq/boost": "1"}
    assert kernel.governor(reader, expected).answer is Answer.NOT_APPLICABLE
    for cpu in (0, 1):
        reader.files[f"{root}/cpu{cpu}/cpufreq/scaling_governor"] = "performance\n"
    assert kernel.governor(reader, expected).answer is Answer.OK
    reader.files[f"{root}/cpu1/cpufreq/scaling_governor"] = "powersave\n"
    check = kernel.governor(reader, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "performance, powersave")
