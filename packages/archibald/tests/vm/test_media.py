"""What is an image, and what is taken out of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archibald.errors import ExitCode, UsageError
from archibald.run import run
from archibald.vm.boot import RunRequest, further_arguments, prepare, short_folder
from archibald.vm.grub import MenuEntry, parse_menu
from archibald.vm.media import (
    NoImageError,
    UnknownEntryError,
    direct_boot,
    find_entry,
    find_variant,
    identify,
    read_menu,
)

#: They need xorriso and GRUB, which only `make test` installs.
pytestmark = pytest.mark.slow

MENU = """
menuentry "Default" --id default {
  linux /live/vmlinuz-rt boot=live quiet
  initrd /live/initrd-rt /live/extra
}
menuentry "Low" --id low-latency {
  linux /live/vmlinuz-rt boot=live archibald.variant=low-latency
  initrd /live/initrd-rt
}
menuentry "Ordinary" --id generic {
  linux /live/vmlinuz-generic boot=live
  initrd /live/initrd-generic
}
"""


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    """An ISO with a boot menu and files that pass for kernels."""
    tree = tmp_path / "tree"
    files = {
        "boot/grub/grub.cfg": MENU.encode(),
        "live/vmlinuz-rt": b"real-time kernel",
        "live/initrd-rt": b"initrd",
        "live/extra": b"+extra",
        "live/vmlinuz-generic": b"ordinary kernel",
        "live/initrd-generic": b"other initrd",
    }
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o444)
    image = tmp_path / "small.iso"
    run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, tree])
    return image


def test_iso_is_known_by_its_content(iso: Path) -> None:
    renamed = iso.rename(iso.with_suffix(".anything"))
    assert identify(renamed) == "iso"


def test_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024))
    assert identify(disk) == "disk"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"QFI\xfb" + bytes(100000), "qcow2"),
        (b"hsqs" + bytes(100000), "squashfs"),
        (b"\x1f\x8b" + bytes(100000), "gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(100000), "zstd"),
        (b"some text\n", "no ISO 9660"),
        (bytes(100000), "no ISO 9660"),
    ],
)
def test_files_that_are_no_image(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "file.iso"
    path.write_bytes(content)
    with pytest.raises(NoImageError, match=why) as caught:
        identify(path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "archibald build iso" in caught.value.next_step


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoImageError, match="directory"):
        identify(tmp_path)
    with pytest.raises(NoImageError, match="No such file"):
        identify(tmp_path / "none.iso")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(NoImageError, match="neither a file nor a disk"):
        identify(fifo)


def test_iso_that_is_cut_short(iso: Path) -> None:
    whole = iso.read_bytes()
    iso.write_bytes(whole[: 17 * 2048])
    with pytest.raises(NoImageError, match="cut short"):
        identify(iso)


def test_menu_and_boot_files(iso: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    entries = read_menu(iso, folder)
    assert [entry.entry_id for entry in entries] == ["default", "low-latency", "generic"]
    boot = direct_boot(iso, entries[0], folder, further="console=ttyS0")
    assert boot.kernel.read_bytes() == b"real-time kernel"
    assert boot.initrd.read_bytes() == b"initrd+extra"
    assert boot.cmdline == "boot=live quiet console=ttyS0"


def test_iso_of_somebody_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "README").write_text("not ours")
    image = tmp_path / "other.iso"
    run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, tree])
    with pytest.raises(NoImageError, match="not an ArchibaldOS ISO"):
        read_menu(image, tmp_path)


def test_iso_whose_menu_starts_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text("set timeout=5\n")
    image = tmp_path / "empty.iso"
    run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, tree])
    with pytest.raises(NoImageError, match="starts no kernel"):
        read_menu(image, tmp_path)


def test_entries_and_variants_that_are_missing() -> None:
    entries = parse_menu(MENU)
    assert find_entry(entries, "generic").entry_id == "generic"
    assert find_entry(entries, None).entry_id == "default"
    assert find_variant(entries, "low-latency").entry_id == "low-latency"
    assert find_variant(entries, "default").entry_id == "default"
    with pytest.raises(UnknownEntryError, match="did you mean 'generic'") as caught:
        find_entry(entries, "generix")
    assert "default, low-latency, generic" in caught.value.why
    with pytest.raises(UnknownEntryError, match="did you mean 'low-latency'") as caught:
        find_variant(entries, "low-latncy")
    assert caught.value.why == "it has default, low-latency"
    assert caught.value.exit_code == ExitCode.USAGE


def test_further_arguments() -> None:
    default, _, generic = parse_menu(MENU)
    console = "console=tty0 console=ttyS0,115200"
    assert further_arguments(default, serial="terminal") == console
    watched = further_arguments(default, serial="watched")
    assert watched == f"{console} systemd.mask=serial-getty@ttyS0.service"
    assert further_arguments(default, serial="unused") == ""
    assert further_arguments(generic, serial="unused") == "archibald.kernel=generic"
    serial = MenuEntry("serial", "s", (0,), arguments=("console=ttyS0,115200",))
    assert further_arguments(serial, serial="watched") == ""


def test_ways_to_boot(iso: Path, tmp_path: Path) -> None:
    def boot(**options: object) -> object:
        return prepare(RunRequest(image=iso, accel="tcg", **options), tmp_path, serial="watched")  # type: ignore[arg-type]

    direct = boot()
    assert direct.machine.direct is not None  # type: ignore[attr-defined]
    assert direct.menu_arguments == ""  # type: ignore[attr-defined]
    cdrom = boot(firmware="bios", variant="low-latency")
    assert cdrom.machine.medium_kind == "cdrom"  # type: ignore[attr-defined]
    assert cdrom.machine.direct is None  # type: ignore[attr-defined]
    assert cdrom.entry.entry_id == "low-latency"  # type: ignore[attr-defined]
    assert "console=ttyS0" in cdrom.menu_arguments  # type: ignore[attr-defined]
    stick = boot(usb_stick=True)
    assert stick.machine.medium_kind == "usb-stick"  # type: ignore[attr-defined]


def test_contradictions(iso: Path, tmp_path: Path) -> None:
    request = RunRequest(image=iso, variant="low-latency", entry="generic")
    with pytest.raises(UsageError, match="exclude each other"):
        prepare(request, tmp_path, serial="watched")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024))
    with pytest.raises(UsageError, match="cannot be chosen"):
        prepare(RunRequest(image=disk, variant="low-latency"), tmp_path, serial="watched")


def test_temporary_folder_leaves_room_for_socket_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with short_folder() as name:
        assert len(name) + len("/selftest") < 100
