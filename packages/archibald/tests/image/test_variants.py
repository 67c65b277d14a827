"""Boot entries with files of their own: how they are stored, and the script that places them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from archibald.errors import ToolFailedError
from archibald.image.build import design
from archibald.image.layer import Node
from archibald.image.variants import VARIANTS, variant_nodes
from archibald.run import run
from archibald.system.modules.variants import SCRIPT, SCRIPT_PATH
from archibald.system.render import VariantDelta
from archibald.system.spec import Directory, File, Link


def _file(path: str, text: str) -> File:
    return File(path, text.encode())


_TREE: dict[str, Node] = {
    "/etc/changed": _file("/etc/changed", "default"),
    "/etc/default-only": _file("/etc/default-only", "default"),
    "/etc/dir": Directory("/etc/dir"),
    "/etc/link": Link("/etc/link", "default-target"),
    "/etc/same": _file("/etc/same", "same"),
}
_FAST = VariantDelta(
    "fast",
    {
        "/etc/changed": _file("/etc/changed", "fast"),
        "/etc/link": Link("/etc/link", "fast-target"),
        "/etc/new dir": Directory("/etc/new dir"),
        "/etc/new dir/added": _file("/etc/new dir/added", "fast"),
    },
    ("/etc/default-only",),
    (),
)
_SLOW = VariantDelta("slow", {"/etc/changed": _file("/etc/changed", "slow")}, (), ())


def test_an_image_without_variants_stores_nothing():
    assert variant_nodes(_TREE, ()) == {}


def test_every_entry_has_its_own_set_of_what_differs():
    nodes = variant_nodes(_TREE, [_FAST, _SLOW])
    stored = {path.removeprefix(f"{VARIANTS}/"): node for path, node in nodes.items()}
    listing = stored["paths"]
    assert isinstance(listing, File)
    assert listing.content.decode().splitlines() == [
        "/etc/changed", "/etc/default-only", "/etc/link", "/etc/new dir/added",
    ]  # fmt: skip
    assert {name for name, node in stored.items() if not isinstance(node, Directory)} == {
        "paths",
        "default/etc/changed", "default/etc/default-only", "default/etc/link",
        "fast/etc/changed", "fast/etc/link", "fast/etc/new dir/added",
        "slow/etc/changed", "slow/etc/default-only", "slow/etc/link",
    }  # fmt: skip
    assert all(node.path == path for path, node in nodes.items())
    assert {"default", "fast", "slow"} <= set(stored)


def test_the_core_profile_stores_its_variant(core):
    plan = design(core)
    nodes = variant_nodes(plan.tree, plan.deltas)
    assert f"{VARIANTS}/low-latency" in nodes
    assert SCRIPT_PATH in plan.tree


@pytest.fixture
def machine(tmp_path):
    """Lay the tree and its variants out below a folder, and boot it with kernel arguments."""
    root = tmp_path / "root"
    for path, node in {**_TREE, **variant_nodes(_TREE, [_FAST, _SLOW])}.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(node, Directory):
            place.mkdir(parents=True, exist_ok=True)
        elif isinstance(node, Link):
            place.symlink_to(node.target)
        else:
            place.write_bytes(node.content)
            place.chmod(node.mode)
    return Machine(root)


class Machine:
    """A root folder, and the script as the initial RAM disk would run it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.command_line = root.with_name("cmdline")
        self.kernel_log = root.with_name("kmsg")

    def boot(self, arguments: str, shell: tuple[str, ...] = ("sh",)) -> None:
        script = SCRIPT
        for path, stand_in in (
            ("/proc/cmdline", self.command_line), ("/dev/kmsg", self.kernel_log),
        ):  # fmt: skip
            assert script.count(path) == 1
            script = script.replace(path, str(stand_in))
        self.command_line.write_text(f"BOOT_IMAGE=/live/vmlinuz quiet {arguments}\n")
        place = self.root.with_name("script")
        place.write_text(script)
        result = run([*shell, place], env={"rootmnt": str(self.root)})
        assert result.stderr == ""

    def state(self) -> dict[str, str]:
        """Return path → content, or target of a link, of everything outside the stored sets."""
        found = {}
        for folder, _, names in os.walk(self.root / "etc"):
            for name in names:
                path = Path(folder) / name
                text = f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
                found["/" + str(path.relative_to(self.root))] = text
        return found


_SHELLS = [("sh",), *([("busybox", "sh")] if shutil.which("busybox") else [])]
_DEFAULT = {
    "/etc/changed": "default", "/etc/default-only": "default", "/etc/link": "-> default-target",
    "/etc/same": "same",
}  # fmt: skip
_FAST_STATE = {
    "/etc/changed": "fast", "/etc/link": "-> fast-target", "/etc/new dir/added": "fast",
    "/etc/same": "same", "/etc/archibald/variant": "fast\n",
}  # fmt: skip


@pytest.mark.parametrize("shell", _SHELLS, ids=" ".join)
def test_from_the_default_to_a_variant_and_back(machine, shell):
    machine.boot("", shell)
    assert machine.state() == _DEFAULT
    machine.boot("archibald.variant=fast", shell)
    assert machine.state() == _FAST_STATE
    machine.boot("archibald.variant=fast", shell)
    assert machine.state() == _FAST_STATE
    machine.boot("archibald.variant=slow", shell)
    slow = {**_DEFAULT, "/etc/changed": "slow", "/etc/archibald/variant": "slow\n"}
    assert machine.state() == slow
    machine.boot("", shell)
    assert machine.state() == {**_DEFAULT, "/etc/archibald/variant": "default\n"}


def test_modes_of_files_come_along(machine):
    (machine.root / f"{VARIANTS.lstrip('/')}/fast/etc/changed").chmod(0o640)
    machine.boot("archibald.variant=fast")
    assert (machine.root / "etc/changed").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "name",
    ["unknown", "../fast", "../../../../etc", "", "/", "fast/../slow", "paths", ".", "*", "FAST"],
)
def test_a_name_that_is_no_variant_starts_the_default(machine, name):
    machine.boot(f"archibald.variant={name}")
    assert machine.state() == _DEFAULT
    machine.boot("archibald.variant=fast")
    machine.boot(f"archibald.variant={name}")
    assert machine.state() == {**_DEFAULT, "/etc/archibald/variant": "default\n"}


def test_an_unknown_variant_is_said_in_the_kernels_log(machine):
    machine.boot("archibald.variant=unknown")
    assert "no variant unknown in this image" in machine.kernel_log.read_text()


def test_a_boot_that_lost_power_half_way_is_finished_by_the_next(machine, tmp_path):
    """The record must not say that the default is in place while a variant's files are."""
    tools = tmp_path / "tools"
    tools.mkdir()
    cut = tools / "cp"
    cut.write_text(
        f'#!/bin/sh\n[ -e {tools}/once ] && kill -9 $PPID\n: > {tools}/once\n/bin/cp "$@"\n'
    )
    cut.chmod(0o755)
    with pytest.raises(ToolFailedError):
        machine.boot("archibald.variant=fast", ("env", f"PATH={tools}:{os.environ['PATH']}", "sh"))
    assert machine.state()["/etc/changed"] == "fast"
    machine.boot("")
    state = machine.state()
    assert {path: state.get(path) for path in _DEFAULT} == _DEFAULT


def test_an_image_without_stored_sets_boots(tmp_path):
    machine = Machine(tmp_path / "root")
    (machine.root / "etc").mkdir(parents=True)
    machine.boot("archibald.variant=fast")
    assert machine.state() == {}


def test_the_hooks_of_the_initial_ram_disk_ask_for_prerequisites(tmp_path):
    place = tmp_path / "script"
    place.write_text(SCRIPT)
    assert run(["sh", place, "prereqs"]).stdout == "\n"
