"""The boot menu: entries from the profile and its variants, and GRUB's configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archibald.errors import UsageError
from archibald.profile.model import Profile

#: Modules that GRUB's images carry, so that nothing is loaded from the medium.
COMMON_MODULES = (
    "all_video", "boot", "cat", "configfile", "echo", "ext2", "fat", "font", "gfxterm", "halt",
    "help", "iso9660", "linux", "loadenv", "ls", "minicmd", "normal", "part_gpt", "part_msdos",
    "png", "reboot", "search", "search_fs_file", "search_fs_uuid", "search_label", "serial",
    "sleep",    "terminal", "test", "true",
)  # fmt: skip
BIOS_MODULES = ("biosdisk", "vbe", "vga", "video_bochs", "video_cirrus")
EFI_MODULES = ("efi_gop", "efi_uga")

#: Where the boot files of a medium are; on a disk their own folder of /boot.
LIVE = "/live"


@dataclass(frozen=True)
class Kernel:
    """A kernel of the image: ``flavour`` is rt or generic, ``version`` is as in ``uname -r``."""

    flavour: str
    version: str


@dataclass(frozen=True)
class BootEntry:
    """An entry of the boot menu; ``id`` selects it on the command line."""

    id: str
    title: str
    flavour: str
    arguments: str


def kernel_of(version: str) -> Kernel:
    """Return the kernel that a version string such as "7.2.12+deb14-rt-amd64" names."""
    return Kernel("rt" if "-rt-" in version else "generic", version)


def _title(profile: Profile, text: str) -> str:
    return f"{profile.branding.name}: {text}"


def _quantum_text(profile: Profile) -> str:
    rate = f"{profile.audio.rate / 1000:g} kHz"
    return f"{profile.audio.quantum} frames at {rate}"


def boot_entries(
    profile: Profile,
    command_lines: dict[str, str],
    generic_line: str | None,
    *,
    root_arguments: str,
    live: bool,
) -> list[BootEntry]:
    """Return the menu's entries.

    ``command_lines`` maps "default" and each variant to its kernel arguments, ``generic_line`` is
    the default's with Debian's ordinary kernel, None when the image has none. ``root_arguments``
    find the root file system; ``live`` adds what only a live medium offers.
    """
    main = profile.system.kernel

    def entry(id_: str, text: str, line: str, flavour: str = main) -> BootEntry:
        words = [root_arguments, line, "quiet"]
        return BootEntry(id_, _title(profile, text), flavour, " ".join(w for w in words if w))

    kind = "real-time kernel" if main == "rt" else "ordinary kernel"
    default = command_lines["default"]
    entries = [entry("default", f"{kind}, {_quantum_text(profile)}", default)]
    for variant in profile.variant:
        line = f"{command_lines[variant.name]} archibald.variant={variant.name}".strip()
        entries.append(entry(variant.name, variant.title, line))
    if generic_line is not None and main != "generic":
        # The argument tells the self-test which kernel to expect.
        line = f"{generic_line} archibald.kernel=generic".strip()
        entries.append(entry("generic", "ordinary kernel", line, "generic"))
    entries.append(entry("safe-graphics", "safe graphics", f"{default} nomodeset".strip()))
    if live:
        entries.append(
            entry("toram", "copy to memory, then run from there", f"{default} toram".strip())
        )
    if profile.image.serial_console:
        serial = f"{default} console=tty0 console=ttyS0,115200".strip()
        entries.append(entry("serial", "serial console", serial))
    _require_different_ids(entries)
    return entries


def _require_different_ids(entries: Sequence[BootEntry]) -> None:
    ids = [entry.id for entry in entries]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise UsageError(
                f"two boot entries have the name {id_}",
                why="the menu has an entry of this name besides the variant",
                next_step="give the variant another name (variant.name)",
            )


def embedded_cfg(marker: str) -> str:
    """Return the configuration inside GRUB's images: find the medium by a marker file."""
    return (
        f"search --no-floppy --set=root --file {marker}\n"
        "set prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n"
    )


def grub_cfg(
    profile: Profile,
    entries: list[BootEntry],
    *,
    folder: str,
    kernel_names: dict[str, tuple[str, str]],
) -> str:
    """Return grub.cfg.

    ``folder`` holds the boot files; ``kernel_names`` maps flavour to (kernel, initrd) names in it.
    """
    lines = [
        f"# {profile.branding.name}: made by archibald from the profile",
        "set default=default",
        f"set timeout={profile.image.menu_timeout_s}",
        "if serial --unit=0 --speed=115200; then",
        "  terminal_input console serial",
        "  terminal_output console serial",
        "fi",
        "set color_normal=light-gray/black",
        "set color_highlight=black/green",
        "",
    ]
    for entry in entries:
        kernel, initrd = kernel_names[entry.flavour]
        lines += [
            f'menuentry "{_escaped(entry.title)}" --id {entry.id} {{',
            "  echo 'Loading the kernel ...'",
            f"  linux {folder}/{kernel} {' '.join(map(_word, entry.arguments.split()))}",
            "  echo 'Loading the initial RAM disk ...'",
            f"  initrd {folder}/{initrd}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _word(argument: str) -> str:
    # GRUB's manual, "Shell-like scripting": these characters end a word unless quoted. A profile's
    # arguments hold neither quotes nor blanks.
    return f"'{argument}'" if re.search(r"[{}|&$;<>\"\\]", argument) else argument


def _escaped(title: str) -> str:
    for char in '\\"$':
        title = title.replace(char, f"\\{char}")
    return title
