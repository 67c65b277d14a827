"""Random profiles load, render and round-trip; random damage is an error, never a traceback."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from packages.archibald.tests.profiles import table_values

from archibald.profile.load import (
    canonical_json,
    load_profile,
    load_resolved,
    parse_profile,
    profile_digest,
)
from archibald.profile.model import Profile
from archibald.profile.options import VARIANT_TABLES, literal, options
from archibald.profile.problems import ProfileError
from archibald.profile.render import flat, render_toml, template
from archibald.profile.starters import starter_text


@st.composite
def documents(draw):
    """Data with the shape of a profile; single values fit, together they may not."""
    names = ["system", "desktop", "apps", "mesh", "storage", "users", "branding", "image"]
    data = {name: draw(table_values(name)) for name in draw(st.sets(st.sampled_from(names)))}
    for name in draw(st.sets(st.sampled_from(VARIANT_TABLES))):
        data[name] = draw(table_values(name))
    fit(data.get("audio", {}), data.get("realtime", {}), data.get("cpu", {}))
    data["variant"] = [
        {"name": name, "title": name.upper(), "audio": {"jack": draw(st.booleans())}}
        for name in draw(st.lists(st.sampled_from(["a", "low-latency", "v2"]), unique=True))
    ]
    return data


def fit(audio, realtime, cpu):
    """Make options agree with each other where chance would rarely do."""
    audio["min_quantum"] = min(audio.get("min_quantum", 16), audio.get("quantum", 32))
    audio["max_quantum"] = max(audio.get("max_quantum", 64), audio.get("quantum", 32))
    if "data_loop_priority" in audio or "priority_limit" in realtime:
        realtime["priority_limit"] = 98
    if cpu:
        cpu["minimum"] = 1024
        cpu["tickless"] = cpu.get("audio", [1])


@settings(max_examples=60, deadline=None)
@given(documents())
def test_valid_profiles_load_render_and_round_trip(data):
    try:
        profile = Profile.model_validate(data)
    except ValueError:
        assume(False)
    rendered = render_toml(profile)
    assert parse_profile(rendered, filename="p.toml") == profile
    assert parse_profile(render_toml(profile, complete=False), filename="p.toml") == profile
    assert parse_profile(template(profile, title="x"), filename="p.toml") == profile
    assert tomllib.loads(rendered)["format"] == 1
    back = load_resolved(canonical_json(profile))
    assert back == profile.model_copy(update={"image": back.image})
    assert profile_digest(back) == profile_digest(profile)
    assert flat(profile)["audio.rate"] == profile.audio.rate


def profile_or_error(load, *arguments, **keywords):
    """Return a profile or a ProfileError; any other exception fails the test."""
    try:
        return load(*arguments, **keywords)
    except ProfileError as error:
        return error


def check_never_crashes(text):
    outcome = profile_or_error(parse_profile, text, filename="p.toml")
    if isinstance(outcome, Profile):
        assert parse_profile(render_toml(outcome), filename="p.toml") == outcome
        return
    assert outcome.problems
    assert all(line.isprintable() for line in str(outcome).split("\n"))
    assert not any(word in str(outcome) for word in ("Input should", "pydantic", "Value error"))
    json.dumps(outcome.details())
    for problem in outcome.problems:
        assert 1 <= problem.line <= text.count("\n") + 1


_SEEDS = (
    starter_text("core"),
    '[audio]\nrate = 48000\n[cpu]\naudio = [0, 1]\n[[variant]]\nname = "a"\ntitle = "A"\n'
    'audio = { quantum = 16 }\n[variant.cpu]\naudio = [1]\n[[variant]]\nname = "b"\ntitle = "B"\n',
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_SEEDS), st.data())
def test_damaged_text_is_an_error_or_a_profile(text, data):
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 8)))
        piece = data.draw(
            st.one_of(
                st.text(max_size=4),
                st.text("[]{}=\"'#.,\n", max_size=3),
                st.sampled_from(["[[variant]]\n", "[audio]\n", "audio = ", "= true", "-1", "1e9"]),
            )
        )
        text = text[:at] + piece + text[end:]
    check_never_crashes(text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_SEEDS), st.data())
def test_damaged_bytes_are_an_error_or_a_profile(tmp_path_factory, text, data):
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(content)
    outcome = profile_or_error(load_profile, path)
    assert isinstance(outcome, Profile) or outcome.problems


_ANYTHING = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5).filter(lambda text: text.isprintable()),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["audio", "name", "quantum", "x"]), inner, max_size=3),
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(sorted(options())),
                st.sampled_from(["audio", "variant", "cpu", "x", "audio.x", "variant.audio.rate"]),
            ),
            _ANYTHING,
        ),
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
@example([("variant", [{"name": "a"}, 3, {"audio": {"quantum": [1]}}])])
@example([("variant", [[{"audio": 1}], {"cpu": {"audio": [{"x": 1}]}}])])
def test_values_of_any_type_are_an_error_or_a_profile(pairs):
    check_never_crashes("\n".join(f"{key} = {literal(value)}" for key, value in pairs))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["audio", "variant", "cpu", "x"]), _ANYTHING))
def test_json_of_any_shape_is_an_error_or_a_profile(data):
    outcome = profile_or_error(load_resolved, json.dumps(data).encode())
    assert isinstance(outcome, Profile) or outcome.problems


@pytest.mark.parametrize("text", ["é\x7f\U0001f3b9\u200e", 'a"b\\c', "\u00a0x"])
def test_text_of_any_kind_survives_rendering(text):
    assert tomllib.loads(f"x = {literal(text)}")["x"] == text
