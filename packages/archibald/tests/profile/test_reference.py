"""Documents are generated from the model and never stale."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from archibald.profile.load import parse_profile
from archibald.profile.model import Profile
from archibald.profile.options import (
    VARIANT_TABLES,
    literal,
    nearest_key,
    options,
    table_for,
    tables,
)
from archibald.profile.reference import (
    json_schema,
    json_schema_text,
    option_for,
    reference_page,
)

_ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("name", "generate", "verb"),
    [
        ("profile.md", reference_page, "reference"),
        ("profile.schema.json", json_schema_text, "schema"),
    ],
)
def test_the_committed_document_is_fresh(name, generate, verb):
    committed = (_ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert committed == generate(), f"archibald profile {verb} > docs/reference/{name}"


def test_every_field_of_the_model_is_an_option_with_a_reason():
    expected = {"format", "extends"}
    for name, field in Profile.model_fields.items():
        nested = getattr(field.annotation, "model_fields", {})
        expected |= {f"{name}.{key}" for key in nested}
    variant_keys = {f"variant.{key}" for key in ("name", "title", *VARIANT_TABLES)}
    assert set(options()) == expected | variant_keys
    page = reference_page()
    for option in options().values():
        assert option.why.endswith("."), option.key
        assert option.since, option.key
        assert option.type, option.key
        assert option.allowed, option.key
        assert option.why in page, option.key


def test_every_example_and_default_is_accepted():
    variant = '[[variant]]\nname = "x"\ntitle = "X"\n'
    for option in options().values():
        if option.key == "extends" or option.required:
            continue
        for value in (option.default, option.example):
            line = f"{option.name} = {literal(value)}"
            table = option.key.rpartition(".")[0]
            header = variant if table == "variant" else f"[{table}]\n" if table else ""
            extra = "minimum = 8\naudio = [3]\n" if table == "cpu" else ""
            if extra and option.name in {"minimum", "audio"}:
                extra = ""
            parse_profile(f"{header}{line}\n{extra}", filename=option.key)


def test_an_option_is_found_by_its_key_also_inside_of_variants():
    quantum = option_for("audio.quantum")
    assert quantum
    assert (quantum.default, quantum.unit, quantum.since) == (32, "frames", "0.1")
    assert quantum.allowed == "a power of two from 16 to 8192 frames"
    assert option_for("variant.audio.quantum") is quantum
    assert option_for("variant.low-latency.audio.quantum") is quantum
    assert option_for("audio") is None
    assert option_for("variant.desktop.enable") is None
    assert option_for("") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("audio.quantun", "audio.quantum"),
        ("audoi.quantum", "audio.quantum"),
        ("audio.hostname", "system.hostname"),
        ("hostname", "system.hostname"),
        ("realtme", "realtime"),
        ("zzz", None),
    ],
)
def test_mistyped_keys_are_recognised(typed, meant):
    assert nearest_key(typed) == meant


def test_the_schema_is_valid_and_complete():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json_schema_text()) == schema
    audio = schema["$defs"]["Audio"]["properties"]
    assert audio["quantum"]["unit"] == "frames"
    assert audio["quantum"]["enum"] == [1 << power for power in range(4, 14)]
    assert schema["$defs"]["CpuTable"]["properties"]["audio"]["default"] == [1]


@pytest.mark.parametrize("name", ["archibald.toml", "profiles/core.toml", "profiles/studio.toml"])
def test_the_schema_accepts_the_profiles_that_we_ship(name):
    data = tomllib.loads((_ROOT / name).read_text())
    jsonschema.Draft202012Validator(json_schema()).validate(data)


@pytest.mark.parametrize(
    "text",
    [
        "audio.quantum = 48",
        "audio.quantun = 32",
        'system.hostname = "A b"',
        "cpu.audio = [1, 1]",
        'desktop.browser = "A b"',
        "format = 2",
        '[[variant]]\nname = "x"',
        '[[variant]]\nname = "x"\ntitle = "X"\naudio = { quantum = 48 }',
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(tomllib.loads(text))


def test_tables_are_found_by_name():
    assert table_for("cpu") in tables()
    assert table_for("nothing") is None
    variant = table_for("variant")
    assert variant
    assert variant.header == "[[variant]]"
