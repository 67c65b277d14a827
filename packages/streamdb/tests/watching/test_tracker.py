"""From notices about single folders to events in one tree, without a kernel."""

from __future__ import annotations

import itertools
import struct

import pytest

from streamdb.watching import inotify
from streamdb.watching.inotify import Notice
from streamdb.watching.tracker import PAIR_SECONDS, Lost, Moved, Touched, Tracker

FOLDER = inotify.IS_FOLDER


class Tree:
    """A tree of folders with the numbers that a kernel would give them."""

    def __init__(self, *folders):
        self.folders = {"", *folders}
        self.numbers = {}
        self.fresh = itertools.count(1)
        self.forgotten: list[int] = []
        self.tracker = Tracker(self.watch, self.forgotten.append, self.below)
        self.tracker.add("")

    def watch(self, path):
        if path not in self.folders:
            return None
        return self.numbers.setdefault(path, next(self.fresh))

    def below(self, path):
        start = f"{path}/" if path else ""
        return [path, *sorted(f for f in self.folders if f and f != path and f.startswith(start))]

    def say(self, *notices, now=0.0):
        return list(
            self.tracker.events(
                [
                    Notice(self.numbers[folder], mask, cookie, name.encode())
                    for folder, mask, cookie, name in notices
                ],
                now,
            )
        )


def test_files_are_touched_where_they_are():
    tree = Tree("a", "a/b")
    assert tree.tracker.watched == 3
    assert tree.say(
        ("", inotify.CREATE, 0, "x"),
        ("a/b", inotify.MODIFY, 0, "y"),
        ("a/b", inotify.CLOSE_WRITE, 0, "y"),
        ("a", inotify.DELETE, 0, "z"),
    ) == [Touched("x"), Touched("a/b/y"), Touched("a/b/y", complete=True), Touched("a/z")]


def test_names_keep_bytes_that_are_no_text():
    tree = Tree()
    notice = Notice(tree.numbers[""], inotify.CREATE, 0, b"\xff")
    assert list(tree.tracker.events([notice], 0.0)) == [Touched("\udcff")]


def test_two_halves_make_a_move():
    tree = Tree("a")
    assert tree.say(("", inotify.MOVED_FROM, 7, "x"), ("a", inotify.MOVED_TO, 7, "y")) == [
        Moved("x", "a/y", is_folder=False)
    ]
    assert list(tree.tracker.left(99.0)) == []


def test_halves_that_come_apart_still_make_a_move():
    tree = Tree()
    assert tree.say(("", inotify.MOVED_FROM, 7, "x"), now=1.0) == []
    assert tree.tracker.next_due() == 1.0 + PAIR_SECONDS
    assert list(tree.tracker.left(1.05)) == []
    assert tree.say(("", inotify.MOVED_TO, 7, "y"), now=1.08) == [Moved("x", "y", is_folder=False)]


def test_a_half_without_the_other_left_the_tree():
    tree = Tree("a", "a/b", "ab")
    tree.say(("", inotify.MOVED_FROM | FOLDER, 7, "a"), ("", inotify.MOVED_FROM, 8, "f"), now=1.0)
    assert list(tree.tracker.left(1.0 + PAIR_SECONDS)) == [Touched("a"), Touched("f")]
    assert sorted(tree.forgotten) == sorted([tree.numbers["a"], tree.numbers["a/b"]])
    assert tree.tracker.watched == 2


def test_what_comes_from_outside_is_touched_and_watched():
    tree = Tree()
    tree.folders |= {"in", "in/deep"}
    assert tree.say(("", inotify.MOVED_TO | FOLDER, 9, "in")) == [Touched("in")]
    assert tree.say(("in/deep", inotify.CREATE, 0, "x")) == [Touched("in/deep/x")]


def test_a_new_folder_is_watched():
    tree = Tree()
    tree.folders |= {"new", "new/deep"}
    assert tree.say(("", inotify.CREATE | FOLDER, 0, "new")) == [Touched("new")]
    assert tree.tracker.watched == 3


def test_a_moved_folder_takes_its_names_along():
    tree = Tree("a", "a/b", "ab", "c")
    assert tree.say(
        ("", inotify.MOVED_FROM | FOLDER, 5, "a"), ("c", inotify.MOVED_TO | FOLDER, 5, "n")
    ) == [Moved("a", "c/n", is_folder=True)]
    assert tree.say(("a/b", inotify.CREATE, 0, "x"), ("ab", inotify.CREATE, 0, "y")) == [
        Touched("c/n/b/x"),
        Touched("ab/y"),
    ]


def test_changed_times_of_folders_mean_nothing():
    tree = Tree("a")
    assert tree.say(("", inotify.ATTRIB | FOLDER, 0, "a")) == []


def test_an_overflow_is_told():
    tree = Tree()
    tree.say(("", inotify.MOVED_FROM, 7, "x"))
    lost = list(tree.tracker.events([Notice(-1, inotify.OVERFLOW, 0, b"")], 0.0))
    assert lost == [Lost("overflow")]
    assert list(tree.tracker.left(99.0)) == []


@pytest.mark.parametrize("mask", [inotify.DELETE_SELF, inotify.MOVE_SELF, inotify.UNMOUNT])
def test_the_end_of_the_tree_is_told_but_not_that_of_a_folder(mask):
    tree = Tree("a")
    assert tree.say(("a", mask, 0, "")) == []
    assert tree.say(("", mask, 0, "")) == [Lost("gone")]


def test_an_ended_watch_is_forgotten():
    tree = Tree("a")
    assert tree.say(("a", inotify.IGNORED, 0, "")) == []
    assert tree.tracker.watched == 1
    assert tree.say(("a", inotify.CREATE, 0, "late")) == []


def test_a_folder_made_again_under_its_old_name():
    """Its old watch ends after the new one began: the new one must stay."""
    tree = Tree("a")
    old = tree.numbers.pop("a")
    tree.say(("", inotify.CREATE | FOLDER, 0, "a"))
    assert list(tree.tracker.events([Notice(old, inotify.IGNORED, 0, b"")], 0.0)) == []
    assert tree.say(("a", inotify.CREATE, 0, "x")) == [Touched("a/x")]
    tree.say(("", inotify.MOVED_FROM | FOLDER, 5, "a"), ("", inotify.MOVED_TO | FOLDER, 5, "b"))
    assert tree.say(("a", inotify.CREATE, 0, "x")) == [Touched("b/x")]


def test_notices_are_parsed():
    raw = struct.pack("iIII", 3, 2, 9, 8) + b"ab\0\0\0\0\0\0" + struct.pack("iIII", -1, 4, 0, 0)
    assert list(inotify.parse(raw)) == [Notice(3, 2, 9, b"ab"), Notice(-1, 4, 0, b"")]
    assert list(inotify.parse(raw[:10])) == []
