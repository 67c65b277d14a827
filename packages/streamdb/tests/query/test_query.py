"""The query language: what it means, what it refuses, and that it reads back."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb.errors import InvalidQuery
from streamdb.metadata.fields import ALIASES, FIELDS, Kind
from streamdb.query import MAX_LENGTH, Query, parse
from streamdb.query.match import glob, is_wild
from streamdb.query.values import format_number

KICK = {
    "format": "wav",
    "codec": "pcm_s24",
    "rate": 96000,
    "channels": 2,
    "bits": 24,
    "frames": 96000,
    "duration": 1.0,
    "tempo": 120.0,
    "key": "C#min",
    "title": "Big Kick (Straße)",
    "tags": ["Warm", "analog"],
    "loop": True,
    "root_note": 36,
    "origination": "2024-06-30T12:00:00",
    "loudness": -23.0,
    "markers": [{"frame": 0, "label": "intro"}, {"frame": 48000, "label": "Verse 2"}],
    "rating": 4,
    "catalog": "007",
    "checked": False,
}
PATH = "drums/Acoustic/kick 01.wav"
SIZE = 2 << 20


def hits(query, metadata=KICK, path=PATH, size=SIZE):
    return parse(query).matches(path, metadata, size)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "rate=96000 channels=2 duration<2s tempo=118..122 path:/drums/",
        "rate=96kHz rate=96k samplerate=96KHZ rate:96000",
        "rate>=44.1kHz rate<=96kHz rate>48000 rate<192000 rate==96000",
        "rate=44100|96000",
        "channels=stereo ch=2 channels=mono|stereo",
        "bits=24bit bits>16 bitdepth=16..24",
        "duration=1s duration=1000ms duration=0:01 duration=0.9..1.1 duration<1.5min",
        "duration=0:00:01 length=0.5..",
        "tempo=120 bpm=120BPM tempo=120.05 tempo~118 tempo=..120 tempo=120..",
        "key=C#min key=Dbm key=dbmin key=C#min|Ebmaj key=minor key=12A key=5m",
        'key="C# minor" key~E key~G#m key~F#m -key~Cm',
        "format=WAV format=wav|flac codec=pcm_* codec=pcm_s2?",
        'title:kick title="big kick (strasse)" title="*STRASSE*"',
        "tag:warm tags=ANALOG tag:w* -tag:old tag=old|warm",
        "loop=yes loop=true -loop=no",
        "root_note=C2 root_note=36 root_note=C1..C3 root_note<C4",
        "origination=2024 origination=2024-06 origination=2023..2024 origination>2023",
        "origination>=2024-06 origination<=2024 origination=2024-06-30 origination=..2024-06",
        "loudness=-23 loudness=-24..-22 loudness<-20 loudness=-23LUFS",
        "size>1MiB size=2MiB size<=2097152 size=1MB..1GB size=2097152B",
        "path:drums path:drums/Ac path=drums/Acoustic/* path=*/kick*",
        'path="drums/Acoustic/kick 01.wav" path="/drums/Acoustic/kick 01.wav"',
        'name:"kick*" name=*.WAV name:KICK name="kick 01" name="kick 01.wav"',
        "ext=wav ext=.WAV ext=aif|wav -ext=flac",
        "kick warm -snare !snare drums/",
        'text:analog "kick 01" acoustic|electric',
        "has:tempo has=key -has:genre has:bpm has:meta.rating -has:meta.stars",
        "tempo!=100 -tempo!=120 -genre=house genre!=house",
        "meta.rating=4 meta.rating>3 meta.rating=3..5 meta.rating~4.1 meta.rating=1|4",
        "meta.catalog=007 meta.catalog:07 meta.catalog=0* -meta.catalog=7",
        "meta.checked=false -meta.checked=true meta.tempo=120",
        "markers.label:verse markers.frame=48000 meta.markers.label=intro -markers.label:outro",
    ],
)
def test_what_matches(query):
    for word in [query, *(query.split() if '"' not in query else [])]:
        assert hits(word), word


@pytest.mark.parametrize(
    "query",
    [
        "rate=44100",
        "rate>96000",
        "rate<96000",
        "channels=1",
        "duration<1s",
        "duration=1.01",
        "tempo=121..130",
        "tempo~130",
        "key=Cmin",
        "key=major",
        "key~Cm",
        "tag:arm",
        "tag:old|cold",
        "loop=no",
        "-loop=yes",
        "path:Drums/",
        "path:drums/acoustic",
        "path=drums",
        "name:snare",
        "name=kick",
        "ext=av",
        "genre=house",
        "has:genre",
        "-has:tempo",
        "-kick",
        "snare",
        "kick snare",
        "size<1MiB",
        "origination>2024-06",
        "origination<2024",
        "origination=2025..",
        "meta.rating=four",
        "meta.nothing=1",
        "meta.rating.deeper=1",
        "markers=intro",
        "meta.catalog=7",
        "title:snare",
    ],
)
def test_what_does_not_match(query):
    assert not hits(query)


def test_a_field_that_is_missing_or_of_another_type_matches_only_in_the_negative():
    without: tuple[dict, ...] = (
        {},
        {"tempo": None},
        {"tempo": "fast"},
        {"tempo": True},
        {"tempo": []},
    )
    for metadata in without:
        assert not hits("tempo=1..300", metadata)
        assert not hits("tempo>0", metadata)
        assert hits("-tempo=1..300", metadata)
    assert not hits("key=Cmin", {"key": 5})
    assert not hits("title:a", {"title": 5})
    assert not hits("origination=2024", {"origination": 2024})
    assert not hits("loop=yes", {"loop": "yes"})
    assert not hits("rate=1..", {"rate": float("nan")})


def test_wildcards_can_be_taken_literally():
    assert hits(r"title=what\?", {"title": "what?"})
    assert not hits(r"title=what\?", {"title": "what!"})
    assert hits(r'title="a\*b \"c\" \\d"', {"title": 'a*b "c" \\d'})
    assert hits("path:a*b", {}, "a/b")
    assert not hits(r"path:a\*b", {}, "a/b")


@pytest.mark.parametrize(
    ("query", "prefix"),
    [
        ("path:/drums/", "drums/"),
        ("path:drums/ki", "drums/ki"),
        ("path:drums/*kick", "drums/"),
        ("path=drums/kick?.wav", "drums/kick"),
        ("path=a/b.wav", "a/b.wav"),
        ("path:drums/kick|drums/kilo", "drums/ki"),
        ("path:drums|bass", None),
        ("path:drums path:drums/kicks", "drums/kicks"),
        ("-path:drums", None),
        ("path!=drums", None),
        ("path:*", None),
        (r"path:a\*b*c", "a*b"),
        ("rate=96000", None),
        ("path:/", None),
        ("", None),
    ],
)
def test_the_prefix_that_narrows_the_search(query, prefix):
    assert parse(query).prefix() == prefix


@pytest.mark.parametrize(
    ("query", "uses"),
    [("path:a size>1 name:b ext=wav", False), ("path:a kick", True), ("rate=1", True), ("", False)],
)
def test_queries_know_whether_they_need_metadata(query, uses):
    assert parse(query).uses_metadata is uses


@pytest.mark.parametrize(
    ("query", "column", "words"),
    [
        ("tempoo=3", 1, ["did you mean 'tempo'", "album", "meta.tempoo"]),
        ("rate=1 formatt=wav", 8, ["did you mean 'format'"]),
        ("-ratee=1", 2, ["did you mean 'rate'"]),
        ("zzz=1", 1, ["there is no field 'zzz'", "duration"]),
        ("rate=fast", 6, ["rate cannot be 'fast'", "44.1kHz"]),
        ("rate=1 rate=48000|x", 19, ["rate cannot be 'x'"]),
        ("duration<2parsec", 10, ["500ms"]),
        ("duration=1:99", 10, ["1:30"]),
        ("tempo=122..118", 7, ["118..122"]),
        ("tempo=1..2..3", 7, ["118..122"]),
        ("tempo=..", 7, ["118..122"]),
        ("key=Hmin", 5, ["Cmin", "F#m"]),
        ("loop=maybe", 6, ["yes or no"]),
        ("root_note=Z9", 11, ["C3"]),
        ("origination=june", 13, ["2024-06"]),
        ("size>1XB", 6, ["1MiB"]),
        ("channels=surround", 10, ["stereo"]),
        ("size>1e999", 6, ["MiB"]),
        ("tempo=", 7, ["value is missing"]),
        ("tempo= 120", 7, ["value is missing", "without spaces"]),
        ("tempo=120|", 11, ["value is missing"]),
        ("|kick", 1, ["value is missing"]),
        ("-", 2, ["value is missing"]),
        ("!", 2, ["value is missing"]),
        ("tempo<100|200", 7, ["takes one value", "LOW..HIGH"]),
        ("tempo<100..200", 7, ["takes one value"]),
        ("title<3", 6, ["cannot be asked with '<'", "= : !="]),
        ("key>C", 4, ["cannot be asked with '>'"]),
        ("loop~yes", 5, ["cannot be asked with '~'"]),
        ('name:"kick', 6, ["not closed"]),
        ('name:kick"er"', 10, ["not understood", "quotes"]),
        ('"a"b', 4, ["not understood"]),
        ("kick\\", 5, ["backslash"]),
        (r"name:a\nb", 7, ["backslash before 'n'"]),
        ("has:size", 5, ["has:tempo"]),
        ("has:nothing", 5, ["there is no field"]),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, ["limit"]),
    ],
)
def test_what_is_refused_with_its_column_and_what_is_allowed(query, column, words):
    with pytest.raises(InvalidQuery) as caught:
        parse(query)
    assert caught.value.column == column
    for word in words:
        assert word in str(caught.value)
    assert caught.value.next_step


@settings(max_examples=400)
@given(st.text(max_size=60))
def test_any_text_is_a_query_or_an_invalid_query(text):
    check_round_trip(text)


_PIECES = [*FIELDS, *ALIASES, "meta.x", "=", ":", "<", ">=", "!=", "~", "..", "|", "-", "!", " "]
_PIECES += [
    '"',
    "\\",
    "*",
    "?",
    "1",
    "2.5",
    "kHz",
    "ms",
    "C#min",
    "yes",
    "2024-06",
    "a b",
    "ß",
    "é",
]


@settings(max_examples=600)
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))
def test_any_jumble_of_its_own_words_is_a_query_or_an_invalid_query(text):
    check_round_trip(text)


def check_round_trip(text):
    query = refused = None
    try:
        query = parse(text)
    except InvalidQuery as error:
        refused = error
    if refused:
        assert 1 <= refused.column <= len(text) + 1
        assert refused.next_step
        return
    assert isinstance(query, Query)
    again = parse(str(query))
    assert again == query
    assert str(again) == str(query)
    for metadata in ({}, KICK):
        assert query.matches(PATH, metadata, 5) is again.matches(PATH, metadata, 5)
    prefix = query.prefix()
    if prefix is not None and query.matches(PATH, KICK, SIZE):
        assert PATH.startswith(prefix)


_NUMERIC = [f.name for f in FIELDS.values() if f.kind in {Kind.DURATION, Kind.TEMPO, Kind.INTEGER}]
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from(_NUMERIC), _NUMBERS, _NUMBERS)
def test_ranges_mean_what_python_means(name, one, other):
    low, high = sorted((one + 0.0, other + 0.0))
    query = parse(f"{name}={format_number(low)}..{format_number(high)}")
    middle = low / 2 + high / 2
    for value in (low, high, middle):
        assert query.matches("a", {name: value}, 0) is (low <= value <= high)
    assert parse(str(query)) == query


@given(st.floats(1e-6, 1e9), st.sampled_from(["<", "<=", ">", ">="]), st.floats(1e-6, 1e9))
def test_comparisons_mean_what_python_means(wanted, op, found):
    expected = {"<": found < wanted, "<=": found <= wanted}
    expected |= {">": found > wanted, ">=": found >= wanted}
    query = parse(f"duration{op}{format_number(wanted)}")
    assert query.matches("a", {"duration": found}, 0) is expected[op]


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_wildcards_mean_what_the_shell_means(pattern, text):
    assert (glob(pattern).fullmatch(text) is not None) is fnmatch.fnmatchcase(text, pattern)
    assert is_wild(pattern) is ("*" in pattern or "?" in pattern)


def test_many_stars_stay_quick():
    """A backtracking matcher would take longer than the universe has lasted."""
    query = parse("title=" + "a*" * 200 + "b")
    assert not query.matches("p", {"title": "a" * 5000}, 0)


def test_every_example_of_the_field_table_is_a_query():
    for field in FIELDS.values():
        query = parse(field.example)
        assert len(query.terms) == 1
        assert parse(str(query)) == query
        assert field.name in str(query)


def test_queries_print_readably():
    assert str(parse("rate=44.1kHz -tag:old key=Cm|Eb kick")) == (
        'rate=44100 -tags:"old" key=Cmin|Ebmaj text:"kick"'
    )
