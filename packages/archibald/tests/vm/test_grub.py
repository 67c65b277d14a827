"""Reading boot menus and typing into them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archibald.vm.grub import MenuEntry, default_entry, keys_for, parse_menu, type_keys

MENU = r"""
# made by archibald
set default=default
set timeout=5
set flavour=rt
if serial --unit=0 --speed=115200; then
  terminal_input console serial
fi
function unused {
  echo "menuentry inside a function"
}
menuentry "ArchibaldOS: real-time kernel, \"32 frames\"" --id default {
  echo 'Loading the kernel ...'
  linux /live/vmlinuz-${flavour} boot=live isolcpus=1 quiet
  initrd /live/initrd-rt /live/more
}
menuentry 'Low latency (16 frames)' --class archibald --id=low-latency --hotkey=l {
  linux /live/vmlinuz-$flavour boot=live \
    archibald.variant=low-latency quiet
  initrd /live/initrd-rt
}
submenu 'More' --id more {
  menuentry 'Ordinary kernel' $menuentry_id_option 'generic' {
    search --set=root --file /live/vmlinuz-generic
    if true; then
      linux /live/vmlinuz-generic boot=live
    fi
    initrd /live/initrd-generic
  }
  menuentry "Reboot" { reboot }
}
menuentry "Firmware setup" --unrestricted {
  fwsetup
}
"""


def entries() -> dict[str, MenuEntry]:
    return {entry.entry_id: entry for entry in parse_menu(MENU)}


def test_entries_with_ids_titles_and_places() -> None:
    found = entries()
    assert list(found) == ["default", "low-latency", "generic", "Reboot", "Firmware setup"]
    assert found["default"].title == 'ArchibaldOS: real-time kernel, "32 frames"'
    assert [entry.position for entry in found.values()] == [(0,), (1,), (2, 0), (2, 1), (3,)]
    assert found["default"].kernel == "/live/vmlinuz-rt"
    assert found["default"].cmdline == "boot=live isolcpus=1 quiet"
    assert found["default"].initrds == ("/live/initrd-rt", "/live/more")
    assert found["generic"].kernel == "/live/vmlinuz-generic"
    assert not found["Firmware setup"].bootable


def test_variants() -> None:
    found = entries()
    assert found["low-latency"].variant == "low-latency"
    assert found["default"].variant == "default"
    assert found["low-latency"].arguments[-1] == "quiet"


def test_line_of_the_kernel_in_the_editor() -> None:
    found = entries()
    assert found["default"].linux_line == 1
    assert found["low-latency"].linux_line == 0
    assert found["generic"].linux_line == 2


def test_default() -> None:
    found = parse_menu(MENU)
    assert default_entry(found) == entries()["default"]
    assert default_entry(found[1:]) == entries()["low-latency"]
    assert default_entry([]) is None
    assert default_entry(parse_menu('menuentry "x" {\n halt\n}')) is None


def test_keys_choose_by_position() -> None:
    assert keys_for(MenuEntry("a", "a", (0,))) == [b"\x01", b"\r"]
    assert keys_for(MenuEntry("c", "c", (2,))) == [b"\x01", b"\x0e", b"\x0e", b"\r"]
    nested = keys_for(MenuEntry("g", "g", (1, 2)))
    assert nested == [b"\x01", b"\x0e", b"\r", b"\x01", b"\x0e", b"\x0e", b"\r"]


def test_keys_type_further_arguments_at_the_end_of_the_kernel_line() -> None:
    entry = MenuEntry("a", "a", (0,), kernel="/k", linux_line=1)
    keys = keys_for(entry, "a=b")
    assert b"".join(keys) == b"\x01e\x0e\x0e\x0e\x05 a=b\x18"
    assert all(len(key) == 1 for key in keys)


def test_each_key_waits_until_the_one_before_it_shows() -> None:
    """A guest that draws three times, late, after every key; a key in between would be a fault."""
    screen = {"printed": 0, "pending": 0, "now": 0}
    typed: list[bytes] = []

    def send(key: bytes) -> None:
        assert screen["pending"] == 0, f"{key!r} was typed before the screen was drawn"
        typed.append(key)
        screen["pending"], screen["now"] = 3, 0

    def sleep(_seconds: float) -> None:
        screen["now"] += 1
        if screen["pending"] and screen["now"] >= 10:
            screen["pending"] -= 1
            screen["printed"] += 80

    type_keys(send, MenuEntry("c", "c", (2,)), received=lambda: screen["printed"], sleep=sleep)
    assert b"".join(typed) == b"\x01\x0e\x0e\r"


def test_a_key_that_draws_nothing_does_not_stop_the_typing() -> None:
    typed: list[bytes] = []
    entry = MenuEntry("a", "a", (0,))
    type_keys(typed.append, entry, received=lambda: 7, sleep=lambda _: None)
    assert typed == [b"\x01", b"\r"]


@given(st.text(alphabet="menuentry submenu{}'\"\\$ \nlinux=-/#x", max_size=200))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    for entry in parse_menu(text):
        assert entry.position
