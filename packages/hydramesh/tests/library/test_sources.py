"""Whom contents are asked of, when one of the sources goes."""

from __future__ import annotations

import asyncio
import os

import pytest
from packages.hydramesh.tests.library.members import band, until

from hydramesh.v1 import library_pb2 as pb

pytestmark = pytest.mark.slow


def test_a_source_that_has_dropped_the_collection_is_not_asked_for_ever(tmp_path):
    """It is the first in the order in which equal sources are asked, and says that it has none."""

    async def work():
        async with band(tmp_path, "anna", "bert", "carl") as (anna, bert, carl):
            first, second = sorted((anna, bert), key=lambda member: member.nid)
            ours = await second.share("drums", kick=b"boom")
            await first.follow("drums")
            theirs = await carl.follow("drums")
            collection = carl.shelf("drums").entry.collection
            await until(lambda: theirs.exists("kick"))
            await until(lambda: len(carl.library.heads(collection)) == 2)
            await first.verbs.drop(pb.DropRequest(name="drums"))
            for number in range(8):
                ours.write_document(f"hat-{number}", os.urandom(1000))
            await until(lambda: all(theirs.exists(f"hat-{number}") for number in range(8)))

    asyncio.run(work())
