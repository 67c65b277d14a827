"""The bodies of the chunks that WAV files carry beside their audio.

Why not a library: soundfile and mutagen give none of bext, acid, smpl and cue; wavinfo, which is
well kept, reads bext, smpl, cue and iXML but not acid, needs lxml, and reads whole chunks however
long they say they are.

Sources: EBU Tech 3285 (bext), the RIFF MCI multimedia data standards (INFO, cue, smpl, inst), the
iXML specification; acid as Sony's ACID writes it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from xml.parsers import expat

from streamdb.metadata.draft import MAX_ITEMS, Draft, decode, iso_date, put_tags

_INFO = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "IGNR": "genre",
    "ICMT": "comment",
    "ICRD": "date",
    "ITRK": "track",
    "IPRT": "track",
    "ICOP": "copyright",
    "ISFT": "software",
    "IKEY": "tags",
    "ISBJ": "description",
    "IMUS": "composer",
    "IBPM": "tempo",
}


def walk(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of the chunks within a chunk, the last one cut where the outer one ends."""
    position = 0
    while position + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, position)
        yield name, body[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def read_info(body: bytes, draft: Draft) -> None:
    """LIST/INFO: the texts that every editor writes."""
    tags: dict[str, list[str]] = {}
    for name, text in walk(body):
        tags.setdefault(name.decode("latin-1"), []).append(decode(text[:65536]))
    put_tags(draft, tags, _INFO)


def read_bext(body: bytes, draft: Draft) -> None:
    """bext: who recorded what when (EBU Tech 3285; loudness since version 2)."""
    if len(body) < 348:
        draft.problem("the broadcast chunk is too short")
        return
    draft.put("description", decode(body[:256]))
    draft.put("originator", decode(body[256:288]))
    draft.put("originator_reference", decode(body[288:320]))
    draft.put("origination", _origination(decode(body[320:330]), decode(body[330:338])))
    time_reference, version = struct.unpack_from("<QH", body, 338)
    draft.put("time_reference", time_reference)
    if version >= 2 and len(body) >= 422:
        loudness, _range, peak = struct.unpack_from("<hhh", body, 412)
        for name, value in (("loudness", loudness), ("peak", peak)):
            if value != 0x7FFF:  # not measured
                draft.put(name, value / 100)
    draft.put("coding_history", decode(body[602:]))


def _origination(date: str, time: str) -> str | None:
    """Date and time as ISO 8601; the standard leaves the separators to the writer."""
    day = re.fullmatch(r"([0-9]{4})[-_:/. ]([0-9]{2})[-_:/. ]([0-9]{2})", date, re.ASCII)
    if not day or iso_date("-".join(day.groups())) != "-".join(day.groups()):
        return None
    clock = re.fullmatch(
        r"([01][0-9]|2[0-3])[-_:/. ]([0-5][0-9])[-_:/. ]([0-5][0-9])", time, re.ASCII
    )
    return "-".join(day.groups()) + (f"T{':'.join(clock.groups())}" if clock else "")


def read_acid(body: bytes, draft: Draft) -> None:
    """acid: loop or one-shot, root note, beats, meter and tempo."""
    if len(body) < 24:
        draft.problem("the acid chunk is too short")
        return
    flags, root, _, _, beats, denominator, numerator, tempo = struct.unpack_from("<IHHfIHHf", body)
    one_shot = bool(flags & 0x01)
    draft.put("loop", not one_shot)
    if flags & 0x02:
        draft.put("root_note", root)
    if one_shot:
        return  # the other fields hold defaults that mean nothing
    draft.put("beats", beats or None)
    draft.put_tempo(tempo, "acid")
    if 1 <= numerator <= 64 and denominator in {1, 2, 4, 8, 16, 32, 64}:
        draft.put("time_signature", f"{numerator}/{denominator}")


def read_smpl(body: bytes, draft: Draft) -> None:
    """smpl: the note of the recording and the sampler's loops (the first one is noted)."""
    if len(body) < 36:
        draft.problem("the sampler chunk is too short")
        return
    (unity,) = struct.unpack_from("<I", body, 12)
    (count,) = struct.unpack_from("<I", body, 28)
    if unity:  # zero is what writers leave that know of no note
        draft.put("root_note", unity)
    if count and len(body) >= 60:
        start, end = struct.unpack_from("<II", body, 44)
        draft.put("loop", value=True)
        if start <= end:
            draft.put("loop_start", start)
            draft.put("loop_end", end)


def read_inst(body: bytes, draft: Draft) -> None:
    """inst: the note of the recording, for instruments."""
    if len(body) >= 7:
        draft.put("root_note", body[0] or None)


def read_cues(body: bytes) -> Iterator[tuple[int, int]]:
    """cue: number and frame of every marker."""
    if len(body) < 4:
        return
    (count,) = struct.unpack_from("<I", body)
    for index in range(min(count, MAX_ITEMS, (len(body) - 4) // 24)):
        number, _, _, _, _, frame = struct.unpack_from("<II4sIII", body, 4 + index * 24)
        yield number, frame


def read_labels(body: bytes) -> Iterator[tuple[int, str]]:
    """LIST/adtl: the labels of markers, by number."""
    for name, text in walk(body):
        if name == b"labl" and len(text) >= 4:
            yield struct.unpack_from("<I", text)[0], decode(text[4:4096])


_IXML = {
    "BWFXML/PROJECT": "project",
    "BWFXML/SCENE": "scene",
    "BWFXML/TAKE": "take",
    "BWFXML/TAPE": "tape",
    "BWFXML/NOTE": "comment",
    "BWFXML/BEXT/BWF_DESCRIPTION": "description",
    "BWFXML/BEXT/BWF_ORIGINATOR": "originator",
    "BWFXML/USER": "comment",
}
_MAX_DEPTH = 32


class _HostileXml(Exception):
    """The document uses what no recorder writes: entities, or nesting without end."""


def read_ixml(body: bytes, draft: Draft) -> None:
    """iXML: what recorders of film sound note. Entities and deep nesting are refused."""
    found: dict[str, list[str]] = {}
    open_names: list[str] = []

    def begin(name: str, _attributes: object) -> None:
        open_names.append(name)
        if len(open_names) > _MAX_DEPTH:
            raise _HostileXml("nested too deeply")

    def end(_name: str) -> None:
        open_names.pop()

    def text(data: str) -> None:
        path = "/".join(open_names)
        if path in _IXML:
            found.setdefault(path, []).append(data)

    def entity(*_: object) -> None:
        raise _HostileXml("declares entities")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(body.rstrip(b"\0"), True)
    except expat.ExpatError as error:
        draft.problem(f"the iXML chunk is damaged: {error}")
    except _HostileXml as error:
        draft.problem(f"the iXML chunk was not read on: it is {error}")
    for path, name in _IXML.items():
        draft.put(name, "".join(found.get(path, ())) or None)
