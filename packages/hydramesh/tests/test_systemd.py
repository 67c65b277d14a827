"""The unit that is shipped, and what the daemon tells systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hydramesh import systemd
from hydramesh.errors import InvalidArgument

BIN = Path(sys.executable).parent


def test_the_unit_takes_what_it_is_given():
    text = systemd.unit(
        ["/opt/mesh/hydrameshd", "--verbose"], library="/srv/my samples", groups=["audio"]
    )
    assert text.count("ExecStart=") == 1
    assert "ExecStart=/opt/mesh/hydrameshd --verbose\n" in text
    assert "SupplementaryGroups=audio\n" in text
    assert 'ReadWritePaths="-/srv/my samples"\n' in text
    assert text.index("ReadWritePaths") < text.index("[Install]")


@pytest.mark.parametrize("word", ["/bin/a\nExecStart=/bin/b", "/bin/%h", '/bin/"'])
def test_nothing_gets_into_the_unit(word):
    with pytest.raises(InvalidArgument):
        systemd.unit([word])


def test_the_unit_is_one(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / systemd.UNIT
    program = BIN / "hydrameshd"
    path.write_text(systemd.unit([str(program)], library="/var/lib/streamdb", groups=["audio"]))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )
    about_us = [line for line in said.stderr.splitlines() if systemd.UNIT in line]
    assert (about_us, said.returncode) == ([], 0), said.stderr


@pytest.mark.slow
def test_the_daemon_says_when_it_is_ready_and_when_it_ends(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(60)
        daemon = subprocess.Popen(
            [BIN / "hydrameshd", "--state", tmp_path / "s"],
            env=os.environ | {"NOTIFY_SOCKET": str(path)},
        )
        try:
            assert ear.recv(100) == b"READY=1"
            assert (tmp_path / "s" / "control.sock").exists()
            daemon.send_signal(signal.SIGTERM)
            assert ear.recv(100) == b"STOPPING=1"
        finally:
            daemon.kill()
            daemon.wait(30)
