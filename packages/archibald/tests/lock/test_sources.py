"""Where packages come from: option, profile, or the apt of the host; never our own sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import archibald
from archibald.errors import ExitCode, MissingToolError, PreconditionError
from archibald.lock.sources import (
    Mirrors,
    NoMirrorError,
    Source,
    find_keyring,
    find_mirrors,
    mirrors_from_uris,
    sources_for,
)
from archibald.run import Result

_MAIN = "http://one.example/debian"
_SECURITY = "http://two.example/debian-security"


def _printed(*rows: tuple[str, str]) -> str:
    """Return what `apt-get update --print-uris` prints for rows of address and suite."""
    return "".join(
        f"'{base}/dists/{suite}/InRelease' {base.rpartition('/')[2]}_dists_{suite}_InRelease 0 \n"
        for base, suite in rows
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(f"{_MAIN}/", "bookworm")], Mirrors(_MAIN)),
        ([(_MAIN, "stable"), (f"{_SECURITY}/", "stable-security")], Mirrors(_MAIN, _SECURITY)),
        # The first of several hosts wins; where one stands does not matter.
        (
            [(_SECURITY, "trixie-security"), (_MAIN, "trixie"), ("http://three.example/d", "sid")],
            Mirrors(_MAIN, _SECURITY),
        ),
        # Old releases name their security suite otherwise.
        ([(_SECURITY, "bullseye/updates"), (_MAIN, "bullseye")], Mirrors(_MAIN)),
        ([("cdrom:[Debian]/", "trixie"), (_MAIN, "trixie")], Mirrors(_MAIN)),
        ([("file:///srv/debian", "forky")], Mirrors("file:/srv/debian")),
        # Parts of an archive, backports and other distributions are no mirror of a suite.
        ([("http://four.example/x", "jammy"), ("http://four.example/y", "noble-security")], None),
        ([(_MAIN, "trixie-updates"), (_MAIN, "trixie-backports")], None),
        ([(_SECURITY, "trixie-security")], None),
        ([("", "trixie"), (_MAIN, "")], None),
        ([], None),
    ],
)
def test_mirrors_among_the_addresses_of_apt(rows, expected):
    assert mirrors_from_uris(_printed(*rows)) == expected


def test_other_lines_are_passed_over():
    noise = "W: a warning\n'http://four.example/flat/./InRelease' flat_InRelease 0 \n\n"
    assert mirrors_from_uris(noise) is None
    assert mirrors_from_uris(noise + _printed((_MAIN, "testing"))) == Mirrors(_MAIN)


def _apt(*rows: tuple[str, str]):
    def runner(argv, **_kwargs):
        assert argv == ["apt-get", "update", "--print-uris"]
        return Result(tuple(argv), 0, _printed(*rows), "")

    return runner


def _never(argv, **_kwargs):
    raise AssertionError(f"nothing is to be asked, not {argv}")


def test_the_option_wins_over_the_profile_and_the_profile_over_the_host(toolbox):
    toolbox.add("apt-get")
    apt = _apt((_MAIN, "trixie"))
    option, profile = "http://option.example/debian/", "http://profile.example/mirror"
    assert find_mirrors(option=option, profile=profile, runner=_never) == Mirrors(
        "http://option.example/debian", "http://option.example/debian-security"
    )
    assert find_mirrors(profile=profile, runner=_never) == Mirrors(profile, "")
    assert find_mirrors(runner=apt) == Mirrors(_MAIN)


@pytest.mark.parametrize("address", ["file:///srv/debian", "file:/srv/debian/"])
def test_a_folder_is_a_mirror_however_it_is_written(address):
    """apt names files of such a mirror with one slash."""
    assert find_mirrors(option=address, runner=_never).debian == "file:/srv/debian"


def test_a_list_of_mirrors_is_followed_to_its_first(toolbox, tmp_path):
    """Cloud images keep addresses in a file, which the image that we build does not have."""
    toolbox.add("apt-get")
    listing = tmp_path / "debian.list"
    listing.write_text(f"# comment\n\n{_MAIN}/\tpriority:1\nhttp://three.example/debian\n")
    security = tmp_path / "security.list"
    security.write_text(f"{_SECURITY}\n")
    apt = _apt((f"mirror+file:{listing}", "trixie"), (f"mirror+file:{security}", "trixie-security"))
    assert find_mirrors(runner=apt) == Mirrors(_MAIN, _SECURITY)
    listing.write_text("# nothing\n")
    with pytest.raises(NoMirrorError) as caught:
        find_mirrors(runner=apt)
    assert str(listing) in caught.value.why


def test_without_any_mirror_the_error_says_what_to_set(toolbox):
    toolbox.add("apt-get")
    with pytest.raises(NoMirrorError) as caught:
        find_mirrors(runner=_apt(("http://four.example/ubuntu", "noble")))
    assert "--mirror" in caught.value.next_step
    assert "image.mirror in the profile" in caught.value.next_step
    assert caught.value.exit_code == ExitCode.REFUSED


def test_without_apt_the_error_names_the_tool(toolbox):
    with pytest.raises(MissingToolError, match="needs apt-get"):
        find_mirrors(runner=_never)


def test_a_released_suite_has_updates_and_security_fixes():
    mirrors = Mirrors(_MAIN, _SECURITY)
    assert sources_for("forky", ("main",), mirrors) == (
        Source("debian", _MAIN, "forky", ("main",)),
    )
    assert [(s.archive, s.suite) for s in sources_for("trixie", ("main",), mirrors)] == [
        ("debian", "trixie"),
        ("debian", "trixie-updates"),
        ("security", "trixie-security"),
    ]
    suites = [source.suite for source in sources_for("trixie", ("main",), Mirrors(_MAIN))]
    assert suites == ["trixie", "trixie-updates"]


def test_a_line_of_sources_list():
    source = Source("debian", _MAIN, "forky", ("main", "contrib"))
    assert source.line() == f"deb {_MAIN} forky main contrib"
    assert source.line("trusted=yes") == f"deb [trusted=yes] {_MAIN} forky main contrib"


def test_a_missing_keyring_says_what_to_install(tmp_path):
    ring = tmp_path / "ring.gpg"
    with pytest.raises(PreconditionError) as caught:
        find_keyring(ring)
    assert str(ring) in caught.value.why
    assert "debian-archive-keyring" in caught.value.next_step
    ring.write_bytes(b"")
    assert find_keyring(ring) == ring


def test_no_address_of_an_archive_is_in_our_sources():
    # Only documents that explain a format, and our own page, may be named.
    allowed = re.compile(r"https?://(?:MIRROR|spdx\.github\.io|github\.com)/")
    module_file = archibald.__file__
    assert module_file is not None
    files = [
        path
        for folder in ("lock", "image", "cli")
        for path in sorted((Path(module_file).parent / folder).rglob("*"))
        if path.suffix in (".py", ".sh")
    ]
    assert len(files) > 30
    found = {
        f"{path.name}: {match[0]}"
        for path in files
        for match in re.finditer(r"(?:https?|ftp)://[^\s/\"']+/?", path.read_text())
        if not allowed.match(match[0])
    }
    assert found == set()
