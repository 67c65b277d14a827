"""The pure parts of the image benchmark, and that measuring leaves nothing behind."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from importlib import import_module
from xml.etree import ElementTree

import pytest

from archibald.lock import model
from archibald.profile.load import load_profile
from archibald.run import run
from archibald.system.compose import compose
from archibald.system.diff import diff_specs

MIRROR = "http://mirror.example/debian"


@pytest.fixture
def modules(root, monkeypatch):
    """The benchmark's modules; it is a script, so they are found beside it."""
    monkeypatch.syspath_prepend(root / "bench")
    names = ("image", "image_builders", "image_measure", "image_report")
    yield {name: import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def measuring(modules):
    return modules["image_measure"]


@pytest.fixture
def reporting(modules):
    return modules["image_report"]


@pytest.fixture
def building(modules):
    return modules["image_builders"]


@pytest.fixture
def script(modules):
    return modules["image"]


@pytest.fixture
def job(building, root, tmp_path):
    lock = model.load((root / "profiles/core.lock").read_text(), name="core.lock")
    return building.Job(
        lock, tmp_path / "x.lock", root / "profiles/core.toml", MIRROR, tmp_path / "work", 9
    )


def test_the_tree_of_processes_is_followed(measuring, tmp_path):
    for thread, children in (
        ("1/task/1", "7 8 "),
        ("7/task/7", ""),
        ("7/task/70", "9 "),
        ("2/task/2", "3"),
    ):
        (tmp_path / thread).mkdir(parents=True)
        (tmp_path / thread / "children").write_text(children)
    assert measuring.live_descendants(1, tmp_path) == {7, 8, 9}
    assert measuring.live_descendants(9, tmp_path) == set()


def test_sizes_are_read_from_proc(measuring):
    text = "VmHWM:\t    1200 kB\nVmRSS:\t 900 kB\n"
    assert measuring.kib_field(text, "VmHWM") == 1200 * 1024
    assert measuring.kib_field(text, "Pss") == 0


def test_idle_and_waiting_time_is_not_work(measuring):
    assert measuring.busy_s("cpu  100 20 30 9999 8888 5 5 40 7 7\ncpu0 1\n", 100) == 2.0


def test_memory_is_the_sum_of_all_and_the_largest_of_one(measuring, tmp_path):
    for pid, pss, peak in ((11, 300, 500), (12, 200, 2000)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "smaps_rollup").write_text(f"Pss:   {pss} kB\n")
        (folder / "status").write_text(f"VmHWM:   {peak} kB\n")
    watch = measuring.Watch([])
    watch.look_at_memory([11, 12, 13], tmp_path)
    watch.look_at_memory([11], tmp_path)
    assert watch.memory_bytes == 500 * 1024
    assert watch.process_bytes == 2000 * 1024


def test_a_watch_that_breaks_gives_no_figure(measuring, monkeypatch):
    def broken(_root):
        raise ValueError("no /proc")

    monkeypatch.setattr(measuring, "MEMORY_INTERVAL_S", 0.001)
    monkeypatch.setattr(measuring, "live_descendants", broken)
    with pytest.raises(ValueError, match="no /proc"), measuring.Watch([]) as watch:
        watch._done.wait(0.1)


def test_disk_counts_hard_links_once(measuring, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    file = tmp_path / "a/b/file"
    file.write_bytes(os.urandom(300_000))
    alone = measuring.disk_usage([tmp_path])
    assert alone >= 300_000
    (tmp_path / "a/link").hardlink_to(file)
    (tmp_path / "a/symlink").symlink_to(file)
    assert measuring.disk_usage([tmp_path]) < alone + 100_000
    assert measuring.disk_usage([tmp_path / "missing"]) == 0


def _sample(modules, tool, case, wall, number=0):
    usage = modules["image_measure"].Usage(wall, 2 * wall, 2**20, 2**19, 2**30, 0.5)
    cases = modules["image_builders"].Case
    return modules["image_report"].Sample(tool, cases(case), number, usage, 3 * 2**20)


@pytest.fixture
def samples(modules):
    figures = {
        ("mkosi", "cold"): (70.0, 90.0, 80.0),
        ("live-build", "cold"): (200.0, 300.0, 250.0),
        ("archibald", "cold"): (40.0, 60.0, 50.0),
        ("archibald", "changed"): (4.0, 8.0),
    }
    return [
        _sample(modules, tool, case, wall, number)
        for (tool, case), walls in figures.items()
        for number, wall in enumerate(walls)
    ]


def test_medians_and_ratios(reporting, samples):
    rows = reporting.rows_of(samples)
    assert [(r.case, r.tool, r.count, r.wall_s, r.ratio) for r in rows] == [
        ("cold", "archibald", 3, 50.0, 1.0),
        ("cold", "live-build", 3, 250.0, 5.0),
        ("cold", "mkosi", 3, 80.0, 1.6),
        ("changed", "archibald", 2, 6.0, 1.0),
    ]
    assert (rows[0].fastest_s, rows[0].slowest_s, rows[0].cpu_s) == (40.0, 60.0, 100.0)


def test_without_ours_there_is_no_ratio(reporting, samples):
    rows = reporting.rows_of([s for s in samples if s.tool == "mkosi"])
    assert [row.ratio for row in rows] == [None]
    assert reporting.goals_of(rows) == []


@pytest.mark.parametrize(("wall", "reached"), [(124.0, True), (126.0, False)])
def test_goals_follow_the_medians(modules, reporting, wall, reached):
    samples = [
        _sample(modules, "archibald", "cold", wall),
        _sample(modules, "live-build", "cold", 250.0),
        _sample(modules, "archibald", "changed", wall / 10),
    ]
    assert [g.reached for g in reporting.goals_of(reporting.rows_of(samples))] == [reached, True]
    samples.append(_sample(modules, "archibald", "changed", 40.0))
    assert not reporting.goals_of(reporting.rows_of(samples))[1].reached


def test_table_has_a_cell_for_every_heading(reporting, samples):
    lines = reporting.table_of(reporting.rows_of(samples)).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "| cold | live-build | 3 | 250.0 | 5.0 |" in lines[3]


def test_bars_are_as_long_as_the_times(reporting, samples):
    chart = reporting.chart_of(reporting.rows_of(samples), title="a < b")
    bars = [
        float(element.get("width", "0"))
        for element in ElementTree.fromstring(chart)
        if element.tag.endswith("rect") and element.get("x")
    ]
    assert bars[0] / bars[1] == pytest.approx(50 / 250, abs=0.01)
    assert len(bars) == 4


def test_every_tool_begins_a_round(script):
    orders = [script.order(["a", "b", "c"], number) for number in range(3)]
    assert [order[0] for order in orders] == ["a", "b", "c"]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_the_caches_are_filled_once_and_first(script, building):
    case = building.Case
    turns = list(script.turns(["a", "b"], [case.COLD, case.CHANGED], 2))
    assert turns[:2] == [(0, case.DOWNLOAD, "a", False), (0, case.DOWNLOAD, "b", False)]
    assert [(number, name) for number, name, tool, counts in turns[2:] if counts] == [
        (0, "cold"), (0, "cold"), (0, "changed"), (0, "changed"),
        (1, "cold"), (1, "cold"), (1, "changed"), (1, "changed"),
    ]  # fmt: skip


def test_filled_caches_are_used_again(script, building, job):
    case = building.Case
    turns = list(script.turns(["a", "b"], [case.COLD], 1, ["a"]))
    assert turns[0] == (0, case.DOWNLOAD, "b", False)
    assert [turn[1:3] for turn in turns[1:]] == [(case.COLD, "a"), (case.COLD, "b")]
    chosen = [case.DOWNLOAD, case.COLD]
    assert (0, case.DOWNLOAD, "a", True) in script.turns(["a"], chosen, 1, ["a"])
    builder = building.make_builder("mkosi", job)
    builder.job.work.mkdir(parents=True)
    job.lock_path.write_text("one")
    assert not building.is_filled(builder)
    building.mark_filled(builder)
    assert building.is_filled(builder)
    job.lock_path.write_text("another")
    assert not building.is_filled(builder)


def test_an_interrupted_run_goes_on(script, reporting, samples, tmp_path, capsys):
    path = tmp_path / "image.json"
    assert script.earlier_samples(path, "a") == []
    data = [asdict(sample) for sample in samples]
    script.write_json(path, {"lock_sha256": "a", "samples": data})
    assert script.earlier_samples(path, "a") == samples
    assert script.earlier_samples(path, "b") == []
    assert "have changed" in capsys.readouterr().err


def test_arguments(script):
    assert script.arguments(["--quick"]).tools == ["archibald", "live-build"]
    chosen = script.arguments(["--only", "mkosi,archibald", "--cases", "changed"])
    assert chosen.tools == ["archibald", "mkosi"]
    assert chosen.cases == ["cold", "changed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--only yocto", "'yocto' is none of archibald, live-build, mkosi"),
        ("--cases hot", "'hot' is none of download, cold"),
        ("--rounds 0", "--rounds takes 1 or more"),
        ("--resume", "--resume needs the --work"),
    ],
)
def test_wrong_arguments_are_a_usage_error(script, words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        script.arguments(words.split())
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cold", "changed", "added"])
def test_a_case_changes_what_it_says(building, root, tmp_path, name):
    base = root / "profiles/core.toml"
    path = tmp_path / "profile.toml"
    path.write_text(building.extended_profile(base, building.Case(name)))
    old, new = load_profile(base), load_profile(path)
    assert new.image.packages == ([building.ADDED_PACKAGE] if name == "added" else [])
    quantum = building.CHANGED_QUANTUM_FRAMES if name == "changed" else old.audio.quantum
    assert new.audio.quantum == quantum
    changes = diff_specs(compose(old), compose(new))
    assert bool(changes) == (name != "cold")


def test_all_builders_ask_for_the_same_packages(building, job):
    wanted = set(job.lock.requested)
    mkosi = building.make_builder("mkosi", job).commands(building.Case.COLD)[-1]
    assert set(mkosi[mkosi.index("--package") + 1].split(",")) == wanted
    assert set(job.packages(building.Case.ADDED)) == {*wanted, building.ADDED_PACKAGE}


def test_kernels_of_live_build_are_those_of_the_lock(building, job):
    config = building.make_builder("live-build", job).config()
    flavours = config[config.index("--linux-flavours") + 1].split()
    assert {f"linux-image-{f}" for f in flavours} <= set(job.lock.requested)
    assert flavours


def test_reports_name_no_address_and_no_folder(building, job, tmp_path):
    text = "\n".join(
        [
            building.anonymous(" ".join(map(str, words)), job)
            for name in ("archibald", "mkosi")
            for case in building.Case
            for words in building.make_builder(name, job).commands(case)
        ]
        + [building.anonymous(" ".join(building.make_builder("live-build", job).config()), job)]
    )
    assert "MIRROR" in text
    assert MIRROR not in text
    assert str(tmp_path) not in text


_MEASURED = """
import os
import sys
from pathlib import Path
from image_measure import adopt_orphans, live_descendants, measure
adopt_orphans()
work = Path(sys.argv[1])
command = ["sh", "-c", "head -c 5000000 /dev/urandom >big; setsid sleep 600 & exit $0", sys.argv[2]]
try:
    usage = measure([command], cwd=work, env={}, folders=[work], log_file=work / "log")
    print(usage.wall_s > 0, usage.cpu_s > 0, usage.disk_bytes > 4_900_000)
finally:
    print(live_descendants(os.getpid()))
"""


@pytest.mark.parametrize(("code", "said"), [("0", "True True True\nset()\n"), ("3", "set()\n")])
def test_measuring_counts_and_leaves_nothing_behind(root, tmp_path, code, said):
    result = run(
        [sys.executable, "-c", _MEASURED, tmp_path, code],
        env={"PYTHONPATH": str(root / "bench")}, check=False, timeout_s=60,
    )  # fmt: skip
    assert result.stdout == said
    assert ("exit status 3" in result.stderr) == (code == "3")


def test_help_tells_every_option(root):
    text = run([sys.executable, root / "bench/image.py", "--help"]).stdout
    for option in ("--quick", "--only", "--cases", "--rounds", "--json", "--chart", "--work"):
        assert option in text


def test_peers_need_root(building, monkeypatch):
    monkeypatch.setattr(building.os, "geteuid", lambda: 1000)
    building.require_root(["archibald"])
    with pytest.raises(building.PreconditionError, match="live-build and mkosi"):
        building.require_root(["archibald", "live-build", "mkosi"])


def test_a_suite_that_debootstrap_does_not_know(building, tmp_path, monkeypatch):
    scripts = tmp_path / "share/scripts"
    scripts.mkdir(parents=True)
    (scripts / "sid").write_text("# how to make it\n")
    monkeypatch.setattr(building, "DEBOOTSTRAP", tmp_path / "share")
    building.copy_debootstrap(tmp_path / "copy", "forky")
    assert (tmp_path / "copy" / "scripts/forky").read_text() == "# how to make it\n"
    assert not (scripts / "forky").exists()
