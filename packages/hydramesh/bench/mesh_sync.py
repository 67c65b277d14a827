"""Libraries kept equal: HydraMesh beside rsync and Syncthing, as cases of ``mesh.py``.

A tree from nothing, a change of one file in a hundred, and nothing changed. The clock starts when a
contender is told (ours, of a change, is told nothing: it watches) and ends when the far side shows
all that is expected; then every byte of the far side is compared, off the clock.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mesh_syncers
from mesh_case import Case
from mesh_meter import Meter
from mesh_syncers import Syncer
from mesh_tree import Awaited, Tree


class NotEqual(Exception):
    """The far side did not become equal; the text says where, and what to look at."""


@dataclass(frozen=True)
class Sizes:
    """How much is kept equal: the sample tree, and the tree of many files."""

    pack_bytes: int = 2 << 30
    pack_files: int = 4_000
    many_files: int = 100_000
    many_bytes: int = 400 << 20
    patience_s: float = 3600.0


QUICK = Sizes(64 << 20, 160, 2_000, 8 << 20, 300.0)


class _Bench:
    """One contender with its trees."""

    def __init__(self, syncer: Syncer, folder: Path, sizes: Sizes) -> None:
        self.syncer, self.folder, self.sizes = syncer, folder, sizes
        self.pack = Tree(folder / "pack", sizes.pack_files, sizes.pack_bytes)
        self.many = Tree(folder / "many", sizes.many_files, sizes.many_bytes, seed=2)
        self._turns = itertools.count(1)
        self._ready = False

    def from_nothing(self) -> dict[str, float]:
        """The sample tree, to a folder that is not there yet."""
        if not self.pack.digests:
            self.pack.write()
        label = f"pack{next(self._turns)}"
        target = self.folder / label
        told = self._measure(
            lambda: self.syncer.begin(label, self.pack.folder, target), self.pack.all(), target
        )
        self._check(self.pack, target)
        self.syncer.end(label)
        shutil.rmtree(target)
        return told

    def changed(self) -> dict[str, float]:
        """One file in a hundred of many."""
        self._prepare()
        awaited = self.many.change(next(self._turns))
        told = self._measure(lambda: self.syncer.changed("many"), awaited, self._many_target)
        self._check(self.many, self._many_target)
        return told

    def unchanged(self) -> dict[str, float]:
        """How long until it knows that there is nothing to do."""
        self._prepare()
        return self._measure(lambda: self.syncer.confirm("many"), Awaited({}), self._many_target)

    @property
    def _many_target(self) -> Path:
        return self.folder / "many-there"

    def _prepare(self) -> None:
        """The tree of many files, equal on both sides, once."""
        if self._ready:
            return
        self.many.write()
        awaited = self.many.all()
        self.syncer.begin("many", self.many.folder, self._many_target)
        self._wait(awaited, self._many_target)
        self._check(self.many, self._many_target)
        self._ready = True

    def _measure(self, act: Callable[[], None], awaited: Awaited, target: Path) -> dict[str, float]:
        os.sync()  # what others wrote is not to be written meanwhile
        wire = self.syncer.wire_bytes()
        with Meter(self.syncer.processes, self.syncer.spent_s) as meter:
            act()
            self._wait(awaited, target)
            meter.stop()
        told = {
            "seconds": meter.seconds,
            "cpu_s": meter.cpu_s,
            "private_mib": meter.private_mib,
            "rss_mib": meter.rss_mib,
        }
        wire_mb = (self.syncer.wire_bytes() - wire) / 1e6
        return told | {"wire_mb": wire_mb}

    def _wait(self, awaited: Awaited, target: Path) -> None:
        if not awaited.wait(target, self.sizes.patience_s):
            raise NotEqual(
                f"{self.syncer.name}: {awaited.next} is not what it should be after "
                f"{self.sizes.patience_s:g} s\n{self.syncer.log()}"
            )

    def _check(self, tree: Tree, target: Path) -> None:
        wrong = tree.differences(target)
        if wrong:
            raise NotEqual(f"{self.syncer.name}: {'; '.join(wrong)}\n{self.syncer.log()}")


@contextmanager
def cases(sizes: Sizes, without: list[str]) -> Iterator[list[Case]]:
    """The three cases, with the daemons of all contenders running."""
    with ExitStack() as stack:
        # Beside the checkout's cache, not in a temporary file system that may be memory.
        root = Path(tempfile.mkdtemp(prefix="hms", dir=os.environ.get("TMPDIR", "/var/tmp")))  # noqa: S108
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        benches: dict[str, _Bench] = {}
        for name, start in mesh_syncers.SYNCERS.items():
            if name in without:
                continue
            folder = root / name
            folder.mkdir()
            benches[name] = _Bench(stack.enter_context(start(folder)), folder, sizes)
        targets = {"Syncthing": 1.0} if "Syncthing" in benches else {}

        def case(name: str, text: str, verb: Callable[[_Bench], dict[str, float]]) -> Case:
            runs = {key: _run(verb, bench) for key, bench in benches.items()}
            return Case(name, text, "s", "seconds", "less", runs, targets)

        pack = f"{sizes.pack_bytes / 2**20:,.0f} MiB in {sizes.pack_files:,} files"
        many = f"{sizes.many_files:,} files"
        yield [
            case("sync-new", f"{pack}, from nothing", _Bench.from_nothing),
            case("sync-changed", f"1 % changed of {many}", _Bench.changed),
            case("sync-same", f"nothing changed of {many}", _Bench.unchanged),
        ]


def _run(
    verb: Callable[[_Bench], dict[str, float]], bench: _Bench
) -> Callable[[], dict[str, float]]:
    return lambda: verb(bench)
