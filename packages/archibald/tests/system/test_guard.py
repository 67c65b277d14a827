"""Units beside the audio: which profile has them, and that the awake one really holds."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from archibald.profile.model import Profile, Realtime
from archibald.run import find_tool, run
from archibald.system.compose import compose
from archibald.system.modules import guard
from archibald.system.render import rendered_tree
from archibald.system.spec import File, Link, Unit

DEVICE = Path("/dev/cpu_dma_latency")

ALL = {guard.WATCHDOG_UNIT, guard.AWAKE_UNIT, guard.CARD_UNIT}


def _tree(**realtime) -> dict[str, str]:
    tree = rendered_tree(compose(Profile(realtime=Realtime(**realtime))))
    return {
        path: node.content.decode() if isinstance(node, File) else node.target
        for path, node in tree.items()
        if isinstance(node, File | Link) and "archibald-" in path and "selftest" not in path
    }


def _units(tree: dict[str, str]) -> set[str]:
    return {Path(path).name for path in tree if path.endswith(".service")}


@pytest.mark.parametrize(
    ("option", "unit"),
    [("watchdog", guard.WATCHDOG_UNIT), ("keep_awake", guard.AWAKE_UNIT),
     ("card_first", guard.CARD_UNIT)],
)  # fmt: skip
def test_each_option_has_its_unit(option, unit):
    assert _units(_tree()) >= ALL
    assert ALL & _units(_tree(**{option: False})) == ALL - {unit}


def test_units_are_started_by_what_they_serve():
    tree = _tree()
    system, user = "/etc/systemd/system", "/etc/systemd/user"
    assert tree[f"{system}/multi-user.target.wants/{guard.WATCHDOG_UNIT}"] == (
        f"{system}/{guard.WATCHDOG_UNIT}"
    )
    assert tree[f"{user}/pipewire.service.wants/{guard.AWAKE_UNIT}"] == f"{user}/{guard.AWAKE_UNIT}"
    assert "BindsTo=pipewire.service" in tree[f"{user}/{guard.AWAKE_UNIT}"]
    assert f'ENV{{SYSTEMD_WANTS}}+="{guard.CARD_UNIT}"' in tree[guard.CARD_RULE]
    # udev starts it, so it is enabled nowhere.
    names = {unit.name for unit in compose(Profile()).of(Unit)}
    assert guard.CARD_UNIT not in names


def test_the_time_is_the_profiles():
    unit = _tree(watchdog_after_s=9)[f"/etc/systemd/system/{guard.WATCHDOG_UNIT}"]
    assert "ExecStart=/usr/bin/archibald watchdog --after 9\n" in unit


@pytest.mark.parametrize("unit", sorted(ALL))
def test_systemd_understands_the_units(tmp_path, unit):
    if find_tool("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    (path,) = [path for path in _tree() if path.endswith(f"/{unit}") and ".wants" not in path]
    file = tmp_path / unit
    # The program, and the unit that it is bound to, need not be on this machine.
    text = _tree()[path].replace("/usr/bin/archibald", "/bin/true")
    file.write_text(re.sub(r"^(BindsTo|After)=pipewire.*\n", "", text, flags=re.MULTILINE))
    result = run(["systemd-analyze", "verify", "--man=no", file], check=False)
    assert [line for line in result.stderr.splitlines() if unit in line] == []


def _held_us() -> int:
    with DEVICE.open("rb", buffering=0) as stream:
        return int(struct.unpack("=i", stream.read(4))[0])


def _script() -> str:
    unit = _tree()[f"/etc/systemd/user/{guard.AWAKE_UNIT}"].replace("\\\n", "")
    found = re.search(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)
    assert found is not None
    return found.group(1).replace("%%", "%")


@pytest.mark.skipif(not os.access(DEVICE, os.R_OK | os.W_OK), reason="needs the device")
def test_the_awake_unit_holds_as_long_as_its_process_lives():
    before = _held_us()
    process = subprocess.Popen(["/bin/sh", "-c", _script()])
    try:
        name = Path(f"/proc/{process.pid}/comm")
        while name.read_text() != "sleep\n":
            assert process.poll() is None
        assert _held_us() == min(before, guard.WAKE_UP_US)
    finally:
        process.kill()
        process.wait()
    assert _held_us() == before


def test_who_may_not_open_the_device_goes_without(tmp_path):
    script = _script().replace(str(DEVICE), str(tmp_path / "none"))
    assert run(["/bin/sh", "-c", script], timeout_s=20).stdout == ""
