"""How long the last boot took, as systemd saw it: phases, and the chain that decided."""

from __future__ import annotations

import re

from archibald.errors import PreconditionError, ToolFailedError
from archibald.measure.document import Kind, Run
from archibald.measure.records import BootData, BootUnit
from archibald.measure.session import Bench, Clock, Notes
from archibald.run import Runner, require_tools, run

_UNITS_S = {"y": 31557600.0, "month": 2629800.0, "w": 604800.0, "d": 86400.0, "h": 3600.0,
            "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}  # fmt: skip

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(month|min|ms|us|[ywdhs])")
_CHAIN = re.compile(r"^[\s─└├│]*(?P<unit>\S+\.\w+)(?: @(?P<at>[^+]*?))?(?: \+(?P<took>.*))?$")


def span_s(text: str) -> float:
    """Return a time span of systemd in seconds, such as "1min 2.345s". Raises ValueError."""
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip():
        raise ValueError(f"no time span: {text.strip()[:60]!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def parse_time(text: str) -> dict[str, float]:
    """Return phase → seconds of ``systemd-analyze time``. Raises ValueError."""
    found = re.search(r"Startup finished in (.+?)(?: = |$)", text, re.MULTILINE)
    if not found:
        raise ValueError(f"no start-up times in {text.strip()[:120]!r}")
    phases = {}
    for part in found[1].split(" + "):
        match = re.fullmatch(r"(.+) \((\w+)\)\s*", part)
        if match:
            phases[match[2]] = span_s(match[1])
    if "userspace" not in phases:
        raise ValueError(f"no user space in {found[0][:120]!r}")
    return phases


def parse_target(text: str) -> str:
    """Return the target whose time is given, "" if none is."""
    found = re.search(r"^(\S+\.target) reached after", text, re.MULTILINE)
    return found[1] if found else ""


def parse_chain(text: str) -> tuple[BootUnit, ...]:
    """Return the units of ``systemd-analyze critical-chain``, the last one first."""
    units = []
    for line in text.splitlines():
        match = _CHAIN.match(line)
        if match and match["at"]:
            took = span_s(match["took"]) if match["took"] else 0.0
            units.append(BootUnit(unit=match["unit"], at_s=span_s(match["at"]), took_s=took))
    return tuple(units)


def measure_boot(bench: Bench, *, runner: Runner = run) -> Run:
    """Return the run document of the boot that this system came up with.

    Raises PreconditionError when systemd did not start it, or has not finished.
    """
    require_tools(["systemd-analyze"], purpose="measuring the boot")
    clock, remarks = Clock.now(), Notes()
    said = _ask(runner, "time")
    chain = _ask(runner, "critical-chain", "--no-pager")
    try:
        phases, units = parse_time(said), parse_chain(chain)
    except ValueError as error:
        raise ToolFailedError(
            "systemd-analyze cannot be understood", why=str(error),
            next_step="run systemd-analyze time by hand",
        ) from None  # fmt: skip
    data = BootData(
        firmware_s=phases.get("firmware"),
        loader_s=phases.get("loader"),
        kernel_s=phases.get("kernel"),
        initrd_s=phases.get("initrd"),
        userspace_s=phases["userspace"],
        target=parse_target(said),
        critical_chain=units,
    )
    if "initrd" not in phases:
        remarks.notes.append("the initrd tells systemd no times: its share is in the kernel's")
    return bench.document(Kind.BOOT, data, clock=clock, settings={}, remarks=remarks)


def _ask(runner: Runner, *words: str) -> str:
    result = runner(["systemd-analyze", *words], check=False, timeout_s=30)
    if result.returncode == 0:
        return result.stdout
    said = " ".join(f"{result.stderr} {result.stdout}".split())[:300]
    if "not yet finished" in said:
        raise PreconditionError(
            "the boot has not finished yet", why=said,
            next_step="systemctl list-jobs shows what it waits for",
        )  # fmt: skip
    raise PreconditionError(
        "systemd tells nothing of a boot here", why=said or "systemd-analyze failed",
        next_step="measure on a system that systemd has started, not in a container or chroot",
    )  # fmt: skip
