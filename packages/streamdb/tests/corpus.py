"""A sample library of real files from a fixed seed: what real encoders write, varied to any number.

What is done: sox, flac, lame, oggenc and opusenc (Debian packages, ``scripts/host-tools media``)
encode 63 *originals* of all rates, widths, channel counts and formats. From these the files
are varied: the audio of WAV and AIFF files is rotated, cut and given other chunks (acid, bext,
INFO), coded files get other tags, MIDI files other notes. One file in 25 is broken on purpose (cut,
overwritten, or something else under the name of a WAV), one in 50 empty, one in 25 a copy of
another under another name, one in 20 no audio at all. Paths, choices and variations depend on the
seed alone; the coded bytes also on the encoders' versions.

``build(folder, 10_000)`` takes about 20 s of one core and some 300 MB.
"""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("sox", "flac", "lame", "oggenc", "opusenc")


@dataclass(frozen=True)
class Original:
    """A file as an encoder wrote it, and the facts that were asked of the encoder."""

    name: str
    data: bytes
    facts: dict[str, Any]


@dataclass(frozen=True)
class File:
    """A file of the corpus: where it is, of which sort, and the facts that it must tell.

    ``sort`` is ``audio``, ``broken``, ``empty``, ``copy`` or ``other``.
    """

    path: str
    size: int
    sort: str
    facts: dict[str, Any] = field(default_factory=dict)


def build(folder: Path, count: int = 10_000, seed: int = 1) -> list[File]:
    """Write ``count`` files below ``folder`` and list them in the order of their paths."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        raise FileNotFoundError(f"missing: {', '.join(lacking)}; run: scripts/host-tools media")
    work = folder / ".originals"
    work.mkdir(parents=True)
    try:
        originals = encode_originals(work)
    finally:
        shutil.rmtree(work)
    return sorted(_write_all(folder, originals, count, random.Random(seed)), key=lambda f: f.path)


def encode_originals(work: Path) -> list[Original]:
    """One file of every kind, as the encoders write them."""
    made = [*_linear(work), *_coded(work)]
    return [Original(path.name, path.read_bytes(), facts) for path, facts in made]


def _run(*argv: str | Path) -> None:
    subprocess.run(
        [str(part) for part in argv],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        timeout=120,
    )


_SHAPES = (
    ("sine", "synth {0} sine 110-880 vol 0.4"),
    ("pluck", "synth {0} pluck E3 vol 0.5"),
    ("noise", "synth {0} brownnoise vol 0.3"),
    ("chord", "synth {0} sawtooth 220 synth {0} sine mix 277 vol 0.3"),
)


def _sox(target: Path, rate: int, encoding: tuple[str, ...], channels: int, number: int) -> float:
    """Let sox write a short sound; the duration in seconds."""
    duration = 0.04 + number % 7 * 0.02
    _, effect = _SHAPES[number % len(_SHAPES)]
    _run(
        "sox", "-R", "-n", "-r", str(rate), *encoding, "-c", str(channels), target,
        *effect.format(duration).split(),
    )  # fmt: skip
    return duration


_WIDTHS: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (8, "pcm_u8", ("-b", "8", "-e", "unsigned")),
    (16, "pcm_s16", ("-b", "16", "-e", "signed")),
    (24, "pcm_s24", ("-b", "24", "-e", "signed")),
    (32, "pcm_s32", ("-b", "32", "-e", "signed")),
    (32, "float32", ("-b", "32", "-e", "float")),
)


def _linear(work: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """WAV of every width and rate, AIFF, and rarer containers."""
    number = 0
    for rate in (44_100, 48_000, 88_200, 96_000, 192_000):
        for bits, codec, encoding in _WIDTHS:
            channels = (1, 2, 2, 6)[number % 4]
            path = work / f"linear{number}.wav"
            duration = _sox(path, rate, encoding, channels, number)
            facts = {"format": "wav", "codec": codec, "rate": rate, "channels": channels}
            yield path, facts | {"bits": bits, "frames": round(duration * rate)}
            number += 1
    for suffix, form in (("aiff", "aiff"), ("aifc", "aiff"), ("au", "au"), ("w64", "w64")):
        for bits, codec, encoding in _WIDTHS[1:3]:
            path = work / f"linear{number}.{suffix}"
            rate, channels = (44_100, 96_000)[number % 2], 1 + number % 2
            duration = _sox(path, rate, encoding, channels, number)
            facts = {"format": form, "codec": codec, "rate": rate, "channels": channels}
            yield path, facts | {"bits": bits, "frames": round(duration * rate)}
            number += 1


#: The encoders and their options; {in} and {out} are files.
_ENCODERS: tuple[tuple[str, str, str], ...] = (
    ("flac", "flac", "flac --silent --totally-silent -0 -o {out} {in}"),
    ("flac", "flac", "flac --silent -8 --tag=TITLE=Best -o {out} {in}"),
    ("ogg", "vorbis", "oggenc -Q -q 0 -s 1 -o {out} {in}"),
    ("ogg", "vorbis", "oggenc -Q -q 6 -s 2 -t Title -a Artist -o {out} {in}"),
    ("opus", "opus", "opusenc --quiet --serial 1 --bitrate 32 {in} {out}"),
    ("opus", "opus", "opusenc --quiet --serial 2 --bitrate 160 --title Title {in} {out}"),
    ("mp3", "mp3", "lame --quiet -b 128 {in} {out}"),
    ("mp3", "mp3", "lame --quiet -V 4 --tt Title --ta Artist --tg 17 {in} {out}"),
    ("mp3", "mp3", "lame --quiet -V 2 -t {in} {out}"),
    ("mp3", "mp3", "lame --quiet -b 64 -m m --id3v1-only --tt Old {in} {out}"),
)


def _coded(work: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """FLAC, Ogg Vorbis, Opus and MP3 from WAV files that sox makes."""
    number = 0
    for rate, bits in ((44_100, 16), (48_000, 24), (96_000, 24)):
        for suffix, codec, command in _ENCODERS:
            channels = 1 + number % 2
            source = work / f"source{number}.wav"
            number += 1
            # lame takes 16 bits and 48 kHz at most; the others take what comes.
            real_rate, real_bits = (min(rate, 48_000), 16) if suffix == "mp3" else (rate, bits)
            encoding = ("-b", str(real_bits), "-e", "signed")
            duration = _sox(source, real_rate, encoding, channels, number)
            path = work / f"coded{number}.{suffix}"
            words = [{"{in}": str(source), "{out}": str(path)}.get(w, w) for w in command.split()]
            _run(*words)
            form = "ogg" if suffix == "opus" else suffix
            facts: dict[str, Any] = {"format": form, "codec": codec}
            facts["rate"] = 48_000 if codec == "opus" else real_rate
            facts["channels"] = 1 if "-m m" in command else channels
            if codec == "flac":
                facts |= {"bits": real_bits, "frames": round(duration * real_rate)}
            yield path, facts


_INSTRUMENTS = ("Kick", "Snare", "Hat", "Perc", "Bass", "Lead", "Pad", "Piano", "Vox", "Gtr", "FX")
_ADJECTIVES = ("Warm", "Dusty", "Deep", "Analog", "Bright", "Lo-Fi", "Dry", "Wet", "Tape", "Punchy")
_UNICODE = ("Überklang", "Café", "東京", "Δέλτα", "Музыка", "e\u0301tude", "☃ Snow", "नमस्ते", "🥁")
_KEYS = (
    ("Cmin", "Cmin"),
    ("F#min", "F#min"),
    ("Ebmaj", "Ebmaj"),
    ("Am", "Amin"),
    ("Abm", "G#min"),
    ("D minor", "Dmin"),
    ("Gmajor", "Gmaj"),
)
_FOLDERS = ("Drums", "Bass", "Loops", "One Shots", "Field", "Keys", "Synths", "Takes", "old")


def _write_all(
    folder: Path, originals: list[Original], count: int, rng: random.Random
) -> Iterator[File]:
    done: list[tuple[str, str, dict[str, Any]]] = []
    for number in range(count):
        original = originals[number % len(originals)] if number < 500 else rng.choice(originals)
        sort, data, suffix, facts = _make(original, number, rng)
        if number % 25 == 7 and done:
            source, suffix, facts = rng.choice(done)
            sort, data = "copy", (folder / source).read_bytes()
        path, named = _path(number, suffix, facts if sort == "audio" else None, rng)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if sort == "audio":
            done.append((path, suffix, facts))
        yield File(path, len(data), sort, facts | named)


def _make(
    original: Original, number: int, rng: random.Random
) -> tuple[str, bytes, str, dict[str, Any]]:
    """Sort, content, suffix and facts of one file."""
    suffix = original.name.rpartition(".")[2]
    if number % 50 == 3:
        return "empty", b"", suffix, {}
    if number % 20 == 11:
        return _other(number, rng)
    if number % 60 == 29:
        data, facts = midi(number, rng)
        return "audio", data, "mid", facts
    data, facts = vary(original, number, rng)
    if number % 25 == 13:
        return "broken", _break(data, rng), suffix, {}
    return "audio", data, suffix, facts


def _other(number: int, rng: random.Random) -> tuple[str, bytes, str, dict[str, Any]]:
    text = f"Notes {number}\n" + "".join(rng.choice("abcdefgh \n") for _ in range(300))
    kinds = (
        ("txt", text.encode(), "txt"),
        ("png", b"\x89PNG\r\n\x1a\n" + rng.randbytes(900), "png"),
        ("pdf", b"%PDF-1.7\n" + rng.randbytes(900), "pdf"),
        ("asd", rng.randbytes(400), "asd"),
    )
    suffix, data, form = kinds[number // 20 % len(kinds)]
    return "other", data, suffix, {"format": form}


def _break(data: bytes, rng: random.Random) -> bytes:
    """What a full disk, a bad sector or a wrong name make of a file."""
    how = rng.randrange(3)
    if how == 0:
        return data[: rng.randrange(1, max(2, len(data)))]
    if how == 1:
        start = rng.randrange(len(data))
        return data[:start] + bytes(min(512, len(data) - start)) + data[start + 512 :]
    return rng.randbytes(rng.randrange(1, 3000))


def vary(original: Original, number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    """A file like the original that no other number gives, and the facts that it must tell."""
    suffix = original.name.rpartition(".")[2]
    makers: dict[str, Callable[..., tuple[bytes, dict[str, Any]]]] = {
        "wav": _vary_wave,
        "aiff": _vary_aiff,
        "aifc": _vary_aiff,
        "flac": _vary_tags,
        "ogg": _vary_tags,
        "opus": _vary_tags,
        "mp3": _vary_mp3,
    }
    if suffix not in makers:
        # The tail of the audio: noise that no other file has.
        return original.data[:-8] + struct.pack(">Q", number), original.facts
    data, more = makers[suffix](original, number, rng)
    return data, original.facts | more


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


def _vary_wave(original: Original, number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    data = original.data
    start = data.index(b"data") + 8
    head = data[12 : start - 8]
    channels, bits = original.facts["channels"], original.facts["bits"]
    block = channels * bits // 8
    audio = data[start : start + original.facts["frames"] * block]
    turn = rng.randrange(original.facts["frames"]) * block
    audio = (audio[turn:] + audio[:turn])[: len(audio) - rng.randrange(20) * block]
    title = f"{rng.choice(_INSTRUMENTS)} {number}"
    info = _chunk(b"INAM", title.encode() + b"\0") + _chunk(b"IART", b"Corpus\0")
    facts: dict[str, Any] = {"frames": len(audio) // block, "title": title, "artist": "Corpus"}
    extra = _chunk(b"LIST", b"INFO" + info)
    if number % 3 == 0:
        tempo = float(rng.randrange(60, 180))
        extra += _chunk(b"acid", struct.pack("<IHHfIHHf", 2, 60, 0x8000, 0, 8, 4, 4, tempo))
        facts |= {"tempo": tempo, "tempo_source": "acid", "loop": True, "root_note": 60}
    if number % 4 == 0:
        extra += _chunk(b"bext", _bext(number))
        facts |= {"originator": "Corpus", "time_reference": number}
    before = number % 2 == 0
    fact = b"" if before else extra
    body = b"WAVE" + head + (extra if before else b"") + _chunk(b"data", audio) + fact
    return b"RIFF" + struct.pack("<I", len(body)) + body, facts


def _bext(number: int) -> bytes:
    head = f"Take {number}".encode().ljust(256, b"\0") + b"Corpus".ljust(32, b"\0") + bytes(32)
    return head + b"2024-06-3012:34:56" + struct.pack("<QH", number, 1) + bytes(254)


def _vary_aiff(original: Original, number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    title = f"{rng.choice(_INSTRUMENTS)} {number}"
    body = title.encode()
    name = b"NAME" + struct.pack(">I", len(body)) + body + b"\0" * (len(body) % 2)
    data = original.data[8:] + b"\0" * (len(original.data) % 2) + name
    return b"FORM" + struct.pack(">I", len(data)) + data, {"title": title}


def _vary_tags(original: Original, number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    from mutagen.flac import FLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggvorbis import OggVorbis

    readers: dict[str, Any] = {"flac": FLAC, "vorbis": OggVorbis, "opus": OggOpus}
    file = io.BytesIO(original.data)
    tagged = readers[original.facts["codec"]](file)
    title, tempo = f"{rng.choice(_UNICODE)} {number}", float(rng.randrange(60, 180))
    tagged["title"] = title
    tagged["bpm"] = str(int(tempo))
    tagged["tags"] = "; ".join(rng.sample(_ADJECTIVES, 2))
    file.seek(0)
    tagged.save(file, padding=lambda _info: 64)
    from streamdb.metadata.draft import clean

    return file.getvalue(), {"title": clean(title), "tempo": tempo, "tempo_source": "tag"}


def _vary_mp3(original: Original, number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    from mutagen.id3 import ID3, TBPM, TCON, TIT2, TKEY

    from streamdb.metadata.id3 import tag_length

    tags = ID3()
    title, tempo = f"{rng.choice(_UNICODE)} {number}", float(rng.randrange(60, 180))
    tags.add(TIT2(encoding=rng.choice((1, 3)), text=title))
    tags.add(TBPM(encoding=0, text=str(int(tempo))))
    tags.add(TKEY(encoding=0, text="Ebm"))
    tags.add(TCON(encoding=3, text="House"))
    file = io.BytesIO()
    tags.save(file, v2_version=3 + number % 2, padding=lambda _info: 32)
    from streamdb.metadata.draft import clean

    audio = original.data[tag_length(original.data) :]
    facts = {"title": clean(title), "tempo": tempo, "key": "Ebmin", "genre": "House"}
    return file.getvalue() + audio, facts


def midi(number: int, rng: random.Random) -> tuple[bytes, dict[str, Any]]:
    """A Standard MIDI File of a few bars."""
    quarter = 60_000_000 // rng.randrange(60, 180)
    notes = rng.randrange(4, 60)
    name = f"Sketch {number}".encode()
    track = (
        b"\0\xff\x03" + bytes([len(name)]) + name + b"\0\xff\x51\x03" + quarter.to_bytes(3, "big")
    )
    for _ in range(notes):
        note = rng.randrange(30, 90)
        track += bytes([0, 0x90, note, 90, 0x60, 0x80, note, 0])
    track += b"\0\xff\x2f\0"
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
    facts = {"format": "midi", "tempo": round(60_000_000 / quarter, 3), "notes": notes}
    return head + b"MTrk" + struct.pack(">I", len(track)) + track, facts | {"title": name.decode()}


def _path(
    number: int, suffix: str, facts: dict[str, Any] | None, rng: random.Random
) -> tuple[str, dict[str, Any]]:
    """A path as sample libraries have them, and the facts that its name adds to the file's own.

    Without ``facts`` the name tells nothing. The number in it makes it unique.
    """
    folders = [rng.choice(_FOLDERS)]
    if rng.random() < 0.6:
        folders.append(f"{rng.choice(_ADJECTIVES)} {rng.choice(_INSTRUMENTS)}s")
    if rng.random() < 0.15:
        folders.append(rng.choice(_UNICODE))
    if rng.random() < 0.05:
        folders.extend(f"Disc {depth}" for depth in range(rng.randrange(1, 9)))
    words = [rng.choice(_ADJECTIVES), rng.choice(_INSTRUMENTS), f"{number:05}"]
    if rng.random() < 0.1:
        words.insert(1, rng.choice(_UNICODE))
    named: dict[str, Any] = {}
    if facts is not None and rng.random() < 0.3:
        tempo = float(rng.randrange(60, 180))
        words.append(f"{tempo:.0f}bpm")
        named |= {"tempo": tempo, "tempo_source": "name"} if "tempo" not in facts else {}
    if facts is not None and rng.random() < 0.3:
        spelled, key = rng.choice(_KEYS)
        words.append(spelled)
        named |= {"key": key, "key_source": "name"} if "key" not in facts else {}
    name = rng.choice((" ", "_", "-")).join(words)
    suffix = suffix.upper() if rng.random() < 0.1 else suffix
    return "/".join((*folders, f"{name}.{suffix}")), named
