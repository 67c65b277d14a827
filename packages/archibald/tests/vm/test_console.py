"""The console: legible lines, and failures that are seen at once."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.vm.console import Console, find_failure, find_phase, strip_sequences


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b]3008;start=abc;type=boot\x1b\\systemd[1]: hello", "systemd[1]: hello"),
        ("\x1b]0;title\x07prompt", "prompt"),
        ("\x1b[0;1;32m  OK  \x1b[0m Started", "  OK   Started"),
        ("\x1b[?2004h$ ", "$ "),
        ("a\x1b[5;1Hb\x1b[2Jc", "a\nb\nc"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x1b(Bx\x1b=y", "xy"),
        ("bell\x07 and nul\x00", "bell and nul"),
        ("cut off \x1b[3", "cut off "),
        ("cut off \x1b]3008;start", "cut off "),
        ("naïve ü", "naïve ü"),
    ],
)
def test_stripping(raw: str, plain: str) -> None:
    assert strip_sequences(raw) == plain


@given(st.text())
def test_stripping_leaves_no_control_characters(text: str) -> None:
    plain = strip_sequences(text)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in plain)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (
            "[ 3.1] Kernel panic - not syncing: VFS: Unable to mount root fs",
            "the guest's kernel panicked: Kernel panic - not syncing: VFS: Unable to mount root fs",
        ),
        ("(initramfs) ", "the guest stopped in the initrd's shell"),
        ("You are in emergency mode. After logging in", "the guest stopped in emergency mode"),
        ("grub rescue> ", "the boot loader found no menu"),
        ("UEFI Interactive Shell v2.2", "the firmware found nothing to boot"),
    ],
)
def test_failures(line: str, meaning: str) -> None:
    assert find_failure(line) == meaning
    console = Console()
    console.feed(line.encode() + b"\r\n")
    assert console.failure == meaning


@pytest.mark.parametrize(
    "line",
    [
        "Command line: quiet panic=0 oops=panic",
        "[    0.3] Booted with the initramfs option",
        "archibaldos login: ",
        "[  OK  ] Reached target multi-user.target",
    ],
)
def test_ordinary_lines_are_no_failures(line: str) -> None:
    assert find_failure(line) is None


def test_a_panic_is_told_with_its_whole_line() -> None:
    console = Console()
    console.feed(b"Kernel panic - not syncing: VF")
    assert console.failure is None
    console.feed(b"S: no root\n")
    assert console.failure is not None
    assert console.failure.endswith("VFS: no root")


def test_a_prompt_is_seen_without_an_end_of_line() -> None:
    console = Console()
    console.feed(b"BusyBox v1.38 built-in shell (ash)\n(initram")
    assert console.failure is None
    console.feed(b"fs) ")
    assert console.failure == "the guest stopped in the initrd's shell"


def test_phases_in_the_order_of_a_boot() -> None:
    console = Console()
    seen = []
    for line in (
        "BdsDxe: starting Boot0001",
        "Welcome to GRUB!",
        "\x1b[1;1HGNU GRUB  version 2.14\x1b[2;1H",
        "[    0.000000] Linux version 7.2.12+deb14-rt-amd64",
        "Loading, please wait...",
        "systemd[1]: systemd 262 running in system mode",
    ):
        console.feed(line.encode() + b"\r\n")
        seen.append(console.phase)
    assert seen == [None, None, "boot menu", "kernel", "initrd", "systemd"]
    assert find_phase("nothing of the kind") is None


def test_bytes_in_any_pieces_give_the_same_lines_and_log() -> None:
    raw = "\x1b]3008;start=1\x1b\\one\r\n\x1b[32mtwo\x1b[0m\r\nthree ü".encode()
    log = io.BytesIO()
    whole, pieces = Console(), Console(log)
    whole.feed(raw)
    for byte in raw:
        pieces.feed(bytes([byte]))
    assert whole.last_lines() == ["one", "two", "three ü"]
    assert pieces.last_lines() == whole.last_lines()
    assert log.getvalue() == raw


def test_a_guest_that_prints_without_end_is_bounded() -> None:
    console = Console()
    for _ in range(50):
        console.feed(b"x" * 65536)
    console.feed(b"\n" + b"line\n" * 10000)
    assert len(console.text()) < 3_000_000
    assert console.last_lines(2) == ["line", "line"]
