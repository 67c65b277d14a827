"""Probes of the kernel: preemption, arguments, settings, modules, power."""

from __future__ import annotations

import re

from archibald.system.spec import KernelArg, KernelModule, Sysctl
from archibald.vm.selftest.expectation import VARIANT_ARGUMENT, Expectation, argument
from archibald.vm.selftest.model import (
    Check,
    NotApplicableError,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.reader import Reader

GROUP = "kernel"


def kernel_checks(reader: Reader, expected: Expectation) -> list[Check]:
    """Return all checks of this group."""
    return [
        variant(reader, expected),
        preemption(reader, expected),
        arguments(reader, expected),
        *[sysctl(reader, item) for item in expected.spec.of(Sysctl)],
        *[module(reader, item) for item in expected.spec.of(KernelModule)],
        huge_pages(reader, expected),
        governor(reader, expected),
    ]


def variant(reader: Reader, expected: Expectation) -> Check:
    """The boot entry's variant is one that the embedded profile has."""

    def judge() -> Verdict:
        cmdline = reader.text("/proc/cmdline")
        named = argument(cmdline, VARIANT_ARGUMENT) or "default"
        return verdict(expected.known and named == expected.variant, named, cmdline)

    known = "a variant of the profile" if not expected.known else expected.variant
    return make_check("kernel.variant", GROUP, known, judge)


def preemption(reader: Reader, expected: Expectation) -> Check:
    """PREEMPT_RT in the running kernel's version (/sys/kernel/realtime is gone from 7.2)."""
    wants_rt = expected.profile.system.kernel == "rt"

    def judge() -> Verdict:
        version = reader.command(["uname", "-v"]).strip()
        flavour = re.search(r"\bPREEMPT\w*(\([^)]*\))?", version)
        observed = flavour.group() if flavour else "not preemptible"
        return verdict(is_realtime(version) == wants_rt, observed, version)

    return make_check(
        "kernel.preemption", GROUP, "PREEMPT_RT" if wants_rt else "not PREEMPT_RT", judge
    )


def is_realtime(uname_version: str) -> bool:
    """Say whether ``uname -v`` is that of a PREEMPT_RT kernel."""
    return re.search(r"\bPREEMPT_RT\b", uname_version) is not None


def arguments(reader: Reader, expected: Expectation) -> Check:
    """The kernel was started with every argument of the system."""
    wanted = [item.text for item in expected.spec.of(KernelArg)]

    def judge() -> Verdict:
        cmdline = reader.text("/proc/cmdline")
        missing = missing_arguments(wanted, cmdline)
        observed = f"missing: {' '.join(missing)}" if missing else f"all {len(wanted)} present"
        return verdict(not missing, observed, cmdline)

    return make_check("kernel.arguments", GROUP, " ".join(wanted) or "none in particular", judge)


def missing_arguments(wanted: list[str], cmdline: str) -> list[str]:
    """Return the wanted arguments that do not hold; of one name the last value counts."""
    words = cmdline.split()
    missing = []
    for text in wanted:
        name, has_value, value = text.partition("=")
        holds = argument(cmdline, name) == value if has_value else text in words
        if not holds:
            missing.append(text)
    return missing


def sysctl(reader: Reader, item: Sysctl) -> Check:
    """A kernel setting has its value now."""

    def judge() -> Verdict:
        path = "/proc/sys/" + item.name.replace(".", "/")
        try:
            observed = " ".join(reader.text(path).split())
        except UnreadableError as error:
            if "No such file" in str(error):
                raise NotApplicableError(f"this kernel has no {item.name}") from None
            raise
        return verdict(observed == " ".join(item.value.split()), observed, path)

    return make_check(f"sysctl.{item.name}", "sysctl", item.value, judge)


def module(reader: Reader, item: KernelModule) -> Check:
    """A kernel module is loaded, or built in."""
    name = item.name.replace("-", "_")

    def judge() -> Verdict:
        loaded = loaded_modules(reader.text("/proc/modules"))
        if name in loaded:
            return verdict(True, "loaded", f"/proc/modules: {name}")
        release = reader.command(["uname", "-r"]).strip()
        built_in = reader.text(f"/lib/modules/{release}/modules.builtin")
        found = name in built_in_modules(built_in)
        return verdict(
            found, "built in" if found else "not loaded", f"{len(loaded)} loaded modules"
        )

    return make_check(f"module.{item.name}", "modules", "loaded", judge)


def loaded_modules(proc_modules: str) -> set[str]:
    """Return the names in /proc/modules."""
    return {line.split()[0] for line in proc_modules.splitlines() if line.strip()}


def built_in_modules(modules_builtin: str) -> set[str]:
    """Return the names in modules.builtin, which lists paths and mixes - and _."""
    return {
        line.rsplit("/", 1)[-1].partition(".ko")[0].replace("-", "_")
        for line in modules_builtin.split()
    }


def huge_pages(reader: Reader, expected: Expectation) -> Check:
    """The mode of transparent huge pages."""
    wanted = expected.profile.realtime.transparent_huge_pages

    def judge() -> Verdict:
        path = "/sys/kernel/mm/transparent_hugepage/enabled"
        try:
            text = reader.text(path)
        except UnreadableError as error:
            if "No such file" in str(error):
                raise NotApplicableError("this kernel has no transparent huge pages") from None
            raise
        return verdict(bracketed(text) == wanted, bracketed(text), text)

    return make_check("kernel.huge-pages", GROUP, wanted, judge)


def bracketed(text: str) -> str:
    """Return the chosen word of a list like ``always [madvise] never``."""
    found = re.search(r"\[([^\]]+)\]", text)
    if not found:
        raise ValueError(f"no choice is marked in {text!r}")
    return found.group(1)


def governor(reader: Reader, expected: Expectation) -> Check:
    """The frequency governor of every CPU, where the machine has frequency scaling."""
    wanted = expected.profile.realtime.governor
    root = "/sys/devices/system/cpu"

    def judge() -> Verdict:
        cpus = [name for name in reader.names(root) if re.fullmatch(r"cpu\d+", name)]
        found: dict[str, str] = {}
        for cpu in cpus:
            try:
                path = f"{root}/{cpu}/cpufreq/scaling_governor"
                found[cpu] = reader.text(path).strip()
            except UnreadableError as error:
                if "No such file" not in str(error):
                    raise
        if not found:
            raise NotApplicableError("this machine has no frequency scaling")
        observed = sorted(set(found.values()))
        return verdict(observed == [wanted], ", ".join(observed), f"{len(found)} CPUs: {found}")

    return make_check("kernel.governor", GROUP, wanted, judge)
