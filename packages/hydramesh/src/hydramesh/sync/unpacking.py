"""MessagePack from anywhere, in bounded memory."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from hydramesh.sync.errors import BadMessage


def unpack(raw: bytes, most: int) -> Any:
    """What was packed: tuples, texts, bytes and numbers; no maps.

    Raises:
        BadMessage: it is longer than ``most`` bytes, or no MessagePack.
    """
    if len(raw) > most:
        raise BadMessage(f"a message of {len(raw)} bytes; the limit is {most}")
    try:
        # Lists are made as long as they say, before anything in them is read, and one in the other:
        # some kilobytes would become gigabytes. Skipping makes nothing, and fails where a list is
        # longer than what follows.
        whole = msgpack.Unpacker(max_buffer_size=most)
        whole.feed(raw)
        whole.skip()
        return msgpack.unpackb(
            raw, use_list=False, raw=False, strict_map_key=True, max_ext_len=0, max_map_len=0
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise BadMessage("a message is no MessagePack", why=str(error)[:200]) from None
