"""Repairs and backups that are cut short: nothing gets worse, and they can be done again."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time

import pytest
from packages.streamdb.tests.crash.disk import Disk, read_tree
from packages.streamdb.tests.crash.flips import INDEX, Damage, Damaged
from packages.streamdb.tests.crash.nursery import MODULE, ROOT, Nursery
from packages.streamdb.tests.crash.strace import record

pytestmark = pytest.mark.slow


@pytest.fixture
def nursery(tmp_path):
    with Nursery(tmp_path) as running:
        yield running


@pytest.fixture
def built(nursery, tmp_path):
    """A store in ``store``, what it answers in ``answers.json``."""
    return Damaged(nursery, tmp_path, seed=5)


def test_a_killed_repair_can_be_done_again(nursery, built, tmp_path):
    rng = random.Random(1)
    killed, took_s = 0, 0.3
    damage = Damage(INDEX, 3 * 4096 + 11, 1)
    for number in range(24):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "store", copy)
        (copy / INDEX).write_bytes(damage.apply((copy / INDEX).read_bytes()))
        asked = {"store": str(copy), "answers": str(tmp_path / "answers.json")}
        repairing = nursery.start("mend", **asked)
        time.sleep(rng.uniform(0, took_s))
        repairing.kill()
        killed += repairing.wait().signal == 9
        began = time.monotonic()
        again = nursery.run("mend", 120, **asked)
        took_s = time.monotonic() - began
        assert again.ok, str(again)
        assert again.value["wrong"] == []
        shutil.rmtree(copy)
    assert killed > 4


def test_a_killed_backup_is_not_there_or_is_whole(nursery, built, tmp_path):
    rng = random.Random(2)
    killed = 0
    store, target = str(tmp_path / "store"), tmp_path / "backup"
    answers = str(tmp_path / "answers.json")
    began = time.monotonic()
    assert nursery.run("back_up", store=store, target=str(target)).ok
    took_s = time.monotonic() - began
    for number in range(24):
        if number % 6 == 0:
            shutil.rmtree(target, ignore_errors=True)
        older = target.exists()
        copying = nursery.start("back_up", store=store, target=str(target))
        time.sleep(rng.uniform(0, took_s))
        copying.kill()
        killed += copying.wait().signal == 9
        assert not older or target.exists()
        if target.exists():
            same = nursery.run("same_as", store=str(target), answers=answers)
            assert same.ok, str(same)
            assert same.value == []
    assert killed > 4
    again = nursery.run("back_up", store=store, target=str(target))
    assert again.ok, str(again)
    assert nursery.run("same_as", store=str(target), answers=answers).value == []
    assert nursery.run("same_as", store=store, answers=answers).value == []
    left = {path.name for path in tmp_path.iterdir() if "backup" in path.name}
    assert left == {"backup"}


@pytest.mark.parametrize("task", ["back_up", "mend"])
def test_nothing_of_it_is_uncertain_when_it_has_returned(built, tmp_path, task):
    tmp_path = tmp_path.resolve()
    store = tmp_path / "store"
    arguments = {"store": str(store)}
    if task == "mend":
        arguments["answers"] = str(tmp_path / "answers.json")
        damaged = bytearray((store / INDEX).read_bytes())
        damaged[3 * 4096 + 11] ^= 2
        (store / INDEX).write_bytes(damaged)
    else:
        arguments["target"] = str(tmp_path / "inside" / "backup")
        (tmp_path / "inside").mkdir()
    before = read_tree(store) | read_tree(tmp_path / "inside")
    request, out = tmp_path / "request.json", tmp_path / "out.json"
    request.write_text(json.dumps({"task": task, "arguments": arguments, "out": str(out)}))
    calls = record(tmp_path / "trace", [sys.executable, "-m", MODULE, "--run", str(request)], ROOT)
    assert "error" not in json.loads(out.read_text())
    disk = Disk(store if task == "mend" else tmp_path / "inside", before)
    disk.follow(calls, 1 << 59)
    unsure = {*disk.uncertain_names(), *disk.uncertain_files()}
    # The lock file means nothing after a restart; the folder in which repair built is removed.
    kept = [name for name in unsure if not name.endswith("lock.mdb") and "/.index.new" not in name]
    assert sorted(kept) == []
