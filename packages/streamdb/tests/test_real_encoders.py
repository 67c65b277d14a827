"""Files of real encoders tell what the encoders were told; broken ones never stop the reader."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from packages.streamdb.tests.corpus import build, encode_originals

from streamdb.chunking import split
from streamdb.codec import RAW, decode, encode, layout_of
from streamdb.metadata import describe
from streamdb.paths import validate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return encode_originals(tmp_path_factory.mktemp("originals"))


def test_the_originals_tell_what_the_encoders_were_told(originals):
    assert len(originals) >= 60
    assert len({original.data for original in originals}) == len(originals)
    for original in originals:
        described = describe(original.data, original.name)
        assert described.problem is None, original.name
        found = {name: described.metadata.get(name) for name in original.facts}
        assert found == original.facts, original.name


def test_durations_are_those_that_sox_finds(originals, tmp_path):
    """sox decodes the whole file to count; it reads everything here but Opus."""
    counted = 0
    for original in originals:
        if original.facts["codec"] == "opus":
            continue
        path = tmp_path / original.name
        path.write_bytes(original.data)
        # lame's and sox's MP3 decoders differ by the codec's delay, one or two frames.
        near = 0.08 if original.facts["codec"] == "mp3" else 1e-4
        if original.facts["codec"] == "mp3":
            text = f"lame --quiet --decode {path} {tmp_path / 'decoded.wav'}".split()
            subprocess.run(text, check=True, capture_output=True, timeout=120)
            path = tmp_path / "decoded.wav"
        result = subprocess.run(
            ["sox", "--info", "-D", path], check=True, capture_output=True, text=True, timeout=120
        )
        duration = describe(original.data, original.name).metadata["duration"]
        assert duration == pytest.approx(float(result.stdout), abs=near), original.name
        counted += 1
    assert counted > 50


def test_ten_thousand_files_give_their_facts_or_a_problem(tmp_path):
    files = build(tmp_path / "library", 10_000)
    assert len({file.path for file in files}) == 10_000
    digests = set()
    for file in files:
        path = tmp_path / "library" / file.path
        assert validate(file.path) == file.path
        assert path.stat().st_size == file.size
        described = describe(path, file.path)
        if file.sort in {"audio", "other"}:
            assert described.problem is None, file
            digests.add(hashlib.blake2b(path.read_bytes()).digest())
        if file.sort != "broken":
            found = {name: described.metadata.get(name) for name in file.facts}
            assert found == file.facts, file
        if file.sort == "empty":
            assert described.problem == "the file is empty"
    sorts = [file.sort for file in files]
    assert len(digests) == sorts.count("audio") + sorts.count("other")
    assert min(sorts.count(sort) for sort in ("audio", "broken", "empty", "copy", "other")) >= 100
    assert sum(file.sort == "broken" for file in files) >= 300


def test_chunks_of_real_files_come_back_and_pcm_gets_smaller(originals):
    before = after = 0
    for original in originals:
        hint = layout_of(original.data)
        pieces = []
        for chunk in split(original.data):
            number, payload = encode(chunk, hint)
            pieces.append(decode(number, payload, len(chunk)))
            if original.facts["codec"] == "pcm_s24" and number != RAW:
                before, after = before + len(chunk), after + len(payload)
        assert b"".join(pieces) == original.data
    assert after < before * 0.95


def test_the_same_seed_gives_the_same_paths(tmp_path):
    one = build(tmp_path / "one", 300, seed=5)
    two = build(tmp_path / "two", 300, seed=5)
    other = build(tmp_path / "other", 300, seed=6)
    assert one == two
    assert [file.path for file in one] != [file.path for file in other]
    for file in one:
        left, right = (tmp_path / name / file.path for name in ("one", "two"))
        assert left.read_bytes() == right.read_bytes()
