"""Metadata that was given to a document by hand, as it goes along with it.

What the content and the name tell, every node reads by itself. The rest, names and values that the
user or a program wrote beside it, is part of the edit: signed, merged and transferred as the
content's digest is. It is one canonical text, so that equal metadata are equal bytes.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from hydramesh.sync.errors import BadMessage
from streamdb.metadata import describe

MAX_GIVEN = 4096
"""Bytes of what is given to one document; what is longer stays where it is."""
MAX_NAMES = 64
MAX_NAME = 64
_MAX_DEPTH = 4
_MAX_INT = 1 << 63
_NOTHING = object()


def pack_given(metadata: Mapping[str, Any]) -> bytes:
    """As canonical bytes, b"" for none. What no peer would take is left out.

    >>> pack_given({"mood": "dark", "count": 3, "endless": float("inf")})
    b'{"count":3,"mood":"dark"}'
    """
    able = {name: value for name, value in metadata.items() if _is_fit(name, value)}
    raw = _encode(able) if able else b""
    return raw if len(raw) <= MAX_GIVEN and len(able) <= MAX_NAMES else b""


def unpack_given(raw: bytes) -> dict[str, Any]:
    """From bytes of anywhere.

    Raises:
        BadMessage: they are not what ``pack_given`` makes.
    """
    if not raw:
        return {}
    if len(raw) > MAX_GIVEN:
        raise BadMessage("the metadata of a document are too long")
    try:
        told = json.loads(raw, parse_constant=_no_constant)
        whole = isinstance(told, dict) and bool(told) and len(told) <= MAX_NAMES
        whole = whole and all(_is_fit(name, value) for name, value in told.items())
        if not whole or _encode(told) != raw:
            raise BadMessage("the metadata of a document are not such as are sent")
    except (ValueError, RecursionError):
        raise BadMessage("the metadata of a document are no JSON") from None
    return dict(told)


def given_of(source: Any, name: str, metadata: Mapping[str, Any], before: bytes) -> bytes:
    """What was given by hand to a document, of all that is stored with it.

    Args:
        source: its content, as a seekable file.
        name: its path in the collection.
        metadata: all that is stored with it.
        before: what was known as given; the same bytes come back when that still holds.
    """
    told = describe(source, name).metadata
    fresh = pack_given(_beyond(metadata, told))
    # Another version of the reader of files may tell by itself what was given elsewhere.
    return before if fresh == pack_given(_beyond(unpack_given(before), told)) else fresh


def with_given(source: Any, name: str, given: bytes) -> dict[str, Any]:
    """The metadata of a document that is to be written: what is read, then what was given."""
    return {**describe(source, name).metadata, **unpack_given(given)}


def _beyond(metadata: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    # Only what is stored counts: a tuple is a list by then, and 1 is not true.
    plain = json.loads(json.dumps(dict(told)))
    return {
        name: value
        for name, value in metadata.items()
        if repr(plain.get(name, _NOTHING)) != repr(value)
    }


def _encode(metadata: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        metadata, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode()


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _is_fit(name: object, value: object) -> bool:
    return isinstance(name, str) and 1 <= len(name) <= MAX_NAME and _is_plain([name, value], 0)


def _is_plain(value: object, depth: int) -> bool:
    """JSON of bounded depth, with numbers that every store takes and text that shows itself."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return all(each in "\n\t" or unicodedata.category(each) not in _HIDDEN for each in value)
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, Mapping):
        names = value.keys()
        return all(isinstance(each, str) and _is_plain(each, depth) for each in names) and all(
            _is_plain(each, depth + 1) for each in value.values()
        )
    return isinstance(value, list) and all(_is_plain(each, depth + 1) for each in value)


#: Control characters, halves of surrogate pairs, and marks that turn the direction of a line.
_HIDDEN = frozenset({"Cc", "Cs", "Cf"})
