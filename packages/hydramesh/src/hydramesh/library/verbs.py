"""What users do with collections; each verb as a method, in terms of plain values and messages."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hydramesh.errors import InvalidArgument, NotFound
from hydramesh.library.catalogue import MAX_COLLECTIONS, Entry
from hydramesh.library.errors import NameTaken, NoCollection, NoContent, NotOwner, StoreUnusable
from hydramesh.library.relays import refuse_to_hold
from hydramesh.library.service import Library
from hydramesh.library.views import collections, info
from hydramesh.sync.charter import EVERYONE, NO_ROLE, collection_id, split_id
from hydramesh.sync.replica import Role
from hydramesh.v1 import library_pb2 as pb
from hydramesh.wire import check_prefix
from streamdb.importing.walk import is_store_folder

_HEARD_WITHIN_S = 8.0
_FETCH_TIMEOUT_S = 50.0
_MOST_DOCUMENTS = 1000


class Verbs:
    """The verbs of one running library."""

    def __init__(self, library: Library) -> None:
        self.library = library

    # -- which one is meant ------------------------------------------------------------------------

    def _nid(self, text: str) -> str:
        """The id of the node with a name or id."""
        roster = self.library.node.realm.roster
        for entry in roster.entries.values():
            if text in (entry.nid, entry.name) and not entry.revoked:
                return entry.nid
        raise NotFound(f"there is no node {text[:40]!a}", next_step="hydramesh members")

    def _matching(self, name: str, known: list[str]) -> str | None:
        """The collection that a user names NAME, NAME@NODE or NAME.ID."""
        if name in known:
            return name
        plain, at, node = name.partition("@")
        founder = self._nid(node) if at else ""
        found = [
            each for each in known
            if split_id(each)[0] == plain and founder in ("", split_id(each)[1])
        ]  # fmt: skip
        if len(found) > 1:
            nodes = ", ".join(self.library.node.name_of(split_id(each)[1]) for each in found)
            raise NameTaken(
                f"there are several collections {plain!r}",
                why=f"of {nodes}",
                next_step=f"say which: {plain}@NODE",
            )
        return found[0] if found else None

    def _entry(self, name: str) -> Entry:
        entries = self.library.catalogue.entries
        found = self._matching(name, list(entries))
        if found is None:
            raise NoCollection(
                f"this node neither shares nor follows {name[:60]!a}",
                next_step="hydramesh collections",
            )
        return entries[found]

    # -- sharing and following ---------------------------------------------------------------------

    async def share(self, asked: pb.ShareRequest) -> pb.CollectionInfo:
        """Share a folder or a store."""
        library = self.library
        if library.is_aside:
            refuse_to_hold("share")
        collection = collection_id(asked.name, library.node.realm.nid)
        self._refuse_second(collection)
        everyone = _role(asked.everyone or Role.READER.value)
        if everyone is Role.OWNER:
            raise InvalidArgument("not everyone can be an owner", next_step="choose editor")
        entry = self._place(collection, asked.place, must_exist=True)
        if asked.base and entry.folder:
            raise InvalidArgument(
                "a prefix is for a part of a store", next_step="share the folder in the folder"
            )
        entry.base = f"{asked.base.strip('/')}/" if asked.base.strip("/") else ""
        check_prefix(entry.base)
        await self._begin(entry)
        shelf = library.shelves[collection]
        await shelf.run(shelf.grant, EVERYONE, everyone)
        library.changed(collection)
        return info(library, collection)

    async def follow(self, asked: pb.FollowRequest) -> pb.CollectionInfo:
        """Follow a collection of another node."""
        library = self.library
        if library.is_aside:
            refuse_to_hold("follow")
        collection = await self._offered(asked.name)
        self._refuse_second(collection)
        if asked.lazy and asked.into and not is_store_folder(asked.into):
            raise InvalidArgument(
                "a folder of files cannot be lazy",
                why="a file is there with its content, or not at all",
                next_step="follow it into a store",
            )
        check_prefix(asked.prefix)
        entry = self._place(collection, asked.into, must_exist=False)
        entry.prefix, entry.lazy = asked.prefix, asked.lazy
        if asked.into and not entry.folder:
            # The rest of that store is the user's own, and goes nowhere.
            entry.base = f"{entry.name}/"
        await self._begin(entry)
        return info(library, collection)

    async def _offered(self, name: str) -> str:
        until = time.monotonic() + _HEARD_WITHIN_S
        while True:
            offered = self.library.offered()
            found = self._matching(name, list(offered))
            if found is not None:
                return found
            if time.monotonic() > until:
                names = ", ".join(split_id(each)[0] for each in offered) or "none"
                raise NoCollection(
                    f"no node that is reached shares {name[:60]!a}",
                    why=f"shared are: {names}",
                    next_step="hydramesh peers; on its node: hydramesh share",
                )
            await asyncio.sleep(0.2)

    def _refuse_second(self, collection: str) -> None:
        entries = self.library.catalogue.entries
        if collection in entries:
            raise NameTaken(
                f"{split_id(collection)[0]} is there already", next_step="hydramesh collections"
            )
        if len(entries) >= MAX_COLLECTIONS:
            raise NameTaken(f"this node has {MAX_COLLECTIONS} collections already")

    def _place(self, collection: str, place: str, *, must_exist: bool) -> Entry:
        """Where a collection lives: the store that is named, or one of ours beside a folder."""
        own = self.library.folder / collection / "documents"
        if not place:
            return Entry(collection, str(own))
        path = Path(place)
        if not path.is_absolute():
            raise InvalidArgument(f"{place[:80]!a} is no absolute path")
        if must_exist and not path.is_dir():
            raise NotFound(f"there is no folder {place[:200]!a}", next_step="check the name")
        if is_store_folder(place) or place.endswith(".sdb"):
            return Entry(collection, str(path))
        self._refuse_overlap(path)
        return Entry(collection, str(own), folder=str(path))

    def _refuse_overlap(self, path: Path) -> None:
        """Two collections in one folder would pour into each other."""
        for entry in self.library.catalogue.entries.values():
            held = Path(entry.folder or "/dev/null")
            if path.is_relative_to(held) or held.is_relative_to(path):
                raise NameTaken(
                    f"{path} belongs to collection {entry.name} already",
                    next_step="choose a folder beside it",
                )

    async def _begin(self, entry: Entry) -> None:
        library = self.library
        if library.is_aside:
            # It has become one just now.
            refuse_to_hold("hold")
        library.catalogue.entries[entry.collection] = entry
        try:
            if not await library.open(entry):
                raise StoreUnusable(
                    f"{entry.name} cannot begin", why=library.problems[entry.collection]
                )
            library.catalogue.save()
        except BaseException:
            del library.catalogue.entries[entry.collection]
            await library.close(entry.collection, forget=True)
            raise

    async def drop(self, asked: pb.DropRequest) -> pb.CollectionInfo:
        """Stop sharing or following; the documents stay."""
        library = self.library
        entry = self._entry(asked.name)
        ours = split_id(entry.collection)[1] == library.node.realm.nid
        if ours != asked.shared:
            verb = "unshare" if ours else "unfollow"
            raise InvalidArgument(
                f"{entry.name} is {'shared' if ours else 'followed'} here",
                next_step=f"hydramesh {verb} {entry.name}",
            )
        last = info(library, entry.collection)
        del library.catalogue.entries[entry.collection]
        library.catalogue.save()
        await library.close(entry.collection, forget=True)
        return last

    # -- looking and steering ----------------------------------------------------------------------

    async def list(self, _: pb.CollectionsRequest) -> pb.Collections:
        """All collections: shared, followed, and offered by others."""
        return collections(self.library)

    async def sync_now(self, asked: pb.SyncRequest) -> pb.Collections:
        """Look at the stores and ask all peers at once; the transfers go on behind."""
        library = self.library
        entries = [self._entry(name) for name in asked.names]
        chosen = [each.collection for each in entries or library.catalogue.entries.values()]
        for collection in chosen:
            follower = library.followers.get(collection)
            if follower is None:
                continue
            if await follower.shelf.run(follower.shelf.scan):
                library.changed(collection)
            await library.fresh_heads(collection)
            for ways in follower.ways.values():
                ways.compared, ways.not_before = (b"", b""), 0.0
            follower.poke()
        library.puller.poke()
        found = collections(library)
        return pb.Collections(
            collections=[each for each in found.collections if each.collection in chosen],
            limits=found.limits,
        )

    async def pause(self, asked: pb.PauseRequest) -> pb.Collections:
        """Stop all that moves, or one collection; or go on."""
        library = self.library
        if asked.name:
            self._entry(asked.name).paused = asked.paused
        else:
            library.catalogue.paused = asked.paused
        library.catalogue.save()
        library.follow_pauses()
        return collections(library)

    async def grant(self, asked: pb.GrantRequest) -> pb.CollectionInfo:
        """Give a node a role."""
        library = self.library
        entry = self._entry(asked.name)
        shelf = library.shelves.get(entry.collection)
        own = library.node.realm.nid
        if shelf is None or shelf.role(own) is not Role.OWNER:
            raise NotOwner(
                f"this node is no owner of {entry.name}",
                next_step=f"do it on node {library.node.name_of(split_id(entry.collection)[1])}",
            )
        subject = EVERYONE if asked.node == "everyone" else self._nid(asked.node)
        role = _role(asked.role)
        founder = split_id(entry.collection)[1]
        if subject == founder:
            raise InvalidArgument("who founded a collection is its owner for ever")
        if own != founder and Role.OWNER in (role, shelf.charter.role(subject)):
            raise NotOwner(
                "only the founder makes and unmakes owners",
                next_step=f"do it on node {library.node.name_of(founder)}",
            )
        if subject == EVERYONE and role is Role.OWNER:
            raise InvalidArgument("not everyone can be an owner", next_step="choose editor")
        await shelf.run(shelf.grant, subject, role)
        library.changed(entry.collection)
        return info(library, entry.collection)

    async def limit(self, asked: pb.LimitRequest) -> pb.Limits:
        """Show or set the rates."""
        catalogue = self.library.catalogue
        if asked.set:
            if min(asked.down, asked.up) < -1:
                raise InvalidArgument("a rate is 0 (none) or more")
            catalogue.down = catalogue.down if asked.down < 0 else int(asked.down)
            catalogue.up = catalogue.up if asked.up < 0 else int(asked.up)
            catalogue.save()
            self.library.set_limits(catalogue.down, catalogue.up)
        return pb.Limits(down=catalogue.down, up=catalogue.up, paused=catalogue.paused)

    # -- documents ---------------------------------------------------------------------------------

    async def documents(self, asked: pb.DocumentsRequest) -> pb.Documents:
        """What is in a collection, also what is here by name only."""
        entry = self._entry(asked.name)
        shelf = self.library.shelves.get(entry.collection)
        if shelf is None:
            raise StoreUnusable(f"{entry.name} is not open")
        limit = min(asked.limit or _MOST_DOCUMENTS, _MOST_DOCUMENTS)
        listed = await shelf.run(shelf.listed, asked.prefix, asked.after, limit + 1)
        out = pb.Documents(more=len(listed) > limit)
        for item, here in listed[:limit]:
            authors = {self.library.node.name_of(proof.author) for proof in item.proofs}
            out.documents.add(
                path=item.path,
                size=item.size,
                digest=item.digest.hex(),
                modified=item.mtime_ns / 1e9,
                here=here,
                authors=sorted(authors),
            )
        return out

    async def fetch(self, asked: pb.FetchRequest) -> pb.FetchReply:
        """Bring contents that are here by name only."""
        entry = self._entry(asked.name)
        shelf = self.library.shelves.get(entry.collection)
        follower = self.library.followers.get(entry.collection)
        if shelf is None or follower is None:
            raise StoreUnusable(f"{entry.name} is not open")
        wanted = []
        for path in asked.paths:
            item = await shelf.run(shelf.item, path)
            if item is None or item.deleted:
                raise NotFound(f"there is no document {path[:80]!a} in {entry.name}")
            wanted.append(item)
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                for item in wanted:
                    await follower.open(item.path, item.size, item.digest)
        except TimeoutError:
            raise NoContent(
                "not all contents came in time",
                why=f"within {_FETCH_TIMEOUT_S:g} s",
                next_step="what came is kept: fetch again",
            ) from None
        return pb.FetchReply(fetched=len(wanted), store=entry.store)


def _role(text: str) -> Role | None:
    if text == NO_ROLE:
        return None
    try:
        return Role(text)
    except ValueError:
        raise InvalidArgument(
            f"there is no role {text[:20]!a}", next_step="choose owner, editor, reader or none"
        ) from None
