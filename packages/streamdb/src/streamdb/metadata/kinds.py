"""What kind of file this is, by its first bytes and, where they do not say, by its suffix."""

from __future__ import annotations

#: First bytes of audio that soundfile reads beside the formats with a reader of their own.
OTHER_AUDIO = (
    (0, b".snd", "au"),
    (0, b"caff", "caf"),  # codespell:ignore caf
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"Creative Voice File", "voc"),
    (8, b"8SVX", "8svx"),
    (8, b"16SV", "8svx"),
    (0, b"NIST_1A", "nist"),
    (0, b"2BIT", "avr"),
    (0, b"Extended Instrument: ", "xi"),
)

#: Suffix → the format that a file of that name should have.
AUDIO_SUFFIXES = {
    "wav": "wav",
    "wave": "wav",
    "bwf": "wav",
    "rf64": "wav",
    "aif": "aiff",
    "aiff": "aiff",
    "aifc": "aiff",
    "flac": "flac",
    "ogg": "ogg",
    "oga": "ogg",
    "opus": "ogg",
    "mp3": "mp3",
    "mp2": "mp3",
    "mid": "midi",
    "midi": "midi",
    "au": "au",
    "caf": "caf",  # codespell:ignore caf
    "w64": "w64",
    "voc": "voc",
}

_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF8", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"%PDF-", "pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"Rar!", "rar"),
    (4, b"ftypM4A", "m4a"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"wvpk", "wavpack"),
    (0, b"MAC ", "ape"),
    (8, b"sfbk", "soundfont"),
    (0, b"SQLite format 3\0", "sqlite"),
    (0, b"\x7fELF", "elf"),
    (0, b"OTTO", "font"),
    (0, b"#!", "script"),
)


def other_audio(head: bytes) -> str | None:
    """The rarer audio format that ``head`` belongs to, or None."""
    return _lookup(head, OTHER_AUDIO)


def by_content(head: bytes) -> str | None:
    """The kind of file that the first bytes tell, or None.

    >>> by_content(b"%PDF-1.7")
    'pdf'
    """
    return _lookup(head, _MAGIC)


def _lookup(head: bytes, table: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((kind for at, magic, kind in table if head[at : at + len(magic)] == magic), None)


def suffix_of(name: str) -> str:
    """The suffix of the last part of a path, lower case, without its dot; "" without one.

    >>> suffix_of("drums/Kick.WAV"), suffix_of(".hidden"), suffix_of("README")
    ('wav', '', '')
    """
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return suffix.lower()[:16] if stem and suffix.isalnum() else ""
