"""A flipped bit is named, or lies where it means nothing; it is never believed."""

from __future__ import annotations

import os

import pytest
from packages.streamdb.tests.crash.flips import INDEX, MARKER, Damage, Damaged
from packages.streamdb.tests.crash.nursery import Nursery
from packages.streamdb.tests.crash.unused import marker_meaning


@pytest.fixture
def nursery(tmp_path):
    with Nursery(tmp_path) as running:
        yield running


def _key_file(tmp_path) -> str:
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def damaged(nursery, tmp_path):
    return Damaged(nursery, tmp_path, seed=1)


@pytest.fixture
def sealed(nursery, tmp_path):
    return Damaged(nursery, tmp_path, seed=2, key=_key_file(tmp_path))


def _try_all(store: Damaged, damages: list[Damage]) -> None:
    for damage in damages:
        store.try_out(damage)
    tally = store.tally
    assert tally.findings == []
    assert sum(map(sum, (each.values() for each in (tally.named, tally.noted, tally.unused)))) == (
        len(damages)
    )
    # A reader that LMDB ends is the exception, even among flips that hit a tree's structure.
    assert tally.killed <= max(3, len(damages) // 20)


def test_one_flip_of_each_kind(damaged):
    flips = [
        damage for kind in ("index", "segments", "marker") for damage in damaged.flips(kind, 1)
    ]
    _try_all(damaged, [*flips, *damaged.meaningful_flips(1)])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("segments", 200), ("marker", 200), ("lock", 40)])
def test_flips_in_each_file(damaged, kind, count):
    _try_all(damaged, damaged.flips(kind, count))
    if kind == "segments":
        assert damaged.tally.named["segments"] > count / 3


@pytest.mark.slow
def test_flips_in_the_index(damaged):
    _try_all(damaged, damaged.flips("index", 200))


@pytest.mark.slow
def test_flips_where_the_index_means_something(damaged):
    _try_all(damaged, damaged.meaningful_flips(200))
    # The others flip a bit that may be flipped, which only the bit itself can tell.
    assert damaged.tally.named["data.mdb"] >= 190


@pytest.mark.slow
def test_flips_in_what_holds_the_trees_together(damaged):
    _try_all(damaged, damaged.structure_flips(200))
    assert damaged.tally.named["data.mdb"] > 190


@pytest.mark.slow
def test_files_that_end_too_early(damaged):
    _try_all(
        damaged,
        damaged.cuts("index", 30) + damaged.cuts("segments", 30) + damaged.cuts("marker", 10),
    )


@pytest.mark.torture
def test_flips_in_an_encrypted_store(sealed):
    damages = [
        damage
        for kind, count in (("index", 40), ("segments", 40), ("marker", 120))
        for damage in sealed.flips(kind, count)
    ]
    _try_all(sealed, damages + sealed.meaningful_flips(40))


@pytest.mark.slow
def test_repair_leaves_a_whole_store_and_says_what_was_lost(damaged):
    damages = damaged.meaningful_flips(15) + damaged.structure_flips(15)
    damages += damaged.flips("segments", 15) + damaged.flips("marker", 5)
    damages += damaged.cuts("index", 8) + damaged.cuts("segments", 8)
    for damage in damages:
        damaged.mend(damage)
    assert damaged.tally.findings == []
    assert damaged.tally.repaired == len(damages)
    assert damaged.tally.lost > 0


# -- the harness itself ----------------------------------------------------------------------------


def test_a_damage_is_what_it_says():
    assert Damage(INDEX, 1, 3).apply(b"\0\0\0") == b"\0\x08\0"
    assert Damage(INDEX, 2, None).apply(b"abc") == b"ab"
    assert str(Damage(MARKER, 7, 0)) == "bit 0 of byte 7 of STREAMDB"


def test_the_marker_means_the_same_in_another_spelling():
    raw = b'{"magic": "m", "format": 1, "store": "ab", "key": null, "note": "n"}'
    assert marker_meaning(raw) == marker_meaning(raw.replace(b"ab", b"AB").replace(b'"n"', b'"o"'))
    assert marker_meaning(raw) != marker_meaning(raw.replace(b"1", b"2"))
    assert marker_meaning(raw.replace(b"key", b"kez")) is None
