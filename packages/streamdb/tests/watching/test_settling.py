"""When a path is quiet enough."""

from __future__ import annotations

from streamdb.watching.settling import Pending, Settling

RULES = Settling(quiet_s=2.0, closed_s=0.5)


def test_a_path_is_due_when_it_was_quiet():
    pending = Pending(RULES)
    pending.touch("a", 10.0)
    assert pending.next_due() == 12.0
    assert pending.take(11.9) == []
    assert pending.take(12.0) == ["a"]
    assert len(pending) == 0
    assert pending.next_due() is None


def test_every_event_puts_it_off():
    pending = Pending(RULES)
    for at in (0.0, 1.0, 2.0, 3.0):
        pending.touch("a", at)
        assert pending.take(at) == []
    assert pending.take(5.0) == ["a"]


def test_a_closed_file_is_due_sooner_unless_it_is_written_again():
    pending = Pending(RULES)
    pending.touch("a", 0.0, complete=True)
    assert pending.next_due() == 0.5
    pending.touch("a", 0.4)
    assert pending.take(1.0) == []
    assert pending.take(2.4) == ["a"]


def test_several_paths_come_sorted():
    pending = Pending(RULES)
    for path in ("b", "a/x", "a"):
        pending.touch(path, 0.0)
    assert pending.take(9.0) == ["a", "a/x", "b"]


def test_what_waits_moves_with_its_folder():
    pending = Pending(RULES)
    pending.touch("old/a", 0.0)
    pending.touch("older", 0.0)
    pending.touch("old", 1.0)
    pending.move("old", "new")
    assert pending.take(2.0) == ["new/a", "older"]
    assert pending.take(3.0) == ["new"]
    pending.touch("x", 0.0)
    pending.clear()
    assert pending.take(99.0) == []


def test_what_is_gone_waits_longer_unless_it_is_said_otherwise():
    pending = Pending(RULES)
    pending.depart("kick.wav", 10.0)
    assert pending.next_due() == 14.0
    pending = Pending(Settling(quiet_s=2.0, closed_s=0.5, gone_s=1.0))
    pending.depart("kick.wav", 10.0)
    assert pending.take(11.0) == ["kick.wav"]
