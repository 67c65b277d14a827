"""Which store is meant, and with which key."""

from __future__ import annotations

import os

import pytest

from streamdb import StreamDB
from streamdb.cli.store import locate
from streamdb.crypto import Key, KeyHeader
from streamdb.errors import InvalidArgument, NotFound


@pytest.fixture
def cheap_scrypt(monkeypatch):
    """The cost of a passphrase is for attackers, not for tests."""
    monkeypatch.setitem(vars(KeyHeader)["create"].__func__.__kwdefaults__, "log_n", 8)


def make(path):
    StreamDB.open(path).close()
    return path


def test_the_environment_goes_first(tmp_path):
    make(tmp_path / "a.sdb")
    assert locate({"STREAMDB_STORE": "/else"}, tmp_path).as_posix() == "/else"


def test_the_nearest_store_upward(tmp_path):
    deep = tmp_path / "x/y/z"
    deep.mkdir(parents=True)
    with pytest.raises(NotFound, match="there is no store"):
        locate({}, deep)
    store = make(tmp_path / "lib.sdb")
    assert locate({}, deep) == store
    nearer = make(tmp_path / "x/.streamdb")
    assert locate({}, deep) == nearer
    assert locate({}, nearer / "segments") == nearer
    assert locate({}, tmp_path) == store


def test_several_stores_are_a_question(tmp_path):
    make(tmp_path / "a.sdb")
    (tmp_path / "no.sdb").mkdir()
    assert locate({}, tmp_path).name == "a.sdb"
    make(tmp_path / "b.sdb")
    with pytest.raises(InvalidArgument, match=r"several stores.*a\.sdb, b\.sdb"):
        locate({}, tmp_path)


def test_the_option_may_stand_before_or_after_the_verb(run, here):
    make(here / "a.sdb")
    make(here / "b.sdb")
    assert run("ls").code == 2
    assert run("-s", "a.sdb", "ls").code == 0
    assert run("ls", "-s", "a.sdb").code == 0
    assert run("-s", "nowhere", "ls", "--store", "b.sdb").code == 0


def test_a_store_that_is_not_there(run, here):
    result = run("ls", "-s", "nowhere.sdb", "--json")
    assert (result.code, result.json["error"]) == (1, "NotFound")
    assert not (here / "nowhere.sdb").exists()
    assert run("put", "a", "-s", "nowhere.sdb").code == 1


# -- init ----------------------------------------------------------------------------------------


def test_init_makes_a_store_once(run, here):
    result = run("init", "drums.sdb", "--json")
    assert (result.code, result.json["encrypted"]) == (0, False)
    again = run("init", "drums.sdb", "--json")
    assert (again.code, again.json["error"]) == (3, "AlreadyExists")
    assert run("ls").code == 0


def test_init_takes_the_store_from_wherever_it_is_named(run, here, monkeypatch):
    assert run("init").code == 0
    assert (here / "library.sdb/STREAMDB").exists()
    assert run("init", "-s", "two.sdb").code == 0
    monkeypatch.setenv("STREAMDB_STORE", "three.sdb")
    assert run("init").code == 0
    assert (here / "three.sdb").is_dir()
    assert run("init", "four.sdb", "-s", "five.sdb").code == 2


def test_init_leaves_other_folders_alone(run, here):
    (here / "full").mkdir()
    (here / "full/file").write_bytes(b"x")
    result = run("init", "full", "--new-key", "new.key", "--json")
    assert (result.code, result.json["error"]) == (3, "NotAStore")
    assert not (here / "new.key").exists()


# -- keys ----------------------------------------------------------------------------------------


def test_a_key_file(run, here, monkeypatch):
    result = run("init", "s.sdb", "--new-key", "s.key", "--json")
    assert result.json["encrypted"] is True
    assert (here / "s.key").stat().st_mode & 0o777 == 0o600
    assert run("put", "a", "--key-file", "s.key", stdin=b"secret").code == 0
    assert run("get", "a", "--key-file", "s.key").out == "secret"
    without = run("get", "a", "--json")
    assert (without.code, without.json["error"]) == (3, "KeyRequired")
    assert "--key-file" in without.json["next_step"]
    Key.create_file(here / "other.key")
    assert run("get", "a", "--key-file", "other.key", "--json").json["error"] == "WrongKey"
    monkeypatch.setenv("STREAMDB_KEY_FILE", "s.key")
    assert run("get", "a").out == "secret"


def test_the_key_of_the_environment_is_no_obstacle_to_a_store_without(run, library, monkeypatch):
    monkeypatch.setenv("STREAMDB_KEY_FILE", "nowhere.key")
    assert run("ls").code == 0


def test_a_passphrase_from_a_descriptor_or_a_file(run, here, cheap_scrypt):
    (here / "phrase").write_text("correct horse battery\n")
    (here / "phrase").chmod(0o600)

    def with_descriptor(*argv):
        descriptor = os.open(here / "phrase", os.O_RDONLY)
        try:
            return run(*argv, "--passphrase-fd", str(descriptor))
        finally:
            os.close(descriptor)

    assert with_descriptor("init", "s.sdb").code == 0
    assert with_descriptor("put", "a").code == 0
    assert run("stat", "a", "--passphrase-file", "phrase").code == 0
    without = run("stat", "a", "--json")
    assert (without.code, without.json["error"]) == (3, "KeyRequired")
    assert "--passphrase" in without.json["next_step"]
    (here / "phrase").chmod(0o644)
    open_file = run("stat", "a", "--passphrase-file", "phrase", "--json")
    assert (open_file.code, open_file.json["error"]) == (3, "InsecurePassphraseFile")
    assert run("stat", "a", "--passphrase-file", "nowhere").code == 1
    assert run("stat", "a", "--passphrase-fd", "99").code == 2
    assert run("stat", "a", "--passphrase-fd", "99", "--key-file", "x").code == 2


def test_a_passphrase_is_asked_for(run, here, monkeypatch, cheap_scrypt):
    asked = []

    def getpass(prompt):
        asked.append(prompt)
        return typed.pop(0)

    monkeypatch.setattr("getpass.getpass", getpass)
    typed = ["correct horse battery", "correct horse butter"]
    assert run("init", "s.sdb", "--passphrase").code == 2
    assert not (here / "s.sdb").exists()
    typed = ["correct horse battery"] * 2
    assert run("init", "s.sdb", "--passphrase").code == 0
    typed = ["correct horse battery"]
    assert run("ls", "--passphrase").code == 0
    typed = ["a wrong passphrase"]
    assert run("ls", "--passphrase", "--json").json["error"] == "WrongKey"
    assert len(asked) == 6
