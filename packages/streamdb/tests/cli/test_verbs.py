"""Each verb: what it does, what it prints in a pipe, as JSON and on a terminal."""

from __future__ import annotations

import base64
import os
import threading

import pytest

from streamdb import StreamDB


def paths(run, *more):
    return run("search", *more).lines


# -- import and export ---------------------------------------------------------------------------


def test_import_says_what_it_did(run, library, here):
    again = run("import", "samples")
    assert again.out == "0 added, 7 unchanged; 0 B read\n"
    (here / "samples/new.wav").write_bytes(b"x")
    (here / "samples/readme.txt").unlink()
    (here / "samples/link").symlink_to("new.wav")
    (here / "samples" / os.fsdecode(b"k\xe4se.wav")).write_bytes(b"x")
    dry = run("import", "samples", "--delete", "--dry-run")
    assert dry.lines == ["add\tnew.wav", "delete\treadme.txt"]
    assert dry.code == 1
    assert paths(run) == sorted(paths(run))
    assert "new.wav" not in paths(run)
    result = run("import", "samples", "--delete", "--json")
    assert result.code == 1
    assert (result.json["added"], result.json["deleted"], result.json["state"]) == (1, 1, "done")
    assert result.json["failed"] == [{"path": "k\\udce4se.wav", "reason": "its name is not UTF-8"}]
    assert result.json["left_out"] == [{"path": "link", "reason": "a symbolic link"}]
    plain = run("import", "samples")
    assert "not imported: 1\n  k\\udce4se.wav: its name is not UTF-8\n" in plain.err
    assert "left out: 1\n  link: a symbolic link\n" in plain.err


def test_import_with_a_prefix_and_patterns(run, here, library):
    result = run("import", "samples", "--prefix", "p/q/", "--include", "*.WAV", "--exclude", "808")
    assert result.code == 0
    assert paths(run, "p/") == [
        "p/q/broken.wav",
        "p/q/drums/kick.wav",
        "p/q/drums/snare.wav",
        "p/q/loops/bass_Cmin_100bpm.wav",
        "p/q/loops/beat_120bpm.wav",
    ]
    assert "damaged inside, but stored as found: 1 file;" in result.out


def test_import_of_what_is_no_folder(run, library, here):
    assert run("import", "nowhere").code == 1
    result = run("import", "samples/readme.txt")
    assert result.code == 2
    assert "streamdb put" in result.err
    assert run("import", "samples", "--prefix", "../x").code == 2
    assert run("import", "samples", "--include", "").code == 2


def test_import_into_a_read_only_store_is_refused(run, library, monkeypatch):
    monkeypatch.setattr("streamdb.place.writable", lambda root: False)
    result = run("import", "samples", "--json")
    assert (result.code, result.json["error"]) == (3, "ReadOnlyStore")


def test_export(run, library, here):
    result = run("export", "out", "--json")
    assert (result.json["written"], result.json["failed"]) == (7, [])
    assert (here / "out/drums/kick.wav").read_bytes() == (
        here / "samples/drums/kick.wav"
    ).read_bytes()
    assert run("export", "out").out == "0 files (0 B), 7 unchanged\n"
    (here / "out/readme.txt").write_bytes(b"mine")
    kept = run("export", "out")
    assert kept.code == 1
    assert "readme.txt: another file is there (--overwrite replaces it)" in kept.err
    assert run("export", "out", "--overwrite").code == 0
    some = run("export", "some", "--prefix", "drums/", "--find", "rate=96kHz", "--dry-run")
    assert some.out == "would write: 1 file (3.8 KiB), 0 unchanged\n"
    assert not (here / "some").exists()
    assert run("export", "some", "--find", "rate=loud").code == 2


# -- put, get and stat ---------------------------------------------------------------------------


def test_put_and_get_are_binary_safe(run, library, here):
    data = bytes(range(256)) * 300
    (here / "in.bin").write_bytes(data)
    assert run("put", "x/in.bin", "in.bin").out == "x/in.bin: 75.0 KiB, version 8\n"
    assert run("get", "x/in.bin", "out.bin").code == 0
    assert (here / "out.bin").read_bytes() == data
    assert (here / "out.bin").stat().st_mtime_ns == (here / "in.bin").stat().st_mtime_ns
    shape = run("get", "x/in.bin", "--json").json
    assert base64.b64decode(shape["data"]) == data


def test_get_writes_whole_files_and_overwrites_only_when_asked(run, library, here):
    (here / "folder").mkdir()
    assert run("get", "drums/kick.wav", "folder", "--json").json["file"] == "folder/kick.wav"
    result = run("get", "readme.txt", "folder/kick.wav")
    assert result.code == 3
    assert "--force" in result.err
    assert run("get", "readme.txt", "folder/kick.wav", "--force").code == 0
    assert (here / "folder/kick.wav").read_bytes() == b"a sample library\n"
    assert run("get", "nothing", "folder/new").code == 1
    assert [file.name for file in (here / "folder").iterdir()] == ["kick.wav"]
    assert run("get", "readme.txt", "no/such/folder").code == 4


def test_get_does_not_throw_bytes_at_a_terminal(run, library):
    result = run("get", "drums/kick.wav", terminal=True)
    assert result.code == 3
    assert result.out == ""
    assert run("get", "readme.txt", terminal=True).out == "a sample library\n"


def test_put_reads_facts_from_a_pipe_too(run, library, here):
    data = (here / "samples/drums/kick.wav").read_bytes()
    assert run("put", "piped.wav", "--set", "artist=Ada", "--set", "n=3", stdin=data).code == 0
    held = run("stat", "piped.wav", "--json").json["documents"][0]["metadata"]
    assert (held["rate"], held["artist"], held["n"]) == (96000, "Ada", 3)
    assert run("put", "x", "--set", "nonsense").code == 2
    assert run("put", "x", "nowhere.wav").code == 1
    assert run("put", "/x", "samples/readme.txt").code == 2
    assert run("put", "x", "samples").code == 2


def test_put_takes_what_a_pipe_gives(run, library, here):
    os.mkfifo(here / "pipe")
    writer = threading.Thread(target=lambda: (here / "pipe").write_bytes(b"from a pipe"))
    writer.start()
    assert run("put", "piped.txt", "pipe").code == 0
    writer.join()
    assert run("get", "piped.txt").out == "from a pipe"


def test_stat(run, library):
    fields = dict(line.split("\t") for line in run("stat", "drums/kick.wav").lines)
    assert fields["size"] == "3884 bytes"
    assert fields["rate"] == "96000"
    assert fields["changed"] == "2023-11-14 22:13:20"
    assert len(fields["blake3"]) == 64
    table = run("stat", "drums/kick.wav", terminal=True)
    assert "3.8 KiB (3,884 bytes)" in table.out
    assert run("stat", "drums/kick.wav", "nothing").code == 1


# -- listing and finding -------------------------------------------------------------------------


def test_ls(run, library):
    assert run("ls").lines == ["broken.wav", "drums/", "loops/", "readme.txt"]
    assert run("ls", "drums/").lines == ["808/", "kick.wav", "snare.wav"]
    assert run("ls", "drums", "-0").out == "808/\0kick.wav\0snare.wav\0"
    long = [line.split("\t") for line in run("ls", "drums", "-l").lines]
    assert long[0][:2] == ["808/", "1 document"]
    assert long[1] == [
        "kick.wav", "3884", "2023-11-14 22:13:20", "0.01 s", "96000 Hz", "2", "", "",
    ]  # fmt: skip
    shape = run("ls", "drums", "--json").json
    assert shape["entries"][0] == {
        "name": "808",
        "path": "drums/808",
        "type": "folder",
        "documents": 1,
    }
    assert run("ls", "drums", "-l", "--json").json["entries"][1]["size"] == 3884
    assert run("ls", "nothing").code == 1
    assert "it is a document" in run("ls", "readme.txt").err
    assert run("ls", "/drums").code == 2


def test_tables_fit_80_columns_and_escape_names(run, library):
    run("put", "evil\x1b[2J" + "x" * 200, stdin=b"x")
    for argv in (("ls",), ("ls", "-l"), ("search", "-l"), ("stats",), ("changes",)):
        result = run(*argv, terminal=True)
        assert result.code == 0
        assert "\x1b[2J" not in result.out
        assert all(len(line) <= 80 for line in result.lines), argv


def test_tree(run, library):
    assert run("tree").lines == [
        ".",
        "├── broken.wav",
        "├── drums/",
        "│   ├── 808/",
        "│   │   └── deep kick.wav",
        "│   ├── kick.wav",
        "│   └── snare.wav",
        "├── loops/",
        "│   ├── bass_Cmin_100bpm.wav",
        "│   └── beat_120bpm.wav",
        "└── readme.txt",
    ]
    assert run("tree", "--depth", "1", "-d").lines == [
        ".",
        "├── drums/  (3)",
        "└── loops/  (2)",
    ]
    shape = run("tree", "drums", "--json").json
    assert shape["documents"] == 3
    assert [(each["name"], each["level"]) for each in shape["entries"]] == [
        ("808", 1),
        ("deep kick.wav", 2),
        ("kick.wav", 1),
        ("snare.wav", 1),
    ]
    assert run("tree", "nothing").code == 1


def test_trees_may_be_deep(run, here):
    with StreamDB.open(here / "l.sdb") as db:
        db.write_document("/".join("a" * 2000), b"x")
    assert len(run("tree").lines) == 2001
    assert run("tree", "--json").json["entries"][-1]["level"] == 2000


def test_search(run, library):
    assert paths(run, "drums/k") == ["drums/kick.wav"]
    assert run("search", "drums/", "--count").out == "3\n"
    assert run("search", "drums/", "--limit", "1").lines == ["drums/808/deep kick.wav"]
    assert run("search", "drums/", "--after", "drums/kick.wav").lines == ["drums/snare.wav"]
    assert run("search", "drums/", "--after", "drums/kick.wav", "--count").out == "1\n"
    assert run("search", "drums/k", "--json").json == {"paths": ["drums/kick.wav"], "count": 1}
    assert run("search", "drums/k", "-l", "--json").json["documents"][0]["size"] == 3884
    assert run("search", "zzz").out == ""
    assert run("search", "drums/k", "-0").out == "drums/kick.wav\0"


def test_a_long_list_is_printed_page_by_page(run, here, monkeypatch):
    monkeypatch.setattr("streamdb.cli.searching._PAGE", 7)
    monkeypatch.setattr("streamdb.cli.listing._PAGE", 7)
    names = [f"{number:03}" for number in range(40)]
    with StreamDB.open(here / "l.sdb") as db, db.transaction() as together:
        for name in names:
            together.write_document(name, b"x")
    assert paths(run) == names
    assert run("suffix", "0").lines == [name for name in names if name.endswith("0")]
    assert run("ls").lines == names
    assert run("search", "--limit", "12", "--count").out == "40\n"


def test_suffix(run, library):
    assert run("suffix", "/kick.wav").lines == ["drums/kick.wav"]
    assert run("suffix", ".txt", "--json").json["paths"] == ["readme.txt"]
    assert run("suffix", ".wav", "--count").out == "6\n"


def test_find(run, library):
    assert run("find", "rate=96000", "channels=2").lines == ["drums/kick.wav"]
    assert run("find", "tempo=118..122").lines == ["loops/beat_120bpm.wav"]
    assert run("find", "key=Cmin", "-l").lines[0].split("\t")[-2:] == ["100.0", "Cmin"]
    assert run("find", "-path:drums/", "-has:problem", "ext=wav", "--count").out == "2\n"
    assert run("find", "has:problem", "--json").json == {"paths": ["broken.wav"], "count": 1}
    assert run("find", "kick", "--limit", "1").lines == ["drums/808/deep kick.wav"]


def test_a_mistake_in_a_query_is_answered_with_its_column(run, library):
    result = run("find", "rate=loud", "--json")
    assert (result.code, result.json["error"], result.json["column"]) == (2, "InvalidQuery", 6)


# -- changing ------------------------------------------------------------------------------------


def test_rm(run, library):
    assert run("rm", "readme.txt", "broken.wav").out == "deleted 2 documents\n"
    assert run("rm", "drums").code == 2
    assert "rm -r" in run("rm", "drums").err
    nothing = run("rm", "drums/kick.wav", "missing")
    assert nothing.code == 1
    assert "drums/kick.wav" in paths(run)
    assert run("rm", "-r", "drums", "--dry-run").lines[0] == "delete\tdrums/808/deep kick.wav"
    unasked = run("rm", "-r", "drums", "--json")
    assert (unasked.code, unasked.json["error"]) == (3, "NotConfirmed")
    assert run("rm", "-r", "drums/", "loops", "--yes", "--json").json["count"] == 5
    assert paths(run) == []


def test_rm_of_everything(run, library):
    assert run("rm", "-r", "/").code == 3
    assert run("rm", "-r", "", "--yes").code == 2
    assert run("rm", "-r", "/", "--yes").out == "deleted 7 documents\n"


def test_rm_asks_on_a_terminal(run, library, monkeypatch):
    monkeypatch.setattr("click.confirm", lambda *args, **more: False)
    assert run("rm", "-r", "drums", keyboard=True).code == 3
    assert len(paths(run, "drums/")) == 3
    monkeypatch.setattr("click.confirm", lambda *args, **more: True)
    assert run("rm", "-r", "drums", keyboard=True).code == 0


def test_mv(run, library):
    assert run("mv", "readme.txt", "docs/readme.md").code == 0
    assert run("mv", "broken.wav", "drums/").code == 0
    assert run("mv", "drums", "kit/drums", "--json").json["count"] == 4
    assert run("mv", "loops", "kit").code == 0
    assert paths(run) == [
        "docs/readme.md",
        "kit/drums/808/deep kick.wav",
        "kit/drums/broken.wav",
        "kit/drums/kick.wav",
        "kit/drums/snare.wav",
        "kit/loops/bass_Cmin_100bpm.wav",
        "kit/loops/beat_120bpm.wav",
    ]
    assert run("mv", "kit", "kit/deeper/").code == 2
    assert run("mv", "nothing", "x").code == 1
    assert run("mv", "docs/readme.md", "docs/readme.md").code == 2


def test_mv_replaces_only_when_asked_and_then_all_or_nothing(run, library):
    run("put", "into/drums/kick.wav", stdin=b"mine")
    result = run("mv", "drums", "into/")
    assert result.code == 3
    assert "--force" in result.err
    assert len(paths(run, "drums/")) == 3
    assert run("mv", "drums", "into/", "--force").code == 0
    assert len(paths(run, "into/drums/")) == 3


def test_bind_and_unbind(run, library):
    assert run("bind", "drums/kick.wav", "best/kick.wav").code == 0
    shape = run("stat", "best/kick.wav", "--json").json["documents"][0]
    assert shape["bound"] == ["best/kick.wav", "drums/kick.wav"]
    assert ["also at", "drums/kick.wav"] in [
        line.split("\t") for line in run("stat", "best/kick.wav").lines
    ]
    assert run("unbind", "best/kick.wav", "--json").json["paths"] == ["drums/kick.wav"]
    assert run("unbind", "drums/kick.wav").code == 2


def test_history_and_restore(run, library):
    run("put", "readme.txt", stdin=b"second")
    run("rm", "readme.txt")
    rows = [line.split("\t") for line in run("history", "readme.txt").lines]
    assert [row[1] for row in rows] == ["deleted", "replaced"]
    first = rows[1][0]
    assert run("get", "readme.txt", "--version", first).out == "a sample library\n"
    assert run("get", "readme.txt", "--version", "999").code == 1
    assert run("restore", "readme.txt").code == 0
    assert run("get", "readme.txt").out == "second"
    assert run("restore", "readme.txt", first, "--json").json["restored"] == int(first)
    assert run("get", "readme.txt").out == "a sample library\n"
    assert run("history", "readme.txt", "--json").json["versions"][0]["current"] is True
    assert run("restore", "drums/kick.wav").code == 1
    assert run("history", "nothing").code == 1


def test_changes(run, library, monkeypatch):
    monkeypatch.setattr("streamdb.cli.versions._PAGE", 3)
    assert len(run("changes").lines) == 7
    lines = [line.split("\t") for line in run("changes", "--limit", "2").lines]
    assert [line[:2] for line in lines] == [["1", "put"], ["2", "put"]]
    run("mv", "readme.txt", "r.txt")
    shape = run("changes", "--since", "7", "--json").json
    assert (shape["last_seq"], shape["changes"][0]["kind"]) == (8, "rename")
    assert run("changes", "--since", "99", "--json").json == {"changes": [], "last_seq": 99}


# -- care ----------------------------------------------------------------------------------------


def test_stats_check_and_gc(run, library):
    shape = run("stats", "--json").json
    assert (shape["documents"], shape["encrypted"]) == (7, False)
    assert dict(line.split("\t") for line in run("stats").lines)["documents"] == "7"
    assert "is whole: 7 documents" in run("check").out
    assert run("check", str(library), "--json").json["ok"] is True
    assert run("gc").out.startswith("freed ")
    assert "bytes_freed" in run("gc", "library.sdb", "--json").json
    assert run("check", "library.sdb", "-s", "other.sdb").code == 2


def test_check_names_damage_and_repair_says_what_is_lost(run, library, here):
    run("put", "big.bin", stdin=os.urandom(200_000))
    segment = next((library / "segments").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    result = run("check")
    assert result.code == 1
    assert "problem" in result.out
    assert "streamdb repair" in result.err
    assert run("check", "--json").json["ok"] is False
    repaired = run("repair", "library.sdb", "--json")
    assert repaired.code == 1
    assert [each["path"] for each in repaired.json["lost"]] == ["big.bin"]
    assert run("check").code == 0
    assert run("repair").code == 0


def test_backup(run, library, here):
    assert run("backup", "copies/one.sdb", "--json").json["documents"] == 7
    assert run("backup", "copies/one.sdb").code == 0
    assert run("check", "copies/one.sdb").code == 0
    (here / "copies/file").write_bytes(b"x")
    assert run("backup", "copies/file", "--json").json["error"] == "AlreadyExists"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(run, shell):
    result = run("completion", shell)
    assert result.code == 0
    assert "_STREAMDB_COMPLETE" in result.out
    assert run("completion", shell, "--json").json["script"] == result.out
