"""The comparison with other tools: about checks that exist, and up to date in the repository."""

from __future__ import annotations

from pathlib import Path

from archibald.tune import comparison
from archibald.tune.knobs import all_pages

PAGE = Path(__file__).parents[4] / "docs/reference/audit-comparison.md"

#: The checks of rtcqs, each with ours. Its kernel_config only finds the file that others read.
RTCQS = {
    "root": "limits.not-root", "audio_group": "limits.groups", "governor": "cpu.governor",
    "high_res_timers": "kernel.high-resolution-timers", "tickless": "kernel.tickless",
    "preempt_rt": "kernel.preemption", "threadirqs": "kernel.threaded-irqs",
    "mitigations": "kernel.harmful-arguments", "rt_prio": "limits.session",
    "swappiness": "sysctl.vm.swappiness", "filesystems": "storage.library",
    "irqs": "irq.shared", "power_management": "cpu.latency-device", "smt": "cpu.smt",
}  # fmt: skip


def _checks() -> set[str]:
    return {page.id for _, page in all_pages()}


def test_page_in_the_repository_is_up_to_date():
    assert PAGE.read_text("utf-8") == comparison.text()


def test_it_has_every_check_and_speaks_of_no_other():
    text = comparison.text()
    assert [check for check in _checks() if f"[{check}]" not in text] == []
    assert set(comparison._OTHERS) <= _checks()
    for row in comparison._OTHERS.values():
        assert set(row) <= set(comparison.PEERS)


def test_every_check_of_rtcqs_has_one_of_ours():
    for name, check in RTCQS.items():
        assert "rtcqs, Millisecond" in comparison.others(check), name


def test_what_we_set_is_what_the_page_says():
    said = {page.id: comparison.ours(page) for _, page in all_pages()}
    assert said["cpu.governor"] == "audits, sets"
    assert said["cpu.smt"] == "audits"
    assert said["limits.session"].endswith("keeps")
