"""What the crash tests write, and what must then be in the store: pure, from a seed.

A *step* is one call of the public API as plain data. :func:`plan` makes a random list of steps,
:class:`Model` says what each of them does. Content is made from a tag, so that what is found after
a crash is compared with bytes that never went through the store.
"""

from __future__ import annotations

import copy
import hashlib
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

KEEP = 2
"""How many old versions the stores of these tests keep."""

SEGMENT_BYTES = 1 << 20
HEAD_BYTES = 40
INLINE_BYTES = 16384

Step = dict[str, Any]
Tag = tuple[int, int, str]
"""(number, size in bytes, kind): all that content is made from."""

SETTLING = {"delete", "rename", "bind", "unbind", "restore", "txn", "flush", "gc"}
"""In ``bulk``, these make everything before them visible; puts alone do not."""

KINDS = (
    "small", "large", "stream", "import", "delete", "rename", "bind", "unbind", "restore", "txn",
    "undone", "threads", "flush", "gc", "hold",
)  # fmt: skip
"""The labels of steps: what was being done when the writer was killed."""


# -- content ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _pool() -> list[bytes]:
    made = random.Random(20240229)
    return [made.randbytes(150_000) for _ in range(6)]


def content(tag: Tag) -> bytes:
    """The bytes of a tag: a head that says what they are, then noise, text, PCM or shared blocks.

    >>> content((7, 50, "noise"))[:40]
    b'0000000000000007:000000000050:   noise::'
    """
    number, size, kind = tag
    if size == 0:
        return b""
    head = f"{number:016x}:{size:012d}:{kind:>8}::".encode()
    made = random.Random(number)
    if kind == "text":
        line = f"kick {made.random()} snare {made.random()}\n".encode()
        body = line * (size // len(line) + 1)
    elif kind == "pcm":
        cycle = b"".join(
            (made.randrange(-9000, 9000) * 256).to_bytes(3, "little", signed=True)
            for _ in range(1500)
        )
        body = cycle * (size // len(cycle) + 1)
    elif kind == "shared":
        pool = _pool()
        count = size // 150_000 + 1
        body = b"".join(made.choice(pool) for _ in range(count))
    else:
        body = made.randbytes(size)
    return (head + body)[:size]


def tag_of(data: bytes) -> Tag | None:
    """The tag that content says it is made from, or None when its head is none."""
    try:
        number, size, kind, _ = data[:HEAD_BYTES].decode().split(":", 3)
        return int(number, 16), int(size), kind.strip()
    except ValueError:
        return None


def is_whole(data: bytes) -> bool:
    """Whether this is the content of some tag, to the last byte."""
    if not data:
        return True
    tag = tag_of(data)
    return tag is not None and tag[1] == len(data) and content(tag) == data


def digest(data: bytes) -> str:
    """A digest that the store itself never uses."""
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=200_000)
def expected_digest(tag: Tag) -> str:
    """The digest of a tag's content."""
    return digest(content(tag))


def tempo(tag: Tag) -> int:
    """The metadata that is written along with a tag's content."""
    return 60 + tag[0] % 120


# -- the model -------------------------------------------------------------------------------------


@dataclass
class Model:
    """What one writer's part of the store holds: paths, who shares a document, old versions.

    ``old`` is None for a path whose versions are not modelled (two histories were merged).
    """

    paths: dict[str, int] = field(default_factory=dict)
    documents: dict[int, Tag] = field(default_factory=dict)
    old: dict[str, list[Tag] | None] = field(default_factory=dict)
    made: int = 0

    def copy(self) -> Model:
        """Another one, that changes by itself."""
        return copy.deepcopy(self)

    def bound(self, path: str) -> list[str]:
        """All paths of the document at a path."""
        return [name for name, held in self.paths.items() if held == self.paths[path]]

    def tags(self) -> dict[str, Tag]:
        """By path: the content."""
        return {path: self.documents[held] for path, held in self.paths.items()}

    def groups(self) -> set[frozenset[str]]:
        """The sets of paths that share a document."""
        found: dict[int, set[str]] = {}
        for path, held in self.paths.items():
            found.setdefault(held, set()).add(path)
        return {frozenset(names) for names in found.values() if len(names) > 1}

    def apply(self, step: Step) -> None:
        """Do what a step does."""
        getattr(self, "_" + step["op"])(step)

    def _aside(self, path: str) -> None:
        kept = self.old.setdefault(path, [])
        if kept is not None:
            kept.append(self.documents[self.paths[path]])
            del kept[:-KEEP]

    def _write(self, path: str, tag: Tag) -> None:
        if path in self.paths:
            for name in self.bound(path):
                self._aside(name)
        else:
            self.made += 1
            self.paths[path] = self.made
        self.documents[self.paths[path]] = tag

    def _put(self, step: Step) -> None:
        self._write(step["path"], tuple(step["tag"]))

    def _delete(self, step: Step) -> None:
        path = step["path"]
        if len(self.bound(path)) == 1:
            self._aside(path)
        del self.paths[path]

    def _rename(self, step: Step) -> None:
        path, new = step["path"], step["new"]
        if new in self.paths and len(self.bound(new)) == 1:
            self._aside(new)
        self.paths[new] = self.paths.pop(path)
        self._merge(new, self.old.get(path, []))
        self.old[path] = []

    def _bind(self, step: Step) -> None:
        self.paths[step["new"]] = self.paths[step["path"]]
        self._merge(step["new"], [])

    def _merge(self, path: str, more: list[Tag] | None) -> None:
        # Versions are sorted by when they were written, not by when they were put aside.
        if self.old.get(path, []) != [] or more != []:
            self.old[path] = None

    def _unbind(self, step: Step) -> None:
        del self.paths[step["path"]]

    def _restore(self, step: Step) -> None:
        path = step["path"]
        kept = self.old[path]
        assert kept
        self._write(path, kept.pop())

    def _txn(self, step: Step) -> None:
        if not step["fail"]:
            for each in step["steps"]:
                self.apply(each)

    def _threads(self, step: Step) -> None:
        for each in step["steps"]:
            self.apply(each)

    def _nothing(self, step: Step) -> None:
        del step

    _flush = _gc = _hold = _nothing


# -- plans -----------------------------------------------------------------------------------------


class Planner:
    """Makes steps that are possible one after the other, from a model that it moves along."""

    def __init__(self, rng: random.Random, model: Model, space: str, first_tag: int) -> None:
        self.rng = rng
        self.model = model.copy()
        self.space = space
        self._tag = first_tag

    def plan(self, count: int, weights: dict[str, int] | None = None) -> list[Step]:
        """At least ``count`` steps; ``weights`` says how often each label comes."""
        weighing = {name: 3 for name in KINDS} | {"small": 12, "large": 5} | (weights or {})
        names = [name for name in KINDS if weighing[name]]
        weight = [weighing[name] for name in names]
        steps: list[Step] = []
        while len(steps) < count:
            for step in getattr(self, "_" + self.rng.choices(names, weight)[0])():
                self.model.apply(step)
                steps.append(step)
        return steps

    def _new_tag(self, size: int) -> Tag:
        self._tag += 1
        return self._tag, size, self.rng.choice(["noise", "text", "pcm", "shared"])

    def _small_size(self) -> int:
        edge = [0, HEAD_BYTES + 8, 300, INLINE_BYTES - 1, INLINE_BYTES]
        return self.rng.choice([*edge, self.rng.randrange(HEAD_BYTES + 8, INLINE_BYTES)])

    def _large_size(self, most: float = 21.0) -> int:
        return INLINE_BYTES + 1 + int(2 ** self.rng.uniform(8, most))

    def _path(self) -> str:
        rng = self.rng
        long = "é" * 300 + "/"
        return rng.choice(
            [f"{self.space}/d{rng.randrange(3)}/", f"{self.space}/", f"{self.space}/{long}"]
        ) + str(rng.randrange(6))

    def _held(self) -> str | None:
        names = [name for name in self.model.paths if "/own/" not in name]
        return self.rng.choice(sorted(names)) if names else None

    def _writing(self, label: str, size: int, how: str, path: str | None = None) -> Step:
        return {
            "op": "put",
            "label": label,
            "path": path or self._path(),
            "tag": self._new_tag(size),
            "how": how,
        }

    def _small(self) -> list[Step]:
        return [self._writing("small", self._small_size(), self.rng.choice(["bytes", "view"]))]

    def _large(self) -> list[Step]:
        return [self._writing("large", self._large_size(), self.rng.choice(["bytes", "view"]))]

    def _stream(self) -> list[Step]:
        return [self._writing("stream", self._large_size(), self.rng.choice(["file", "iter"]))]

    def _import(self) -> list[Step]:
        return [
            self._writing("import", size, "iter")
            for size in (
                self.rng.choice([self._small_size(), self._large_size(18)])
                for _ in range(self.rng.randrange(4, 12))
            )
        ]

    def _on_held(self, op: str, **more: Any) -> list[Step]:
        path = self._held()
        return [] if path is None else [{"op": op, "label": op, "path": path, **more}]

    def _delete(self) -> list[Step]:
        return self._on_held("delete")

    def _rename(self) -> list[Step]:
        new = self._path()
        found = self._on_held("rename", new=new, overwrite=True)
        return [step for step in found if self._may_rename(step["path"], new)]

    def _may_rename(self, path: str, new: str) -> bool:
        held = self.model.paths
        return path != new and not (new in held and held[new] == held[path])

    def _bind(self) -> list[Step]:
        new = self._path()
        return self._on_held("bind", new=new) if new not in self.model.paths else []

    def _unbind(self) -> list[Step]:
        shared = sorted(name for names in self.model.groups() for name in names)
        if not shared:
            return []
        return [{"op": "unbind", "label": "unbind", "path": self.rng.choice(shared)}]

    def _restore(self) -> list[Step]:
        kept = sorted(path for path, old in self.model.old.items() if old and "/own/" not in path)
        if not kept:
            return []
        return [{"op": "restore", "label": "restore", "path": self.rng.choice(kept)}]

    def _together(self, label: str, fail: bool) -> list[Step]:
        pair = self._new_tag(self.rng.choice([self._small_size(), self._large_size(18)]))
        own = f"{self.space}/own/"
        steps: list[Step] = [
            {"op": "put", "label": label, "path": f"{own}left", "tag": pair, "how": "bytes"}
        ]
        behind = self.model.copy()
        self.model.apply(steps[0])
        for _ in range(self.rng.randrange(4)):
            inside = self.rng.choice([self._small, self._large, self._delete, self._rename])
            for step in inside():
                self.model.apply(step)
                steps.append(step)
        steps.append(
            {"op": "put", "label": label, "path": f"{own}right", "tag": pair, "how": "iter"}
        )
        self.model = behind
        return [{"op": "txn", "label": label, "steps": steps, "fail": fail}]

    def _txn(self) -> list[Step]:
        return self._together("txn", False)

    def _undone(self) -> list[Step]:
        return self._together("undone", True)

    def _threads(self) -> list[Step]:
        steps = [
            self._writing(
                "threads",
                self.rng.choice([self._small_size(), self._large_size(17)]),
                "bytes",
                f"{self.space}/own/thread{at}",
            )
            for at in range(self.rng.randrange(2, 7))
        ]
        return [{"op": "threads", "label": "threads", "steps": steps}]

    def _flush(self) -> list[Step]:
        return [{"op": "flush", "label": "flush"}]

    def _gc(self) -> list[Step]:
        return [{"op": "gc", "label": "gc"}]

    def _hold(self) -> list[Step]:
        return [{"op": "hold", "label": "hold"}]


def touched(step: Step) -> set[str]:
    """The paths whose content a step may change."""
    if "steps" in step:
        return {path for each in step["steps"] for path in touched(each)}
    return {step[name] for name in ("path", "new") if name in step}
