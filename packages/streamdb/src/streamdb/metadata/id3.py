"""ID3v2 tags (2.2 to 2.4) and ID3v1, texts only.

mutagen reads ID3 as well, but inflates compressed frames without a limit: a tag of a few KiB can
fill the memory. Here compressed and encrypted frames are left out, pictures are never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streamdb.metadata.draft import Draft, put_tags

MAX_TAG = 1 << 20
"""How far into a tag texts are looked for; they stand before the pictures in practice."""

_FIELDS = {
    "TIT2": "title",
    "TPE1": "artist",
    "TALB": "album",
    "TPE2": "album_artist",
    "TCOM": "composer",
    "TCON": "genre",
    "COMM": "comment",
    "TDRC": "date",
    "TYER": "date",
    "TDRL": "date",
    "TRCK": "track",
    "TCOP": "copyright",
    "TENC": "software",
    "TSSE": "software",
    "TBPM": "tempo",
    "TKEY": "key",
    "TIT1": "tags",
}
#: The three-letter names of version 2.2.
_OLD = {
    "TT2": "TIT2",
    "TP1": "TPE1",
    "TAL": "TALB",
    "TP2": "TPE2",
    "TCM": "TCOM",
    "TCO": "TCON",
    "COM": "COMM",
    "TYE": "TYER",  # codespell:ignore tye
    "TRK": "TRCK",
    "TCR": "TCOP",
    "TEN": "TENC",
    "TSS": "TSSE",
    "TBP": "TBPM",
    "TKE": "TKEY",
    "TT1": "TIT1",
}
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")


def tag_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that ``head`` (10 bytes or more) begins with; 0 without one."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    return _synchsafe(head[6:10]) + (20 if head[5] & 0x10 else 10)


def read(data: bytes, draft: Draft) -> None:
    """Note the texts of the ID3v2 tag at the beginning of ``data``."""
    if not tag_length(data):
        draft.problem("the ID3 tag is damaged")
        return
    tags: dict[str, list[str]] = {}
    for name, body in _frames(data):
        texts = _comment(body) if name == "COMM" else _texts(body)
        if name in _FIELDS and texts:
            tags.setdefault(name, []).extend(texts)
    if "TCON" in tags:
        tags["TCON"] = [_genre(text) for text in tags["TCON"]]
    put_tags(draft, tags, _FIELDS)


def read_v1(tail: bytes, draft: Draft) -> None:
    """Note what an ID3v1 tag (the last 128 bytes of a file) says."""
    if len(tail) != 128 or tail[:3] != b"TAG":
        return
    cut = {"TIT2": (3, 33), "TPE1": (33, 63), "TALB": (63, 93), "TYER": (93, 97), "COMM": (97, 125)}
    tags = {
        name: [tail[start:end].split(b"\0", 1)[0].decode("latin-1")]
        for name, (start, end) in cut.items()
    }
    if tail[125] == 0 and tail[126]:
        tags["TRCK"] = [str(tail[126])]
    tags["TCON"] = [_genre(str(tail[127]))] if tail[127] != 255 else []
    put_tags(draft, tags, _FIELDS)


def _synchsafe(raw: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(raw, (21, 14, 7, 0), strict=True))


def _frames(data: bytes) -> Iterator[tuple[str, bytes]]:
    major, flags = data[3], data[5]
    body = data[10 : min(tag_length(data), MAX_TAG)]
    if flags & 0x80 and major < 4:
        body = body.replace(b"\xff\0", b"\xff")
    if flags & 0x40 and major > 2:
        # Version 2.3 does not count the size field itself, 2.4 does.
        body = body[_synchsafe(body[:4].ljust(4, b"\0")) + (4 if major == 3 else 0) :]
    width = 3 if major == 2 else 4
    head = 6 if major == 2 else 10
    position = 0
    while position + head <= len(body):
        name = body[position : position + width]
        if not re.fullmatch(rb"[A-Z][A-Z0-9]+", name):
            return
        size = _size(body[position + width : position + width * 2], major)
        frame_flags = body[position + 9] if width == 4 else 0
        content = body[position + head : position + head + size]
        position += head + size
        plain = _plain(content, frame_flags, major)
        text = name.decode("ascii")
        text = _OLD.get(text, text)
        if plain is not None and text in _FIELDS:
            yield text, plain


def _size(raw: bytes, major: int) -> int:
    if major == 4 and max(raw) < 128:
        return _synchsafe(raw)
    return int.from_bytes(raw, "big")  # some writers of 2.4 do as in 2.3; above 127 it shows


def _plain(content: bytes, flags: int, major: int) -> bytes | None:
    """The frame's content, or None when it is compressed or encrypted."""
    if major == 3:
        return None if flags & 0xC0 else content[1:] if flags & 0x20 else content
    if major == 4:
        if flags & 0x0C:
            return None
        content = content[(1 if flags & 0x40 else 0) + (4 if flags & 0x01 else 0) :]
        return content.replace(b"\xff\0", b"\xff") if flags & 0x02 else content
    return content


def _decode(body: bytes, encoding: int) -> str:
    if encoding >= len(_ENCODINGS):
        return ""
    return body[:65536].decode(_ENCODINGS[encoding], "replace").replace("\ufeff", "")


def _texts(body: bytes) -> list[str]:
    if not body:
        return []
    return [text for text in _decode(body[1:], body[0]).split("\0") if text.strip()]


def _comment(body: bytes) -> list[str]:
    """The text of a comment; those with a description hold players' settings, not remarks."""
    if len(body) < 5:
        return []
    description, _, text = _decode(body[4:], body[0]).partition("\0")
    return [] if description.startswith("iTun") else [text.strip("\0") or description]


def _genre(text: str) -> str:
    """A genre's name: numbers stand for the list that Winamp made."""
    match = re.fullmatch(r"\(?([0-9]{1,3})\)?(.*)", text.strip(), re.DOTALL)
    if not match:
        return text
    if match[2].strip():
        return match[2]
    from mutagen.id3 import TCON

    number = int(match[1])
    return str(TCON.GENRES[number]) if number < len(TCON.GENRES) else text
