"""Steps as root of a namespace: the command, what is asked for, and the advice when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archibald.errors import MissingToolError, ToolFailedError
from archibald.image import privilege
from archibald.image.privilege import (
    NoPrivilegesError,
    as_root,
    remove_tree,
    require_privileges,
)
from archibald.run import Result


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def user(monkeypatch):
    """An ordinary user who has subordinate ids."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("getpass.getuser", lambda: "someone")


@pytest.fixture
def subuid(monkeypatch, tmp_path):
    """Write /etc/subuid."""

    def write(text: str | None) -> None:
        path = tmp_path / "subuid"
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(privilege, "Path", lambda name: path)

    return write


def test_as_root_the_step_dies_with_us(root):
    assert as_root(["mmdebstrap", Path("/x y")]) == [
        "setpriv", "--pdeathsig", "KILL", "--",
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--",
        "mmdebstrap", "/x y",
    ]  # fmt: skip


def test_as_a_user_the_user_namespace_comes_first(user):
    words = as_root(["true"])
    assert words[:4] == ["unshare", "--map-auto", "--map-root-user", "--"]
    assert words.index("setpriv") == 4
    assert words[-1] == "true"


def test_missing_tools_are_named(toolbox):
    with pytest.raises(MissingToolError) as caught:
        require_privileges()
    assert caught.value.what == "building an image needs unshare, setpriv"
    assert caught.value.next_step == "sudo apt-get install --no-install-recommends util-linux"


def test_root_needs_nothing_more(root, toolbox):
    toolbox.add("unshare", "exit 1")
    toolbox.add("setpriv", "exit 1")
    require_privileges()


def test_a_user_needs_newuidmap(user, toolbox):
    toolbox.add("unshare")
    toolbox.add_real("setpriv")
    with pytest.raises(NoPrivilegesError) as caught:
        require_privileges()
    assert "uidmap" in caught.value.next_step
    assert "sudo archibald build iso" in caught.value.next_step


def test_a_user_with_working_namespaces_may_build(user, toolbox):
    for name in ("unshare", "setpriv", "newuidmap"):
        toolbox.add(name)
    require_privileges()


@pytest.mark.parametrize(
    ("entries", "said", "advice"),
    [
        (None, "unshare: failed", "usermod --add-subuids 100000-165535"),
        ("other:100000:65536\n", "unshare: failed", "--add-subgids 100000-165535 someone"),
        ("someone:100000:65536\n", "unshare failed: Operation not permitted", "allow user namesp"),
        ("1000:100000:65536\n", "open /proc/self/uid_map: Permission denied", "allow user namesp"),
        ("someone:100000:65536\n", "unshare: something else", "build as root: sudo archibald"),
    ],
)
def test_the_advice_fits_the_cause(user, toolbox, subuid, monkeypatch, entries, said, advice):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    subuid(entries)
    toolbox.add("unshare", f"echo '{said}' >&2; exit 1")
    toolbox.add_real("setpriv")
    toolbox.add("newuidmap")
    with pytest.raises(NoPrivilegesError) as caught:
        require_privileges()
    assert caught.value.why == said
    assert advice in caught.value.next_step


def test_a_name_that_only_starts_like_ours_is_not_ours(user, toolbox, subuid, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    subuid("notsomeone:100000:65536\n21000:100000:65536\n")
    toolbox.add_real("setpriv")
    toolbox.add("newuidmap")
    toolbox.add("unshare", "echo Operation not permitted >&2; exit 1")
    with pytest.raises(NoPrivilegesError) as caught:
        require_privileges()
    assert "usermod" in caught.value.next_step


def test_namespaces_that_fail_without_a_word(user, toolbox, subuid):
    subuid("someone:100000:65536\n")
    toolbox.add_real("setpriv")
    toolbox.add("newuidmap")
    toolbox.add("unshare", "exit 1")
    with pytest.raises(NoPrivilegesError, match="user namespaces do not work here") as caught:
        require_privileges()
    assert caught.value.why == "exit status 1 of unshare"


def test_a_hanging_namespace_is_an_answer_too(user, toolbox, subuid):
    subuid("someone:100000:65536\n")
    for name in ("unshare", "setpriv", "newuidmap"):
        toolbox.add(name)

    def hang(argv, **_kwargs):
        raise ToolFailedError("unshare did not end within 20 s", why="command: unshare true")

    with pytest.raises(NoPrivilegesError) as caught:
        require_privileges(hang)
    assert "unshare true" in caught.value.why


def test_a_tree_is_removed_whatever_its_modes(tmp_path):
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/file").write_text("x")
    (tree / "link").symlink_to(tmp_path)
    remove_tree(tree)
    assert not tree.exists()
    assert tmp_path.is_dir()
    remove_tree(tree)


def test_what_belongs_to_subordinate_ids_is_removed_in_a_namespace(user, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    tree.mkdir()
    seen = []
    monkeypatch.setattr("shutil.rmtree", lambda path, **_kwargs: None)

    def runner(argv, **_kwargs):
        seen.append([str(word) for word in argv])
        tree.rmdir()
        return Result(tuple(argv), 0, "", "")

    remove_tree(tree, runner)
    assert seen == [["unshare", "--map-auto", "--map-root-user", "--", "rm", "-rf", str(tree)]]
