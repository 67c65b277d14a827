"""The reference page of metadata and queries, written from the table of fields.

``python -m streamdb.metadata.reference`` prints docs/reference/streamdb-metadata.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamdb.metadata.fields import DERIVED, STORED, Field, Kind

_INTRODUCTION = """\
# StreamDB: metadata and queries

Made by `make docs` from the table of fields (`streamdb/metadata/fields.py`).

`streamdb import` reads what a file tells about itself and stores it beside the file's bytes;
`streamdb find QUERY` asks for it. From Python: `streamdb.metadata.describe(source, name)` and
`store.find(query)`.

## Fields

Only what a file tells is stored; nothing is guessed from its sound. Texts are cut to 1024
characters and freed of control characters, lists end after 256 entries.
"""

_SOURCES = """\
### Where facts come from

| format | read from |
|---|---|
| WAV, BWF, RF64, BW64 | `fmt`, `fact`, `ds64`, `data`, `bext`, `acid`, `smpl`, `inst`, `cue`, \
`LIST/INFO`, `LIST/adtl`, `iXML`, `id3` |
| AIFF, AIFF-C | `COMM`, `SSND`, `NAME`, `AUTH`, `ANNO`, `(c)`, `MARK`, `INST`, `ID3` |
| FLAC, Ogg Vorbis, Opus, Ogg FLAC | stream header, Vorbis comments |
| MP3 (MPEG 1 to 2.5, layers I to III) | frame headers, Xing/Info/VBRI, ID3v1, ID3v2.2 to 2.4; \
without a length in the file all frames are counted (up to 64 MiB) |
| MIDI | tempo map, time and key signature, track names, notes |
| AU, W64, VOC, 8SVX, Core Audio and other rare ones | format and length only |
| anything else | `format` by its first bytes, else by its suffix |

Facts inside a file win over those in its name. `tempo_source` and `key_source` say where from:
`acid`, `tag`, `midi` or `name`. The tempo of an `acid` chunk that marks a one-shot is a default and
is left out. A broken file keeps every fact that could be read, and says in `problem` what is wrong.
"""

_NAMES = """\
### Tempo and key in names

- A number of 40 to 300 beside `bpm`: `120bpm`, `BPM_92.5`, `(90 BPM)`.
- A bare number of 60 to 200, if it is the only one that may be a tempo and stands between other
  words, at the beginning, or at the end of a name with a word such as *loop*, *beat*, *groove*,
  *break* or *fill*: `PMB_120_Am_Pluck.wav`. Not: numbers with a unit (`120_Hz`) or a leading zero,
  machines (808, 909, 101, 106), numbers after *take*, *vol*, *vel* and the like, and names with a
  note (`Piano_C4_127`).
- A key in one word (`Cmin`, `F#maj`, `Ebminor`, `F#m`, `Am`), in two (`C minor`, `Bb_Maj`), or
  after *key* (`Key_C`). Not: chords (`Am7`), bare letters, `AM`, `GM`, the *Am* of *Am I*, the *a*
  of *a minor fall*. Two different keys are none.
"""

_LANGUAGE = """\
## Queries

    rate=96000 channels=2 duration<2s tempo=118..122 key=Cmin path:/drums/ tag:warm
    kick -tag:old "hi hat"

Terms stand side by side, and all must hold. An empty query means everything.

| written | means |
|---|---|
| `field=value` | equals; texts as a whole, upper and lower case alike |
| `field:value` | texts: contains; paths: begins with; everything else: equals |
| `field!=value`, `-field=value`, `!field=value` | not (also true where the field is missing) |
| `field<value`, `<=`, `>`, `>=` | numbers and dates |
| `field=low..high`, `low..`, `..high` | ranges, both ends included |
| `field~value` | numbers: within 3 %; keys: the same, the relative and those a fifth away |
| <code>field=one&#124;other</code> | any of them |
| `word`, `"two words"` | anywhere in the path, the texts or the tags |
| `*`, `?` | any text, any one letter; `\\*`, `\\?`, `\\"` and `\\\\` mean the sign itself |
| `has:field` | the field is known; `-has:field`: it is not |

- Numbers equal within 0.05 % where they are measured (durations, tempi), else exactly.
- Keys compare by sound (`C#min` is `Dbmin`) and are understood as `Cmin`, `Cm`, `"C minor"`, `C`,
  `F#maj`, Camelot `8A` and Open Key `1m`; `minor` and `major` mean every such key.
- Dates compare as far as they are given: `origination=2024-06` is the whole month.
- Paths tell upper from lower case, names (`name:`) do not. `name=` fits with or without the suffix.
  A path with a wildcard must fit as a whole; `*` also spans `/`.
- Metadata of your own is asked for as `meta.NAME`, within nested values as `meta.OUTER.INNER`; a
  list matches when any of its entries does: `markers.label:verse`.
- A mistake is answered with its column and with what would be allowed there.
"""

_UNITS = """\
### Units

| kind | units (upper or lower case) |
|---|---|
| frequency | `Hz` (default), `kHz`, `k`, `MHz` |
| duration | `s` (default), `ms`, `us`, `min`, `h`, `1:30`, `1:02:03.5` |
| tempo | `BPM` |
| size | bytes (default), `kB` `MB` `GB` `TB` (1000), `KiB` `MiB` `GiB` `TiB` (1024) |
| bits | `bit` |
| channels | `ch`, or the words `mono`, `stereo`, `quad`, `5.1`, `7.1` |
| note | `C4` (= 60), `F#-1`, `Bb2`, or a MIDI number |
| yes or no | `yes` `no`, `true` `false`, `on` `off`, `1` `0` |
"""


def page() -> str:
    """The whole page as Markdown."""
    return (
        "\n".join(
            (
                _INTRODUCTION,
                _table(STORED),
                _SOURCES,
                _NAMES,
                _LANGUAGE,
                _UNITS,
                "### Fields of every document\n",
                _table(DERIVED),
            )
        ).rstrip("\n")
        + "\n"
    )


def _table(fields: Iterable[Field]) -> str:
    rows = ["| field | kind | meaning | example |", "|---|---|---|---|"]
    rows += [_row(field) for field in fields]
    return "\n".join(rows) + "\n"


def _row(field: Field) -> str:
    names = ", ".join(f"`{name}`" for name in (field.name, *field.aliases))
    meaning = field.meaning + (f", in {field.unit}" if field.unit else "")
    kind = "list" if field.name == "markers" else field.kind.value
    if field.kind is Kind.KEY:
        meaning += "; sharps and flats as most write them (F#min, Bbmaj)"
    # A bar would end the cell; <code> takes an entity, backquotes do not.
    example = field.example
    shown = f"<code>{example.replace('|', '&#124;')}</code>" if "|" in example else f"`{example}`"
    return f"| {names} | {kind} | {meaning} | {shown} |"


if __name__ == "__main__":
    print(page(), end="")
