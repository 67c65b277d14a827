"""The profiles that come with the package, and new files made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from archibald.errors import PreconditionError
from archibald.profile import starters
from archibald.profile.load import load_profile, parse_profile
from archibald.profile.options import options

_ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", starters.STARTERS)
def test_the_package_holds_the_profiles_of_the_repository(name):
    inside = Path(starters.__file__).parent / "builtin" / f"{name}.toml"
    assert inside.read_bytes() == (_ROOT / "profiles" / f"{name}.toml").read_bytes()


def test_the_default_profile_is_the_studio():
    assert load_profile(_ROOT / "archibald.toml") == starters.starter("studio")


@pytest.mark.parametrize("name", starters.STARTERS)
def test_a_new_profile_equals_its_starter_and_lists_every_option(name):
    text = starters.starter_text(name)
    assert parse_profile(text, filename="new.toml") == starters.starter(name)
    for option in options().values():
        if not option.key.startswith("variant."):
            assert f"\n{option.name} = " in text or f"\n#{option.name} = " in text
    assert max(map(len, text.splitlines())) < 160
    assert "on-\n" not in text


def test_every_line_of_a_new_profile_can_be_switched_on():
    text = starters.starter_text("core")
    active = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in text.splitlines()
        if not line.startswith("#extends")
    )
    assert parse_profile(active, filename="new.toml") == starters.starter("core")


def test_a_file_is_never_replaced_unless_asked(tmp_path):
    path = tmp_path / "p.toml"
    starters.write_new(path, "one", replace=False)
    with pytest.raises(PreconditionError, match="exists already"):
        starters.write_new(path, "two", replace=False)
    assert path.read_text() == "one"
    starters.write_new(path, "two", replace=True)
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.toml"]


@pytest.mark.parametrize("replace", [False, True])
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, replace):
    with pytest.raises(PreconditionError, match="cannot write"):
        starters.write_new(tmp_path / "none" / "p.toml", "x", replace=replace)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PreconditionError):
        starters.write_new(tmp_path / "folder", "x", replace=replace)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_write_that_fails_midway_leaves_nothing_half_made(tmp_path, replace):
    path = tmp_path / "p.toml"
    if replace:
        path.write_text("before")
    with pytest.raises(PreconditionError):
        starters.write_new(path, "x\udcff", replace=replace)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["before"] * replace
