"""The store for asyncio."""

from __future__ import annotations

import asyncio

import pytest

from streamdb import AsyncStreamDB, errors


def run(work, root):
    async def main():
        async with await AsyncStreamDB.open(root / "store") as db:
            await work(db)

    asyncio.run(main())


def test_documents_come_back(tmp_path):
    async def work(db):
        await asyncio.gather(
            *[db.write_document(f"a/{n}", str(n).encode() * n * 500) for n in range(40)]
        )
        found = await asyncio.gather(*[db.get(f"a/{n}") for n in range(40)])
        assert found == [str(n).encode() * n * 500 for n in range(40)]
        assert await db.get_many(["a/1", "none"]) == {"a/1": b"1" * 500}
        assert len(await db.search("a/", limit=7)) == 7
        assert (await db.stat("a/3")).size == 1500
        await db.write_document("b", iter([b"x", b"y"]), metadata={"tempo": 120})
        assert await db.find("tempo=120") == ["b"]
        await db.flush()
        await db.delete("b")
        assert not db.db.exists("b")

    run(work, tmp_path)


def test_metadata_alone(tmp_path):
    async def work(db):
        await db.write_document("a", b"boom", metadata={"tempo": 120})
        assert await db.metadata("a") == {"tempo": 120}

    run(work, tmp_path)


def test_a_hit_does_not_suspend(tmp_path):
    async def work(db):
        await db.write_document("a", b"boom")
        assert await db.get("a") == b"boom"
        coroutine = db.get("a")
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        assert ended.value.value == b"boom"

    run(work, tmp_path)


def test_what_is_missing_is_an_error_for_its_task_alone(tmp_path):
    async def work(db):
        await db.write_document("a", b"1")
        found = await asyncio.gather(
            db.get("a"), db.get("none"), db.get(""), return_exceptions=True
        )
        assert found[0] == b"1"
        assert isinstance(found[1], errors.NotFound)
        assert isinstance(found[2], errors.InvalidPath)

    run(work, tmp_path)


def test_a_cancelled_task_does_not_take_others_along(tmp_path):
    async def work(db):
        await db.write_document("a", b"1" * 20_000)
        first, second = asyncio.ensure_future(db.get("a")), asyncio.ensure_future(db.get("a"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"1" * 20_000
        assert first.cancelled()

    run(work, tmp_path)
