"""What an image file is, and what can be taken out of an ISO without booting it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from archibald.errors import ToolFailedError, UsageError
from archibald.run import Runner, require_tools, run
from archibald.vm.grub import MenuEntry, default_entry, parse_menu
from archibald.vm.qemu import DirectBoot

ImageKind = Literal["iso", "disk"]

#: First bytes of files that are taken for an image by mistake.
_OTHER_FILES = (
    (b"QFI\xfb", "a qcow2 disk image"),
    (b"hsqs", "a squashfs file system, the inside of an ISO"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"PK\x03\x04", "a zip file"),
    (b"\x7fELF", "a program"),
)

_SECTOR = 2048
_PRIMARY_DESCRIPTOR = 16 * _SECTOR
_MENU_FILE = "/boot/grub/grub.cfg"


class NoImageError(UsageError):
    """The file is no image that can be booted."""


class UnknownEntryError(UsageError):
    """The image has no such boot entry."""


def identify(path: Path) -> ImageKind:
    """Say what kind of image a file is, by its content.

    Raises NoImageError when it is none, or is cut short.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _no_image(path, error.strerror or "unreadable") from None
    if stat.S_ISDIR(mode):
        raise _no_image(path, "it is a directory")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise _no_image(path, "it is neither a file nor a disk")
    try:
        with path.open("rb") as stream:
            head = stream.read(_PRIMARY_DESCRIPTOR + _SECTOR)
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        raise _no_image(path, error.strerror or "unreadable") from None
    if not head:
        raise _no_image(path, "it is empty")
    descriptor = head[_PRIMARY_DESCRIPTOR:]
    if descriptor[1:6] == b"CD001":
        _check_length(path, descriptor, size)
        return "iso"
    if head[510:512] == b"\x55\xaa":
        return "disk"
    found = next((name for magic, name in _OTHER_FILES if head.startswith(magic)), None)
    raise _no_image(path, f"it is {found}" if found else "it has no ISO 9660 file system")


def _no_image(path: Path, why: str) -> NoImageError:
    return NoImageError(
        f"{path} is no image",
        why=why,
        next_step="give an ISO or a raw disk; `archibald build iso` makes one",
    )


def _check_length(path: Path, descriptor: bytes, size: int) -> None:
    # ECMA-119 8.4.8: volume space size, in sectors, little endian first.
    promised = int.from_bytes(descriptor[80:84], "little") * _SECTOR
    if size < promised:
        raise NoImageError(
            f"{path} is cut short",
            why=f"it has {size} bytes of the {promised} that its file system needs",
            next_step="copy or build it again",
        )


def _extract(iso: Path, inside: str, target: Path, runner: Runner) -> None:
    require_tools(["xorriso"], purpose="reading an ISO")
    runner(
        ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", inside, target], timeout_s=300.0
    )
    # xorriso keeps the read-only modes of the ISO, which would hinder cleaning up.
    target.chmod(0o600)


def read_menu(iso: Path, folder: Path, *, runner: Runner = run) -> list[MenuEntry]:
    """Return the boot entries of an ISO. Raises NoImageError when it has none of ours."""
    target = folder / "grub.cfg"
    try:
        _extract(iso, _MENU_FILE, target, runner)
    except ToolFailedError as error:
        raise NoImageError(
            f"{iso} is not an ArchibaldOS ISO",
            why=f"{_MENU_FILE} cannot be read from it: {error.why.splitlines()[0]}",
            next_step="give one that `archibald build iso` made",
        ) from None
    entries = [
        entry for entry in parse_menu(target.read_text("utf-8", "replace")) if entry.bootable
    ]
    if not entries:
        raise NoImageError(f"{iso} is not an ArchibaldOS ISO", why=f"{_MENU_FILE} starts no kernel")
    return entries


def find_entry(entries: Sequence[MenuEntry], wanted: str | None) -> MenuEntry:
    """Return the entry with an id, or the default one. Raises UnknownEntryError."""
    if wanted is None:
        default = default_entry(entries)
        if default is not None:
            return default
    for entry in entries:
        if entry.entry_id == wanted:
            return entry
    names = [entry.entry_id for entry in entries]
    near = get_close_matches(wanted or "", names, n=1)
    raise UnknownEntryError(
        f"the image has no boot entry {wanted!r}",
        why=f"it has {', '.join(names)}",
        next_step=f"did you mean {near[0]!r}?" if near else "choose one of these",
    )


def find_variant(entries: Sequence[MenuEntry], wanted: str | None) -> MenuEntry:
    """Return the entry that starts a variant. Raises UnknownEntryError that lists the variants."""
    if wanted is None or wanted == "default":
        return find_entry(entries, None)
    for entry in entries:
        if entry.variant == wanted:
            return entry
    names = list(dict.fromkeys(["default", *(entry.variant for entry in entries)]))
    near = get_close_matches(wanted, names, n=1)
    raise UnknownEntryError(
        f"the image has no variant {wanted!r}",
        why=f"it has {', '.join(names)}",
        next_step=f"did you mean {near[0]!r}?" if near else "choose one of these",
    )


def direct_boot(
    iso: Path, entry: MenuEntry, folder: Path, *, further: str = "", runner: Runner = run
) -> DirectBoot:
    """Take kernel and initrd of an entry out of an ISO, so that QEMU can load them itself."""
    if not entry.initrds:
        raise NoImageError(f"the boot entry {entry.entry_id!r} has no initrd")
    kernel, initrd = folder / "vmlinuz", folder / "initrd"
    _extract(iso, entry.kernel, kernel, runner)
    with initrd.open("wb") as joined:
        for number, inside in enumerate(entry.initrds):
            part = folder / f"initrd.{number}"
            _extract(iso, inside, part, runner)
            joined.write(part.read_bytes())
            part.unlink()
    return DirectBoot(kernel, initrd, f"{entry.cmdline} {further}".strip())
