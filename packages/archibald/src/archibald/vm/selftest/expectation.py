"""What the self-test expects: the profile, seen through the boot entry that is running."""

from __future__ import annotations

from dataclasses import dataclass

from archibald.profile.model import Profile
from archibald.system.compose import compose
from archibald.system.spec import Hardware, SystemSpec

#: Kernel argument that names the variant of a boot entry; without it the default runs.
VARIANT_ARGUMENT = "archibald.variant"

#: Kernel argument of a boot entry that starts another kernel than the profile's default.
KERNEL_ARGUMENT = "archibald.kernel"


@dataclass(frozen=True)
class Expectation:
    """The promise: ``profile`` is already the variant's, ``known`` says that the variant exists."""

    profile: Profile
    spec: SystemSpec
    variant: str
    known: bool = True


def argument(cmdline: str, name: str) -> str | None:
    """Return the value of a kernel argument (the last one wins), or None."""
    values = [word.partition("=")[2] for word in cmdline.split() if word.partition("=")[0] == name]
    return values[-1] if values else None


def expectation(profile: Profile, cmdline: str, *, cpus: int | None = None) -> Expectation:
    """Return what the profile promises to a system that was booted with this command line.

    A variant that the profile lacks leaves the default's promise, marked as not known.
    """
    kernel = argument(cmdline, KERNEL_ARGUMENT)
    if kernel in ("rt", "generic"):
        system = profile.system.model_copy(update={"kernel": kernel})
        profile = profile.model_copy(update={"system": system})
    name = argument(cmdline, VARIANT_ARGUMENT) or "default"
    known = name == "default" or name in {variant.name for variant in profile.variant}
    variant = name if known else "default"
    return Expectation(
        profile=profile.with_variant(variant),
        spec=compose(profile, Hardware(cpus=cpus), variant=variant),
        variant=name,
        known=known,
    )
