"""The package stage: what decides it, what does not, and what is checked afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archibald.errors import ToolFailedError
from archibald.image.base import (
    BasePlan,
    _check_installed,
    _LogProgress,
    early_files,
    locale_folders,
    mmdebstrap_command,
)
from archibald.image.build import design
from archibald.image.squashfs import mksquashfs_command
from archibald.profile.load import parse_profile
from archibald.system.spec import File

_TOOLS = {"mmdebstrap": "1.5.7-3", "apt": "3.1", "squashfs-tools": "4.7", "xorriso": "1.5.6"}


def _plan(lock, tree, **changes) -> BasePlan:
    plan = BasePlan(lock, early_files(tree), ("de", "de_DE"), level=9)
    return replace(plan, **changes)


def test_a_file_of_the_profile_needs_no_new_base(core, lock):
    tree = design(core).tree
    inputs = _plan(lock, tree).inputs(_TOOLS)
    changed = {
        **tree,
        "/etc/motd": File("/etc/motd", b"another greeting"),
        "/etc/pipewire/pipewire.conf.d/99-x.conf": File("/etc/x", b"x"),
    }
    assert _plan(lock, changed).inputs(_TOOLS) == inputs


def test_another_quantum_needs_no_new_base(core, lock):
    other = parse_profile("[audio]\nquantum = 64\n", filename="x.toml", base=core)
    plans = [_plan(lock, design(profile).tree).inputs(_TOOLS) for profile in (core, other)]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    "path",
    ["/etc/initramfs-tools/conf.d/x", "/etc/locale.gen", "/etc/live/x", "/etc/ld.so.conf.d/x"],
)
def test_what_runs_inside_the_base_decides_it(core, lock, path):
    tree = design(core).tree
    inputs = _plan(lock, tree).inputs(_TOOLS)
    changed = {**tree, path: File(path, b"changed")}
    assert _plan(lock, changed).inputs(_TOOLS) != inputs
    executable = {**tree, path: File(path, b"changed", 0o755)}
    assert _plan(lock, executable).inputs(_TOOLS) != _plan(lock, changed).inputs(_TOOLS)


def test_packages_options_and_shaping_tools_decide_the_base(lock):
    inputs = _plan(lock, {}).inputs(_TOOLS)
    other = replace(lock.packages[0], sha256="0" * 64)
    variations = [
        _plan(replace(lock, packages=(other, *lock.packages[1:])), {}).inputs(_TOOLS),
        _plan(replace(lock, requested=()), {}).inputs(_TOOLS),
        _plan(lock, {}, level=10).inputs(_TOOLS),
        _plan(lock, {}, locale_folders=("fr",)).inputs(_TOOLS),
        _plan(lock, {}).inputs({**_TOOLS, "mmdebstrap": "2"}),
    ]
    for varied in variations:
        assert varied != inputs
    assert _plan(lock, {}).inputs({**_TOOLS, "xorriso": "9"}) == inputs
    assert _plan(replace(lock, tools={}), {}).inputs(_TOOLS) == inputs


def test_the_folders_of_a_locale():
    assert locale_folders("de_DE.UTF-8") == ("de", "de_DE")
    assert locale_folders("C.UTF-8") == ("C", "C")


def test_the_command_names_every_package_and_quotes_its_paths(lock):
    plan = _plan(lock, {})
    words = mmdebstrap_command(
        plan, repository=Path("/my cache/repo"), hooks=Path("/my cache/hooks"), out=Path("/o$ut")
    )
    (include,) = [word for word in words if word.startswith("--include=")]
    assert include.removeprefix("--include=").split(",") == [p.name for p in lock.packages]
    (finish,) = [word for word in words if word.startswith("--customize-hook=")]
    assert "sh '/my cache/hooks/finish.sh' \"$1\" '/o$ut' '/my cache/hooks/early.tar'" in finish
    # A line of sources.list ends its address at a blank.
    assert words[-1] == "deb [trusted=yes] copy:///my%20cache/repo ./"
    assert "--dpkgopt=path-include=/usr/share/locale/de_DE/*" in words


def test_a_squashfs_is_made_for_reproduction():
    words = mksquashfs_command(Path("/x/base.squashfs"), level=7)
    assert words[:4] == ["mksquashfs", "-", "/x/base.squashfs", "-tar"]
    assert words[words.index("-Xcompression-level") + 1] == "7"
    assert words[words.index("-root-mode") + 1] == "0755"
    assert {"-noappend", "-exit-on-error"} <= set(words)


def _installed(tmp_path: Path, lock, **changes) -> Path:
    rows = {p.name: p.version for p in lock.packages}
    rows.update(changes)
    path = tmp_path / "dpkg.list"
    lines = [f"{name}\t{version}\tamd64\n" for name, version in rows.items() if version]
    path.write_text("".join(lines))
    return path


def test_exactly_the_locked_packages_are_installed(lock, tmp_path):
    _check_installed(lock, _installed(tmp_path, lock))


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"pipewire": "2"}, "pipewire"), ({"extra": "1"}, "extra"), ({"openssl": ""}, "openssl")],
)
def test_anything_else_in_the_base_is_an_error(lock, tmp_path, changes, name):
    with pytest.raises(ToolFailedError, match=f"does not hold what the lock says: {name}"):
        _check_installed(lock, _installed(tmp_path, lock, **changes))


def test_progress_grows_with_the_log_and_stays_below_the_end(tmp_path):
    log = tmp_path / "log"
    told: list[float] = []
    log.write_bytes(b"")
    progress = _LogProgress(log, packages=10, tell=told.append)
    progress.tick()
    for text in (
        b"\nUnpacking a (1) ..." * 10,
        b"\nSetting up a (1) ..." * 10,
        b"\nI: creating tarball",
    ):
        with log.open("ab") as stream:
            stream.write(text)
        progress.tick()
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[1] == pytest.approx(_LogProgress.PACKAGES_SHARE / 2)
    assert told[-1] < 1.0
