"""What a file tells about itself: format, length, tags, tempo, key and more.

:func:`describe` never raises for what is in a file. A broken one gives the facts that could be
read and a ``problem`` in words. The fields are declared in :mod:`streamdb.metadata.fields`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from streamdb.metadata import kinds
from streamdb.metadata.draft import Draft
from streamdb.metadata.name import key_of, tempo_of
from streamdb.metadata.reading import Source, opened

__all__ = ["Described", "describe"]


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a file.

    Attributes:
        metadata: field → value, as docs/reference/streamdb-metadata.md lists them; ready for
            JSON. A problem is also found there, so that ``has:problem`` finds the file.
        problem: what is wrong with the file in words, or None.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def describe(source: Path | bytes | bytearray | memoryview | BinaryIO, name: str) -> Described:
    """Read what a file and its name tell.

    Args:
        source: a file's path, its content, or a seekable file object (its position is kept).
        name: the name or path under which it is known; facts in the file win over the name's.

    Raises:
        OSError: the file cannot be opened or read at all.

    At most some MiB of the file are read, and not its audio, so that size does not matter.

    >>> described = describe(b"MThd", "Fill_120bpm.mid")
    >>> described.metadata["tempo"], described.metadata["tempo_source"]
    (120.0, 'name')
    >>> described.problem
    'the MIDI header is cut off'
    """
    draft = Draft()
    with opened(source) as opened_source:
        _read_content(opened_source, name, draft)
    if draft.facts.get("format") in _AUDIO:
        _read_name(name, draft)
    trouble = draft.trouble
    draft.put("problem", trouble)
    return Described(draft.facts, trouble)


_AUDIO = {*kinds.AUDIO_SUFFIXES.values(), *(kind for _, _, kind in kinds.OTHER_AUDIO)}


def _read_name(name: str, draft: Draft) -> None:
    # A one-shot has a tempo in its name only because it was cut from something in that tempo, but
    # that is what the maker wants to be found by.
    draft.put_tempo(tempo_of(name), "name")
    key = key_of(name)
    if key:
        draft.put_key(str(key), "name")


def _read_content(source: Source, name: str, draft: Draft) -> None:
    expected = kinds.AUDIO_SUFFIXES.get(kinds.suffix_of(name))
    head = source.at(0, 512)
    try:
        recognised = _read_audio(source, head, expected, draft)
    except OSError:
        raise
    except Exception as error:
        # A reader met something that nobody thought of. The file is still worth keeping.
        recognised = True
        draft.problem(f"unreadable: {type(error).__name__}: {error}")
    if recognised:
        found = draft.facts.get("format")
        if expected and found != expected:
            draft.problem(f"named like {expected}, but its content is {found}")
        return
    draft.put("format", kinds.by_content(head) or expected or kinds.suffix_of(name) or None)
    if expected:
        draft.problem(
            f"named like {expected}, but its content is not" if source.size else "the file is empty"
        )


def _read_audio(source: Source, head: bytes, expected: str | None, draft: Draft) -> bool:
    """Let the reader of the format read the file; False when there is none."""
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        from streamdb.metadata import riff

        riff.read(source, draft)
    elif head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        from streamdb.metadata import aiff

        aiff.read(source, draft)
    elif head[:4] == b"MThd" or (head[:4] == b"RIFF" and head[8:12] == b"RMID"):
        from streamdb.metadata import midi

        midi.read(source, draft, 0 if head[:4] == b"MThd" else max(0, head.find(b"MThd")))
    else:
        return _read_coded(source, head, expected, draft)
    return True


def _read_coded(source: Source, head: bytes, expected: str | None, draft: Draft) -> bool:
    from streamdb.metadata import id3, mpeg

    tag = id3.tag_length(head)
    behind = source.at(tag, 4) if tag else head[:4]
    other = kinds.other_audio(head)
    if not (tag or behind in {b"fLaC", b"OggS"} or other or mpeg.is_header(head)):
        return False
    from streamdb.metadata import coded

    if behind == b"fLaC":
        coded.read_flac(source, draft, tag)
        if tag:
            id3.read(source.at(0, tag), draft)
    elif behind == b"OggS":
        coded.read_ogg(source, draft, head)
    elif other:
        coded.read_other(source, draft, other)
    elif tag or expected == "mp3":
        coded.read_mpeg(source, draft, tag)
    else:
        return False
    return True
