"""Latency in virtual time: what goes into a guest, and what is read from its console."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from archibald.cli.common import run_cli
from archibald.errors import ToolFailedError, UsageError
from archibald.measure.virtual import cpio, elf
from archibald.measure.virtual.collect import (
    Kernel,
    followed,
    parse_dependencies,
    parse_listing,
    ram_disk,
)
from archibald.measure.virtual.guest import LOADS, find_load, init_script, parse_result
from archibald.measure.virtual.machine import command_line

LISTING = """\
drwxr-xr-x root/root               155 2026-10-30 08:08 //boot
-rw-r--r-- root/root          14493632 2026-10-22 19:53 //boot/vmlinuz-7.2.12+deb14-rt-amd64
crw-r--r-- root/root             1,  3 2026-10-22 19:53 //dev/null
lrwxrwxrwx root/root                16 2026-04-20 21:23 //usr/lib/libnuma.so.1 -> libnuma.so.1.0.0
-rw-r--r-- root/root             56440 2026-04-20 21:23 //usr/lib/libnuma.so.1.0.0
lrwxrwxrwx root/root                 9 2026-04-20 21:23 //lib64 -> usr/lib64
lrwxrwxrwx root/root                 9 2026-04-20 21:23 //usr/lib64/ld.so -> ../lib/ld-2.so
-rwxr-xr-x root/root                 9 2026-04-20 21:23 //usr/lib/ld-2.so
lrwxrwxrwx root/root                 9 2026-04-20 21:23 //round -> round
"""


def test_a_listing_gives_files_and_links():
    links = parse_listing(LISTING)
    assert links["/usr/lib/libnuma.so.1"] == "libnuma.so.1.0.0"
    assert links["/boot/vmlinuz-7.2.12+deb14-rt-amd64"] == ""
    assert "/dev/null" in links


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/lib64/ld.so", "/usr/lib/ld-2.so"),
        ("/usr/lib/libnuma.so.1", "/usr/lib/libnuma.so.1.0.0"),
        ("/boot", "/boot"),
        ("/no/such", None),
        ("/round", None),
    ],
)
def test_links_are_followed_inside_the_image(path, real):
    assert followed(path, parse_listing(LISTING)) == real


def test_dependencies_come_first():
    text = "kernel/fs/ext4.ko.xz: kernel/crc16.ko.xz kernel/jbd2.ko.xz\nkernel/brd.ko.xz:\n"
    assert parse_dependencies(text) == {
        "ext4": ["kernel/jbd2.ko.xz", "kernel/crc16.ko.xz", "kernel/fs/ext4.ko.xz"],
        "brd": ["kernel/brd.ko.xz"],
    }


def test_kernels_of_one_release_are_known():
    assert Kernel("rt", "7.2.12+deb14-rt-amd64").upstream == "7.2.12+deb14-amd64"


def test_needs_of_a_real_program():
    found = elf.needs(Path("/bin/sh").read_bytes())
    assert found.loader.startswith("/lib")
    assert any(name.startswith("libc.") for name in found.libraries)
    libc = next(Path("/").glob("lib/*-linux-gnu/libc.so.6"))
    assert any("ld-linux" in name for name in elf.needs(libc.read_bytes()).libraries)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01" + bytes(20)])
def test_what_is_no_program_is_refused(data):
    with pytest.raises(ValueError, match="ELF"):
        elf.needs(data)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio reads the archive back")
def test_the_ram_disk_is_an_archive(tmp_path):
    disk = ram_disk(
        {"/usr/bin/x": cpio.file(b"program", executable=True)}, "#!/x\n", {"m.ko": b"m"}
    )
    assert disk == ram_disk(
        {"/usr/bin/x": cpio.file(b"program", executable=True)}, "#!/x\n", {"m.ko": b"m"}
    )
    subprocess.run(
        ["cpio", "-id", "--quiet", "--no-absolute-filenames"],
        input=disk, cwd=tmp_path, check=True, timeout=20,
    )  # fmt: skip
    assert (tmp_path / "init").read_text() == "#!/x\n"
    assert stat.S_IMODE((tmp_path / "init").stat().st_mode) == 0o755
    assert (tmp_path / "modules/m.ko").read_bytes() == b"m"
    assert (tmp_path / "usr/bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "usr/bin/x").read_bytes() == b"program"
    assert (tmp_path / "proc").is_dir()


@pytest.mark.parametrize("name", LOADS)
def test_every_script_is_one_that_a_shell_understands(name):
    script = init_script(find_load(name), ("brd.ko",) * bool(LOADS[name].modules), 100)
    subprocess.run(["sh", "-n"], input=script.encode(), check=True, timeout=20)
    assert "-l 100" in script
    assert script.rstrip().endswith("poweroff -f")


def test_unknown_loads_are_a_usage_error():
    with pytest.raises(UsageError, match="no load 'heavy'"):
        find_load("heavy")


def test_nothing_of_the_host_reaches_the_guest():
    words = command_line(Path("k"), Path("i"), Path("c,d"), "preempt=full threadirqs")
    line = " ".join(words)
    for flag in ("-icount shift=0,sleep=off", "thread=single", "-seed 1", "-smp 1",
                 "-rtc base=2026-01-01,clock=vm", "-nodefaults", "rdrand=off"):  # fmt: skip
        assert flag in line
    assert "nokaslr" in words[-1]
    assert words[-1].endswith("preempt=full threadirqs")
    assert "path=c,,d" in line


RESULT = (Path(__file__).with_name("data") / "cyclictest.json").read_text()


def test_a_result_is_found_among_kernel_messages():
    noisy = f"[ 0.1] x\r\narchibald-result-begin\r\n{RESULT}\narchibald-result-end\r\n[ 9 ] off\r\n"
    assert parse_result(noisy.replace("\n", "\r\n").replace("\r\r", "\r"), where="x").cycles > 0


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ("", "its console is empty"),
        ("[1] Kernel panic - not syncing: VFS\n", "Kernel panic"),
        (
            "archibald-result-begin\nfailed: insmod /modules/brd.ko\narchibald-result-end\n",
            "insmod",
        ),
        ("archibald-result-begin\n{}\narchibald-result-end\n", "not a file of cyclictest"),
        ("archibald-result-begin\n{\n", "archibald-result-begin"),
    ],
)
def test_a_guest_that_fails_says_why(console, said):
    with pytest.raises(ToolFailedError) as caught:
        parse_result(console, where="rt kernel, memory")
    assert said in caught.value.why
    assert "rt kernel, memory" in caught.value.what


@pytest.mark.parametrize(
    "words",
    [
        "--load heavy", "--cycles 5", "--cycles -1", "--at-most 0",
        # The image says which kernels there are, and the tools that read it come first.
        pytest.param("--kernel fast", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_absurd_arguments_are_a_usage_error(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "x.iso"
    image.write_bytes(b"")
    code = run_cli(["measure", "virtual-jitter", str(image), *words.split(), "--json"])
    assert (code, bool(capsys.readouterr().err)) == (2, True)


@pytest.mark.slow
def test_a_file_that_is_no_image_is_a_usage_error(tmp_path, capsys):
    image = tmp_path / "x.iso"
    image.write_bytes(b"hsqs" + bytes(100))
    assert run_cli(["measure", "virtual-jitter", str(image), "--json"]) == 2
    assert "squashfs" in capsys.readouterr().err
