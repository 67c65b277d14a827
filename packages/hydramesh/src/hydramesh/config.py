"""The configuration, ``/etc/hydramesh/config.json``: each key declared once, in ``KEYS``."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydramesh.errors import HydraMeshError, InvalidConfig
from hydramesh.identity.invites import Endpoint, parse_endpoint
from hydramesh.identity.names import check_name

DEFAULT_PATH = Path("/etc/hydramesh/config.json")
MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its JSON Schema, its default, and whether this version acts on it."""

    schema: Mapping[str, Any]
    default: Any
    text: str
    used: bool = True


def _number(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _texts(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}

KEYS: dict[str, Key] = {
    "transport": Key(_texts("tls"), "tls", "How links are carried: mutual TLS over TCP."),
    "host": Key(_STRING, "", "The address to listen on; empty: all of this machine."),
    "port": Key(_number(1, 65535), 50051, "The one TCP port that is open, once in a realm."),
    "peers": Key(_STRINGS, [], "HOST:PORT of members to try, beside those that the realm lists."),
    "advertise": Key(
        _STRINGS, [], "HOST:PORT where others reach this node; empty: its own addresses."
    ),
    "node-id": Key(_STRING, "", "The name of this node; empty: made from the host name."),
    "state-dir": Key(_STRING, "", "Where keys are kept; empty: see hydramesh --help."),
    "control-socket": Key(_STRING, "", "The socket of the daemon; empty: in the state directory."),
    "mode": Key(
        _texts("client", "server", "p2p", "auto", "master"),
        "p2p",
        "The role: whether this node may become the master that schedules; server means master.",
    ),
    "udp-port": Key(_number(1, 65535), 7777, "Of the original; the trunk uses TCP.", False),
    "udp-mtu": Key(_number(576, 9000), 1400, "Of the original; the trunk uses TCP.", False),
    "group-rtt-threshold": Key(_number(0, 1000), 50, "Milliseconds within a group of nodes."),
    "plugins": Key({"type": "object"}, {}, "Plugins and their options.", False),
    "storage": Key(_texts("streamdb", "in-memory"), "streamdb", "Where content is kept.", False),
    "streamdb-path": Key(_STRING, "", "The store.", False),
    "optimization-level": Key(_number(0, 3), 2, "Of the original.", False),
    "retry-max": Key(_number(1, 10), 3, "Of the original; dialling never gives up.", False),
    "audio-priority": Key({"type": "boolean"}, True, "Of the original.", False),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Checked values; ``warnings`` are lines for the user."""

    values: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """A key that holds a string."""
        return str(self.values[key])

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.text("host")

    @property
    def port(self) -> int:
        """The port outside."""
        return int(self.values["port"])

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """Members to try first."""
        return tuple(parse_endpoint(each, 50051) for each in self.values["peers"])

    @property
    def advertise(self) -> tuple[Endpoint, ...]:
        """Where others reach us, if the user knows better."""
        return tuple(parse_endpoint(each, self.port) for each in self.values["advertise"])


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "HydraMesh configuration",
        "type": "object",
        "additionalProperties": True,
        "properties": {
            name: dict(key.schema)
            | {"default": key.default, "description": key.text + ("" if key.used else _UNUSED)}
            for name, key in KEYS.items()
        },
    }


_UNUSED = " Accepted, without effect in this version."
_KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
}


def _fault(rule: Mapping[str, Any], value: Any) -> str:
    kind = rule["type"]
    if not _KINDS[kind](value):
        return f"it must be {'a list of strings' if kind == 'array' else f'of type {kind}'}"
    if "enum" in rule and value not in rule["enum"]:
        return f"it must be one of {', '.join(rule['enum'])}"
    if "minimum" in rule and not rule["minimum"] <= value <= rule["maximum"]:
        return f"it must be {rule['minimum']} to {rule['maximum']}"
    return ""


def check(data: Any, source: str = "the configuration") -> Config:
    """Check plain data; the error names the key, unknown keys are warned of."""
    if not isinstance(data, dict):
        raise InvalidConfig(f"{source} is not a JSON object")
    warnings = []
    values = {name: key.default for name, key in KEYS.items()}
    for name, value in data.items():
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            warnings.append(f"unknown key {name[:60]!r}{hint}")
            continue
        fault = _fault(KEYS[name].schema, value)
        if fault:
            raise InvalidConfig(
                f"{name!r} has a value that cannot be used",
                why=f"{fault}; it is {json.dumps(value)[:80]}",
                next_step=f"change it in {source}; see hydramesh config schema",
            )
        if not KEYS[name].used and value != KEYS[name].default:
            warnings.append(f"{name!r} has no effect in this version")
        values[name] = value
    config = Config(values, tuple(warnings))
    _check_values(config, source)
    return config


def _check_values(config: Config, source: str) -> None:
    tests: dict[str, Callable[[], object]] = {
        "peers": lambda: config.peers,
        "advertise": lambda: config.advertise,
        "node-id": lambda: config.text("node-id") and check_name(config.text("node-id")),
        "host": lambda: config.host and parse_endpoint(_bracketed(config.host), 1),
    }
    for name, test in tests.items():
        try:
            test()
        except HydraMeshError as error:
            raise InvalidConfig(
                f"{name!r} has a value that cannot be used",
                why=error.what,
                next_step=f"change it in {source}",
            ) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def load(path: Path | None = None) -> Config:
    """Read the configuration: the file given, else ``HYDRAMESH_CONFIG``, else the system's.

    Without a file all defaults hold, unless one was named.
    """
    named = path or (
        Path(os.environ["HYDRAMESH_CONFIG"]) if "HYDRAMESH_CONFIG" in os.environ else None
    )
    chosen = named or DEFAULT_PATH
    try:
        data = chosen.read_bytes()
    except FileNotFoundError:
        if named is None:
            return check({})
        raise InvalidConfig(f"there is no file {chosen}") from None
    except OSError as error:
        raise InvalidConfig(f"{chosen} cannot be read", why=str(error.strerror)) from None
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidConfig(f"{chosen} is too long", why=f"{len(data)} bytes")
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"{chosen} is not JSON", why=str(error)[:100]) from None
    return check(parsed, str(chosen))
