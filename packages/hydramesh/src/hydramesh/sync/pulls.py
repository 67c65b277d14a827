"""Fetching contents: which piece to ask of whom next, and what is left after an interruption.

Contents are pulled in pieces of 1 MiB, of one peer as much at once as four of them, where a short
one counts as 16 KiB. A piece that a peer does not give in time, or that is not what it should be,
is asked of another one. The journal says which pieces are here and verified, so that a fetch goes
on where it was, after hours or days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from hydramesh.sync.errors import BadMessage

PIECE = 1 << 20
WINDOW = 4
LEAST_LOAD = PIECE // 64
TIMEOUT_S = 10.0
MOST_STRIKES = 3
MAX_CONTENT = 4 << 30
_MAGIC = b"hmj1"


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask a peer for one piece of a content; answer with ``arrived`` or ``failed``."""

    peer: str
    digest: bytes
    index: int
    offset: int
    length: int


@dataclass(slots=True)
class Asked:
    """One request that is under way."""

    peer: str
    until: float


@dataclass(slots=True)
class Fetch:
    """One content: the digest of each piece, as a source told them, and which are here.

    The pieces' digests are only a peer's word until the whole has been checked: whoever applies the
    content compares all of it with ``digest``.
    """

    digest: bytes
    size: int
    pieces: tuple[bytes, ...]
    here: set[int] = field(default_factory=set)
    asked: dict[int, Asked] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    begun: int = field(default=0, compare=False)

    @classmethod
    def of(cls, digest: bytes, size: int, pieces: Sequence[bytes]) -> Fetch:
        """A fetch that has nothing yet.

        Raises:
            BadMessage: sizes and pieces do not fit together.
        """
        if not 0 < size <= MAX_CONTENT or len(digest) != 32:
            raise BadMessage(f"a content of {size} bytes is out of range")
        if len(pieces) != -(-size // PIECE) or any(len(piece) != 32 for piece in pieces):
            raise BadMessage(f"{len(pieces)} pieces do not make {size} bytes")
        return cls(digest, size, tuple(pieces))

    @property
    def done(self) -> bool:
        """Whether all pieces are here."""
        return len(self.here) == len(self.pieces)

    def unasked(self) -> Iterator[int]:
        """The pieces that are neither here nor on their way, in order."""
        while self.begun in self.here:
            self.begun += 1
        for index in range(self.begun, len(self.pieces)):
            if index not in self.here and index not in self.asked:
                yield index

    def length(self, index: int) -> int:
        """The bytes of one piece."""
        return min(PIECE, self.size - index * PIECE)

    def journal(self) -> bytes:
        """What is here, to be kept with the pieces themselves; with a checksum."""
        bits = bytearray(-(-len(self.pieces) // 8))
        for index in self.here:
            bits[index // 8] |= 1 << index % 8
        body = _MAGIC + self.digest + self.size.to_bytes(8, "big") + b"".join(self.pieces)
        body += bytes(bits)
        return body + blake3(body).digest(length=8)

    @classmethod
    def resume(cls, journal: bytes) -> Fetch | None:
        """A fetch as its journal tells it; None where the journal is torn: begin anew."""
        body, check = journal[:-8], journal[-8:]
        if len(body) < 44 or body[:4] != _MAGIC or blake3(body).digest(length=8) != check:
            return None
        size = int.from_bytes(body[36:44], "big")
        count = -(-size // PIECE)
        pieces = [body[44 + 32 * at : 76 + 32 * at] for at in range(count)]
        made = cls.of(body[4:36], size, pieces)
        bits = body[44 + 32 * count :]
        made.here = {at for at in range(count) if bits[at // 8] >> at % 8 & 1}
        return made


class Planner:
    """All fetches of one collection, and the peers that have them."""

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self.paused = False
        self._fetches: dict[bytes, Fetch] = {}
        self._strikes: dict[str, int] = {}
        self._load: dict[str, int] = {}
        # Whether somebody may be left without a source since this was looked for.
        self._doubtful = False
        self._first_due = 0.0

    def add(self, fetch: Fetch) -> None:
        """Begin, or go on, with a content."""
        self._fetches.setdefault(fetch.digest, fetch)
        self._doubtful = True

    def offers(self, peer: str, digests: Iterable[bytes]) -> None:
        """A peer says that it has contents."""
        for digest in digests:
            held = self._fetches.get(digest)
            if held is not None:
                held.sources.add(peer)

    def gone(self, peer: str) -> None:
        """A peer is away: what it was asked for is asked of others."""
        self._doubtful = True
        for fetch in self._fetches.values():
            fetch.sources.discard(peer)
            for index in [at for at, asked in fetch.asked.items() if asked.peer == peer]:
                self._end(fetch, index)

    def plan(self, now: float) -> list[Pull]:
        """What to ask for now; a peer that stalls loses its requests first."""
        if now >= self._first_due:
            self._end_stalled(now)
        pulls = [] if self.paused else list(self._next(now))
        if pulls:
            self._first_due = min(self._first_due, now + TIMEOUT_S)
        return pulls

    def _next(self, now: float) -> Iterator[Pull]:
        sources = set().union(*(fetch.sources for fetch in self._fetches.values()))
        # What nobody has room for, of all who have anything: most contents wait for that.
        too_much = self.window * PIECE + 1
        for fetch in self._fetches.values():
            if min(PIECE, fetch.size - fetch.begun * PIECE) >= too_much:
                continue
            for index in fetch.unasked():
                load = _load(fetch, index)
                peer = self._free(fetch, load) if load < too_much else None
                if peer is None:
                    if len(fetch.sources) == len(sources):
                        too_much = min(too_much, load)
                    break
                fetch.asked[index] = Asked(peer, now + TIMEOUT_S)
                self._load[peer] = self._load.get(peer, 0) + load
                yield Pull(peer, fetch.digest, index, index * PIECE, fetch.length(index))

    def _end_stalled(self, now: float) -> None:
        """End the requests that nobody answered in time."""
        self._first_due = float("inf")
        for fetch in self._fetches.values():
            for index, asked in list(fetch.asked.items()):
                if now >= asked.until:
                    self._end(fetch, index)
                    self._strike(asked.peer)
                else:
                    self._first_due = min(self._first_due, asked.until)

    def arrived(self, peer: str, digest: bytes, index: int, data: bytes) -> bool:
        """A piece came; True when it is verified and new, and so is to be written.

        Raises:
            BadMessage: it is not the piece that was asked for; the peer gets a strike.
        """
        fetch = self._fetches.get(digest)
        asked = fetch.asked.get(index) if fetch is not None else None
        if fetch is None or asked is None or asked.peer != peer:
            return False
        self._end(fetch, index)
        if len(data) != fetch.length(index) or blake3(data).digest() != fetch.pieces[index]:
            self._strike(peer)
            raise BadMessage(f"{peer} sent a piece that is not what its digest says")
        self._strikes.pop(peer, None)
        fetch.here.add(index)
        if fetch.done:
            del self._fetches[digest]
        return True

    def put_back(self, peer: str, digest: bytes, index: int, *, absent: bool = False) -> None:
        """A request came to nothing, and nobody is to blame; the peer may not have the content."""
        self._doubtful = True
        fetch = self._fetches.get(digest)
        if fetch is not None and index in fetch.asked and fetch.asked[index].peer == peer:
            self._end(fetch, index)
        if fetch is not None and absent:
            fetch.sources.discard(peer)

    def drop(self, digest: bytes) -> None:
        """Give a content up."""
        fetch = self._fetches.get(digest)
        if fetch is not None:
            for index in list(fetch.asked):
                self._end(fetch, index)
            del self._fetches[digest]

    def stuck(self) -> list[bytes]:
        """The contents that nobody is asked for, and that nobody is left to be asked for."""
        if not self._doubtful:
            return []
        self._doubtful = False
        return [
            digest
            for digest, fetch in self._fetches.items()
            if not fetch.asked
            and not any(self._strikes.get(peer, 0) < MOST_STRIKES for peer in fetch.sources)
        ]

    def ban(self, peer: str) -> None:
        """A peer lied: it is asked for nothing until it is forgiven."""
        self._strikes[peer] = MOST_STRIKES
        self._doubtful = True

    def failed(self, peer: str, digest: bytes, index: int) -> None:
        """A peer has not got the piece, or refused."""
        fetch = self._fetches.get(digest)
        if fetch is not None and index in fetch.asked and fetch.asked[index].peer == peer:
            self._end(fetch, index)
            self._strike(peer)

    @property
    def left(self) -> int:
        """The bytes that are still to come."""
        return sum(
            fetch.length(at)
            for fetch in self._fetches.values()
            for at in range(len(fetch.pieces))
            if at not in fetch.here
        )

    def _free(self, fetch: Fetch, load: int) -> str | None:
        # Who has failed lately comes last.
        room = self.window * PIECE - load
        able = [
            (self._strikes.get(peer, 0), self._load.get(peer, 0), peer)
            for peer in fetch.sources
            if self._load.get(peer, 0) <= room and self._strikes.get(peer, 0) < MOST_STRIKES
        ]
        return min(able)[2] if able else None

    def _end(self, fetch: Fetch, index: int) -> None:
        asked = fetch.asked.pop(index)
        self._load[asked.peer] -= _load(fetch, index)

    def _strike(self, peer: str) -> None:
        self._strikes[peer] = self._strikes.get(peer, 0) + 1
        self._doubtful = True

    def forgive(self, peer: str) -> None:
        """A peer is tried again, as after a pause."""
        self._strikes.pop(peer, None)


def _load(fetch: Fetch, index: int) -> int:
    """What a piece takes of a peer's window, in bytes."""
    return max(LEAST_LOAD, fetch.length(index))
