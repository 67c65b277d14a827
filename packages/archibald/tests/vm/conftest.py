"""What the tests of the virtual machine share: a recorded system, tiny bootable disks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from archibald.vm.accel import boot_sector
from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.reader import SessionUser

RECORDED = Path(__file__).parent / "recorded"


@dataclass
class RecordedReader:
    """A reader of texts that are given; everything else is missing, like on a bare machine."""

    files: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    user: SessionUser = field(default_factory=lambda: SessionUser("audio-user", 1000))
    asked: list[str] = field(default_factory=list)

    def text(self, path: str) -> str:
        if path not in self.files:
            raise UnreadableError(f"{path}: No such file or directory")
        return self.files[path]

    def names(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        found = {
            name[len(prefix) :].split("/")[0]
            for name in (*self.files, *self.links)
            if name.startswith(prefix)
        }
        if not found:
            raise UnreadableError(f"{path}: No such file or directory")
        return sorted(found)

    def link(self, path: str) -> str:
        if path not in self.links:
            raise UnreadableError(f"{path}: No such file or directory")
        return self.links[path]

    def command(
        self, argv: Sequence[str], *, in_session: bool = False, accept: Sequence[int] = (0,)
    ) -> str:
        line = " ".join(argv)
        self.asked.append(line)
        for start, text in self.commands.items():
            if line.startswith(start):
                return text
        raise UnreadableError(f"{argv[0]} ended with status 1: not recorded")


@pytest.fixture
def reader() -> RecordedReader:
    """An empty machine; tests add what they need."""
    return RecordedReader()


@pytest.fixture
def recorded() -> Callable[[str], str]:
    """Return a recorded text by its file name."""
    return lambda name: (RECORDED / name).read_text("utf-8")


@pytest.fixture
def printing_disk(tmp_path: Path) -> Callable[[bytes], Path]:
    """Return a disk whose boot sector prints a text on the serial line and then hangs.

    mov si,text; mov dx,0x3f8; next: lodsb; test al,al; jz stop; out dx,al; jmp next; stop: hlt
    """

    def make(text: bytes) -> Path:
        code = bytes.fromhex(
            "31c08ed8fc be167c baf803 ac 84c0 7403 ee ebf8 f4 ebfd".replace(" ", "")
        )
        assert len(code) == 0x16
        disk = tmp_path / "printing.img"
        disk.write_bytes(boot_sector(code + text + b"\0"))
        return disk

    return make
