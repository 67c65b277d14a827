"""The core image, booted: the guest checks from the inside that it is what the profile says."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import BuiltImage, archibald

pytestmark = pytest.mark.vm


def check(image: Path, *options: str | Path) -> dict[str, dict[str, str]]:
    """Boot an image with its self-test, assert that no check is bad, return them by id."""
    done = archibald("run", image, "--check", "--json", *options)
    assert done.out, done.err
    rows = {row["id"]: row for row in done.document["checks"]}
    bad = {key: row for key, row in rows.items() if row["answer"] not in ("ok", "not-applicable")}
    assert bad == {}
    assert done.code == 0, done.err
    assert len(rows) > 15
    return rows


def test_default_entry(core_image: BuiltImage) -> None:
    check(core_image.path)


@pytest.mark.torture
def test_low_latency_variant(core_image: BuiltImage) -> None:
    check(core_image.path, "--variant", "low-latency")


@pytest.mark.torture
@pytest.mark.parametrize("variant", ["default", "low-latency"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_through_the_firmware(core_image: BuiltImage, firmware: str, variant: str) -> None:
    options = [] if variant == "default" else ["--variant", variant]
    check(core_image.path, "--firmware", firmware, *options)


@pytest.mark.torture
def test_from_a_usb_stick(core_image: BuiltImage) -> None:
    check(core_image.path, "--firmware", "uefi", "--usb-stick")


@pytest.mark.torture
@pytest.mark.parametrize("entry", ["generic", "toram"])
def test_other_entries(core_image: BuiltImage, entry: str) -> None:
    check(core_image.path, "--kernel-entry", entry)
