"""The lock's text: the same for equal locks, read back as it was, refused when damaged."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archibald.errors import ExitCode
from archibald.lock import model
from archibald.lock.keep import read_lock
from archibald.lock.model import Lock, LockedPackage, LockedRelease, LockError

_HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
_NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,12}", fullmatch=True)
_VERSIONS = st.from_regex(r"([0-9]:)?[0-9][A-Za-z0-9+.~-]{0,10}", fullmatch=True)
_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_PACKAGES = st.builds(
    LockedPackage,
    name=_NAMES,
    version=_VERSIONS,
    architecture=st.sampled_from(["amd64", "all"]),
    sha256=_HASHES,
    size=st.integers(0, 2**40),
    path=st.from_regex(r"pool/[a-z0-9+~%:]{1,8}/[a-z0-9_+.~]{1,12}\.deb", fullmatch=True),
    archive=st.sampled_from(["debian", "security"]),
)
_RELEASES = st.builds(
    LockedRelease,
    archive=st.sampled_from(["debian", "security"]),
    suite=st.sampled_from(["forky", "trixie-updates"]),
    date=st.just("2026-10-30T08:08:01Z"),
    sha256=_HASHES,
    signed_by=st.lists(
        st.binary(min_size=20, max_size=20).map(lambda key: key.hex().upper()), max_size=2
    ).map(tuple),
)
_WHEELS = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9_]{0,5}-[0-9]+\.[0-9]+(\+cpu)?-(cp314-cp314|py3-none)-any\.whl",
    fullmatch=True,
)
_MOMENTS = st.datetimes(datetime(1981, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_LOCKS = st.builds(
    Lock,
    suite=st.sampled_from(["forky", "trixie"]),
    snapshot=_MOMENTS.map(lambda moment: moment.replace(microsecond=0)),
    components=st.lists(st.sampled_from(["main", "contrib", "non-free-firmware"])).map(tuple),
    requested=st.lists(_NAMES, unique=True).map(lambda names: tuple(sorted(names))),
    releases=st.lists(_RELEASES, max_size=2).map(lambda rows: tuple(sorted(rows))),
    packages=st.lists(_PACKAGES, max_size=3, unique_by=lambda p: p.name).map(
        lambda rows: tuple(sorted(rows))
    ),
    python=st.sampled_from(["3.13", "3.14"]),
    python_requirements=st.lists(_ANY_TEXT, max_size=3).map(tuple),
    wheels=st.dictionaries(_WHEELS, _HASHES, max_size=3),
    tools=st.dictionaries(_ANY_TEXT, _ANY_TEXT, max_size=3),
)


@settings(max_examples=25)
@given(_LOCKS)
def test_what_is_written_is_read_back(lock):
    assert model.load(model.dump(lock)) == lock


@settings(max_examples=25)
@given(_LOCKS, st.randoms(use_true_random=False))
def test_the_text_does_not_depend_on_the_order_of_what_it_lists(lock, order):
    shuffled = replace(
        lock,
        packages=tuple(order.sample(lock.packages, len(lock.packages))),
        requested=tuple(order.sample(lock.requested, len(lock.requested))),
        releases=tuple(order.sample(lock.releases, len(lock.releases))),
        wheels=dict(order.sample(list(lock.wheels.items()), len(lock.wheels))),
        tools=dict(order.sample(list(lock.tools.items()), len(lock.tools))),
    )
    assert model.dump(shuffled) == model.dump(lock)
    assert shuffled.digest() == lock.digest()


def test_packages_stand_one_a_line_in_the_order_of_names(lock):
    text = model.dump(lock)
    body = text.partition("[packages]\n")[2].splitlines()
    assert [line.split(" = ")[0] for line in body] == [
        '"busybox"', '"libstdc++6"', '"openssl"', '"pipewire"', '"python3"',
    ]  # fmt: skip
    assert tomllib.loads(text)["packages"]["openssl"]["archive"] == "security"
    assert text.startswith("# Made by `archibald lock`")


def test_no_address_is_in_the_text(lock):
    assert "://" not in model.dump(lock)


def test_the_digest_is_of_the_content_not_of_the_tools(lock):
    assert replace(lock, tools={"mmdebstrap": "9"}).digest() == lock.digest()
    moved = replace(lock.packages[0], version="2:1.38.0-4")
    assert replace(lock, packages=(moved, *lock.packages[1:])).digest() != lock.digest()


def test_the_epoch_is_the_snapshot_in_any_zone(lock):
    assert lock.epoch == 1793347681
    text = model.dump(lock).replace(
        "snapshot = 2026-10-30T08:08:01Z", "snapshot = 2026-10-30T10:08:01.5+02:00"
    )
    assert model.load(text) == lock
    elsewhere = replace(lock, snapshot=lock.snapshot.astimezone(timezone(timedelta(hours=5))))
    assert model.dump(elsewhere) == model.dump(lock)


def test_apts_name_of_a_file_has_its_epoch_encoded(lock):
    assert lock.by_name["busybox"].file_name == "busybox_1%3a1.38.0-3+b1_amd64.deb"


@given(st.data())
def test_random_damage_is_a_lock_error_or_another_whole_lock(tmp_path_factory, lock, data):
    content = bytearray(model.dump(lock).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        match data.draw(st.sampled_from(["replace", "delete", "insert", "cut"])):
            case "replace":
                content[at : at + 1] = [data.draw(st.integers(0, 255))]
            case "delete":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=6))
            case "cut":
                del content[at + 1 :]
    _load_or_refuse(tmp_path_factory, bytes(content))


@given(st.data())
def test_any_other_value_in_any_place_is_a_lock_error_or_another_whole_lock(
    tmp_path_factory, lock, data
):
    lines = model.dump(lock).splitlines()
    places = [i for i, line in enumerate(lines) if " = " in line]
    at = data.draw(st.sampled_from(places))
    value = data.draw(
        st.sampled_from(
            ["0", "-1", "inf", "nan", "1e400", "true", '""', '"/"', "[]", "[0]", "{}", "[[" * 2000,
             "2026-01-01", "0001-01-01T00:00:00+14:00", '"\\u0000"', '{ version = "../x" }']
        )
    )  # fmt: skip
    lines[at] = f"{lines[at].partition(' = ')[0]} = {value}"
    _load_or_refuse(tmp_path_factory, "\n".join(lines).encode())


def _load_or_refuse(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.lock"
    path.write_bytes(content)
    try:
        loaded = read_lock(path)
    except LockError:
        return
    assert loaded is not None
    assert model.load(model.dump(loaded)).digest() == loaded.digest()
    assert 0 < loaded.epoch < 2**33


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('path = "pool/main/b/', 'path = "/pool/main/b/', "the path of busybox is '/pool"),
        ('path = "pool/main/b/', 'path = "pool/../../main/b/', "the path of busybox is"),
        ('path = "pool/main/b/', 'path = "../main/b/', "the path of busybox is"),
        ('path = "pool/main/b/', 'path = "pool/a b/', "the path of busybox is"),
        ('path = "pool/main/b/', 'path = "./main/b/', "the path of busybox is"),
        ('"busybox" = {', '"../../etc/x" = {', "the name of a package is '../../etc/x'"),
        ('version = "1:1.38.0-3+b1"', 'version = "1/../x"', "the version of busybox is"),
        ('version = "1:1.38.0-3+b1"', 'version = "1\\nPin: x"', "the version of busybox is"),
        ('version = "1:1.38.0-3+b1"', "version = 1.38", "the version of busybox is 1.38"),
        ('arch = "all"', 'arch = "../all"', "the architecture of python3 is '../all'"),
        ("size = 107", "size = -107", "the size of busybox is -107"),
        ("size = 107", "size = inf", "the size of busybox is inf"),
        ("size = 107", 'size = "107"', "the size of busybox is '107'"),
        ('archive = "security"', 'archive = "elsewhere"', "the archive of openssl is 'elsewhere'"),
        ('sha256 = "aa', 'sha256 = "AA', "the SHA-256 of a release is"),
        ('"' + "c" * 64, '"' + "c" * 63, "the SHA-256 of click-8.3.0"),
        ('"' + "c" * 64, '"' + "x" * 64, "the SHA-256 of click-8.3.0"),
        ("click-8.3.0-py3-none-any.whl", "click.whl", "the name of a wheel is 'click.whl'"),
        ("click-8.3.0-py3", "../click-8.3.0-py3", "the name of a wheel is '../click"),
        ("2026-10-30T08:08:01Z\npython", "2026-10-30T08:08:01\npython", "snapshot is"),
        ("2026-10-30T08:08:01Z\npython", "1970-01-01T00:00:00Z\npython", "snapshot is"),
        ("2026-10-30T08:08:01Z\npython", '"today"\npython', "snapshot is 'today'"),
        ('suite = "forky"\narch', 'suite = "../x"\narch', "suite is '../x'"),
        ('suite = "forky"\narch', "arch", "missing key 'suite'"),
        ('components = ["main"', 'components = ["../main"', "an element of components is"),
        ('python = "3.14"', 'python = "3.14/.."', "python is '3.14/..'"),
        ('signed_by = ["B8', 'signed_by = ["b8', "an element of signed_by of a release"),
        ('mmdebstrap = "1.5.7-3"', "mmdebstrap = 1", "the version of mmdebstrap is 1"),
        ("[packages]", "[packages", "line"),
        ('"busybox" = {', '"busybox" = { }\n"busybox" = {', "line"),
    ],
)  # fmt: skip
def test_damage_is_named(lock, old, new, why):
    text = model.dump(lock)
    assert old in text
    with pytest.raises(LockError) as caught:
        model.load(text.replace(old, new, 1), name="my.lock")
    assert caught.value.what == "my.lock is damaged"
    assert caught.value.exit_code == ExitCode.USAGE
    assert why in caught.value.why
    assert "archibald lock --update" in caught.value.next_step


def test_a_newer_format_is_named(lock):
    text = model.dump(lock).replace("format = 1", "format = 2")
    with pytest.raises(LockError, match="has format 2, this version reads 1"):
        model.load(text)
    with pytest.raises(LockError, match="has format None"):
        model.load("")


@example(b"\xff\xfe")
@given(st.binary(max_size=200))
def test_any_other_file_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "no.lock"
    path.write_bytes(content)
    with pytest.raises(LockError):
        read_lock(path)


def test_a_folder_is_no_lock_and_a_missing_file_is_none(tmp_path):
    with pytest.raises(LockError, match="cannot be read"):
        read_lock(tmp_path)
    assert read_lock(tmp_path / "missing.lock") is None


def test_diff_names_every_kind_of_change(lock):
    packages = list(lock.packages)
    busybox = packages.pop(0)
    packages[0] = replace(packages[0], sha256="e" * 64)
    packages[1] = replace(packages[1], version="3.6.1-1")
    packages.append(replace(busybox, name="zstd", version="1.5"))
    new = replace(
        lock, packages=tuple(packages), wheels={"click-8.3.0-py3-none-any.whl": "f" * 64},
        tools={"mmdebstrap": "1.5.8"},
    )  # fmt: skip
    changes = model.diff(lock, new)
    assert changes.added == {"zstd": "1.5"}
    assert changes.removed == {"busybox": "1:1.38.0-3+b1"}
    assert changes.changed == {"openssl": ("3.6.0-1~deb14u1", "3.6.1-1")}
    assert changes.rehashed == ("libstdc++6",)
    assert changes.wheels["click-8.3.0-py3-none-any.whl"] == ("c" * 64, "f" * 64)
    assert len(changes.wheels) == 2
    assert changes.tools == {
        "mmdebstrap": ("1.5.7-3", "1.5.8"),
        "squashfs-tools": ("1:4.7.2-1", ""),
    }
    assert not changes.is_empty


def test_other_tools_alone_are_no_change_of_the_image(lock):
    changes = model.diff(lock, replace(lock, tools={}))
    assert changes.tools
    assert changes.is_empty
    assert model.diff(lock, lock).is_empty


@settings(max_examples=25)
@given(_LOCKS, _LOCKS)
def test_diff_is_empty_exactly_when_the_content_is_the_same(one, other):
    changes = model.diff(one, other)
    same_files = {p.name: (p.version, p.sha256) for p in one.packages} == {
        p.name: (p.version, p.sha256) for p in other.packages
    } and one.wheels == other.wheels
    assert changes.is_empty == same_files
    assert model.diff(one, one).is_empty
