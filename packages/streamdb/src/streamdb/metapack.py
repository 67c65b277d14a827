"""Metadata as bytes: checked, written as JSON, compressed with a dictionary.

The metadata of two samples differs in a few numbers. A dictionary trained on the store's own first
documents brings 300 bytes to about 100; until there is one, a built-in dictionary of the usual
names serves.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from streamdb import zstd
from streamdb.errors import CorruptData, InvalidMetadata

MAX_METADATA_BYTES = 1 << 20
BUILTIN = 2
TRAIN_AFTER = (2000, 20_000)
"""After so many documents a dictionary is trained; the second from a wider choice of them."""
SAMPLES = 2000
DICTIONARY_BYTES = 16384

_RAW, _PLAIN = 0, 1
_HEAD = struct.Struct("<BI")
_SHORT = struct.Struct("<BH")
_MAX_DEPTH = 32
_PLAIN_TYPES = frozenset({str, int, bool})
_SCALARS = frozenset({str, int, bool, float, type(None)})
# Mappings other than dict are written as one; what is no JSON was refused before.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict
)
# Before JSON that orjson does not read as it was given: integers of more than 64 bits.
_SLOW = b" "

# Part of the format: what is compressed with it cannot be read without it.
_BUILTIN_CONTENT = (
    b'{"problem":"","comment":"","genre":"","artist":"","album":"","date":"","originator":"",'
    b'"description":"","tags":{"title":"","software":"","copyright":""},"loops":[{"start":0,"end":0}],'
    b'"root_note":60,"beats":4,"one_shot":true,"instrument":"","category":"","vendor":"","pack":"",'
    b'"subtype":"FLOAT","subtype":"PCM_16","subtype":"PCM_24","format":"MIDI","format":"OGG",'
    b'"format":"MP3","format":"AIFF","format":"FLAC","format":"WAV","codec":"pcm_s24le","rate":192000,'
    b'"rate":88200,"rate":44100,"rate":48000,"rate":96000,"channels":1,"channels":2,"bits":16,'
    b'"bits":32,"bits":24,"frames":0,"duration":0.5,"duration":2.0,"tempo":90.0,"tempo":140,'
    b'"tempo":128.0,"tempo":120.0,"key":"Amin","key":"F#min","key":"Cmaj","key":"Cmin"}'
)


def to_json(metadata: Mapping[str, Any] | None) -> bytes:
    """Metadata as compact JSON in UTF-8; b"" for none.

    Raises:
        InvalidMetadata: it is not a mapping of names to JSON values, has a number that is not
            finite, is nested over 32 levels deep, or is longer than 1 MiB.
    """
    if not metadata:
        if metadata is None or isinstance(metadata, Mapping):
            return b""
        raise _not_a_mapping(metadata)
    if not isinstance(metadata, Mapping):
        raise _not_a_mapping(metadata)
    encoded = _encode(metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise InvalidMetadata(
            f"the metadata is {len(encoded)} bytes long, the limit is {MAX_METADATA_BYTES}",
            next_step="store large values (pictures, say) as documents of their own",
        )
    return encoded


def _encode(metadata: Mapping[str, Any]) -> bytes:
    if type(metadata) is dict and _is_plain(metadata, 0):
        # What orjson refuses (an integer of more than 64 bits) is left to what is slower.
        with contextlib.suppress(TypeError):
            encoded = orjson.dumps(metadata)
            if b"null" in encoded:
                # It writes one for a number that is not finite, too.
                _check(metadata, "", 0)
            return encoded
    _check(metadata, "", 0)
    try:
        return _SLOW + _ENCODER.encode(metadata).encode()
    except (TypeError, ValueError, UnicodeEncodeError) as error:
        raise InvalidMetadata(
            "the metadata cannot be written as JSON",
            why=str(error),
            next_step="give text, numbers, true, false, null, lists and mappings only",
        ) from None


def _is_plain(value: dict[Any, Any] | list[Any], depth: int) -> bool:
    """Whether there are only the plain types of JSON in it, for which no check is needed."""
    inside = value.values() if type(value) is dict else value
    nested = [each for each in inside if type(each) not in _SCALARS]
    return not nested or (
        depth < _MAX_DEPTH - 1
        and all(type(each) in (dict, list) and _is_plain(each, depth + 1) for each in nested)
    )


def _not_a_mapping(metadata: object) -> InvalidMetadata:
    return InvalidMetadata(
        f"metadata is a mapping of names to values, not {type(metadata).__name__}",
        next_step="give a dict, such as {'tempo': 120}",
    )


def _check(value: object, where: str, depth: int) -> None:
    if type(value) in _PLAIN_TYPES or value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMetadata(
                f"the metadata's {where or 'value'} is {value}",
                next_step="leave out what has no finite number",
            )
        return
    if depth >= _MAX_DEPTH:
        raise InvalidMetadata(
            f"the metadata is nested over {_MAX_DEPTH} levels deep", next_step="flatten it"
        )
    if isinstance(value, Mapping):
        _check_mapping(value, where, depth)
    elif isinstance(value, list | tuple):
        for inner in value:
            if type(inner) not in _PLAIN_TYPES:
                _check(inner, f"{where}[]", depth + 1)
    else:
        raise InvalidMetadata(
            f"the metadata's {where} is a {type(value).__name__}",
            next_step="give text, numbers, true, false, null, lists and mappings only",
        )


def _check_mapping(value: Mapping[Any, Any], where: str, depth: int) -> None:
    for name, inner in value.items():
        kind = type(inner)
        if type(name) is str and (kind in _PLAIN_TYPES or (kind is float and math.isfinite(inner))):
            continue
        if not isinstance(name, str):
            raise InvalidMetadata(
                f"the metadata has a name that is not text: {name!r}",
                why=f"in {where}" if where else "",
                next_step="names are text",
            )
        _check(inner, f"{where}.{name}" if where else name, depth + 1)


def from_json(encoded: bytes) -> dict[str, Any]:
    """What :func:`to_json` was given, as a fresh dict."""
    if not encoded:
        return {}
    try:
        slow = encoded.startswith(_SLOW)
        value = json.loads(encoded) if slow else orjson.loads(encoded)
    except ValueError as error:
        raise CorruptData("a document's metadata is damaged", why=str(error)) from None
    if not isinstance(value, dict):
        raise CorruptData("a document's metadata is damaged", why="it is not a mapping")
    return value


class Packer:
    """Packs and unpacks metadata with the dictionaries of one store; safe to share by threads.

    ``load`` gives the content of a trained dictionary by its number, or None; it is asked once.
    """

    def __init__(self, load: Callable[[int], bytes | None]) -> None:
        self._load = load
        self._known: dict[int, zstd.Dictionary] = {BUILTIN: zstd.Dictionary(_BUILTIN_CONTENT)}
        self._samples: list[bytes] = []
        self._seen = 0
        # Which sample gives way does not matter, only that any may: the same every time.
        self._random = random.Random(0)  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self.current = BUILTIN
        self._stage = 0

    def pack(self, encoded: bytes) -> bytes:
        """JSON as it is stored: a number that says how, the length, the bytes."""
        if not encoded:
            return b""
        if len(encoded) > 0xFFFF:
            return _HEAD.pack(_PLAIN, len(encoded)) + zstd.compress(encoded)
        number = self.current
        held = self._known.get(number)
        if held is None:
            number, held = self._first_use(number)
        payload = held.compress(encoded)
        if len(payload) + 2 >= len(encoded):
            return bytes([_RAW]) + encoded
        return _SHORT.pack(number, len(encoded)) + payload

    def _first_use(self, number: int) -> tuple[int, zstd.Dictionary]:
        try:
            return number, self._fetch(number)
        except CorruptData:
            # What it has packed is lost, and named when it is read; what comes need not be.
            self.current = BUILTIN
            return BUILTIN, self._known[BUILTIN]

    def unpack(self, packed: bytes) -> bytes:
        """The JSON.

        Raises:
            CorruptData: it does not decompress, or its dictionary is missing.
        """
        if not packed:
            return b""
        how = packed[0]
        if how == _RAW:
            return packed[1:]
        try:
            if how == _PLAIN:
                return zstd.decompress(packed[_HEAD.size :], _HEAD.unpack_from(packed)[1])
            size = _SHORT.unpack_from(packed)[1]
        except struct.error as error:
            raise CorruptData("a document's metadata is damaged", why=str(error)) from None
        held = self._known.get(how) or self._fetch(how)
        return held.decompress(packed[_SHORT.size :], size)

    def _fetch(self, number: int) -> zstd.Dictionary:
        content = self._load(number)
        if content is None:
            raise CorruptData(
                f"a document's metadata needs dictionary {number}, which is missing",
                next_step="run `streamdb check`, then `streamdb repair`",
            )
        self.add(number, content)
        return self._known[number]

    def add(self, number: int, content: bytes, *, use: bool = False) -> None:
        """Make a dictionary known, and with ``use`` the one to pack with from now on."""
        with self._lock:
            self._known.setdefault(number, zstd.Dictionary(content))
            if use:
                self.current = max(self.current, number)

    def resume(self, number: int) -> None:
        """Pack with a dictionary that the store has (0: it has none of its own)."""
        with self._lock:
            if number > BUILTIN:
                self.current = number
                self._stage = max(self._stage, number - BUILTIN)
                # It was made from so many; this handle goes on counting from there.
                self._seen = max(self._seen, TRAIN_AFTER[min(self._stage, len(TRAIN_AFTER)) - 1])

    @property
    def gathers(self) -> bool:
        """Whether samples are still wanted."""
        return self._stage < len(TRAIN_AFTER)

    def sample(self, encoded: bytes) -> None:
        """See a document's metadata; each that was seen is among the samples with equal chance."""
        if not encoded or len(encoded) > 0xFFFF:
            return
        with self._lock:
            self._seen += 1
            if len(self._samples) < SAMPLES:
                self._samples.append(encoded)
            elif (place := self._random.randrange(self._seen)) < SAMPLES:
                self._samples[place] = encoded

    def take_samples(self) -> tuple[int, list[bytes]] | None:
        """(number of the dictionary to make, samples) when enough has been seen; once for each."""
        stage = self._stage
        if stage >= len(TRAIN_AFTER) or self._seen < TRAIN_AFTER[stage]:
            return None
        with self._lock:
            if self._stage != stage:
                return None
            self._stage = sum(self._seen >= enough for enough in TRAIN_AFTER)
            taken = list(self._samples)
            if not self.gathers:
                self._samples.clear()
            return BUILTIN + self._stage, taken
