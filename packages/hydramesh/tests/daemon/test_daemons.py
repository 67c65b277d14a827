"""Real daemons, on loopback addresses and in network namespaces: join, see, die, come back."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from hydramesh.cli.common import run_cli

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
# Below those that the system gives to outgoing connections.
_PORTS = itertools.count(20000 + os.getpid() % 12000)
PATIENCE_S = 40.0


def free_port():
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class Peer:
    """One daemon with its own state, and the command line for it."""

    def __init__(self, folder, name, *, host="127.0.0.1", port=None, space=None):
        self.folder, self.name, self.port = folder / name, name, port or free_port()
        self.folder.mkdir()
        self.config = self.folder / "config.json"
        self.configure(host=host, port=self.port)
        self.ahead = ["ip", "netns", "exec", space] if space else []
        self.where = ["--state", str(self.folder / "s"), "--config", str(self.config)]
        self.process = None

    def configure(self, **settings):
        """Write the configuration; it is read when the daemon starts."""
        given = {"host": "", "port": self.port, "node-id": self.name}
        self.config.write_text(json.dumps(given | settings))

    def start(self):
        with (self.folder / "log").open("ab") as log:
            argv = [*self.ahead, str(BIN / "hydrameshd"), *self.where]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_for(lambda: self.run("status")[0] != 3, self.log)
        return self

    def run(self, *verb, text=""):
        # In this process: a Unix socket leads into any network namespace.
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(io.StringIO()),
            mock.patch("sys.stdin", io.StringIO(text)),
        ):
            code = run_cli([*self.where, *verb, "--json"])
        return code, json.loads(out.getvalue() or "{}")

    def ok(self, *verb, text=""):
        code, said = self.run(*verb, text=text)
        assert code == 0, (verb, said, self.log())
        return said

    def states(self):
        return {each["name"]: each["state"] for each in self.run("peers")[1].get("peers", [])}

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def stop(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30) if self.process is not None else None


def wait_for(test, log=lambda: ""):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if test():
            return
        time.sleep(0.1)
    raise AssertionError(log())


@pytest.fixture
def folder(tmp_path_factory):
    made = Path("/tmp", f"hm{os.getpid()}-{next(_PORTS)}")  # sockets want short paths
    made.mkdir(mode=0o700)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def make(folder):
    peers = []

    def start(name, **given):
        peers.append(Peer(folder, name, **given))
        return peers[-1].start()

    yield start
    for peer in peers:
        peer.stop(signal.SIGKILL)


def pair(make, first, second):
    first.ok("init", "--realm", "band")
    code = first.ok("invite")["code"]
    second.ok("join", "-", text=code)
    wait_for(lambda: first.states() == {second.name: "alive"}, first.log)
    wait_for(lambda: second.states() == {first.name: "alive"}, second.log)
    return code


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def admitted_without_certificate(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        raw.settimeout(5)
        try:
            with context.wrap_socket(raw) as tls:
                return tls.recv(1) != b""
        except TimeoutError:
            return True
        except OSError:
            return False


def test_from_nothing_to_a_mesh_and_back(make):
    anna, bert = make("anna"), make("bert")
    assert not is_open(anna.port)
    assert anna.ok("status")["state"] == "no-realm"
    code = pair(make, anna, bert)
    assert is_open(anna.port)
    assert not admitted_without_certificate(anna.port)
    assert [each["name"] for each in anna.ok("links")["links"]] == ["bert"]

    # A replay, by a third node.
    carl = make("carl")
    status, error = carl.run("join", "-", text=code)
    assert (status, error["error"]) == (3, "InviteUsed")
    assert not is_open(carl.port)

    # Killed: noticed, and back with the same identity.
    bert.stop(signal.SIGKILL)
    wait_for(lambda: anna.states() == {"bert": "dead"}, anna.log)
    bert.start()
    wait_for(lambda: anna.states() == {"bert": "alive"}, anna.log)

    # Expelled: the others hang up.
    anna.ok("revoke", "bert")
    wait_for(lambda: anna.ok("links")["links"] == [], anna.log)
    assert bert.run("invite")[1]["error"] == "NotAuthority"

    bert.ok("leave")
    wait_for(lambda: not is_open(bert.port))
    assert anna.stop() == 0
    secret = code.replace("-", "")[30:50]
    for peer in (anna, bert, carl):
        assert "PRIVATE KEY" not in peer.log()
        assert code not in peer.log()
        assert secret not in peer.log()


def test_a_taken_port_is_named(make):
    anna = make("anna")
    with socket.create_server(("127.0.0.1", anna.port)):
        code, error = anna.run("init")
        assert (code, error["error"]) == (3, "PortTaken")
        assert str(anna.port) in error["what"]


def test_certificates_renew_while_running(make):
    anna, bert = make("anna"), make("bert")
    anna.ok("init", "--certificate-life", "20s")
    bert.ok("join", "-", text=anna.ok("invite")["code"])
    before = bert.ok("status")["realm"]["certificate_ends"]
    wait_for(lambda: bert.run("status")[1]["realm"]["certificate_ends"] > before + 5, bert.log)
    wait_for(lambda: bert.states() == {"anna": "alive"}, bert.log)
    wait_for(lambda: anna.states() == {"bert": "alive"}, anna.log)


# -- network namespaces ----------------------------------------------------------------------------


def ip(*argv):
    subprocess.run(["ip", *argv], check=True, capture_output=True)


@pytest.fixture
def spaces():
    """Two namespaces with a cable between them: 10.77.0.1 and 10.77.0.2."""
    names = [f"hm{os.getpid()}{side}" for side in "ab"]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ip(
            "link",
            "add",
            "hm0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "hm0",
            "netns",
            names[1],
        )
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "hm0")
            for device in ("lo", "hm0"):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for name in made:
            ip("netns", "del", name)
        pytest.skip(f"network namespaces cannot be made here: {error}")
    yield names
    for name in names:
        ip("netns", "del", name)


def test_a_cut_cable_heals(make, spaces):
    anna = make("anna", host="", port=50051, space=spaces[0])
    bert = make("bert", host="", port=50051, space=spaces[1])
    anna.ok("init")
    code = anna.ok("invite")
    assert code["endpoints"][0] == "10.77.0.1:50051"
    bert.ok("join", "-", text=code["code"])
    wait_for(lambda: bert.states() == {"anna": "alive"}, bert.log)
    ip("-n", spaces[0], "link", "set", "hm0", "down")
    wait_for(lambda: anna.states() == {"bert": "dead"}, anna.log)
    wait_for(lambda: bert.states() == {"anna": "dead"}, bert.log)
    ip("-n", spaces[0], "link", "set", "hm0", "up")
    wait_for(lambda: anna.states() == {"bert": "alive"}, anna.log)
    wait_for(lambda: bert.states() == {"anna": "alive"}, bert.log)
