"""The benchmark's library: the same everywhere, of the size that its figures are quoted for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from streamdb.metadata.fields import FIELDS
from streamdb.paths import validate

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def corpus(monkeypatch):
    """The module beside the benchmark scripts; they find it because they lie there too."""
    monkeypatch.syspath_prepend(BENCH)
    yield import_module("corpus")
    sys.modules.pop("corpus", None)


def test_paths_are_different_valid_and_68_bytes_in_the_mean(corpus):
    paths = corpus.paths(20_000)
    assert len(set(paths)) == 20_000
    assert all(validate(path) == path for path in paths[::37])
    assert sum(len(path.encode()) for path in paths) / 20_000 == pytest.approx(68, abs=1)


def test_paths_stay_different_beyond_the_first_round(corpus):
    around = [
        corpus.path(index) for index in (*range(999_000, 1_001_000), *range(2_000_000, 2_000_500))
    ]
    assert len(set(around)) == len(around)


def test_metadata_are_what_importing_gives_and_314_bytes_in_the_mean(corpus):
    sizes = []
    for _, facts in corpus.documents(4_000):
        assert facts.keys() <= FIELDS.keys()
        sizes.append(len(corpus.encoded(facts)))
        assert json.loads(corpus.encoded(facts)) == facts
    assert sum(sizes) / len(sizes) == pytest.approx(314, abs=6)


def test_documents_depend_on_index_and_seed_alone(corpus):
    text = json.dumps(list(corpus.documents(1000)), sort_keys=True)
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == "c9e0ea8b79c905ef"
    assert corpus.paths(50, seed=2) != corpus.paths(50)
    assert corpus.path(49) == corpus.paths(50)[49]
    assert corpus.metadata(49) == list(corpus.documents(50))[49][1]


def test_primitives_measures_every_part():
    script = BENCH / "primitives.py"
    result = subprocess.run(
        [sys.executable, script, "--mib", "2", "--rounds", "1", "--json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(result.stdout)
    assert {name.split(",")[0] for name in found["mb_per_s"]} == {
        "crc32c", "blake3", "chunker", "encode", "decode", "seal", "open",
    }  # fmt: skip
    assert all(speed > 0 for speed in found["mb_per_s"].values())
    assert found["ratio_of_music"] > 1.05
    wrong = subprocess.run(
        [sys.executable, script, "--mib", "0"], capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2
    assert "--mib must be" in wrong.stderr


@pytest.mark.slow
def test_commit_log_measures_the_bound_beside_what_is(tmp_path):
    script = BENCH / "commit_log.py"
    few = ["--documents", "200", "--puts", "2", "--rounds", "1", "--room", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, script, *few, "--beside", "sqlite3", "--json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(result.stdout)
    for kind in ("put", "cpu", "threads"):
        assert list(found[kind]) == ["streamdb", "bound", "sqlite3"]
        assert all(seconds > 0 for seconds in found[kind].values())
    assert len(found["bare"]) == 3
    assert list(tmp_path.iterdir()) == []
    wrong = subprocess.run(
        [sys.executable, script, "--beside", "oracle"], capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2
    assert "--beside knows" in wrong.stderr
