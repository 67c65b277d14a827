"""Standard MIDI files: tempo, meter, key, names, notes and length.

Source: The Complete MIDI 1.0 Detailed Specification. Read here rather than by mido, because a file
that breaks off should still tell what came before, and a large one must not take minutes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from streamdb.metadata.draft import MAX_ITEMS, Draft, decode
from streamdb.metadata.reading import MAX_CHUNKS, Source
from streamdb.music import MusicalKey

MAX_FILE = 8 << 20
"""Bytes of a MIDI file that are looked at; the longest real ones have less than a tenth."""

_DEFAULT_TEMPO = 500_000  # microseconds per quarter note, until the file says otherwise


class _Broken(Exception):
    """The track ends, or stops making sense, in the middle of an event."""


@dataclass(slots=True)
class _Song:
    tempos: list[tuple[int, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notes: int = 0
    last_tick: int = 0


def read(source: Source, draft: Draft, start: int = 0) -> None:
    """Read a Standard MIDI File that begins at ``start`` into the draft."""
    draft.put("format", "midi")
    data = _load(source, start, draft)
    if len(data) < 14:
        draft.problem("the MIDI header is cut off")
        return
    (size, kind, tracks, division) = struct.unpack_from(">IHHH", data, 4)
    song = _Song()
    position, found = 8 + size, 0
    first = 0
    while position + 8 <= len(data) and found < min(tracks, MAX_CHUNKS):
        name, length = struct.unpack_from(">4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        if name == b"MTrk":
            found += 1
            # Format 2 plays its tracks one after the other.
            first = song.last_tick if kind == 2 else 0
            _read_track(body, length, first, song, draft)
        position += 8 + length
    draft.put("tracks", found)
    draft.put("notes", song.notes)
    draft.put("track_names", song.names)
    if found < tracks:
        draft.problem(f"{found} of {tracks} tracks are there")
    draft.put("duration", _seconds(song, division))


def _load(source: Source, start: int, draft: Draft) -> bytes:
    if source.size - start > MAX_FILE:
        draft.problem(f"only the first {MAX_FILE >> 20} MiB of the MIDI file were read")
    step = 1 << 20
    end = min(source.size, start + MAX_FILE)
    return b"".join(source.at(at, min(step, end - at)) for at in range(start, end, step))


def _read_track(body: bytes, declared: int, first: int, song: _Song, draft: Draft) -> None:
    if len(body) < declared:
        draft.problem(f"a track is cut off: {len(body)} of {declared} bytes are there")
    try:
        _read_events(body, first, song, draft)
    except (_Broken, IndexError):
        draft.problem("a track breaks off in the middle of an event")


def _read_events(body: bytes, tick: int, song: _Song, draft: Draft) -> None:
    position, running, end = 0, 0, len(body)
    while position < end:
        delta, position = _variable(body, position)
        tick += delta
        song.last_tick = max(song.last_tick, tick)
        status = body[position]
        if status & 0x80:
            position += 1
        else:
            status = running
        if status == 0xFF:
            kind = body[position]
            length, position = _variable(body, position + 1)
            if position + length > end:
                raise _Broken
            if kind == 0x2F:
                return
            _read_meta(kind, body[position : position + length], tick, song, draft)
            position += length
        elif status in {0xF0, 0xF7}:
            length, position = _variable(body, position)
            position += length
        elif 0x80 <= status < 0xF0:
            running = status
            # A note-on without velocity is a note-off.
            song.notes += status & 0xF0 == 0x90 and body[position + 1] > 0
            position += 1 if status & 0xE0 == 0xC0 else 2
        else:
            raise _Broken


def _variable(body: bytes, position: int) -> tuple[int, int]:
    """A number of up to four groups of seven bits, and the position behind it."""
    value = 0
    for index in range(position, position + 4):
        value = value << 7 | body[index] & 0x7F
        if body[index] < 0x80:
            return value, index + 1
    raise _Broken


def _read_meta(kind: int, data: bytes, tick: int, song: _Song, draft: Draft) -> None:
    if kind == 0x51 and len(data) == 3:
        quarter = int.from_bytes(data, "big")
        if quarter:
            song.tempos.append((tick, quarter))
            draft.put_tempo(60_000_000 / quarter, "midi")
    elif kind == 0x58 and len(data) >= 2 and data[0] and data[1] <= 6:
        draft.put("time_signature", f"{data[0]}/{1 << data[1]}")
    elif kind == 0x59 and len(data) == 2:
        _read_key(data, draft)
    elif kind == 0x03 and len(song.names) < MAX_ITEMS:
        song.names.append(decode(data))
        draft.put("title", decode(data))
    elif kind == 0x02:
        draft.put("copyright", decode(data))
    elif kind == 0x04:
        draft.put("instrument", decode(data))


def _read_key(data: bytes, draft: Draft) -> None:
    sharps, mode = struct.unpack("bB", data)
    if -7 <= sharps <= 7 and mode <= 1:
        tonic = sharps * 7 + (9 if mode else 0)
        draft.put_key(str(MusicalKey(tonic % 12, bool(mode))), "midi")


def _seconds(song: _Song, division: int) -> float | None:
    """The length of the song by its tempo map; None when the header's division is none."""
    if division & 0x8000:
        per_second = (256 - (division >> 8)) * (division & 0xFF)
        return song.last_tick / per_second if per_second else None
    if not division:
        return None
    microseconds = tick = 0
    quarter = _DEFAULT_TEMPO
    for at, next_quarter in sorted(song.tempos, key=lambda change: change[0]):
        microseconds += (at - tick) * quarter
        tick, quarter = at, next_quarter
    microseconds += (song.last_tick - tick) * quarter
    return microseconds / division / 1_000_000
