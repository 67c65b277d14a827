"""The boot menu: its entries, and a configuration that GRUB reads as it was meant."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import UsageError
from archibald.image.build import design
from archibald.image.grub import (
    LIVE,
    BootEntry,
    Kernel,
    boot_entries,
    embedded_cfg,
    grub_cfg,
    kernel_of,
)
from archibald.profile.load import parse_profile
from archibald.run import run

_GOLDEN = Path(__file__).parent / "golden"
_NAMES = {"rt": ("vmlinuz-rt", "initrd-rt"), "generic": ("vmlinuz-generic", "initrd-generic")}
_LINES = {"default": "threadirqs", "low-latency": "threadirqs nohz_full=1"}


def _entries(profile, **changes) -> list[BootEntry]:
    arguments = {"root_arguments": "boot=live noeject", "live": True, **changes}
    lines = arguments.pop("lines", _LINES)
    generic = arguments.pop("generic", "threadirqs preempt=full")
    return boot_entries(profile, lines, generic, **arguments)


def _profile(text: str):
    return parse_profile(text, filename="test.toml")


def test_the_menu_of_the_core_profile(core):
    """A change of the menu shows here: write the file anew after looking at the difference."""
    text = grub_cfg(core, _entries(core), folder=LIVE, kernel_names=_NAMES)
    assert text == (_GOLDEN / "core-grub.cfg").read_text()


def test_the_core_profile_has_a_line_for_every_entry(core):
    plan = design(core)
    assert sorted(plan.command_lines) == ["default", "low-latency"]
    entries = _entries(core, lines=plan.command_lines, generic=plan.generic_line)
    assert [entry.id for entry in entries] == [
        "default", "low-latency", "generic", "safe-graphics", "toram", "serial",
    ]  # fmt: skip


def test_a_disk_offers_nothing_that_only_a_medium_can_do(core):
    entries = _entries(core, live=False, root_arguments="root=UUID=1 rw")
    assert "toram" not in {entry.id for entry in entries}
    assert all(entry.arguments.startswith("root=UUID=1 rw ") for entry in entries)


def test_what_the_profile_leaves_out_is_not_offered():
    profile = _profile("[image]\nserial_console = false\ngeneric_kernel = false\n")
    ids = [entry.id for entry in _entries(profile, lines={"default": ""}, generic=None)]
    assert ids == ["default", "safe-graphics", "toram"]


def test_a_system_with_the_ordinary_kernel_has_no_second_entry_for_it():
    profile = _profile('[system]\nkernel = "generic"\n')
    entries = _entries(profile, lines={"default": ""}, generic="")
    assert {entry.flavour for entry in entries} == {"generic"}
    assert "generic" not in {entry.id for entry in entries}
    assert "ordinary kernel" in entries[0].title


def test_variants_carry_their_name_and_arguments(core):
    by_id = {entry.id: entry for entry in _entries(core)}
    words = by_id["low-latency"].arguments.split()
    assert "archibald.variant=low-latency" in words
    assert "nohz_full=1" in words
    assert not any(
        "archibald.variant" in e.arguments for i, e in by_id.items() if i != "low-latency"
    )
    assert by_id["serial"].arguments.endswith("console=tty0 console=ttyS0,115200 quiet")
    assert by_id["safe-graphics"].arguments.split()[-2] == "nomodeset"


@pytest.mark.parametrize("name", ["serial", "toram", "generic", "safe-graphics"])
def test_a_variant_cannot_have_the_name_of_another_entry(name):
    profile = _profile(f'[[variant]]\nname = "{name}"\ntitle = "T"\n')
    with pytest.raises(UsageError) as caught:
        _entries(profile, lines={"default": "", name: ""})
    assert name in caught.value.what
    assert "variant.name" in caught.value.next_step


def test_the_entry_says_what_one_gets():
    profile = _profile('[audio]\nrate = 44100\nquantum = 64\n[branding]\nname = "My OS"\n')
    entry = _entries(profile, lines={"default": ""}, generic=None)[0]
    assert entry.title == "My OS: real-time kernel, 64 frames at 44.1 kHz"


@pytest.mark.parametrize(
    ("version", "kernel"),
    [
        ("7.2.12+deb14-rt-amd64", Kernel("rt", "7.2.12+deb14-rt-amd64")),
        ("6.12.1-amd64", Kernel("generic", "6.12.1-amd64")),
    ],
)
def test_kernels_are_told_apart_by_their_version(version, kernel):
    assert kernel_of(version) == kernel


def test_titles_are_quoted(core):
    entry = BootEntry("x", 'say "hi" for $5 \\ now', "rt", "quiet")
    text = grub_cfg(core, [entry], folder=LIVE, kernel_names=_NAMES)
    assert 'menuentry "say \\"hi\\" for \\$5 \\\\ now" --id x {' in text


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
def test_any_title_is_read_back_as_it_was(core, title):
    entry = BootEntry("x", title, "rt", "quiet")
    text = grub_cfg(core, [entry], folder=LIVE, kernel_names=_NAMES)
    quoted = re.search(r'^menuentry "((?:[^"\\]|\\.)*)" --id x \{$', text, re.M)
    assert quoted is not None
    assert re.sub(r"\\(.)", r"\1", quoted[1]) == title
    assert not re.search(r"(?<!\\)(?:\\\\)*\$", quoted[1])


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("pcie_aspm=off", "pcie_aspm=off"),
        ("isolcpus=managed_irq,domain,2-3", "isolcpus=managed_irq,domain,2-3"),
        ("dyndbg=a|b", "'dyndbg=a|b'"),
        ("x={1}&2", "'x={1}&2'"),
        ("x=<y>", "'x=<y>'"),
    ],
)
def test_what_grub_would_take_for_its_own_is_quoted(core, argument, written):
    entry = BootEntry("x", "T", "rt", f"boot=live {argument} quiet")
    text = grub_cfg(core, [entry], folder=LIVE, kernel_names=_NAMES)
    assert f"  linux /live/vmlinuz-rt boot=live {written} quiet\n" in text


def test_the_embedded_configuration_looks_for_the_marker():
    text = embedded_cfg("/.disk/archibald-0123")
    assert "search --no-floppy --set=root --file /.disk/archibald-0123\n" in text
    assert "configfile ($root)/boot/grub/grub.cfg" in text


@pytest.mark.vm
@pytest.mark.parametrize(
    "argument", ["quiet", "dyndbg=a|b", "x={1}&2", "x=<y>", "y=a#b", "z=!~^*?"]
)
def test_grub_itself_can_read_it(core, tmp_path, argument):
    assert shutil.which("grub-script-check"), "grub-common is a tool of make test"
    entry = BootEntry("x", 'a "title" with $5 and \\', "rt", f"boot=live {argument}")
    path = tmp_path / "grub.cfg"
    path.write_text(grub_cfg(core, [*_entries(core), entry], folder=LIVE, kernel_names=_NAMES))
    run(["grub-script-check", path])
