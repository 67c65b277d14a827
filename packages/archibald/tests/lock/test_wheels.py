"""Python wheels of the image: pip's answers recorded, and pip played by a function."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from archibald.errors import ToolFailedError
from archibald.lock.fetch import NotCachedError
from archibald.lock.store import Store, TamperedFileError
from archibald.lock.wheels import (
    WheelsError,
    fetch_wheels,
    image_requirements,
    parse_report,
    resolve_wheels,
)
from archibald.run import Result

_CONTENT = {"rich-14.2.0-py3-none-any.whl": b"rich", "click-8.3.0-py3-none-any.whl": b"click"}
_WHEELS = {name: hashlib.sha256(content).hexdigest() for name, content in _CONTENT.items()}


def _row(url: str, **hashes: str) -> dict:
    return {
        "download_info": {"url": url, "archive_info": {"hashes": hashes} if hashes else {}},
        "metadata": {"name": "x"},
    }


def _pip_report(*rows: dict) -> dict:
    return {"version": "1", "pip_version": "25.1.1", "install": list(rows), "environment": {}}


def test_names_and_hashes_of_a_report():
    report = _pip_report(
        _row("http://index.example/a/b/rich-14.2.0-py3-none-any.whl", sha256="a" * 64),
        _row("file:///wheels/click-8.3.0-py3-none-any.whl#sha256=bb", sha256="b" * 64, md5="1"),
        _row("http://index.example/torch-2.9%2Bcpu-cp314-cp314-linux_x86_64.whl", sha256="c" * 64),
    )
    assert parse_report(report) == {
        "click-8.3.0-py3-none-any.whl": "b" * 64,
        "rich-14.2.0-py3-none-any.whl": "a" * 64,
        "torch-2.9+cpu-cp314-cp314-linux_x86_64.whl": "c" * 64,
    }
    assert list(parse_report(report)) == sorted(parse_report(report))


def test_an_index_without_hashes_is_refused():
    report = _pip_report(_row("http://index.example/rich-14.2.0-py3-none-any.whl"))
    with pytest.raises(WheelsError, match="no SHA-256 for rich"):
        parse_report(report)


def test_wheels_are_chosen_for_the_python_of_the_image():
    seen: list[list[str]] = []

    def pip(argv, **_kwargs):
        words = [str(word) for word in argv]
        seen.append(words)
        row = _row("http://index.example/rich-14.2.0-py3-none-any.whl", sha256="a" * 64)
        Path(words[words.index("--report") + 1]).write_text(json.dumps(_pip_report(row)))
        return Result(tuple(words), 0, "", "")

    found = resolve_wheels(["rich>=14"], "3.14", runner=pip)
    assert found == {"rich-14.2.0-py3-none-any.whl": "a" * 64}
    (words,) = seen
    assert words[words.index("--python-version") + 1] == "3.14"
    assert "cp314" in words
    assert "--only-binary=:all:" in words
    assert words.index("rich>=14") > words.index("--report")


def test_nothing_is_asked_when_nothing_is_needed(tmp_path):
    def pip(argv, **_kwargs):
        raise AssertionError(argv)

    assert resolve_wheels([], "3.14", runner=pip) == {}
    fetch_wheels({}, "3.14", Store(tmp_path), offline=True, note=print, runner=pip)


def test_a_failing_pip_says_what_to_check():
    def pip(argv, **_kwargs):
        raise ToolFailedError("python3 failed", why="ERROR: No matching distribution found")

    with pytest.raises(WheelsError) as caught:
        resolve_wheels(["rich>=14"], "3.14", runner=pip)
    assert "No matching distribution" in caught.value.why
    assert "pip config list" in caught.value.next_step


class _Pip:
    """Plays pip download: puts files where it is told and notes what it was asked."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.listings: list[str] = []

    def __call__(self, argv, **_kwargs):
        words = [str(word) for word in argv]
        assert "--require-hashes" in words
        self.listings.append(Path(words[words.index("--requirement") + 1]).read_text())
        folder = Path(words[words.index("--dest") + 1])
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return Result(tuple(words), 0, "", "")


def _fetch(store: Store, pip: _Pip, *, offline: bool = False) -> list[str]:
    notes: list[str] = []
    fetch_wheels(_WHEELS, "3.14", store, offline=offline, note=notes.append, runner=pip)
    return notes


def test_wheels_are_asked_for_by_version_and_hash_and_kept(tmp_path):
    store, pip = Store(tmp_path / "pool"), _Pip(_CONTENT)
    assert _fetch(store, pip) == []
    (listing,) = pip.listings
    assert sorted(listing.splitlines()) == [
        f"click==8.3.0 --hash=sha256:{_WHEELS['click-8.3.0-py3-none-any.whl']}",
        f"rich==14.2.0 --hash=sha256:{_WHEELS['rich-14.2.0-py3-none-any.whl']}",
    ]
    for name, sha256 in _WHEELS.items():
        assert store.path(sha256).read_bytes() == _CONTENT[name]
    assert _fetch(store, pip, offline=True) == []
    assert len(pip.listings) == 1
    assert list(store.folder.glob("wheels-*")) == []


@pytest.mark.parametrize(
    "files", [{}, {**_CONTENT, "rich-14.2.0-py3-none-any.whl": b"another rich"}]
)
def test_a_wheel_that_is_not_the_locked_one_is_never_taken(tmp_path, files):
    store = Store(tmp_path / "pool")
    with pytest.raises(WheelsError) as caught:
        _fetch(store, _Pip(files))
    assert "rich-14.2.0-py3-none-any.whl" in caught.value.what
    assert "archibald lock --update" in caught.value.next_step
    assert not store.path(_WHEELS["rich-14.2.0-py3-none-any.whl"]).exists()


def test_offline_without_the_wheels(tmp_path):
    with pytest.raises(NotCachedError) as caught:
        _fetch(Store(tmp_path / "pool"), _Pip(_CONTENT), offline=True)
    assert caught.value.what == "2 Python wheels are not in the cache"
    assert "click-8.3.0-py3-none-any.whl" in caught.value.why


def test_a_tampered_wheel_is_refused_and_fetched_anew(tmp_path):
    store, pip = Store(tmp_path / "pool"), _Pip(_CONTENT)
    _fetch(store, pip)
    path = store.path(_WHEELS["rich-14.2.0-py3-none-any.whl"])
    path.write_bytes(b"evil")
    (note,) = _fetch(store, pip)
    assert note.startswith("refused, SHA-256 differs from the lock: rich-14.2.0")
    assert path.read_bytes() == b"rich"
    path.write_bytes(b"evil")
    with pytest.raises(TamperedFileError):
        _fetch(store, pip, offline=True)


def test_our_command_needs_its_libraries_and_no_extras():
    requirements = image_requirements()
    names = {requirement.split(">")[0] for requirement in requirements}
    assert names == {"click", "pydantic", "rich", "textual"}
    assert list(requirements) == sorted(requirements)
