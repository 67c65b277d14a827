"""Profiles on top of each other, and what is derived from a loaded one."""

from __future__ import annotations

import hashlib
import json

import pytest

from archibald.errors import UsageError
from archibald.profile.load import (
    boot_entry,
    canonical_json,
    check_on,
    load_profile,
    load_resolved,
    parse_profile,
    profile_digest,
    read_profile,
)
from archibald.profile.model import Profile, Variant
from archibald.profile.problems import ProfileError


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def problems_of(path):
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_an_empty_file_is_the_default_profile(write):
    assert load_profile(write("p.toml", "")) == Profile()


def test_tables_merge_key_by_key_and_lists_replace(write):
    write("base/b.toml", '[audio]\nrate = 48000\njack = false\n[apps]\ngroups = ["daw"]\n')
    top = write(
        "p.toml", 'extends = "base/b.toml"\n[audio]\nrate = 44100\n[apps]\ngroups = ["midi"]\n'
    )
    profile = load_profile(top)
    assert (profile.audio.rate, profile.audio.jack, profile.apps.groups) == (44100, False, ["midi"])
    assert profile.extends == ""


def test_variants_merge_by_name_and_new_ones_come_last(write):
    write(
        "b.toml",
        '[[variant]]\nname = "a"\ntitle = "A"\naudio = { quantum = 16, jack = false }\n'
        '[[variant]]\nname = "b"\ntitle = "B"\n',
    )
    top = write(
        "p.toml",
        'extends = "b.toml"\n[[variant]]\nname = "c"\ntitle = "C"\n'
        '[[variant]]\nname = "a"\n[variant.audio]\nquantum = 64\n',
    )
    loaded = read_profile(top)
    assert loaded.profile.variant == [
        Variant(name="a", title="A", audio={"quantum": 64, "jack": False}),
        Variant(name="b", title="B"),
        Variant(name="c", title="C"),
    ]
    assert str(loaded.origin("variant.a.audio.quantum")) == f"{top}:8"
    assert str(loaded.origin("audio.jack", variant="a")).endswith("b.toml:4")
    assert loaded.origin("audio.jack") is None


def test_a_chain_is_followed_relative_to_each_file(write):
    write("x/y/a.toml", "[audio]\nrate = 48000\n")
    write("x/b.toml", 'extends = "y/a.toml"\n[system]\nkeymap = "de"\n')
    top = write("c.toml", 'extends = "x/b.toml"\n')
    loaded = read_profile(top)
    assert (loaded.profile.audio.rate, loaded.profile.system.keymap) == (48000, "de")
    assert [name.rpartition("/")[2] for name in loaded.files] == ["c.toml", "b.toml", "a.toml"]
    assert str(loaded.origin("audio.rate")).endswith("x/y/a.toml:2")


def test_circles_are_found_even_through_links(write, tmp_path):
    write("a.toml", 'extends = "b.toml"')
    write("b.toml", '\nextends = "link.toml"')
    (tmp_path / "link.toml").symlink_to("a.toml")
    assert problems_of(tmp_path / "a.toml") == [
        "b.toml:2:11: extends: closes a circle: a.toml is read already"
    ]


def test_problems_of_all_files_are_said_at_once(write):
    write("a.toml", "[audio]\nrate = 1\n")
    write("b.toml", 'extends = "a.toml"\n[audio]\nrate = 2\nx = 1\n')
    top = write("p.toml", 'extends = "b.toml"\n[audio]\nrate = 96000\nquantum = 1\n')
    assert [line.split(": ")[0] for line in problems_of(top)] == [
        "p.toml:4:11", "b.toml:3:8", "b.toml:4:1", "a.toml:2:8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (None, ["p.toml:1:11: extends: cannot read b.toml: no such file or directory"]),
        ("x = [", ["b.toml:1:6: not valid TOML: no value here; text stands in quotes, true and "
                   "false in lower case"]),
        ("format = 7", ["b.toml:1:10: format: format 7 is newer than this version of archibald "
                        "reads (1); install a newer archibald"]),
    ],
)  # fmt: skip
def test_a_broken_base_does_not_blame_what_it_would_have_set(write, base, expected):
    if base is not None:
        write("b.toml", base)
    top = write("p.toml", 'extends = "b.toml"\n[[variant]]\nname = "a"\n')
    assert problems_of(top) == expected


def test_a_conflict_points_at_the_users_own_file(write):
    write("b.toml", "[audio]\nquantum = 64\nmax_quantum = 64\n")
    top = write("p.toml", 'extends = "b.toml"\naudio.max_quantum = 32\n')
    assert problems_of(top) == ["p.toml:2:21: audio.max_quantum: quantum 64 is over max_quantum 32"]


def test_a_text_can_stand_on_a_profile():
    base = parse_profile("[audio]\nrate = 48000\njack = false", filename="b.toml")
    text = 'extends = "b.toml"\n[audio]\nrate = 44100'
    profile = parse_profile(text, filename="p.toml", base=base)
    assert (profile.audio.rate, profile.audio.jack) == (44100, False)


def test_canonical_json_is_sorted_complete_and_tells_nothing_of_the_author():
    one = parse_profile(
        '[audio]\nrate = 48000\n[image]\nmirror = "http://mirror.example/debian"\n[mesh]\n',
        filename="a.toml",
    )
    two = parse_profile("image.name = 'archibaldos'\naudio.rate = 48_000", filename="b.toml")
    data = canonical_json(one)
    assert data == canonical_json(two)
    assert data.endswith(b"}\n")
    assert b"mirror.example" not in data
    assert b"extends" not in data
    value = json.loads(data)
    assert list(value) == sorted(value)
    assert value["audio"]["quantum"] == 32
    assert profile_digest(one) == hashlib.sha256(data).hexdigest()
    assert profile_digest(one) != profile_digest(Profile())


def test_an_image_reads_back_what_was_written():
    text = 'branding.name = "Stüdio"\n[[variant]]\nname = "a"\ntitle = "A"\naudio.quantum = 64\n'
    profile = parse_profile(text, filename="p.toml")
    assert load_resolved(canonical_json(profile)) == profile


def test_cpus_that_a_machine_lacks_are_named_with_their_place(write):
    path = write(
        "p.toml",
        "[cpu]\nminimum = 8\naudio = [1]\nisolated = [5, 6]\n"
        '[[variant]]\nname = "v"\ntitle = "V"\ncpu = { isolated = [4], audio = [2] }\n',
    )
    loaded = read_profile(path)
    assert check_on(loaded.profile, 8, loaded) == []
    assert [str(p).replace(f"{path}", "p") for p in check_on(loaded.profile, 4, loaded)] == [
        "p:2:11: cpu.minimum: asks for 8 CPUs, but this machine has 4 (0 to 3)",
        "p:4:12: cpu.isolated: names CPU 5, 6, but this machine has 4 (0 to 3)",
        "p:8:20: variant.v.cpu.isolated: names CPU 4, but this machine has 4 (0 to 3)",
    ]
    assert [str(p) for p in check_on(Profile(), 1)] == [
        "default: cpu.minimum: asks for 2 CPUs, but this machine has only CPU 0",
        "default: cpu.audio: names CPU 1, but this machine has only CPU 0",
    ]


def test_boot_entries_are_found_by_name():
    profile = Profile(variant=[Variant(name="low-latency", title="L", audio={"quantum": 16})])
    assert boot_entry(profile, "default") is profile
    assert boot_entry(profile, "low-latency").audio.quantum == 16
    with pytest.raises(UsageError, match='no variant "low-latncy"; did you mean "low-latency"'):
        boot_entry(profile, "low-latncy")
    with pytest.raises(UsageError, match='no variant "x"'):
        boot_entry(profile, "x")
