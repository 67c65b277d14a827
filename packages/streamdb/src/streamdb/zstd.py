"""zstd contexts, one per thread: they must not be shared, and making one costs more than a row."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streamdb.errors import CorruptData

if TYPE_CHECKING:
    import zstandard

LEVEL = 1
MAX_SIZE = 1 << 26

_local = threading.local()


class Dictionary:
    """A dictionary for many short pieces of one kind, with its contexts."""

    __slots__ = ("_local", "content")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._local = threading.local()

    def compress(self, raw: bytes) -> bytes:
        """``raw`` as a frame without its size and without a checksum."""
        held: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if held is None:
            import zstandard

            shared = zstandard.ZstdCompressionDict(self.content)
            shared.precompute_compress(level=3)
            held = self._local.compressor = zstandard.ZstdCompressor(
                dict_data=shared,
                write_content_size=False,
                write_checksum=False,
                write_dict_id=False,
            )
        return held.compress(raw)

    def decompress(self, payload: bytes, size: int) -> bytes:
        """The ``size`` bytes of a frame; CorruptData when it is damaged."""
        held: zstandard.ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if held is None:
            import zstandard

            held = self._local.decompressor = zstandard.ZstdDecompressor(
                dict_data=zstandard.ZstdCompressionDict(self.content)
            )
        return _decompress(held, payload, size)


def compress(raw: bytes) -> bytes:
    """``raw`` as a frame without its size and without a checksum: the row has both."""
    held: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if held is None:
        import zstandard

        held = _local.compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_content_size=False, write_checksum=False
        )
    return held.compress(raw)


def decompress(payload: bytes, size: int) -> bytes:
    """The ``size`` bytes of a frame; CorruptData when it is damaged."""
    held: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if held is None:
        import zstandard

        held = _local.decompressor = zstandard.ZstdDecompressor()
    return _decompress(held, payload, size)


def _decompress(context: zstandard.ZstdDecompressor, payload: bytes, size: int) -> bytes:
    if size > MAX_SIZE:
        raise CorruptData(f"a compressed row claims {size} bytes")
    try:
        return context.decompress(payload, max_output_size=size or 1)
    except Exception as error:
        # Here, because an import costs a tenth of what the call does.
        import zstandard

        if not isinstance(error, zstandard.ZstdError):
            raise
        raise CorruptData("a compressed row is damaged", why=f"zstd: {error}") from None


def train(samples: list[bytes], size: int) -> bytes:
    """A dictionary of at most ``size`` bytes for pieces like ``samples``; b"" when none helps."""
    import zstandard

    try:
        return zstandard.train_dictionary(size, list(samples), level=3).as_bytes()
    except zstandard.ZstdError:
        return b""
