"""The control interface of the library: gRPC beside that of the daemon, on the same socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc

from hydramesh.errors import HydraMeshError
from hydramesh.library.errors import of_store
from hydramesh.library.verbs import Verbs
from hydramesh.v1 import library_pb2_grpc
from streamdb.errors import StreamDBError


class LibraryService(library_pb2_grpc.LibraryServicer):
    """Hands each call to a verb; errors travel as JSON in the status text."""

    def __init__(self, verbs: Callable[[], Verbs]) -> None:
        self._verbs = verbs

    async def _run(self, name: str, request: Any, context: Any) -> Any:
        try:
            return await getattr(self._verbs(), name)(request)
        except StreamDBError as error:
            told = of_store(error).details()
        except HydraMeshError as error:
            told = error.details()
        return await context.abort(grpc.StatusCode.FAILED_PRECONDITION, json.dumps(told))

    async def Share(self, request: Any, context: Any) -> Any:
        return await self._run("share", request, context)

    async def Follow(self, request: Any, context: Any) -> Any:
        return await self._run("follow", request, context)

    async def Drop(self, request: Any, context: Any) -> Any:
        return await self._run("drop", request, context)

    async def ListCollections(self, request: Any, context: Any) -> Any:
        return await self._run("list", request, context)

    async def SyncNow(self, request: Any, context: Any) -> Any:
        return await self._run("sync_now", request, context)

    async def Pause(self, request: Any, context: Any) -> Any:
        return await self._run("pause", request, context)

    async def Grant(self, request: Any, context: Any) -> Any:
        return await self._run("grant", request, context)

    async def Limit(self, request: Any, context: Any) -> Any:
        return await self._run("limit", request, context)

    async def ListDocuments(self, request: Any, context: Any) -> Any:
        return await self._run("documents", request, context)

    async def Fetch(self, request: Any, context: Any) -> Any:
        return await self._run("fetch", request, context)
