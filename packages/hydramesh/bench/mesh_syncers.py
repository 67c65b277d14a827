"""Who keeps folders equal: HydraMesh, rsync and Syncthing, each as two sides on loopback."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import mesh_ours
from mesh_case import OURS
from mesh_meter import wire_bytes

from hydramesh.v1 import library_pb2 as pb

_PATIENCE_S = 60.0


class ContenderFailed(Exception):
    """A contender did not do what it was told; the text is what it said."""


class Syncer(Protocol):
    """One of them. A label names a pair of folders."""

    name: str

    def begin(self, label: str, source: Path, target: Path) -> None:
        """Make the target what the source is, and keep it so."""

    def changed(self, label: str) -> None:
        """The source is different now."""

    def confirm(self, label: str) -> None:
        """Return when both sides are known to be equal."""

    def end(self, label: str) -> None:
        """Forget a pair."""

    def processes(self) -> list[int]:
        """Those that run now."""

    def spent_s(self) -> float:
        """CPU seconds of processes of ours that have ended."""

    def wire_bytes(self) -> int:
        """Bytes both ways between the two sides, so far."""

    def log(self) -> str:
        """What it said last."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _until(what: str, check: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE_S
    while True:
        if found := check():
            return found
        if time.monotonic() > end:
            raise ContenderFailed(f"not within {_PATIENCE_S:g} s: {what}")
        time.sleep(0.05)


# -- ours ------------------------------------------------------------------------------------------


class _Ours:
    """Two daemons; a folder is shared by one and followed into a folder by the other."""

    name = OURS

    def __init__(self, one: mesh_ours.Daemon, two: mesh_ours.Daemon) -> None:
        self.one, self.two = one, two

    def begin(self, label: str, source: Path, target: Path) -> None:
        self.one.library("Share", pb.ShareRequest(place=str(source), name=label))
        self.two.library("Follow", pb.FollowRequest(name=label, into=str(target)))

    def changed(self, label: str) -> None:
        del label  # it watches

    def confirm(self, label: str) -> None:
        _until("in sync", lambda: self._is_level(label))

    def _is_level(self, label: str) -> bool:
        told = self.two.library("SyncNow", pb.SyncRequest(names=[label]))
        return all(each.state == "in-sync" for each in told.collections)

    def end(self, label: str) -> None:
        for side, shared in ((self.two, False), (self.one, True)):
            told = side.library("Drop", pb.DropRequest(name=label, shared=shared))
            shutil.rmtree(told.store, ignore_errors=True)

    def processes(self) -> list[int]:
        return [self.one.process.pid, self.two.process.pid]

    def spent_s(self) -> float:
        return 0.0

    def wire_bytes(self) -> int:
        return wire_bytes([self.one.port, self.two.port])

    def log(self) -> str:
        return "\n".join((each.folder / "log").read_text()[-2000:] for each in (self.one, self.two))


@contextmanager
def _ours(folder: Path) -> Iterator[Syncer]:
    del folder
    with mesh_ours.pair() as (one, two):
        yield _Ours(one, two)


# -- rsync -----------------------------------------------------------------------------------------


class _Rsync:
    """A daemon beside the source; the other side pulls, whenever it is told."""

    name = "rsync"

    def __init__(self, folder: Path, tool: str) -> None:
        self.tool, self.port, self.folder = tool, _free_port(), folder
        config = folder / "rsyncd.conf"
        # Without this, one that is started by root serves as nobody.
        who = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if os.getuid() == 0 else ""
        config.write_text(f"use chroot = no\n{who}[bench]\npath = {folder}\nread only = yes\n")
        argv = [tool, "--daemon", "--no-detach", f"--config={config}"]
        argv += ["--address=127.0.0.1", f"--port={self.port}"]
        with (folder / "rsyncd.log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        self._pairs: dict[str, tuple[str, Path]] = {}
        self._client: subprocess.Popen[str] | None = None
        self._spent_s, self._wire, self._said = 0.0, 0, ""
        _until("rsync listens", self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def begin(self, label: str, source: Path, target: Path) -> None:
        self._pairs[label] = (str(source.relative_to(self.folder)), target)
        self.changed(label)

    def changed(self, label: str) -> None:
        below, target = self._pairs[label]
        source = f"rsync://127.0.0.1:{self.port}/bench/{below}/"
        argv = [self.tool, "-a", "--delete", "--stats", source, f"{target}/"]
        client = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._client = client
        assert client.stdout is not None
        with client.stdout as stdout:
            self._said = stdout.read()
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        self._client = None
        self._spent_s += usage.ru_utime + usage.ru_stime
        if client.returncode:
            raise ContenderFailed(f"rsync ended with {client.returncode}:\n{self._said[-2000:]}")
        self._wire += sum(_counted(self._said, f"Total bytes {way}:") for way in _WAYS)

    def confirm(self, label: str) -> None:
        self.changed(label)

    def end(self, label: str) -> None:
        del self._pairs[label]

    def processes(self) -> list[int]:
        client = self._client
        return [self.process.pid, *([client.pid] if client is not None else [])]

    def spent_s(self) -> float:
        return self._spent_s

    def wire_bytes(self) -> int:
        return self._wire

    def log(self) -> str:
        return self._said[-2000:]


_WAYS = ("sent", "received")


def _counted(said: str, name: str) -> int:
    return int(said.partition(name)[2].split()[0].replace(",", ""))


@contextmanager
def _rsync(folder: Path) -> Iterator[Syncer]:
    made = _Rsync(folder, TOOLS["rsync"])
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(30)


# -- Syncthing -------------------------------------------------------------------------------------

#: Nothing leaves this machine, nothing is announced, and no priority is lowered.
_OPTIONS = {
    "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false", "relaysEnabled": "false",
    "natEnabled": "false", "urAccepted": "-1", "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0", "startBrowser": "false", "setLowPriority": "false",
    "reconnectionIntervalS": "1", "stunServer": "",
}  # fmt: skip


class _Instance:
    """One Syncthing with a home of its own, spoken to by its REST interface."""

    def __init__(self, tool: str, home: Path) -> None:
        self.home, self.port, self._gui = home, _free_port(), _free_port()
        made = [tool, "generate", f"--home={home}", "--no-default-folder"]
        subprocess.run(made, capture_output=True, check=True, env=self._environment())
        self._key = self._configure(home / "config.xml")
        argv = [tool, "serve", f"--home={home}", "--no-browser", "--no-restart", "--no-upgrade"]
        with (home / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=self._environment())
        self.device: str = _until("Syncthing answers", self._up)

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self.home.parent), "PATH": os.environ["PATH"], "STNOUPGRADE": "1"}

    def _configure(self, path: Path) -> str:
        tree = ElementTree.parse(path)  # noqa: S314 - of our own Syncthing
        root = tree.getroot()
        options, gui = root.find("options"), root.find("gui")
        assert options is not None
        assert gui is not None
        wanted = _OPTIONS | {"listenAddress": f"tcp://127.0.0.1:{self.port}"}
        for name, value in wanted.items():
            for held in options.findall(name):
                options.remove(held)
            ElementTree.SubElement(options, name).text = value
        address, key = gui.find("address"), gui.find("apikey")
        assert address is not None
        assert key is not None
        address.text = f"127.0.0.1:{self._gui}"
        tree.write(path)
        return key.text or ""

    def _up(self) -> str:
        try:
            return str(self.rest("GET", "system/status")["myID"])
        except (OSError, http.client.HTTPException):
            return ""

    def rest(self, method: str, what: str, body: Any = None) -> Any:
        """What it answers."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._gui}/rest/{what}", data, {"X-API-Key": self._key},
            method=method,
        )  # fmt: skip
        with urllib.request.urlopen(asked, timeout=600) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def meet(self, other: _Instance) -> None:
        """Know another one, at its address only."""
        about = {"deviceID": other.device, "addresses": [f"tcp://127.0.0.1:{other.port}"]}
        self.rest("PUT", f"config/devices/{other.device}", about)

    def is_linked(self) -> bool:
        """Whether it has a connection."""
        told = self.rest("GET", "system/connections")["connections"]
        return any(each["connected"] for each in told.values())


class _Syncthing:
    """Two instances: one only sends, the other only receives. Scans are asked for at once."""

    name = "Syncthing"

    def __init__(self, one: _Instance, two: _Instance) -> None:
        self.one, self.two = one, two

    def begin(self, label: str, source: Path, target: Path) -> None:
        target.mkdir()
        both = [{"deviceID": each.device} for each in (self.one, self.two)]
        sides = ((self.two, target, "receiveonly"), (self.one, source, "sendonly"))
        for side, path, kind in sides:
            # Its own watcher waits for 10 s: here it is told at once to look.
            about = {
                "id": label, "path": str(path), "type": kind, "devices": both,
                "fsWatcherEnabled": False, "rescanIntervalS": 0,
            }  # fmt: skip
            side.rest("PUT", f"config/folders/{label}", about)

    def changed(self, label: str) -> None:
        self.one.rest("POST", f"db/scan?folder={label}")

    def confirm(self, label: str) -> None:
        self.changed(label)
        asked = f"db/completion?folder={label}&device={self.two.device}"
        _until("complete", lambda: self._is_complete(self.one.rest("GET", asked)))

    @staticmethod
    def _is_complete(told: Any) -> bool:
        return not (told["needItems"] or told["needDeletes"] or told["needBytes"])

    def end(self, label: str) -> None:
        for side in (self.two, self.one):
            side.rest("DELETE", f"config/folders/{label}")

    def processes(self) -> list[int]:
        return [self.one.process.pid, self.two.process.pid]

    def spent_s(self) -> float:
        return 0.0

    def wire_bytes(self) -> int:
        total = self.two.rest("GET", "system/connections")["total"]
        return int(total["inBytesTotal"] + total["outBytesTotal"])

    def log(self) -> str:
        return "\n".join((each.home / "log").read_text()[-2000:] for each in (self.one, self.two))


@contextmanager
def _syncthing(folder: Path) -> Iterator[Syncer]:
    tool, instances = TOOLS["Syncthing"], list[_Instance]()
    try:
        for name in ("one", "two"):
            instances.append(_Instance(tool, folder / name))
        one, two = instances
        one.meet(two)
        two.meet(one)
        _until("Syncthing is linked", one.is_linked)
        yield _Syncthing(one, two)
    finally:
        for each in instances:
            each.process.terminate()
            each.process.wait(30)


Start = Callable[[Path], AbstractContextManager[Syncer]]
SYNCERS: dict[str, Start] = {OURS: _ours, "rsync": _rsync, "Syncthing": _syncthing}
#: The program and the Debian package of each that is not ours.
TOOLS = {"rsync": "rsync", "Syncthing": "syncthing"}


def missing(without: list[str]) -> list[str]:
    """The tools that are not here, as sentences with what to do."""
    return [
        f"{name} is missing: install the Debian package {tool} (apt-get install {tool}), "
        f"or leave it out: --without {name}"
        for name, tool in TOOLS.items()
        if name not in without and shutil.which(tool) is None
    ]
