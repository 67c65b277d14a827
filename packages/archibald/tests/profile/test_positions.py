"""The scanner finds exactly the key paths that tomllib parses, and points at them."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archibald.profile.positions import MAX_DEPTH, Position, TooDeepError, locate


def paths_of(value, path=()):
    """Return every key path below a parsed value."""
    items = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        items = list(enumerate(value))
    found = set()
    for key, inner in items:
        found |= {(*path, key)} | paths_of(inner, (*path, key))
    return found


def test_every_kind_of_key_is_located():
    text = (
        "# first\n"
        "format = 1\n"
        'a . "b.c" = [1, # one\n'
        "  2]\n"
        "[system] # comment\n"
        "  'host name' = \"x # no comment\"\n"
        "t = { u = 1, v.w = '''\n] = } '''''}\n"
        "[[variant]]\n"
        'name = """a"b\\"""" # still a comment\n'
        "[variant.audio]\n"
        "quantum = 16\n"
        "[[variant]]\n"
        "when = 2020-01-01 10:00:00\n"
    )
    positions = locate(text)
    places = {
        path: (located.key.line, located.key.column, located.value.line, located.value.column)
        for path, located in positions.paths.items()
    }
    assert places == {
        ("format",): (2, 1, 2, 10),
        ("a",): (3, 1, 3, 1),
        ("a", "b.c"): (3, 5, 3, 13),
        ("a", "b.c", 0): (3, 14, 3, 14),
        ("a", "b.c", 1): (4, 3, 4, 3),
        ("system",): (5, 2, 5, 2),
        ("system", "host name"): (6, 3, 6, 17),
        ("system", "t"): (7, 1, 7, 5),
        ("system", "t", "u"): (7, 7, 7, 11),
        ("system", "t", "v"): (7, 14, 7, 14),
        ("system", "t", "v", "w"): (7, 16, 7, 20),
        ("variant",): (9, 3, 9, 3),
        ("variant", 0): (9, 3, 9, 3),
        ("variant", 0, "name"): (10, 1, 10, 8),
        ("variant", 0, "audio"): (11, 10, 11, 10),
        ("variant", 0, "audio", "quantum"): (12, 1, 12, 11),
        ("variant", 1): (13, 3, 13, 3),
        ("variant", 1, "when"): (14, 1, 14, 8),
    }
    assert positions.complete
    assert set(places) == paths_of(tomllib.loads(text))


def test_repeated_keys_and_tables_are_noted():
    positions = locate("[a]\nb = 1\nb = 2\n[a]\n")
    assert [(r.path, r.position, r.first) for r in positions.repeated] == [
        (("a", "b"), Position(3, 1), Position(2, 1)),
        (("a",), Position(4, 2), Position(1, 2)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * (MAX_DEPTH + 1) + " = 1",
        "[a" + ".a" * (MAX_DEPTH + 1) + "]",
        "a = " + "[" * (MAX_DEPTH + 1),
        "a = " + "{a=" * (MAX_DEPTH + 1),
    ],
)
def test_deep_nesting_is_refused_before_anybody_recurses(text):
    with pytest.raises(TooDeepError):
        locate(text)


@pytest.mark.parametrize("text", ["a", "a = ", "[a", "a = [1", 'a = "', "= 1", "a = 1 2", "\0"])
def test_a_text_that_is_no_toml_is_given_up_quietly(text):
    assert not locate(text).complete


_BARE = st.text("abz09_-", min_size=1, max_size=4)
_NAMES = st.one_of(_BARE, st.text(max_size=4).filter(lambda s: s.isprintable()))
_SCALARS = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        [
            "true",
            "inf",
            "-nan",
            "0xff",
            "1_000",
            "2020-01-01",
            "2020-01-01 10:00:00",
            "10:00:00.5",
            "1979-05-27T07:32:00-08:00",
            "'lit # ] } ,'",
            '"""\n] "" \\""\\" }\n"""',
            "'''\n'' [x]\ny = 1'''",
            "''''''",
            '""',
            '"""a"""""',
        ]
    ),
    st.text("ab \"'\\#=[]{},.é\n", max_size=8).map(json.dumps),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)
_TABLES = st.recursive(
    st.dictionaries(_NAMES, _VALUES, max_size=3),
    lambda inner: st.dictionaries(
        _NAMES, st.one_of(_VALUES, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4
    ),
    max_leaves=8,
)


class Writer:
    """Writes a tree of tables in a random style; a str is a value as it stands in the text."""

    def __init__(self, draw):
        self.draw = draw
        self.lines = []

    def coin(self):
        return self.draw(st.booleans())

    def gap(self, *more):
        return self.draw(st.sampled_from(["", " ", "\t ", *more]))

    def key(self, name):
        if name and set(name) <= set("abz09_-") and self.coin():
            return name
        if "'" not in name and "\t" not in name and self.coin():
            return f"'{name}'"
        return json.dumps(name, ensure_ascii=self.coin() and max(name, default="a") < "\U00010000")

    def path(self, names):
        return f"{self.gap()}.{self.gap()}".join(self.key(name) for name in names)

    def value(self, value):
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            space = ("\n", " # ] comment\n", "\r\n")
            items = [self.gap(*space) + self.value(item) + self.gap(*space) for item in value]
            comma = "," + self.gap("\n") if items and self.coin() else ""
            return "[" + ",".join(items) + comma + self.gap("\n") + "]"
        pairs = [
            f"{self.gap()}{self.key(k)}{self.gap()}={self.gap()}{self.value(v)}{self.gap()}"
            for k, v in value.items()
        ]
        return "{" + ",".join(pairs) + "}"

    def statement(self, names, value):
        comment = self.draw(st.sampled_from(["", " # a = [", "\r"]))
        self.lines.append(
            f"{self.gap()}{self.path(names)}{self.gap()}={self.gap()}{self.value(value)}{comment}"
        )

    def table(self, names, table):
        later: list[tuple[str, dict | list]] = []
        for name, value in table.items():
            if isinstance(value, dict) and value and self.coin():
                later.append((name, value))
            elif isinstance(value, dict) and value and self.coin():
                for inner, inner_value in value.items():
                    self.statement([name, inner], inner_value)
            elif (
                isinstance(value, list)
                and value
                and all(isinstance(item, dict) for item in value)
                and self.coin()
            ):
                later.append((name, value))
            else:
                self.statement([name], value)
        for name, value in later:
            brackets = "[[{}]]" if isinstance(value, list) else "[{}]"
            for item in value if isinstance(value, list) else [value]:
                self.lines.append(brackets.format(self.gap() + self.path([*names, name])))
                self.table([*names, name], item)


@st.composite
def toml_texts(draw):
    writer = Writer(draw)
    writer.table([], draw(_TABLES))
    return "\n".join(writer.lines) + "\n"


def assert_agrees_with_tomllib(text):
    positions = locate(text)
    assert positions.complete
    assert positions.repeated == ()
    assert set(positions.paths) == paths_of(tomllib.loads(text))
    return positions


def text_at(text, position):
    lines = text.split("\n")
    return "\n".join(lines[position.line - 1 :])[position.column - 1 :]


def assert_points_at_key(text, name):
    if text.startswith('"'):
        assert json.JSONDecoder().raw_decode(text)[0] == name
    else:
        assert text.startswith((name, f"'{name}'"))


def assert_points_at_value(text, value):
    if isinstance(value, list):
        assert text.startswith("[")
    elif isinstance(value, bool):
        assert text.startswith(str(value).lower())
    elif isinstance(value, int):
        number = re.match(r"[+-]?\w+", text)
        assert number
        assert int(number[0], 0) == value
    elif isinstance(value, str) and not text.startswith(("'", '"""')):
        assert json.JSONDecoder().raw_decode(text)[0] == value


@settings(max_examples=80, deadline=None)
@given(toml_texts())
def test_the_paths_are_those_of_tomllib_and_the_places_hold_them(text):
    positions = assert_agrees_with_tomllib(text)
    data = tomllib.loads(text)
    for path, located in positions.paths.items():
        value = data
        for step in path:
            value = value[step]
        tables = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        if isinstance(path[-1], str):
            assert_points_at_key(text_at(text, located.key), path[-1])
        if not tables:
            assert_points_at_value(text_at(text, located.value), value)


@settings(max_examples=80, deadline=None)
@given(toml_texts(), st.data())
def test_damaged_texts_never_crash_it_and_what_tomllib_takes_is_located(text, data):
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 3)))
    text = text[:at] + data.draw(st.text("[]{}=\"'#.,\n\r a1\\", max_size=3)) + text[end:]
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        locate(text)
    else:
        assert_agrees_with_tomllib(text)
