"""FLAC, Ogg (Vorbis, Opus, FLAC) and MP3 through mutagen; rarer formats through soundfile.

The libraries read through an allowance, so that no file can hold them for long or fill the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from streamdb.metadata import id3, mpeg
from streamdb.metadata.draft import Draft, put_tags
from streamdb.metadata.reading import Allowance, Source

_VORBIS = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "albumartist": "album_artist",
    "album artist": "album_artist",
    "composer": "composer",
    "genre": "genre",
    "description": "description",
    "comment": "comment",
    "date": "date",
    "year": "date",
    "tracknumber": "track",
    "copyright": "copyright",
    "license": "copyright",
    "bpm": "tempo",
    "tempo": "tempo",
    "key": "key",
    "initialkey": "key",
    "initial_key": "key",
    "instrument": "instrument",
    "keywords": "tags",
    "tags": "tags",
    "mood": "tags",
    "encoder": "software",
}

#: What the first packet of an Ogg stream begins with.
_OGG_CODECS = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac"}


def read_flac(source: Source, draft: Draft, start: int = 0) -> None:
    """Read a FLAC stream that begins at ``start``."""
    from mutagen.flac import FLAC

    draft.put("format", "flac")
    draft.put("codec", "flac")
    window = Allowance(source, start=start)
    flac = _load(FLAC, window, draft)
    if flac is None:
        return
    info = flac.info
    draft.put("rate", info.sample_rate)
    draft.put("channels", info.channels)
    draft.put("bits", info.bits_per_sample)
    draft.put_length(info.total_samples, info.sample_rate)
    if info.total_samples and source.size - start < info.total_samples // 4096:
        draft.problem("the audio is cut off: the file is shorter than silence would be")
    put_tags(draft, _lists(flac.tags), _VORBIS)


def read_ogg(source: Source, draft: Draft, head: bytes) -> None:
    """Read an Ogg file, whose first page is in ``head``."""
    draft.put("format", "ogg")
    codec = next((codec for magic, codec in _OGG_CODECS.items() if magic in head), None)
    if codec is None:
        draft.problem("the Ogg stream is neither Vorbis, Opus nor FLAC")
        return
    draft.put("codec", codec)
    ogg = _load(_ogg_reader(codec), Allowance(source), draft)
    if ogg is None:
        return
    # Opus always decodes to 48 kHz, whatever it was made from.
    rate = 48_000 if codec == "opus" else ogg.info.sample_rate
    draft.put("rate", rate)
    draft.put("channels", ogg.info.channels)
    draft.put("bits", getattr(ogg.info, "bits_per_sample", None))
    draft.put("bitrate", getattr(ogg.info, "bitrate", None) or None)
    draft.put_length(round(ogg.info.length * rate), rate)
    put_tags(draft, _lists(ogg.tags), _VORBIS)


def _ogg_reader(codec: str) -> Any:
    if codec == "vorbis":
        from mutagen.oggvorbis import OggVorbis

        return OggVorbis
    if codec == "opus":
        from mutagen.oggopus import OggOpus

        return OggOpus
    from mutagen.oggflac import OggFLAC

    return OggFLAC


def read_mpeg(source: Source, draft: Draft, start: int) -> None:
    """Read MPEG audio whose frames begin at ``start``, behind any ID3v2 tag."""
    from mutagen.mp3 import BitrateMode, MPEGInfo

    draft.put("format", "mp3")
    if start:
        id3.read(source.at(0, start), draft)
    id3.read_v1(source.at(source.size - 128, 128), draft)
    info: Any = _load(MPEGInfo, Allowance(source, start=start), draft)
    if info is None:
        return
    draft.put("codec", f"mp{info.layer}")
    draft.put("rate", info.sample_rate)
    draft.put("channels", info.channels)
    frames = round(info.length * info.sample_rate)
    if info.bitrate_mode == BitrateMode.UNKNOWN:
        # No header tells the length, and the rate of the first frame says little of the others.
        frames = mpeg.count_samples(source, start) or frames
    draft.put_length(frames, info.sample_rate)
    if frames:
        draft.put("bitrate", round((source.size - start) * 8 * info.sample_rate / frames))
    draft.put("software", info.encoder_info or None)


def read_other(source: Source, draft: Draft, name: str) -> None:
    """Read a rarer format (AU, W64, VOC, 8SVX, Core Audio ...) as far as soundfile knows it."""
    import soundfile  # type: ignore[import-untyped]

    draft.put("format", name)
    window = Allowance(source)
    try:
        with soundfile.SoundFile(cast("BinaryIO", window)) as file:
            subtype = str(file.subtype).lower()
            draft.put("codec", subtype.replace("pcm_", "pcm_s").replace("su8", "u8"))
            draft.put("rate", file.samplerate)
            draft.put("channels", file.channels)
            digits = "".join(letter for letter in subtype if letter.isdigit())
            if subtype.startswith("pcm"):
                draft.put("bits", digits.removeprefix("0") or None)
            draft.put_length(file.frames, file.samplerate)
    except (soundfile.SoundFileError, RuntimeError) as error:
        draft.problem(_reason(error, window))


def _load(reader: Any, window: Allowance, draft: Draft) -> Any:
    """What a reader of mutagen makes of the window, or None with the problem noted."""
    from mutagen import MutagenError

    try:
        return reader(window)
    except (MutagenError, EOFError, ValueError, KeyError, IndexError, OverflowError) as error:
        draft.problem(_reason(error, window))
    except (MemoryError, RecursionError, ArithmeticError, TypeError, AttributeError) as error:
        draft.problem(f"unreadable: {type(error).__name__}")
    return None


def _reason(error: Exception, window: Allowance) -> str:
    if window.spent:
        return "its metadata is larger than any player reads; it was not read to the end"
    return f"unreadable: {error}" if str(error) else f"unreadable: {type(error).__name__}"


def _lists(tags: Any) -> Mapping[str, list[str]]:
    """Vorbis comments as lists by lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in tags or ():
        found.setdefault(str(name).lower(), []).append(str(value))
    return found
