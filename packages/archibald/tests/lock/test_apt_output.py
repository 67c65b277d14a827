"""What apt prints, recorded: lists of files, failures of an update, dates."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ExitCode, ToolFailedError
from archibald.lock.apt import (
    MirrorUnreachableError,
    SignatureError,
    classify_update_failure,
    parse_print_uris,
    release_date,
)
from archibald.lock.sources import Source

_MAIN = Source("debian", "http://one.example/debian", "trixie", ("main",))
_SECURITY = Source("security", "http://one.example/debian-security", "trixie-security", ("main",))

_PRINTED = f"""\
Reading package lists...
Building dependency tree...
The following NEW packages will be installed:
  busybox libstdc++6 libtone openssl
0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded.
Need to get 3,312 kB of archives.
After this operation, 11.1 MB of additional disk space will be used.
'http://one.example/debian/pool/main/g/gcc-14/libstdc%2b%2b6_14.2.0-19_amd64.deb' libstdc++6_14.2.0-19_amd64.deb 714312 SHA256:{"a" * 64}
'http://one.example/debian/pool/main/b/busybox/busybox_1.37.0-6%2bb3_amd64.deb' busybox_1%3a1.37.0-6+b3_amd64.deb 491188 SHA256:{"b" * 64}
'http://one.example/debian-security/pool/updates/main/o/openssl/openssl_3.5.1-1%2bdeb13u1_amd64.deb' openssl_3.5.1-1+deb13u1_amd64.deb 1494584 SHA256:{"c" * 64}
'http://one.example/debian/pool/main/t/tone/libtone_2.0%7erc1_all.deb' libtone_2.0~rc1_all.deb 520 SHA256:{"d" * 64}
"""  # noqa: E501


def test_the_files_that_apt_would_fetch():
    packages = {package.name: package for package in parse_print_uris(_PRINTED, (_MAIN, _SECURITY))}
    assert list(packages) == ["busybox", "libstdc++6", "libtone", "openssl"]
    busybox = packages["busybox"]
    assert busybox.version == "1:1.37.0-6+b3"
    assert busybox.path == "pool/main/b/busybox/busybox_1.37.0-6+b3_amd64.deb"
    assert (busybox.size, busybox.sha256, busybox.archive) == (491188, "b" * 64, "debian")
    assert packages["libstdc++6"].path.endswith("/libstdc++6_14.2.0-19_amd64.deb")
    assert packages["libtone"].version == "2.0~rc1"
    assert packages["libtone"].architecture == "all"
    # The longer of two addresses that both fit is the archive it came from.
    assert packages["openssl"].archive == "security"
    assert packages["openssl"].path.startswith("pool/updates/main/o/")


def test_a_file_from_elsewhere_is_refused():
    with pytest.raises(ToolFailedError, match="outside the mirrors: openssl"):
        parse_print_uris(_PRINTED, (_MAIN,))


def test_output_without_files_gives_none():
    assert parse_print_uris("0 upgraded, 0 newly installed\n", (_MAIN,)) == ()


_UNREACHABLE = [
    "Err:1 http://one.example/debian forky InRelease\n"
    "  Could not resolve 'one.example'\n"
    "Reading package lists...\n"
    "E: Failed to fetch http://one.example/debian/dists/forky/InRelease  Could not resolve "
    "'one.example'\n",
    "Err:1 http://one.example/debian forky InRelease\n"
    "  Could not connect to one.example:80 (203.0.113.1), connection timed out\n",
    "Err:1 http://localhost:1/debian forky InRelease\n"
    "  Could not connect to localhost:1 (127.0.0.1). - connect (111: Connection refused)\n"
    "E: Some index files failed to download. They have been ignored, or old ones used instead.\n",
    "Err:2 http://one.example/debian fork Release\n  404  Not Found [IP: 203.0.113.1 80]\n"
    "E: The repository 'http://one.example/debian fork Release' does not have a Release file.\n",
    "Err:2 file:/srv/debian forky Release\n  File not found - /srv/debian/dists/forky/Release\n"
    "E: The repository 'file:/srv/debian forky Release' does not have a Release file.\n",
]
_UNTRUSTED = [
    "Err:1 http://one.example/debian forky InRelease\n"
    "  The following signatures couldn't be verified because the public key is not available: "
    "NO_PUBKEY 6ED0E7B82643E131\n"
    "W: GPG error: http://one.example/debian forky InRelease: The following signatures couldn't be "
    "verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131\n"
    "E: The repository 'http://one.example/debian forky InRelease' is not signed.\n",
    # apt 3 with sqv.
    "Err:1 http://one.example/debian forky InRelease\n"
    "  Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key "
    "4D64FEC119C2029067D6E791F8D2585B8783D481, which is needed to verify signature.\n",
    "E: The repository 'http://one.example/debian forky Release' is not signed.\n",
    "W: GPG error: http://one.example/debian forky InRelease: The following signatures were "
    "invalid: BADSIG 6ED0E7B82643E131 Debian Archive Automatic Signing Key\n",
    "W: GPG error: http://one.example/debian forky InRelease: The following signatures were "
    "invalid: EXPKEYSIG 6ED0E7B82643E131 Debian Archive Automatic Signing Key\n",
    "E: Failed to fetch store:/var/lib/apt/lists/partial/Packages  Hash Sum mismatch\n"
    "   Hashes of expected file:\n    - SHA256:aaaa\n   Hashes of received file:\n",
    "E: Failed to fetch http://one.example/debian/dists/forky/main/binary-amd64/Packages.xz  File "
    "has unexpected size (9 != 8). Mirror sync in progress? [IP: 203.0.113.1 80]\n",
    # A proxy's log-in page instead of the index.
    "E: Failed to fetch http://one.example/debian/dists/forky/InRelease  Clearsigned file isn't "
    "valid, got 'NOSPLIT' (does the network require authentication?)\n",
]  # fmt: skip


@pytest.mark.parametrize("output", _UNREACHABLE)
def test_a_mirror_that_does_not_answer(output):
    error = classify_update_failure(output)
    assert isinstance(error, MirrorUnreachableError)
    assert "--offline" in error.next_step
    assert "one.example" in error.why or "localhost" in error.why or "/srv/debian" in error.why


@pytest.mark.parametrize("output", _UNTRUSTED)
def test_an_index_that_cannot_be_trusted(output):
    error = classify_update_failure(output)
    assert isinstance(error, SignatureError)
    assert error.exit_code == ExitCode.REFUSED
    assert "--keyring" in error.next_step


def test_any_other_failure_keeps_its_words():
    error = classify_update_failure("E: The method driver /usr/lib/apt/methods/x is missing\n")
    assert type(error) is ToolFailedError
    assert "method driver" in error.why


@given(st.text(max_size=200))
def test_every_output_is_some_error(output):
    error = classify_update_failure(output)
    assert error.what
    assert error.next_step


@pytest.mark.parametrize(
    "line", ["Date: Fri, 30 Oct 2026 08:08:01 UTC", "Date: Fri, 30 Oct 2026 10:08:01 +0200"]
)
def test_the_date_of_a_release(line):
    text = f"Origin: Debian\n{line}\nValid-Until: Fri, 06 Nov 2026 08:08:01 UTC\n"
    assert release_date(text) == datetime(2026, 10, 30, 8, 8, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["Suite: forky\n", "Date: yesterday\n", "Date: \n"])
def test_a_release_without_a_date_is_refused(text):
    with pytest.raises(SignatureError, match="no date"):
        release_date(text)
