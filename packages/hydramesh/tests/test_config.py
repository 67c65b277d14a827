"""The configuration: each error names its key, and the schema says the same."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydramesh import config
from hydramesh.errors import InvalidConfig

#: The keys that configurations of the original have.
ORIGINAL = [
    "transport",
    "host",
    "port",
    "udp-port",
    "mode",
    "node-id",
    "peers",
    "group-rtt-threshold",
    "plugins",
    "storage",
    "streamdb-path",
    "optimization-level",
    "retry-max",
    "udp-mtu",
    "audio-priority",
]


def test_every_key_of_the_original_is_known():
    assert set(ORIGINAL) <= set(config.KEYS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("port", "50051"),
        ("port", True),
        ("group-rtt-threshold", 1001),
        ("optimization-level", 4),
        ("retry-max", 0),
        ("mode", "boss"),
        ("transport", "tcp"),
        ("peers", "10.0.0.1:5"),
        ("peers", ["10.0.0.1:99999"]),
        ("advertise", ["not an endpoint"]),
        ("node-id", "Not A Name"),
        ("host", "a b"),
    ],
)
def test_errors_name_the_key(key, value):
    with pytest.raises(InvalidConfig) as caught:
        config.check({key: value})
    assert f"'{key}'" in str(caught.value)


def test_unknown_and_idle_keys_are_warned_of():
    found = config.check({"prot": 5, "udp-mtu": 1300})
    assert found.warnings == (
        "unknown key 'prot'; did you mean 'port'?",
        "'udp-mtu' has no effect in this version",
    )


def test_defaults_are_valid():
    jsonschema.Draft202012Validator.check_schema(config.schema())
    defaults = {name: key.default for name, key in config.KEYS.items()}
    jsonschema.validate(defaults, config.schema())
    assert config.check(defaults).warnings == ()


_values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()))


@given(st.dictionaries(st.sampled_from(sorted(config.KEYS)), _values))
def test_what_the_schema_refuses_is_refused(data):
    valid = jsonschema.Draft202012Validator(config.schema()).is_valid(data)
    try:
        config.check(data)
    except InvalidConfig:
        return
    assert valid


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    with pytest.raises(InvalidConfig, match="no file"):
        config.load(path)
    path.write_text("{")
    with pytest.raises(InvalidConfig, match="not JSON"):
        config.load(path)
    path.write_text(json.dumps({"port": 7}))
    monkeypatch.setenv("HYDRAMESH_CONFIG", str(path))
    assert config.load().port == 7
