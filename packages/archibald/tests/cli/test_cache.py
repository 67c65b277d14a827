"""``archibald cache``: what is kept, and what prune takes away."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from archibald.image.stages import StageStore


def _work(out: Path) -> None:
    (out / "file").write_text("x" * 1000)


@pytest.fixture
def cache(tmp_path, workplace):
    """A cache with a package, two stages of different age, indexes, a log and a leftover."""
    root = tmp_path / "cache"
    for name, size in (("pool/ab/x", 3000), ("apt/forky/lists/y", 200), ("logs/z.log", 50)):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    store = StageStore(root / "stages")
    for name in ("base", "system"):
        result = store.run(name, {}, _work)
        if name == "base":
            old = time.time() - 20 * 86400
            os.utime(result.folder, (old, old))
    scratch = root / "stages/scratch"
    (scratch / "base-1-1").mkdir()
    (scratch / "base-1-1/half").write_text("x" * 500)
    (scratch / "base-1-1.lock").touch()
    return root


def _stages(cache) -> list[str]:
    return sorted(path.parent.parent.name for path in cache.glob("stages/*/*/stage.json"))


def test_show_without_a_cache(archibald, tmp_path):
    ended = archibald("cache", "show")
    assert ended.code == 0
    assert str(tmp_path / "cache") in ended.out
    assert not (tmp_path / "cache").exists()


def test_show(archibald, cache):
    ended = archibald("cache", "show", "--json")
    document = json.loads(ended.out)
    assert document["folder"] == str(cache)
    assert document["bytes"]["pool"] == 3000
    assert document["bytes"]["apt"] == 200
    assert document["bytes"]["logs"] == 50
    assert document["bytes"]["stages"] > 2500
    assert "packages" in archibald("cache", "show").out


def test_prune_takes_what_is_old_or_was_left(archibald, cache):
    ended = archibald("cache", "prune", "--json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert [name.split("/")[0] for name in document["removed"]] == ["base-1-1", "base"]
    assert document["freed_bytes"] > 1500
    assert _stages(cache) == ["system"]
    assert list((cache / "stages/scratch").iterdir()) == []
    assert (cache / "pool/ab/x").is_file()


@pytest.mark.parametrize(("days", "left"), [("30", ["base", "system"]), ("0", [])])
def test_prune_by_age(archibald, cache, days, left):
    assert archibald("cache", "prune", "--older-than", days).code == 0
    assert _stages(cache) == left


def test_prune_everything(archibald, cache):
    ended = archibald("cache", "prune", "--all")
    assert ended.code == 0
    assert _stages(cache) == []
    for name in ("pool", "apt", "logs"):
        assert not (cache / name).exists()
    assert "freed" in ended.out


def test_prune_leaves_what_a_living_build_uses(archibald, cache):
    with StageStore(cache / "stages").scratch("base") as folder:
        (folder / "file").write_text("x")
        archibald("cache", "prune", "--all")
        assert (folder / "file").is_file()


def test_prune_without_a_cache(archibald):
    ended = archibald("cache", "prune")
    assert ended.code == 0
    assert ended.out == "removed 0, freed 0 MiB\n"


def test_a_wrong_age_is_usage(archibald):
    assert archibald("cache", "prune", "--older-than", "-1").code == 2
    assert archibald("cache", "prune", "--older-than", "soon").code == 2
    assert archibald("cache").code in (0, 2)
