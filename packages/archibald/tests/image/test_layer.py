"""The system layer: what it adds, and that it changes nothing else of the base."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import UsageError
from archibald.image.layer import (
    BaseEntry,
    Node,
    home_nodes,
    parse_file_list,
    read_skeleton,
    require_timezone,
    write_layer,
)
from archibald.system.spec import Directory, File, Link

_BASE = parse_file_list(
    "d 755 0 0 4096 /etc\t\n"
    "d 2775 0 8 4096 /var/mail\t\n"
    "d 755 0 0 4096 /var\t\n"
    "d 750 0 27 4096 /etc/sudoers.d\t\n"
    "l 777 0 0 7 /bin\tusr/bin\n"
    "f 644 0 0 27 /etc/issue\t\n"
    "f 644 0 0 9 /etc/a file\t\n"
)


def _app(*members: tuple[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer


@pytest.fixture
def layer(base_accounts):
    """Write a layer and return its bytes."""

    def write(tree: dict[str, Node], *members: tuple[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        write_layer(
            buffer, app=_app(*members), tree=tree, base=_BASE, accounts=base_accounts, epoch=1000
        )
        return buffer.getvalue()

    return write


def _members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        infos = tar.getmembers()
    names = [info.name for info in infos]
    assert len(set(names)) == len(names), "a path is there twice"
    for name in names:
        parent = name.rpartition("/")[0]
        assert not parent or parent in names[: names.index(name)], f"{name} before its parent"
    assert (infos[0].name, infos[0].mode) == (".", 0o755)
    return {info.name: info for info in infos[1:]}


def test_the_list_of_the_base():
    assert _BASE["/bin"] == BaseEntry("l", 0o777, 0, 0, 7, "usr/bin")
    assert _BASE["/var/mail"] == BaseEntry("d", 0o2775, 0, 8, 4096, "")
    assert _BASE["/etc/a file"].kind == "f"


def test_parents_keep_the_mode_and_owner_of_the_base(layer):
    members = _members(layer({"/var/mail/x": File("/var/mail/x", b"1")}))
    assert list(members) == ["var", "var/mail", "var/mail/x"]
    mail = members["var/mail"]
    assert (mail.isdir(), mail.mode, mail.uid, mail.gid, mail.mtime) == (True, 0o2775, 0, 8, 1000)


def test_new_parents_are_roots(layer):
    members = _members(layer({"/opt/one/two": File("/opt/one/two", b"")}))
    assert [(members[n].mode, members[n].uid) for n in ("opt", "opt/one")] == [(0o755, 0)] * 2


def test_every_kind_of_node(layer):
    members = _members(
        layer(
            {
                "/etc/f": File("/etc/f", b"text", 0o600, "daemon", "audio"),
                "/etc/l": Link("/etc/l", "../f"),
                "/etc/d": Directory("/etc/d", 0o1777),
            }
        )
    )
    file, link, folder = members["etc/f"], members["etc/l"], members["etc/d"]
    assert (file.size, file.mode, file.uid, file.gid) == (4, 0o600, 1, 29)
    assert (link.issym(), link.linkname) == (True, "../f")
    assert (folder.isdir(), folder.mode) == (True, 0o1777)
    assert {info.mtime for info in members.values()} == {1000}


@pytest.mark.parametrize(
    ("path", "said"),
    [("/bin/tool", "/bin is a link to usr/bin"), ("/etc/issue/x", "/etc/issue is not a folder")],
)
def test_a_parent_that_is_no_folder_of_the_base(layer, path, said):
    with pytest.raises(UsageError) as caught:
        layer({path: File(path, b"")})
    assert said in caught.value.what
    assert "behind the link" in caught.value.next_step


@pytest.mark.parametrize("parent", [Link("/opt/a", "b"), File("/opt/a", b"")])
def test_a_parent_that_is_no_folder_of_the_tree(layer, parent):
    with pytest.raises(UsageError, match="/opt/a is"):
        layer({"/opt/a": parent, "/opt/a/x": File("/opt/a/x", b"")})


def test_a_folder_cannot_take_the_place_of_a_link(layer):
    with pytest.raises(UsageError, match="/bin is a link to usr/bin"):
        layer({"/bin": Directory("/bin")})


@pytest.mark.parametrize("who", [{"owner": "nobody-here"}, {"group": "nobody-here"}])
def test_an_unknown_owner(layer, who):
    with pytest.raises(UsageError) as caught:
        layer({"/etc/f": File("/etc/f", b"", **who)})
    assert caught.value.what.startswith("/etc/f belongs to nobody-here")


def test_our_own_files_come_first_and_exclude_the_profiles(layer):
    own = ("usr/lib/archibald/python/x.py", b"code")
    members = _members(layer({"/etc/f": File("/etc/f", b"")}, own))
    assert next(name for name, info in members.items() if info.isreg()) == own[0]
    path = f"/{own[0]}"
    with pytest.raises(UsageError, match="is in the profile's files and in our own"):
        layer({path: File(path, b"")}, own)


def test_a_folder_of_the_tree_above_our_own_files_keeps_its_mode(layer):
    tree: dict[str, Node] = {"/usr/lib/archibald": Directory("/usr/lib/archibald", 0o750)}
    members = _members(layer(tree, ("usr/lib/archibald/python/x.py", b"code")))
    assert members["usr/lib/archibald"].mode == 0o750


_PART = st.sampled_from(["a", "a-b", "b", "etc", "var", "mail"])
_PATHS = st.lists(_PART, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(_PATHS, unique=True, max_size=8), st.randoms(use_true_random=False))
def test_each_path_once_parents_first_and_the_same_bytes_in_any_order(paths, order):
    from archibald.image.accounts import Accounts

    tree: dict[str, Node] = {
        path: Directory(path)
        if any(other.startswith(f"{path}/") for other in paths)
        else File(path, path.encode())
        for path in paths
    }
    shuffled = dict(order.sample(list(tree.items()), len(tree)))
    base = {path: entry for path, entry in _BASE.items() if entry.kind == "d"}
    written = []
    for nodes in (tree, shuffled):
        buffer = io.BytesIO()
        write_layer(
            buffer, app=_app(("own/file", b"x")), tree=nodes, base=base, epoch=5,
            accounts=Accounts("root:x:0:0:::\n", "root:x:0:\n", "", ""),
        )  # fmt: skip
        written.append(buffer.getvalue())
    assert written[0] == written[1]
    members = _members(written[0])
    assert {path.lstrip("/") for path in paths} <= set(members)


def test_the_skeleton_of_homes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, mode in (
            ("skel", tarfile.DIRTYPE, 0o755),
            ("skel/.config", tarfile.DIRTYPE, 0o700),
            ("skel/.profile", tarfile.REGTYPE, 0o644),
            ("skel/.link", tarfile.SYMTYPE, 0o777),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, mode
            if kind == tarfile.REGTYPE:
                info.size = 4
            if kind == tarfile.SYMTYPE:
                info.linkname = ".profile"
            tar.addfile(info, io.BytesIO(b"text") if kind == tarfile.REGTYPE else None)
    buffer.seek(0)
    assert read_skeleton(buffer) == {
        ".config": Directory(".config", 0o700),
        ".profile": File(".profile", b"text", 0o644),
        ".link": Link(".link", ".profile"),
    }


def test_everything_in_a_home_belongs_to_its_owner():
    skeleton: dict[str, Node] = {
        ".profile": File(".profile", b"text", 0o644), ".link": Link(".link", ".profile"),
        ".local": Directory(".local", 0o700),
    }  # fmt: skip
    tree: dict[str, Node] = {
        "/home/u/.config/deep/file": File("/home/u/.config/deep/file", b"", 0o644, "u", "u"),
        "/home/u2/other": File("/home/u2/other", b""),
        "/etc/x": File("/etc/x", b""),
    }
    nodes = home_nodes("/home/u", "u", skeleton, tree)
    assert sorted(nodes) == [
        "/home/u", "/home/u/.config", "/home/u/.config/deep", "/home/u/.link", "/home/u/.local",
        "/home/u/.profile",
    ]  # fmt: skip
    assert nodes["/home/u"] == Directory("/home/u", 0o700, "u", "u")
    assert nodes["/home/u/.config"] == Directory("/home/u/.config", 0o755, "u", "u")
    assert nodes["/home/u/.local"] == Directory("/home/u/.local", 0o700, "u", "u")
    assert nodes["/home/u/.profile"] == File("/home/u/.profile", b"text", 0o644, "u", "u")


def test_a_time_zone_that_the_image_lacks_is_named_with_near_ones():
    base = parse_file_list(
        "f 644 0 0 9 /usr/share/zoneinfo/Europe/Berlin\t\n"
        "l 777 0 0 7 /usr/share/zoneinfo/Etc/UTC\t../UTC\n"
    )
    require_timezone("Europe/Berlin", base)
    require_timezone("Etc/UTC", base)
    with pytest.raises(UsageError, match="Europe/Berln") as caught:
        require_timezone("Europe/Berln", base)
    assert "Europe/Berlin" in caught.value.next_step
