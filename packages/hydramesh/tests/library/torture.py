"""Real daemons under random edits, renames, deletions, kills and partitions; then all are equal.

python -m packages.hydramesh.tests.library.torture --peers 5 --seconds 600 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from packages.hydramesh.tests.daemon.test_daemons import Peer
from packages.hydramesh.tests.library.band import content, documents

from streamdb import StreamDB

PATHS = [f"{folder}{name}.wav" for folder in ("", "drums/", "keys/") for name in "abcdefgh"]
SIZES = (3, 200, 20_000, 200_000, 2_500_000)
WEIGHTS = (30, 30, 30, 9, 1)
SETTLE_S = 90.0


def ip(*argv: str) -> None:
    """Run ip."""
    subprocess.run(["ip", *argv], check=True, capture_output=True)


class Switch:
    """Namespaces with a cable each to a switch that can be split in two."""

    def __init__(self, count: int) -> None:
        mark = f"ht{os.getpid() % 100_000}"
        self.hub = f"{mark}s"
        self.spaces = [f"{mark}n{at}" for at in range(count)]
        self._made: list[str] = []

    def __enter__(self) -> Switch:
        try:
            for space in (self.hub, *self.spaces):
                ip("netns", "add", space)
                self._made.append(space)
            for bridge in ("br0", "br1"):
                ip("-n", self.hub, "link", "add", bridge, "type", "bridge")
                ip("-n", self.hub, "link", "set", bridge, "up")
            for at, space in enumerate(self.spaces):
                port = f"p{at}"
                ip(
                    "link", "add", port, "netns", self.hub, "type", "veth",
                    "peer", "eth0", "netns", space,
                )  # fmt: skip
                ip("-n", space, "addr", "add", f"10.78.0.{at + 1}/24", "dev", "eth0")
                for device in ("lo", "eth0"):
                    ip("-n", space, "link", "set", device, "up")
                ip("-n", self.hub, "link", "set", port, "up")
            self.split(set())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for space in self._made:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", space)

    def split(self, apart: set[int]) -> None:
        """Put some of them on the other side of a cut."""
        for at in range(len(self.spaces)):
            bridge = "br1" if at in apart else "br0"
            ip("-n", self.hub, "link", "set", f"p{at}", "master", bridge)


class Torture:
    """Users, faults, and what must hold in the end."""

    def __init__(self, folder: Path, count: int, seed: int, switch: Switch | None) -> None:
        self.random = random.Random(seed)
        self.switch = switch
        self.peers = [
            Peer(folder, f"n{at}", host="", port=50051, space=switch.spaces[at])
            if switch is not None
            else Peer(folder, f"n{at}")
            for at in range(count)
        ]
        self.written: dict[bytes, str] = {}
        self.replaced: set[bytes] = set()
        self.done: Counter[str] = Counter()
        self.stores: list[Path] = []
        self.open: list[StreamDB] = []
        self.split = False

    def begin(self) -> None:
        """Found the realm and the collection."""
        first, *others = self.peers
        for peer in self.peers:
            peer.start()
        first.ok("init", "--realm", "band")
        for peer in others:
            peer.ok("join", "-", text=first.ok("invite")["code"])
        path = first.folder / "all.sdb"
        StreamDB.open(path).close()
        first.ok("share", str(path), "--as", "all", "--everyone", "editor")
        for peer in others:
            peer.ok("follow", "all")
        self.stores = [path, *(documents(peer, "all") for peer in others)]
        self.open = [StreamDB.open(store, create=False) for store in self.stores]

    def act(self) -> None:
        """Something that a user does; what the store showed at that moment counts as seen."""
        db = self.random.choice(self.open)
        path, kind = self.random.choice(PATHS), self.random.random()
        with db.transaction() as together:
            held = together.get(path) if together.exists(path) else None
            if kind < 0.65 or held is None:
                size = self.random.choices(SIZES, WEIGHTS)[0]
                data = self.random.randbytes(size) + os.urandom(8)
                together.write_document(path, data)
                self.written[data] = path
                self.done["edits"] += 1
                gone = held
            elif kind < 0.82:
                together.delete(path)
                self.done["deletions"] += 1
                gone = held
            else:
                new = self.random.choice([*PATHS, "new.wav"])
                gone = together.get(new) if new != path and together.exists(new) else None
                if new != path:
                    together.rename(path, new, overwrite=True)
                    self.done["renames"] += 1
        # Only now is it certain; before, neither was the edit.
        if gone is not None:
            self.replaced.add(gone)

    def fault(self) -> None:
        """A kill, or a cut, or the end of one."""
        if self.switch is not None and self.random.random() < 0.5:
            count = self.random.randrange(1, len(self.peers))
            apart = set() if self.split else set(self.random.sample(range(len(self.peers)), count))
            self.switch.split(apart)
            self.split = bool(apart)
            self.done["cuts"] += bool(apart)
            return
        peer = self.random.choice(self.peers)
        peer.stop(signal.SIGKILL)
        self.done["kills"] += 1
        time.sleep(self.random.choice((0.0, 0.5, 3.0)))
        peer.start()

    def run(self, seconds: float) -> None:
        """All of it for so long."""
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + 3
        while time.monotonic() < end:
            self.act()
            time.sleep(self.random.choice((0.01, 0.05, 0.3)))
            if time.monotonic() > next_fault:
                self.fault()
                next_fault = time.monotonic() + self.random.uniform(1, 8)

    def end(self) -> float:
        """Heal everything and wait until all are equal; the seconds that this took."""
        if self.switch is not None:
            self.switch.split(set())
        begun = time.monotonic()
        while True:
            shown = [content(store) for store in self.stores]
            if all(each == shown[0] for each in shown):
                break
            if time.monotonic() - begun > SETTLE_S:
                raise AssertionError(self._told(shown))
            time.sleep(1)
        took = time.monotonic() - begun
        for peer in self.peers:
            code, said = peer.run("sync", "now", "--timeout", "60s")
            assert code == 0, (peer.name, said, self.logs())
        self._check(shown[0])
        return took

    def _check(self, held: dict[str, bytes]) -> None:
        kept = set(held.values())
        lost = [
            (path, len(data))
            for data, path in self.written.items()
            if data not in kept and data not in self.replaced
        ]
        assert lost == [], (lost, self.logs())
        for peer in self.peers:
            assert peer.stop() == 0, peer.log()
        for db, store in zip(self.open, self.stores, strict=True):
            assert db.check().ok
            db.close()
            assert content(store) == held

    def _told(self, shown: list[dict[str, bytes]]) -> str:
        names = sorted({name for each in shown for name in each})
        rows = [
            f"{name}: {[hash(each.get(name)) % 10_000 if name in each else '-' for each in shown]}"
            for name in names
            if len({each.get(name) for each in shown}) > 1
        ]
        states = [peer.run("collections")[1] for peer in self.peers]
        return "\n".join([*rows, str(states), self.logs()])

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {peer.name}\n{peer.log()[-3000:]}" for peer in self.peers)

    def stop(self) -> None:
        """Kill what runs."""
        for peer in self.peers:
            peer.stop(signal.SIGKILL)
        for db in self.open:
            db.close()


def torture(folder: Path, count: int, seconds: float, seed: int, switch: Switch | None) -> Torture:
    """Begin, run, and check."""
    work = Torture(folder, count, seed, switch)
    try:
        work.begin()
        work.run(seconds)
        work.done["settled_s"] = round(work.end())
    finally:
        work.stop()
    return work


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path("/tmp", f"ht{os.getpid()}")
    folder.mkdir(mode=0o700)
    try:
        with Switch(given.peers) as switch:
            work = torture(folder, given.peers, given.seconds, given.seed, switch)
        conflicts = sum("conflict" in name for name in content(work.stores[0]))
        sys.stdout.write(f"seed {given.seed}: {dict(work.done)}, {conflicts} conflict copies\n")
    except BaseException:
        sys.stderr.write(f"seed {given.seed}; all is left in {folder}\n")
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
