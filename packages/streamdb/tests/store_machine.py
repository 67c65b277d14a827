"""A random sequence of operations against a plain model, for test_random.py and the torture run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from streamdb import naming
from streamdb.errors import AlreadyExists, InvalidArgument, NotFound
from streamdb.model import Durability
from streamdb.snapshot import Snapshot
from streamdb.store import StreamDB
from streamdb.transaction import Transaction

PARTS = st.sampled_from(["a", "b", "drums", "é", "x" * 90, "kick.wav", "k"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join) | st.sampled_from(
    ["y" * 445 + tail for tail in ("", "1", "1" * 40, "2" * 3000)]
)


class Content(bytes):
    """Data that shows itself briefly when an example is printed."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {self[:1]!r} first>"


CONTENT = st.sampled_from(
    [
        Content(),
        Content(b"boom"),
        Content(b"s" * 16384),
        Content(b"t" * 16385),
        Content(bytes(range(256)) * 900),
        Content(bytes(reversed(range(256))) * 900 + bytes(range(256)) * 900),
    ]
)
KEEP = 2


class Document:
    """A document of the model: its data, and the paths that are bound to it."""

    def __init__(self, content: bytes, tempo: int) -> None:
        self.content = content
        self.tempo = tempo


class StoreMachine(RuleBasedStateMachine):
    """The store must answer every question as a few dicts do."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="streamdb-"))
        self.model: dict[str, Document] = {}
        self.old: dict[str, list[tuple[bytes, int]]] = {}
        self.snapshots: list[tuple[Snapshot, dict[str, bytes]]] = []
        # A short run takes names into the indexes as often as a long one.
        self.most_names, naming.MOST = naming.MOST, 5
        self.db = StreamDB.open(self.root, versions=KEEP, segment_bytes=1 << 19)

    @initialize()
    def begin(self) -> None:
        self.durability = "full"

    def aside(self, path: str) -> None:
        kept = self.old.setdefault(path, [])
        kept.append((self.model[path].content, self.model[path].tempo))
        del kept[:-KEEP]

    def bound(self, path: str) -> list[str]:
        return [name for name, held in self.model.items() if held is self.model[path]]

    def put(self, target: StreamDB | Transaction, path: str, content: bytes, tempo: int) -> None:
        target.write_document(path, content, metadata={"tempo": tempo})
        if path in self.model:
            for name in self.bound(path):
                self.aside(name)
            self.model[path].content = content
            self.model[path].tempo = tempo
        else:
            self.model[path] = Document(content, tempo)

    def drop(self, target: StreamDB | Transaction, path: str) -> None:
        if path not in self.model:
            with pytest.raises(NotFound):
                target.delete(path)
            return
        target.delete(path)
        if len(self.bound(path)) == 1:
            self.aside(path)
        del self.model[path]

    @rule(path=PATHS, content=CONTENT, tempo=st.integers(60, 180))
    def write(self, path: str, content: bytes, tempo: int) -> None:
        self.put(self.db, path, content, tempo)

    @rule(path=PATHS, content=CONTENT, pieces=st.integers(1, 5))
    def write_pieces(self, path: str, content: bytes, pieces: int) -> None:
        step = max(1, len(content) // pieces)
        source = (content[at : at + step] for at in range(0, len(content), step))
        self.db.write_document(path, source, metadata={"tempo": 99})
        if path in self.model:
            for name in self.bound(path):
                self.aside(name)
            self.model[path].content = content
            self.model[path].tempo = 99
        else:
            self.model[path] = Document(content, 99)

    @rule(path=PATHS)
    def delete(self, path: str) -> None:
        self.drop(self.db, path)

    @rule(old=PATHS, new=PATHS, overwrite=st.booleans())
    def rename(self, old: str, new: str, overwrite: bool) -> None:
        if old not in self.model:
            with pytest.raises(NotFound):
                self.db.rename(old, new, overwrite=overwrite)
            return
        if old == new:
            self.db.rename(old, new)
            return
        if new in self.model and (not overwrite or self.model[new] is self.model[old]):
            with pytest.raises(AlreadyExists):
                self.db.rename(old, new, overwrite=overwrite)
            return
        self.db.rename(old, new, overwrite=overwrite)
        if new in self.model and len(self.bound(new)) == 1:
            self.aside(new)
        self.model[new] = self.model.pop(old)
        self.old.pop(new, None)  # the order in which two histories merge is not modelled
        self.old.pop(old, None)

    @rule(path=PATHS, new=PATHS)
    def bind(self, path: str, new: str) -> None:
        if path not in self.model:
            with pytest.raises(NotFound):
                self.db.bind(path, new)
            return
        if new in self.model and self.model[new] is not self.model[path]:
            with pytest.raises(AlreadyExists):
                self.db.bind(path, new)
            return
        self.db.bind(path, new)
        self.model[new] = self.model[path]

    @rule(path=PATHS)
    def unbind(self, path: str) -> None:
        if path in self.model and len(self.bound(path)) > 1:
            self.db.unbind(path)
            del self.model[path]
        else:
            with pytest.raises((NotFound, InvalidArgument)):
                self.db.unbind(path)

    @rule(path=PATHS)
    def restore(self, path: str) -> None:
        kept = self.old.get(path)
        if not kept:
            return
        newest = next(each for each in self.db.history(path) if not each.current)
        content, tempo = kept.pop()
        self.db.restore(path, newest.version)
        if path in self.model:
            for name in self.bound(path):
                self.aside(name)
            self.model[path].content = content
            self.model[path].tempo = tempo
        else:
            self.model[path] = Document(content, tempo)

    @rule(work=st.lists(st.tuples(PATHS, CONTENT | st.none()), max_size=5), fail=st.booleans())
    def together(self, work: list[tuple[str, bytes | None]], fail: bool) -> None:
        held = {path: document for path, document in self.model.items()}
        contents = {id(document): document.content for document in held.values()}
        tempos = {id(document): document.tempo for document in held.values()}
        old = {path: list(kept) for path, kept in self.old.items()}
        try:
            with self.db.transaction() as together:
                for path, content in work:
                    if content is None:
                        self.drop(together, path)
                    else:
                        self.put(together, path, content, 77)
                        assert together.get(path) == content
                assert together.search("") == sorted(self.model, key=str.encode)
                if fail:
                    raise RuntimeError("undo")
        except RuntimeError:
            self.model, self.old = held, old
            for document in held.values():
                document.content = contents[id(document)]
                document.tempo = tempos[id(document)]

    @rule()
    def take_snapshot(self) -> None:
        if len(self.snapshots) < 3:
            state = {path: document.content for path, document in self.model.items()}
            self.snapshots.append((self.db.snapshot(), state))

    @precondition(lambda self: self.snapshots)
    @rule()
    def ask_snapshot(self) -> None:
        snapshot, state = self.snapshots.pop(0)
        assert snapshot.search("") == sorted(state, key=str.encode)
        assert snapshot.get_many(state) == state
        snapshot.close()

    @rule()
    def collect(self) -> None:
        self.db.gc()

    @rule(durability=st.sampled_from(["full", "normal", "bulk"]))
    def reopen(self, durability: Durability) -> None:
        self.snapshots.clear()
        self.db.close()
        self.db = StreamDB.open(
            self.root, durability=durability, versions=KEEP, segment_bytes=1 << 19
        )

    @invariant()
    def answers_as_the_model_does(self) -> None:
        names = sorted(self.model, key=str.encode)
        for path, document in self.model.items():
            found = self.db.get(path)
            assert found == document.content, f"{path!r} has {found[:20]!r}"
        assert self.db.search("") == names
        assert self.db.search("a/") == [name for name in names if name.startswith("a/")]
        backwards = sorted(names, key=lambda name: name.encode()[::-1])
        assert self.db.search_suffix("k.wav") == [
            name for name in backwards if name.endswith("k.wav")
        ]
        assert self.db.count("drums/") == sum(name.startswith("drums/") for name in names)
        assert self.db.count("d") == sum(name.startswith("d") for name in names)
        top = dict.fromkeys(name.split("/")[0] + "/" * ("/" in name) for name in names)
        assert sorted(e.name + "/" * e.is_dir for e in self.db.children("")) == sorted(top)
        assert sorted(self.db.find("tempo=77")) == sorted(
            name for name in names if self.model[name].tempo == 77
        )

    def teardown(self) -> None:
        naming.MOST = self.most_names
        report = self.db.check()
        documents = len({id(document) for document in self.model.values()})
        totals = self.db.statistics()
        self.db.close()
        shutil.rmtree(self.root)
        assert report.ok, "\n".join(map(str, report.problems))
        assert totals.documents == documents == report.documents
        assert totals.paths == len(self.model)
