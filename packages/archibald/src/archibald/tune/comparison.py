"""What other tools do about what our checks ask; printed as a page of the reference.

From the sources of rtcqs 0.5.4, tuned's profile realtime with what it includes (network-latency,
latency-performance), musnix and studio-controls, and from what Millisecond says of itself. We read
them, and did not measure them.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from archibald.tune.knobs import FAMILIES
from archibald.tune.model import Page

#: In the order of the columns. Millisecond is a window around the checks of rtcqs.
PEERS = ("rtcqs, Millisecond", "tuned (realtime)", "musnix", "studio-controls")

#: Check → what the peers do, as far as they do anything.
_OTHERS: Mapping[str, Mapping[str, str]] = {
    "kernel.preemption": {
        "rtcqs, Millisecond": "checks the configuration file, not the kernel that runs",
        "tuned (realtime)": "expects it",
        "musnix": "builds an RT kernel",
    },
    "kernel.threaded-irqs": {
        "rtcqs, Millisecond": "checks the argument",
        "musnix": "sets the argument",
    },
    "kernel.high-resolution-timers": {"rtcqs, Millisecond": "checks the configuration file"},
    "kernel.tickless": {
        "rtcqs, Millisecond": "checks that ticks stop when idle, in the configuration file",
        "tuned (realtime)": "left to cpu-partitioning",
    },
    "kernel.isolation": {"tuned (realtime)": "requires isolated CPUs, sets isolcpus"},
    "kernel.harmful-arguments": {
        "rtcqs, Millisecond": "asks for mitigations=off",
        "tuned (realtime)": "sets intel_pstate=disable",
    },
    "cpu.governor": {
        "rtcqs, Millisecond": "checks",
        "tuned (realtime)": "sets",
        "musnix": "sets",
        "studio-controls": "sets",
    },
    "cpu.energy-preference": {"tuned (realtime)": "sets the energy bias"},
    "cpu.frequency-limit": {
        "tuned (realtime)": "sets the lowest frequency to the highest",
        "studio-controls": "switches turbo",
    },
    "cpu.idle-latency": {"tuned (realtime)": "sets, for all CPUs, always"},
    "cpu.latency-device": {"rtcqs, Millisecond": "checks", "musnix": "sets"},
    "cpu.smt": {"rtcqs, Millisecond": "bad if it is on (0.6)"},
    "irq.card-priority": {
        "musnix": "rtirq, by name of the driver",
        "studio-controls": "rtirq, by name of the driver",
    },
    "irq.audio-cpu": {"tuned (realtime)": "keeps irqbalance off isolated CPUs"},
    "irq.shared": {"rtcqs, Millisecond": "checks, for all sound and USB drivers"},
    "sysctl.kernel.sched_rt_runtime_us": {"tuned (realtime)": "sets -1: takes the net away"},
    "sysctl.kernel.timer_migration": {"tuned (realtime)": "sets"},
    "sysctl.kernel.nmi_watchdog": {"tuned (realtime)": "sets"},
    "sysctl.kernel.numa_balancing": {"tuned (realtime)": "sets"},
    "scheduler.workqueues": {"tuned (realtime)": "sets"},
    "sysctl.vm.stat_interval": {"tuned (realtime)": "sets"},
    "sysctl.vm.swappiness": {
        "rtcqs, Millisecond": "checks",
        "tuned (realtime)": "sets",
        "musnix": "sets",
    },
    "memory.huge-pages": {"tuned (realtime)": "sets never"},
    "limits.groups": {"rtcqs, Millisecond": "checks", "studio-controls": "adds the user"},
    "limits.not-root": {"rtcqs, Millisecond": "checks"},
    "limits.session": {
        "rtcqs, Millisecond": "tries priority 80",
        "musnix": "writes (priority 99)",
        "studio-controls": "writes",
    },
    "pipewire.rate": {"studio-controls": "sets"},
    "pipewire.quantum": {"studio-controls": "sets"},
    "sound.modules": {"musnix": "sets"},
    "services.indexers": {"rtcqs, Millisecond": "checks some programs (0.6)"},
    "services.irqbalance": {"tuned (realtime)": "keeps it off isolated CPUs"},
    "services.watchdog": {"musnix": "das_watchdog, as an option"},
    "storage.library": {"rtcqs, Millisecond": "checks all mounts"},
}

#: Beside the checks: what, archibald, and the peers in their order.
_FEATURES: tuple[tuple[str, ...], ...] = (
    ("answers", "ok, bad, not-applicable, cannot-tell; with what was read", "OK or WARNING",
     "verify: same or not", "-", "-"),
    ("JSON; exit code", "yes; 1 when something is bad", "no; always 0", "no; yes", "-", "-"),
    ("wanted values come from", "your profile", "the tool", "the profile of tuned", "the module",
     "the window"),
    ("shows a change before it is made", "`plan`, `--dry-run`", "changes nothing", "-",
     "the diff of NixOS", "-"),
    ("takes changes back", "every value, after a crash too", "changes nothing",
     "with the profile", "generations of NixOS", "-"),
    ("keeps it over a reboot", "drop-ins, boot loader, NixOS module", "-", "daemon", "NixOS",
     "own service"),
    ("runaway real-time threads", "`watchdog`: demotes and names", "-", "-",
     "das_watchdog: demotes all", "-"),
    ("live view", "`top`: load, missed wake-ups, CPU map", "window of the checks", "-", "-",
     "state of JACK"),
    ("needs", "Python", "Python (GTK for Millisecond)", "a daemon, root", "NixOS", "a desktop"),
)  # fmt: skip

_HEAD = """\
# Our checks and those of others

Made by `make docs` from the checks and from `archibald/tune/comparison.py`; change it there.

What the projects' sources say (rtcqs 0.5.4, and its notes of 0.6; tuned's profile realtime with the
profiles that it includes; musnix; studio-controls). Millisecond is a window around the checks of
rtcqs, so they share a column. Nothing of theirs was measured. *audits* means that the answer rests
on what was read, *sets* that `archibald apply` changes it and can take it back, *keeps* that
`--persist` holds it over a reboot.
"""


def ours(page: Page) -> str:
    """Return what archibald does about a check, as its page says."""
    if "archibald apply --persist" in page.fix:
        return "audits, sets, keeps" if page.fix.count("archibald apply") > 1 else "audits, keeps"
    return "audits, sets" if "archibald apply" in page.fix else "audits"


def others(check: str) -> Mapping[str, str]:
    """Return peer → what it does about a check; peers that do nothing are left out."""
    return _OTHERS.get(check, {})


def text() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    for module in FAMILIES:
        lines += [f"## {module.FAMILY.title}", "", f"| check | archibald | {' | '.join(PEERS)} |",
                  "|---|---" + "|---" * len(PEERS) + "|"]  # fmt: skip
        for page in module.PAGES:
            cells = [others(page.id).get(peer, "-") for peer in PEERS]
            link = f"[{page.id}](checks/{page.id}.md)"
            lines.append(f"| {link} | {ours(page)} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Beside the checks", "", f"| | archibald | {' | '.join(PEERS)} |",
              "|---|---" + "|---" * len(PEERS) + "|"]  # fmt: skip
    lines += [f"| {' | '.join(row)} |" for row in _FEATURES]
    return "\n".join(lines) + "\n"


@click.command(hidden=True)
def command() -> None:
    """Print the comparison as Markdown."""
    click.echo(text(), nl=False)


if __name__ == "__main__":
    command(prog_name="python -m archibald.tune.comparison")
