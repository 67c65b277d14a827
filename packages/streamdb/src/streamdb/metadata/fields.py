"""Every field of a document's metadata, declared once: the readers, queries and reference use it.

A field has a kind, which says what a query may ask of it, and a unit, in which it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a field's value is, and so what can be compared with it."""

    TEXT = "text"
    TAGS = "list of texts"
    INTEGER = "whole number"
    NUMBER = "number"
    FREQUENCY = "frequency"
    CHANNELS = "channels"
    BITS = "bits"
    DURATION = "duration"
    TEMPO = "tempo"
    SIZE = "size"
    KEY = "musical key"
    NOTE = "note"
    FLAG = "yes or no"
    DATE = "date"
    LOOSE = "any"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name in metadata and queries, its kind, unit, meaning and an example query."""

    name: str
    kind: Kind
    meaning: str
    example: str
    unit: str = ""
    aliases: tuple[str, ...] = ()


STORED = (
    Field("format", Kind.TEXT, "container or kind of file, lower case", "format=wav|flac"),
    Field("codec", Kind.TEXT, "how the samples are coded", "codec=pcm_s24"),
    Field("rate", Kind.FREQUENCY, "sample rate", "rate=44.1kHz", "Hz", ("samplerate",)),
    Field("channels", Kind.CHANNELS, "channels per frame", "channels=stereo", "", ("ch",)),
    Field("bits", Kind.BITS, "bits per sample", "bits>=24", "bit", ("bitdepth",)),
    Field("frames", Kind.INTEGER, "length in samples per channel", "frames<4096", "frames"),
    Field("duration", Kind.DURATION, "length in time", "duration<2s", "s", ("length",)),
    Field("bitrate", Kind.INTEGER, "mean bit rate of coded audio", "bitrate>=192000", "bit/s"),
    Field("tempo", Kind.TEMPO, "beats per minute", "tempo=118..122", "BPM", ("bpm",)),
    Field("tempo_source", Kind.TEXT, "where the tempo was read", "tempo_source=acid"),
    Field("key", Kind.KEY, "musical key, as Cmin or Ebmaj", "key=Cmin|Ebmaj"),
    Field("key_source", Kind.TEXT, "where the key was read", "key_source=name"),
    Field("beats", Kind.INTEGER, "length in beats", "beats=16", "beats"),
    Field("time_signature", Kind.TEXT, "beats per bar and their value", "time_signature=3/4"),
    Field("loop", Kind.FLAG, "made to be repeated", "loop=yes"),
    Field("loop_start", Kind.INTEGER, "first frame of the first loop", "loop_start>0", "frames"),
    Field("loop_end", Kind.INTEGER, "last frame of the first loop", "loop_end>44100", "frames"),
    Field("root_note", Kind.NOTE, "note at which it sounds unchanged (C4 = 60)", "root_note=C3"),
    Field("title", Kind.TEXT, "title", "title:sunrise"),
    Field("artist", Kind.TEXT, "who plays", "artist=*trio*"),
    Field("album", Kind.TEXT, "album or sample pack", "album:vinyl"),
    Field("album_artist", Kind.TEXT, "whose album it is", "album_artist:various"),
    Field("composer", Kind.TEXT, "who wrote it", "composer:bach"),
    Field("genre", Kind.TEXT, "genre", "genre=house|techno"),
    Field("comment", Kind.TEXT, "free remark", "comment:mono"),
    Field("date", Kind.DATE, "when it was released or made", "date=2019..2024"),
    Field("track", Kind.INTEGER, "number on the album", "track=1"),
    Field("copyright", Kind.TEXT, "whose rights these are", "copyright:cc-by"),
    Field("software", Kind.TEXT, "program that wrote the file", "software:reaper"),
    Field("instrument", Kind.TEXT, "instrument", "instrument:piano"),
    Field("tags", Kind.TAGS, "labels", "tag:warm", "", ("tag",)),
    Field("description", Kind.TEXT, "description (BWF)", "description:rain"),
    Field("originator", Kind.TEXT, "who or what recorded it (BWF)", "originator:zoom*"),
    Field("originator_reference", Kind.TEXT, "its reference (BWF)", "originator_reference:A12*"),
    Field("origination", Kind.DATE, "when it was recorded (BWF), ISO 8601", "origination>=2024-06"),
    Field(
        "time_reference", Kind.INTEGER, "frames since midnight (BWF)", "time_reference>0", "frames"
    ),
    Field("coding_history", Kind.TEXT, "how it was coded before (BWF)", "coding_history:A=PCM*"),
    Field("loudness", Kind.NUMBER, "integrated loudness (BWF)", "loudness=-24..-22", "LUFS"),
    Field("peak", Kind.NUMBER, "highest true peak (BWF)", "peak<-1", "dBTP"),
    Field("project", Kind.TEXT, "project (iXML)", "project:film"),
    Field("scene", Kind.TEXT, "scene (iXML)", "scene=12A"),
    Field("take", Kind.TEXT, "take (iXML)", "take=3"),
    Field("tape", Kind.TEXT, "tape or reel (iXML)", "tape=T01"),
    Field("markers", Kind.TEXT, "cue points: list of frame and label", "markers.label:verse"),
    Field("tracks", Kind.INTEGER, "tracks of a MIDI file", "tracks>1"),
    Field("track_names", Kind.TAGS, "names of a MIDI file's tracks", "track_names:bass"),
    Field("notes", Kind.INTEGER, "notes of a MIDI file", "notes>0"),
    Field("problem", Kind.TEXT, "what is wrong with the file", "has:problem"),
)

#: What a query may ask of every document, whatever its metadata.
DERIVED = (
    Field("path", Kind.TEXT, "whole path; upper and lower case differ", "path:/drums/"),
    Field("name", Kind.TEXT, "last part of the path", 'name:"kick*"'),
    Field("ext", Kind.TEXT, "suffix without its dot", "ext=wav"),
    Field("size", Kind.SIZE, "size of the document", "size>1MiB", "bytes"),
    Field("text", Kind.TEXT, "path, texts and tags together", "text:vinyl"),
    Field("has", Kind.TEXT, "fields that are present", "has:tempo"),
)

FIELDS = {field.name: field for field in (*STORED, *DERIVED)}
ALIASES = {alias: field.name for field in FIELDS.values() for alias in field.aliases}
