"""The medium: what decides its bytes, and the command that makes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archibald.errors import MissingToolError
from archibald.image import iso as iso_module
from archibald.image.iso import ISO_TOOLS, IsoPlan, require_iso_tools, xorriso_command

_PLAN = IsoPlan(
    files={"live/10-base.squashfs": Path("/cache/a/base.squashfs")},
    texts={"boot/grub/grub.cfg": "set timeout=5\n"},
    volume_id="ARCHIBALDOS",
    epoch=1793347681,
)
_HASHES = {"live/10-base.squashfs": "a" * 64}


def test_contents_and_tools_decide_the_medium_not_paths():
    inputs = _PLAN.inputs(_HASHES, {"xorriso": "1.5.6"})
    moved = replace(_PLAN, files={"live/10-base.squashfs": Path("/elsewhere/base.squashfs")})
    assert moved.inputs(_HASHES, {"xorriso": "1.5.6", "apt": "3"}) == inputs
    assert _PLAN.inputs({"live/10-base.squashfs": "b" * 64}, {"xorriso": "1.5.6"}) != inputs
    assert _PLAN.inputs(_HASHES, {"xorriso": "2"}) != inputs
    others = [replace(_PLAN, volume_id="X"), replace(_PLAN, epoch=1), replace(_PLAN, texts={})]
    for other in others:
        assert other.inputs(_HASHES, {"xorriso": "1.5.6"}) != inputs


def test_grub_recognizes_the_medium_by_its_content():
    assert _PLAN.marker == _PLAN.marker
    assert _PLAN.marker.startswith("/.disk/archibald-")
    other = replace(_PLAN, texts={"boot/grub/grub.cfg": "set timeout=6\n"})
    assert other.marker != _PLAN.marker


def test_every_date_of_the_medium_is_the_snapshots():
    words = xorriso_command(_PLAN, Path("/t"), Path("/e"), Path("/o"))
    assert "--modification-date=2026103008080100" in words
    assert words[words.index("--gpt_disk_guid") + 1] == "modification-date"
    assert words[-3:] == ["-o", "/o", "/t"]


def test_missing_tools_are_named(toolbox):
    with pytest.raises(MissingToolError) as caught:
        require_iso_tools()
    for tool in ISO_TOOLS:
        assert tool in caught.value.what
    assert caught.value.next_step.endswith(
        "install --no-install-recommends grub-common mtools xorriso"
    )


@pytest.mark.parametrize(
    ("platform", "package"), [("i386-pc", "grub-pc-bin"), ("x86_64-efi", "grub-efi-amd64-bin")]
)
def test_missing_files_of_grub_are_named(toolbox, tmp_path, monkeypatch, platform, package):
    for tool in ISO_TOOLS:
        toolbox.add(tool)
    for name in {"i386-pc", "x86_64-efi"} - {platform}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "moddep.lst").touch()
    monkeypatch.setattr(iso_module, "GRUB_LIB", tmp_path)
    with pytest.raises(MissingToolError) as caught:
        require_iso_tools()
    assert platform in caught.value.what
    assert caught.value.next_step.endswith(package)
