"""The comparison's pure parts, and a tiny run of it with the stores that need no installing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
ROOT = BENCH.parents[2]
PARTS = ("cases", "chart", "kv", "machine", "material", "peers", "report", "sql", "stores")


@pytest.fixture
def bench(monkeypatch):
    """Imports a module beside the benchmark scripts; they find each other because of the path."""
    monkeypatch.syspath_prepend(BENCH)
    yield import_module
    for name in ("corpus", "compare", *(f"compare_{part}" for part in PARTS)):
        sys.modules.pop(name, None)


def samples(report, case, **values):
    return [
        report.Sample(case, store.replace("_", "-"), number, value, 0.1)
        for store, each in values.items()
        for number, value in enumerate(each)
    ]


# -- the report ------------------------------------------------------------------------------------


def test_a_row_is_a_median_with_its_ratio(bench):
    report = bench("compare_report")
    found = samples(report, "get", apsw=[4.0, 9.0, 5.0], streamdb=[2.0, 1.0, 30.0])
    ours, peer = report.rows_of(found, ["get"], ["streamdb", "apsw"])
    assert (ours.store, ours.value, ours.least, ours.most, ours.ratio) == (
        "streamdb", 2.0, 1.0, 30.0, 1.0,
    )  # fmt: skip
    assert (peer.store, peer.value, peer.count, peer.ratio) == ("apsw", 5.0, 3, 2.5)


def test_a_row_without_ours_has_no_ratio(bench):
    report = bench("compare_report")
    (row,) = report.rows_of(samples(report, "get", apsw=[4.0]), ["get"], ["streamdb", "apsw"])
    assert row.ratio is None
    assert report.verdicts_of([row]) == []


@pytest.mark.parametrize(
    ("case", "values", "reached"),
    [
        ("get", {"streamdb": [1.0], "apsw": [1.5], "files": [9.0]}, [True]),
        ("get", {"streamdb": [1.0], "apsw": [1.5], "leveldb": [1.3]}, [False]),
        ("hot", {"streamdb": [0.29e-6]}, [True]),
        ("hot", {"streamdb": [0.31e-6], "apsw": [1.0]}, [False]),
        ("put", {"streamdb": [1.0], "sqlite3": [1.1], "apsw_clustered": [0.9]}, [False]),
        ("put", {"streamdb": [1.0], "apsw": [1.1], "rocksdb": [1.2]}, [True, False]),
        ("size", {"streamdb": [1.29], "rocksdb": [1.0], "leveldb": [0.1]}, [True]),
        ("size", {"streamdb": [1.31], "rocksdb": [1.0]}, [False]),
        ("size", {"streamdb": [1.0], "apsw": [1.0]}, []),
        ("batch", {"streamdb": [1.0], "apsw": [0.1]}, []),
    ],
)
def test_targets(bench, case, values, reached):
    report = bench("compare_report")
    rows = report.rows_of(
        samples(report, case, **values), [case], [name.replace("_", "-") for name in values]
    )
    assert [verdict.reached for verdict in report.verdicts_of(rows)] == reached


def test_every_target_has_a_case_and_says_what_it_is(bench):
    report, cases = bench("compare_report"), bench("compare_cases")
    names = [case.name for case in cases.cases_for(1_000_000)]
    assert len(set(names)) == len(names)
    assert {target.case for target in report.TARGETS} <= set(names)
    texts = [target.text() for target in report.TARGETS if target.case in ("put", "hot", "size")]
    assert texts == [
        ">= 0.769 x rocksdb", "< 0.3 us", ">= 1 x SQLite", ">= 1.3 x rocksdb",
    ]  # fmt: skip


def test_a_small_corpus_has_no_long_searches(bench):
    names = [case.name for case in bench("compare_cases").cases_for(100_000)]
    assert "prefix-10000" in names
    assert "prefix-100000" not in names


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.21e-6, "get", "0.21 us"),
        (45.67e-6, "get", "45.7 us"),
        (1.5e-3, "put", "1.50 ms"),
        (999e-3, "batch", "999 ms"),
        (12.0, "query", "12.0 s"),
        (0.000262144, "blob", "1,000 MB/s"),
        (1_234_567, "B", "1.23 MB"),
        (250e6, "B", "250 MB"),
    ],
)
def test_quantities(bench, value, unit, text):
    assert bench("compare_report").quantity(value, unit) == text


def test_only_the_part_between_the_markers_changes(bench):
    report = bench("compare_report")
    text = f"# Title\n\n{report.BEGIN}\nold\n{report.END}\nend\n"
    changed = report.with_section(text, "new | table")
    assert changed == f"# Title\n\n{report.BEGIN}\n\nnew | table\n\n{report.END}\nend\n"
    assert report.with_section(changed, "new | table") == changed


@pytest.mark.parametrize("text", ["", "<!-- bench -->\n", "<!-- /bench -->\n<!-- bench -->\n"])
def test_a_document_without_its_markers_is_refused(bench, text):
    with pytest.raises(ValueError, match="it needs one line <!-- bench -->"):
        bench("compare_report").with_section(text, "new")


# -- the material ----------------------------------------------------------------------------------


def test_prefixes_and_suffixes_have_about_as_many_results_as_asked_for(bench):
    material = bench("compare_material").Material(20_000)
    for size in (10, 1000):
        for start in material.prefixes(size, 5):
            assert size / 1.5 <= sum(p.startswith(start) for p in material.paths) <= size * 1.5
        for end in material.suffixes(size, 5):
            assert size / 1.5 <= sum(p.endswith(end) for p in material.paths) <= size * 1.5
    assert len(material.prefixes(10, 5)) == len(material.suffixes(10, 5)) == 5


def test_what_nothing_has_that_often_is_not_found(bench):
    with pytest.raises(LookupError):
        bench("compare_material").starts_of(["aa", "bb"], 1000, 3, 1)


def test_documents_come_sorted_and_new_ones_are_new(bench):
    material = bench("compare_material").Material(12_000)
    loaded = [document.path for part in material.slices() for document in part]
    assert loaded == sorted(loaded) == material.paths
    fresh = [d.path for round_ in range(3) for d in material.fresh(round_, 0, 5000)]
    assert len({*loaded, *fresh}) == len(loaded) + len(fresh)
    assert material.sample(50, 7) == material.sample(50, 7) != material.sample(50, 8)


def test_music_is_no_noise_and_never_the_same(bench):
    import zlib

    pytest.importorskip("numpy", reason="the script installs it")
    music = bench("compare_material").music
    one = music(1 << 18, 1)
    assert len(one) == 1 << 18
    assert one == music(1 << 18, 1) != music(1 << 18, 2)
    assert len(zlib.compress(one)) < 0.97 * len(one)


def test_questions_mean_the_same_in_both_wordings(bench):
    from streamdb.query import parse

    material = bench("compare_material")
    documents = [material.document(index, 1) for index in range(5_000)]
    for question in material.QUESTIONS.values():
        query = parse(question.text)
        meant = [d for d in documents if query.matches(d.path, d.metadata, len(d.data))]
        assert meant
        assert meant == [d for d in documents if question.holds(d.metadata)]
        stores = bench("compare_stores")
        values = [stores.pack_value(d) for d in documents]
        assert len(meant) == sum(stores.is_meant(question, question.needles(), v) for v in values)


# -- the machine -----------------------------------------------------------------------------------


def test_the_file_system_of_a_folder_is_that_of_the_longest_mount(bench):
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /var/tmp tmpfs rw 0 0\n/dev/b /var xfs rw 0 0\n"
    kind = bench("compare_machine").file_system
    assert kind(Path("/var/tmp/x"), mounts) == "tmpfs"
    assert kind(Path("/var/x"), mounts) == "xfs"
    assert kind(Path("/variable"), mounts) == "ext4"


def test_disk_usage_and_what_lies_in_memory(bench, tmp_path):
    machine = bench("compare_machine")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(bytes(range(256)) * 4096)
    assert machine.disk_bytes(tmp_path) >= 1 << 20
    with (tmp_path / "a/b").open("rb") as file:
        file.read()
        assert machine.resident_bytes(file.fileno(), 1 << 20) == 1 << 20
    assert 0 <= machine.drop_from_memory(tmp_path) <= 1


def test_busy_time_leaves_out_idling(bench):
    text = "cpu  100 20 30 900 70 4 6 40 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"
    assert bench("compare_machine").busy_s(text, 100) == 2.0


# -- the chart -------------------------------------------------------------------------------------


def test_ratios_beyond_the_scale_stay_on_it(bench):
    position = bench("compare_chart").position
    assert position(1e-9) == 0
    assert position(1e9) == 1
    assert position(1) == pytest.approx(0.25)


# -- the command line ------------------------------------------------------------------------------


def test_turns_are_interleaved_and_another_store_begins_each_round(bench):
    compare, cases = bench("compare"), bench("compare_cases")
    both = [
        cases.Case("x", "", "", lambda *_: 0.0, slow=("c",)),
        cases.Case("y", "", "", lambda *_: 0.0, rounds=1, only=lambda name: name != "b"),
    ]
    found = [(case.name, store, number) for case, store, number in compare.turns(both, "abc", 2)]
    assert found == [
        ("x", "a", 0), ("x", "b", 0), ("x", "c", 0), ("x", "b", 1), ("x", "a", 1),
        ("y", "a", 0), ("y", "c", 0),
    ]  # fmt: skip


def test_what_is_asked_for(bench):
    options = bench("compare").options
    assert (options(["--quick"]).documents, options([]).documents) == (100_000, 1_000_000)
    assert options(["--only", "files,streamdb"]).stores == ["streamdb", "files"]
    assert options(["--cases", "get,load,prefix-1*"]).names[:2] == ["load", "get"]
    for wrong in (["--resume"], ["--documents", "0"], ["--only", "x"], ["--cases", "get"]):
        with pytest.raises(SystemExit) as ended:
            options(wrong)
        assert ended.value.code == 2


def test_a_run_is_measured_reported_and_resumed(bench, tmp_path):
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, BENCH / "compare.py", "--documents", "300", "--rounds", "1", "--only",
        "streamdb,sqlite3,files", "--cases", "load,size,get,hot,find-indexed,threads",
        "--work", tmp_path / "work", "--json", figures,
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert first.returncode in (0, 1), first.stderr
    found = json.loads(figures.read_text())
    assert found["failed"] == {}
    assert all(row["value"] > 0 for row in found["rows"])
    assert {row["store"] for row in found["rows"]} == {"streamdb", "sqlite3", "files"}
    assert first.returncode == any(not verdict["reached"] for verdict in found["verdicts"])
    for verdict in found["verdicts"]:
        missed = f"missed: {verdict['case']} {verdict['target']}"
        assert (missed in first.stdout) == (not verdict["reached"])
    found["samples"] = [s for s in found["samples"] if s["case"] != "hot"]
    figures.write_text(json.dumps(found))
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120)
    assert again.returncode in (0, 1), again.stderr
    assert [line for line in again.stderr.splitlines() if ": " in line] == [
        "hot: get, the same 200 documents"
    ]
    other = [*command, "--resume", "--seed", "2"]
    refused = subprocess.run(other, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 3
    assert "not to be resumed" in refused.stderr


def test_a_store_that_gives_something_else_is_named_and_left_out(bench, tmp_path):
    compare, cases = bench("compare"), bench("compare_cases")
    material = bench("compare_material").Material(600)
    stores = bench("compare_peers").openers(["streamdb", "files"])

    def forgetful(folder):
        store = stores["files"].open(folder)
        whole, store.search = store.search, lambda prefix: whole(prefix)[1:]
        return store

    openers = {"streamdb": stores["streamdb"].open, "files": forgetful}
    run = cases.Bench(material, tmp_path, openers, puts=8)
    wanted = [case for case in cases.cases_for(600) if case.name in ("load", "prefix-10", "get")]
    outcome = compare.Outcome()
    compare.run_all(run, wanted, 1, outcome, lambda: None)
    assert list(outcome.failed) == ["files"]
    assert "WrongAnswer" in outcome.failed["files"]
    assert {sample.store for sample in outcome.samples if sample.case == "prefix-10"} == {
        "streamdb"
    }


def test_documents_are_written_all_or_none(bench, tmp_path):
    compare = bench("compare")
    machine = dict.fromkeys(("cpu", "memory", "file system", "python"), "x")
    figures = {
        "documents": 100_000, "rounds": 1, "failed": {}, "interrupted": False, "machine": machine,
        "options": "", "stores": {"streamdb": {}}, "cases": [], "verdicts": [],
        "rows": [{"case": "x", "store": "streamdb", "others_cores": 0.2}],
    }  # fmt: skip
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("<!-- bench -->\n<!-- /bench -->\n")
    bad.write_text("nothing\n")
    with pytest.raises(compare.Refused, match=r"bad\.md cannot be written"):
        compare.write_docs(figures, [good, bad])
    assert good.read_text() == "<!-- bench -->\n<!-- /bench -->\n"
    compare.write_docs(figures, [good])
    assert "100,000 documents, 1 rounds" in good.read_text()
    assert "docs/explanation/streamdb-benchmarks.png)" in good.read_text()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"failed": {"apsw": "get: ..."}}, "not whole"),
        ({"interrupted": True}, "not whole"),
        ({"documents": 99_999}, "fewer than 100,000"),
        ({"rows": [{"others_cores": 0.1}, {"others_cores": 0.9}, {"others_cores": 1}]}, "0.9 CPUs"),
    ],
)
def test_what_is_not_to_be_quoted_is_not_written(bench, tmp_path, change, why):
    compare = bench("compare")
    quiet = [{"others_cores": 0.1}]
    good = {"documents": 100_000, "failed": {}, "interrupted": False, "rows": quiet}
    assert compare.doubt_of(good) is None
    with pytest.raises(compare.Refused, match=why):
        compare.write_docs(good | change, [tmp_path / "none.md"])


def test_the_explanation_can_be_refreshed(bench):
    report = bench("compare_report")
    text = (ROOT / "docs/explanation/streamdb-benchmarks.md").read_text()
    assert "new figures" in report.with_section(text, "new figures")
