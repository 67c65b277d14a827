"""The comparison's pure parts, and that rsync keeps a small tree equal where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
ROOT = BENCH.parents[2]
PARTS = ("case", "chart", "meter", "ours", "peers", "report", "sync", "syncers", "tree")


@pytest.fixture
def bench(monkeypatch):
    """Imports a module beside the benchmark scripts; they find each other because of the path."""
    monkeypatch.syspath_prepend(BENCH)
    yield import_module
    for name in ("mesh", *(f"mesh_{part}" for part in PARTS)):
        sys.modules.pop(name, None)


def tree(bench, folder, **rest):
    return bench("mesh_tree").Tree(folder, 40, 200_000, **rest)


# -- trees -----------------------------------------------------------------------------------------


def test_a_tree_is_the_same_everywhere_and_as_long_as_was_asked(bench, tmp_path):
    one, two = tree(bench, tmp_path / "a"), tree(bench, tmp_path / "b")
    one.write()
    two.write()
    assert one.digests == two.digests
    assert len(set(one.digests.values())) == 40
    assert sum(each.size for each in one.held.values()) == pytest.approx(200_000, rel=0.1)
    assert one.differences(tmp_path / "b") == []
    assert all(path.read_bytes()[:4] == b"RIFF" for path in (tmp_path / "a").rglob("*.wav"))
    other = tree(bench, tmp_path / "c", seed=2)
    other.write()
    assert other.digests != one.digests


def test_a_change_says_what_is_to_be_seen_afterwards(bench, tmp_path):
    one, two = tree(bench, tmp_path / "a"), tree(bench, tmp_path / "b")
    one.write()
    two.write()
    awaited, same = one.change(1), two.change(1)
    assert awaited.expected == same.expected
    assert list(awaited.expected.values()).count(None) == 2
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert awaited.shown_by(tmp_path / "b")
    assert one.differences(tmp_path / "b") == []


def test_what_is_missing_different_or_too_much_is_named(bench, tmp_path):
    one = tree(bench, tmp_path / "a")
    one.write()
    there = tmp_path / "b"
    shutil.copytree(tmp_path / "a", there)
    (there / ".stfolder").mkdir()
    (there / ".stfolder/of the contender").write_bytes(b"")
    first, second, *_ = sorted(one.held)
    assert one.all().shown_by(there)
    (there / first).unlink()
    data = bytearray((there / second).read_bytes())
    data[-1] ^= 1
    (there / second).write_bytes(data)
    (there / "other.wav").write_bytes(b"")
    awaited = one.all()
    assert not awaited.shown_by(there)
    assert awaited.next == first
    told = one.differences(there)
    assert sorted(told) == sorted(
        [f"{first} is missing", f"{second} is different", "other.wav is too much"]
    )


# -- targets and text ------------------------------------------------------------------------------


def case(bench, **rest):
    parts = bench("mesh_case")
    about = {"name": "x", "text": "a case", "unit": "s", "figure": "seconds", "better": "less"}
    return parts.Case(**about, contenders={}, targets={"Syncthing": 1.0}, **rest)


def test_a_row_is_a_median_and_a_target_bounds_its_ratio(bench):
    limit = bench("mesh_case").Limit("cpu_s", at_most=1.0)
    made = case(bench, limits=(limit,))
    ours = [{"seconds": value, "cpu_s": 3.0} for value in (9.0, 2.0, 4.0)]
    rows = made.rows(
        {"hydramesh": ours, "Syncthing": [{"seconds": 2.0}], "rsync": [{"seconds": 1}]}
    )
    assert [(row["contender"], row["ours_by_theirs"]) for row in rows] == [
        ("hydramesh", 1.0), ("Syncthing", 2.0), ("rsync", 4.0),
    ]  # fmt: skip
    assert made.missed(rows) == [
        "a case: cpu_s 3, the target is at most 1",
        "a case: 2 of Syncthing, the target is at most 1",
    ]


def test_the_section_of_a_document_has_the_table_and_what_is_missed(bench):
    report = bench("mesh_report")
    made = case(bench)
    rows = made.rows({"hydramesh": [{"seconds": 4.0}], "Syncthing": [{"seconds": 2.0}]})
    group = {
        "group": "sync", "machine": "two cores", "rounds": 3, "options": " --quick", "about": "so",
        "rows": rows, "targets": 1, "missed": made.missed(rows),
    }  # fmt: skip
    told = report.section([group])
    assert "|  | Syncthing | 2.00 | 2 |" in told
    assert "Targets reached: 0 of 1." in told
    assert "**missed**: a case: 2 of Syncthing" in told
    assert "mesh.py --only sync --quick`" in told
    document = (ROOT / "docs/explanation/hydramesh-benchmarks.md").read_text()
    assert told in report.with_section(document, told)
    with pytest.raises(ValueError, match="one line"):
        report.with_section("nothing", told)


# -- contenders ------------------------------------------------------------------------------------


def test_a_tool_that_is_missing_is_named_with_its_package(tmp_path):
    command = [sys.executable, str(BENCH / "mesh.py"), "--only", "sync", "--quick"]
    told = subprocess.run(
        command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 3
    assert "ToolMissing: rsync is missing: install the Debian package rsync" in told.stderr
    assert "--without Syncthing" in told.stderr


@pytest.mark.skipif(shutil.which("rsync") is None, reason="the Debian package rsync is not here")
def test_rsync_makes_a_tree_equal_and_its_cost_is_counted(bench, tmp_path):
    syncers, meter = bench("mesh_syncers"), bench("mesh_meter")
    one = tree(bench, tmp_path / "a")
    one.write()
    with syncers.SYNCERS["rsync"](tmp_path) as rsync:
        with meter.Meter(rsync.processes, rsync.spent_s) as cost:
            rsync.begin("a", one.folder, tmp_path / "there")
            assert one.all().wait(tmp_path / "there", 10)
            cost.stop()
        assert one.differences(tmp_path / "there") == []
        awaited = one.change(1)
        rsync.changed("a")
        assert awaited.shown_by(tmp_path / "there")
        assert one.differences(tmp_path / "there") == []
        assert rsync.wire_bytes() > 200_000
    assert cost.seconds > 0
    assert cost.rss_mib > 1
