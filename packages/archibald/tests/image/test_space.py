"""Is there room? Said before the work, with the numbers and a way out."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from archibald.errors import DiskFullError, ExitCode
from archibald.image.build import disk_full_said
from archibald.image.space import mib, require_space


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 MiB"), (2**20, "1 MiB"), (1.6 * 2**20, "2 MiB"), (2**30 - 1, "1024 MiB"),
        (2**30, "1.0 GiB"), (5.25 * 2**30, "5.2 GiB"),
    ],
)  # fmt: skip
def test_sizes_for_people(size, text):
    assert mib(size) == text


@pytest.fixture
def free(monkeypatch):
    """Say how much is free; the folders that were asked about are collected."""
    asked = []

    def give(size: int):
        def usage(path):
            asked.append(path)
            return SimpleNamespace(free=size)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        return asked

    return give


def test_enough_is_enough(free, tmp_path):
    free(1000)
    require_space(tmp_path, 1000, purpose="the image")


def test_too_little_says_how_much_and_what_to_do(free, tmp_path):
    free(10 * 2**20)
    with pytest.raises(DiskFullError) as caught:
        require_space(tmp_path, 3 * 2**30, purpose="the image")
    assert caught.value.what == f"the image needs 3.0 GiB, {tmp_path} has 10 MiB"
    assert "archibald cache prune" in caught.value.next_step
    assert "ARCHIBALD_CACHE" in caught.value.next_step
    assert caught.value.exit_code == ExitCode.REFUSED


def test_a_folder_that_is_not_there_yet_is_asked_for_at_its_parent(free, tmp_path):
    asked = free(0)
    with pytest.raises(DiskFullError):
        require_space(tmp_path / "new" / "deep", 1, purpose="x")
    assert asked == [tmp_path]


@pytest.mark.parametrize("errno", [28, 122])
def test_a_disk_that_fills_up_meanwhile_is_said(tmp_path, errno):
    with pytest.raises(DiskFullError) as caught, disk_full_said(tmp_path, tmp_path / "out"):
        raise OSError(errno, "No space left on device", "/cache/file")
    assert "/cache/file" in caught.value.what
    assert str(tmp_path) in caught.value.next_step


def test_other_errors_of_the_system_stay_themselves(tmp_path):
    with pytest.raises(PermissionError), disk_full_said(tmp_path, tmp_path):
        raise PermissionError(13, "Permission denied", "/x")
