"""``archibald verify``: same or not, with the exit code that scripts read."""

from __future__ import annotations

import json

import pytest

from archibald.image.compare import Difference
from archibald.image.verify import Verdict
from archibald.lock.store import sha256_of


@pytest.fixture
def iso(workplace):
    """A file with the signature of an ISO."""
    path = workplace / "mine.iso"
    path.write_bytes(b"\0" * 0x8001 + b"CD001" + b"\0" * 100)
    return path


@pytest.mark.parametrize("name", ["missing.iso", "archibald.toml", "."])
def test_what_is_no_iso(archibald, name):
    ended = archibald("verify", name)
    assert ended.code == 2
    assert name in ended.err
    assert "next: give the path of an ISO" in ended.err


def test_what_is_no_iso_as_json(archibald):
    ended = archibald("verify", "archibald.toml", "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["error"] == "NotAnIsoError"


def test_the_other_must_be_an_iso_too(archibald, iso):
    ended = archibald("verify", str(iso), "--against", "archibald.toml")
    assert ended.code == 2
    assert "archibald.toml is not an ISO image" in ended.err


def test_the_same_bytes_are_the_same(archibald, iso):
    other = iso.with_name("yours.iso")
    other.write_bytes(iso.read_bytes())
    ended = archibald("verify", str(iso), "--against", str(other))
    assert ended.code == 0
    assert "are the same, bit for bit" in ended.out
    assert sha256_of(iso) in ended.out


def test_the_same_as_json(archibald, iso):
    ended = archibald("verify", str(iso), "--against", str(iso), "--json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert document["same"] is True
    assert document["difference"] is None
    assert document["sha256"] == [sha256_of(iso)] * 2


def test_missing_tools_are_named(archibald, iso, toolbox):
    other = iso.with_name("yours.iso")
    other.write_bytes(iso.read_bytes() + b"x")
    for arguments in (["--against", str(other)], []):
        ended = archibald("verify", str(iso), *arguments)
        assert ended.code == 3
        assert "reading an ISO needs xorriso" in ended.err


@pytest.fixture
def verdict(monkeypatch):
    """Let the rebuild be done: it came out as the test says."""

    def install(difference: Difference | None, *hints: str):
        sums = ("a" * 64, "b" * 64 if difference else "a" * 64)
        asked = []

        def rebuild(iso, request, ui):
            asked.append(request)
            return Verdict(*sums, difference, hints)

        monkeypatch.setattr("archibald.image.verify.rebuild_and_compare", rebuild)
        return asked

    return install


def test_a_rebuilt_image_that_is_the_same(archibald, iso, verdict):
    asked = verdict(None)
    ended = archibald("verify", str(iso), "--offline")
    assert ended.code == 0
    assert "and the rebuilt image are the same" in ended.out
    assert [request.offline for request in asked] == [True]


def test_a_rebuilt_image_that_differs(archibald, iso, verdict):
    verdict(Difference("/live/a", "mode", "-rw-r--r--", "-rwxr-xr-x"), "tool versions: x")
    ended = archibald("verify", str(iso))
    assert ended.code == 1
    assert "first difference: /live/a: mode differs: -rw-r--r-- / -rwxr-xr-x" in ended.out
    assert "hint: tool versions: x" in ended.out
    document = json.loads(archibald("verify", str(iso), "--json").out)
    assert document["same"] is False
    assert document["difference"]["kind"] == "mode"
    assert document["hints"] == ["tool versions: x"]
