"""One long document between two daemons on this machine: how fast, and how much memory.

python -m packages.hydramesh.bench.library [MIB]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from packages.hydramesh.tests.daemon.test_daemons import Peer, pair
from packages.hydramesh.tests.library.band import documents, info

from streamdb import StreamDB


def own_mib(peer: Peer) -> int:
    """The memory that a daemon has for itself: what it maps of the store can be taken away."""
    assert peer.process is not None
    status = Path(f"/proc/{peer.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) // 1024


def main() -> None:
    """Run it and print figures as JSON."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    folder = Path(tempfile.mkdtemp(prefix="hb"))  # sockets want short paths
    peers = []
    try:
        for name in ("anna", "bert"):
            peers.append(Peer(folder, name).start())
        anna, bert = peers
        pair(None, anna, bert)
        path = folder / "long.sdb"
        with StreamDB.open(path) as db:
            db.write_document("take", (os.urandom(1 << 20) for _ in range(mib)))
            digest = db.stat("take").digest
        anna.ok("share", str(path), "--as", "long")
        peak = before = [own_mib(peer) for peer in peers]
        begun = time.monotonic()
        bert.ok("follow", "long")
        store = documents(bert, "long")
        while True:
            with StreamDB.open(store, create=False) as db:
                if db.exists("take"):
                    assert db.stat("take").digest == digest
                    break
            peak = [max(held, own_mib(peer)) for held, peer in zip(peak, peers, strict=True)]
            time.sleep(0.1)
        took = time.monotonic() - begun
        told = {
            "mib": mib,
            "seconds": round(took, 1),
            "mib_per_s": round(mib / took, 1),
            "sender_own_mib": [before[0], peak[0]],
            "receiver_own_mib": [before[1], peak[1]],
            "state": info(bert, "long")["state"],
        }
        sys.stdout.write(json.dumps(told) + "\n")
    finally:
        for peer in peers:
            peer.stop(signal.SIGKILL)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
