"""The boot menu of an image: reading grub.cfg, and choosing an entry over the serial line.

The reader takes what the image builder writes and tolerates the rest of GRUB's shell: conditions
and functions are looked through, what cannot be understood is left alone.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

#: GRUB's keys that are one byte each, so that a slow serial line cannot tear them apart.
_FIRST_ENTRY = b"\x01"  # Ctrl-A: first entry of the menu; start of the line in the editor
_NEXT = b"\x0e"  # Ctrl-N: next entry, next line
_END_OF_LINE = b"\x05"  # Ctrl-E
_BOOT_EDITED = b"\x18"  # Ctrl-X
_ENTER = b"\r"
_EDIT = b"e"

#: How long a key may take to show on the screen; some change nothing there.
_ECHO_S = 3.0

#: The screen is drawn when nothing has come for this long.
_QUIET_S = 0.1


@dataclass(frozen=True)
class MenuEntry:
    """A boot entry. ``position`` counts from 0 in each menu on the way (submenus first).

    ``linux_line`` is the number of the line in the entry's body that names the kernel.
    """

    entry_id: str
    title: str
    position: tuple[int, ...]
    kernel: str = ""
    arguments: tuple[str, ...] = ()
    initrds: tuple[str, ...] = ()
    linux_line: int = 0

    @property
    def cmdline(self) -> str:
        """The kernel's command line."""
        return " ".join(self.arguments)

    @property
    def bootable(self) -> bool:
        """It starts a kernel, rather than a firmware setup or a reboot."""
        return bool(self.kernel)

    @property
    def variant(self) -> str:
        """The variant that the entry starts."""
        values = [
            argument.partition("=")[2]
            for argument in self.arguments
            if argument.startswith("archibald.variant=")
        ]
        return values[-1] if values else "default"


@dataclass
class _Block:
    kind: str
    entry: MenuEntry | None = None
    lines: int = 0
    children: int = 0


@dataclass
class _Parser:
    variables: dict[str, str] = field(default_factory=dict)
    entries: list[MenuEntry] = field(default_factory=list)
    stack: list[_Block] = field(default_factory=lambda: [_Block("file")])

    def line(self, text: str) -> None:
        words = self._words(text)
        if words and words[0] in ("menuentry", "submenu"):
            self._open(words)
            return
        block = self.stack[-1]
        block.lines += 1
        if not words:
            return
        if words[0] == "set" and len(words) > 1:
            name, _, value = words[1].partition("=")
            self.variables[name] = value
        elif words[0] in ("linux", "linux16", "linuxefi") and block.entry and len(words) > 1:
            block.entry = replace(
                block.entry, kernel=words[1], arguments=tuple(words[2:]), linux_line=block.lines - 1
            )
        elif words[0] in ("initrd", "initrd16", "initrdefi") and block.entry:
            block.entry = replace(block.entry, initrds=(*block.entry.initrds, *words[1:]))
        elif words[-1] == "{" and words[0] != "}":
            self.stack.append(_Block(words[0], entry=None))
        elif words[0] == "}":
            self._close()

    def _words(self, text: str) -> list[str]:
        if text.lstrip().startswith("#"):
            return []
        try:
            # Only a line of its own is a comment: kernel arguments may hold a #.
            words = shlex.split(text)
        except ValueError:
            words = text.split()
        return [
            re.sub(r"\$\{?(\w+)\}?", lambda m: self.variables.get(m.group(1), m.group()), word)
            for word in words
        ]

    def _open(self, words: list[str]) -> None:
        menu = next(block for block in reversed(self.stack) if block.kind in ("file", "submenu"))
        above = [block.entry.position for block in self.stack if block.entry]
        position = (*(above[-1] if above else ()), menu.children)
        menu.children += 1
        title, entry_id = _title_and_id(words[1:])
        entry = MenuEntry(entry_id or title, title, position)
        self.stack.append(_Block(words[0], entry=entry))
        if words[-1] == "}":
            self._close()

    def _close(self) -> None:
        if len(self.stack) == 1:
            return
        block = self.stack.pop()
        if block.kind == "menuentry" and block.entry:
            self.entries.append(block.entry)


def _title_and_id(words: Sequence[str]) -> tuple[str, str]:
    title, entry_id, expects = "", "", ""
    for word in words:
        if expects:
            entry_id = word if expects == "id" else entry_id
            expects = ""
        elif word.startswith("--"):
            name, _, value = word[2:].partition("=")
            if value:
                entry_id = value if name == "id" else entry_id
            elif name != "unrestricted":
                expects = name
        elif word == "$menuentry_id_option":
            expects = "id"
        elif word != "{" and not title:
            title = word
    return title, entry_id


def parse_menu(text: str) -> list[MenuEntry]:
    """Return the entries of a grub.cfg in the order of the menu. Never raises."""
    parser = _Parser()
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        parser.line(line)
    return parser.entries


def default_entry(entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the entry that boots by itself: the one called "default", else the first."""
    bootable = [entry for entry in entries if entry.bootable]
    named = [entry for entry in bootable if entry.entry_id == "default"]
    return next(iter(named or bootable), None)


def keys_for(entry: MenuEntry, further_arguments: str = "") -> list[bytes]:
    """Return the keys that boot an entry, one item per key; the menu must be showing.

    ``further_arguments`` are typed to the end of the entry's kernel line in GRUB's editor, whose
    text begins with the line ``setparams`` and an empty one.
    """
    keys: list[bytes] = []
    for depth, index in enumerate(entry.position):
        keys += [_FIRST_ENTRY, *[_NEXT] * index]
        if depth < len(entry.position) - 1:
            keys.append(_ENTER)
    if not further_arguments:
        return [*keys, _ENTER]
    typed = [letter.encode() for letter in " " + further_arguments]
    return [*keys, _EDIT, *[_NEXT] * (2 + entry.linux_line), _END_OF_LINE, *typed, _BOOT_EDITED]


def type_keys(
    send: Callable[[bytes], None],
    entry: MenuEntry,
    further_arguments: str = "",
    *,
    received: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Boot an entry from the menu that is showing, by typing into the serial line.

    ``received`` says how many bytes the guest has printed. Each key waits until the one before it
    shows: with UEFI both the firmware and GRUB read the line, and keys that arrive together may
    swap places between them.
    """
    for key in keys_for(entry, further_arguments):
        before = received()
        send(key)
        _wait_for_echo(received, before, sleep)


def _wait_for_echo(
    received: Callable[[], int], before: int, sleep: Callable[[float], None]
) -> None:
    waited = 0.0
    while received() == before and waited < _ECHO_S:
        sleep(_QUIET_S / 5)
        waited += _QUIET_S / 5
    while (now := received()) != before:
        before = now
        sleep(_QUIET_S)
