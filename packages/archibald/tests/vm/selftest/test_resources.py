"""Memory at rest and boot time."""

from __future__ import annotations

from typing import Any

import pytest

from archibald.profile.model import Profile
from archibald.vm.selftest import resources
from archibald.vm.selftest.expectation import expectation
from archibald.vm.selftest.model import Answer

CONSOLE = Profile.model_validate({"desktop": {"enable": False}})
DESKTOP = Profile()

MEMINFO = """\
MemTotal:        2012724 kB
MemFree:         1555112 kB
MemAvailable:    1860508 kB
Active(anon):      42584 kB
HugePages_Total:       0
"""
ROLLUP = """\
55e0c0000000-7ffd0000 ---p 00000000 00:00 0                          [rollup]
Rss:               46000 kB
Pss:               41000 kB
Pss_Dirty:         36000 kB
Pss_Anon:          {} kB
"""


def at_rest(own_kib: int) -> dict[str, str]:
    """Return the files of a machine on which the self-test itself holds so much."""
    return {
        "/proc/meminfo": MEMINFO,
        "/proc/self/smaps_rollup": ROLLUP.format(own_kib),
        "/proc/cmdline": "boot=live quiet",
    }


def test_own_share_is_not_counted(reader: Any) -> None:
    reader.files = at_rest(35840)
    check, figures = resources.idle_memory(reader, expectation(CONSOLE, "quiet"))
    assert (check.answer, check.observed) == (Answer.OK, "113.6 MiB")
    assert figures == {"idle_memory_mib": 113.6}


def test_whose_it_is_stands_in_the_evidence(reader: Any) -> None:
    zones = "    cpu: 0\n              count:    63\n    cpu: 1\n              count: 12\n"
    reader.files = {
        "/proc/cmdline": "boot=live",
        resources.AT_REST: MEMINFO + zones,
        resources.PROCESSES_AT_REST: "5156 wireplumber\n1868 (sd-pam)\n",
    }
    check, figures = resources.idle_memory(reader, expectation(DESKTOP, "quiet"))
    assert figures == {"idle_memory_mib": 148.6}
    assert "pages in per-CPU free lists: 75" in check.evidence
    assert "wireplumber 5156 kB, (sd-pam) 1868 kB" in check.evidence


def test_limit_is_that_of_the_kind_of_system(reader: Any) -> None:
    reader.files = at_rest(1024)
    assert resources.idle_memory(reader, expectation(CONSOLE, ""))[0].answer is Answer.BAD
    check, _ = resources.idle_memory(reader, expectation(DESKTOP, ""))
    assert (check.answer, check.expected) == (Answer.OK, "at most 512 MiB")


def test_kernel_that_keeps_memory_free_for_huge_pages(reader: Any) -> None:
    reader.files = at_rest(1024)
    pages = "/sys/kernel/mm/transparent_hugepage/enabled"
    for choice, expected in (("always [madvise] never", 232), ("always madvise [never]", 120)):
        reader.files[pages] = choice
        check, _ = resources.idle_memory(reader, expectation(CONSOLE, ""))
        assert check.expected == f"at most {expected} MiB"


def test_image_that_was_copied_to_memory_is_not_counted(reader: Any) -> None:
    reader.files = at_rest(0) | {"/proc/cmdline": "boot=live toram quiet"}
    reader.files["/proc/meminfo"] += "Shmem:           51200 kB\n"
    _, figures = resources.idle_memory(reader, expectation(CONSOLE, ""))
    assert figures == {"idle_memory_mib": 98.6}


def test_memory_that_cannot_be_read(reader: Any) -> None:
    check, figures = resources.idle_memory(reader, expectation(CONSOLE, ""))
    assert (check.answer, figures) == (Answer.CANNOT_TELL, {})
    reader.files = {"/proc/meminfo": "MemTotal: 1 kB\n", "/proc/self/smaps_rollup": ""}
    assert resources.idle_memory(reader, expectation(CONSOLE, ""))[0].answer is Answer.CANNOT_TELL


ANALYZE = """\
Startup finished in {} (firmware) + 2.100s (loader) + 1.305s (kernel) + {} (userspace) = 10s
graphical.target reached after 5.1s in userspace.
"""


def test_boot_time_without_the_firmware(reader: Any) -> None:
    reader.commands = {
        "systemd-analyze time": ANALYZE.format("1min 4s", "6.100s"),
        "systemd-analyze blame": "5.1s dev-vda1.device\n",
        "systemd-detect-virt": "none\n",
    }
    check, figures = resources.boot_time(reader)
    assert (check.answer, check.observed) == (Answer.OK, "7.4 s")
    assert figures == {"boot_s": 7.405}
    reader.commands["systemd-analyze time"] = ANALYZE.format("3s", "1min 0.5s")
    assert resources.boot_time(reader)[0].answer is Answer.BAD


def test_boot_time_of_an_emulated_cpu_says_nothing(reader: Any) -> None:
    reader.commands = {
        "systemd-analyze time": "Startup finished in 1min 48.237s (kernel) + "
        "1min 20.003s (userspace) = 3min 8.240s \n",
        "systemd-analyze blame": "",
        "systemd-detect-virt": "qemu\n",
    }
    check, figures = resources.boot_time(reader)
    assert check.answer is Answer.NOT_APPLICABLE
    assert figures["boot_s"] == pytest.approx(188.24)
    reader.commands["systemd-detect-virt"] = "kvm\n"
    assert resources.boot_time(reader)[0].answer is Answer.BAD


def test_boot_that_is_not_finished(reader: Any) -> None:
    reader.commands = {"systemd-analyze time": "Please try again later.\n"}
    assert resources.boot_time(reader)[0].answer is Answer.CANNOT_TELL


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 2.345s", 62.345), ("305ms", 0.305), ("2h 3min", 7380.0), ("12us", 12e-6), ("7s", 7.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert resources.parse_duration(text) == pytest.approx(seconds)


def test_no_duration() -> None:
    with pytest.raises(ValueError, match="no time span"):
        resources.parse_duration("soon")


def test_waiting_for_rest(reader: Any) -> None:
    """Three busy looks, then one at rest; the pauses are counted, not slept."""
    pauses: list[float] = []
    idle = [100, 110, 120, 130, 330]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        at = len(pauses)
        reader.files["/proc/stat"] = (
            f"cpu  {at * 200 - idle[at] + 100} 0 0 {idle[at]} 0 0 0 0 0 0\n"
        )

    reader.files["/proc/stat"] = "cpu  0 0 0 100 0 0 0 0 0 0\ncpu0 1\n"
    assert resources.settle(reader, sleep=sleep)
    assert len(pauses) == 4


def test_a_machine_that_never_rests(reader: Any) -> None:
    reader.files["/proc/stat"] = "cpu  0 0 0 100 0 0 0 0 0 0\n"
    assert not resources.settle(reader, sleep=lambda _: None, rounds=3)
