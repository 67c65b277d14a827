"""The JSON Schema of what ``archibald audit --json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archibald.tune.audit import SCHEMA_VERSION
from archibald.tune.knobs import FAMILIES, all_pages
from archibald.tune.model import Severity
from archibald.vm.selftest.model import Answer

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}


def _object(properties: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "properties": dict(properties),
        "required": sorted(properties),
        "additionalProperties": False,
    }
    return {**found, "description": description} if description else found


def _text(description: str) -> dict[str, Any]:
    return {**_TEXT, "description": description}


def _finding() -> dict[str, Any]:
    origin = _object({"module": _TEXT, "why": _TEXT, "keys": {"type": "array", "items": _TEXT}})
    return _object(
        {
            "check": {"enum": [page.id for _, page in all_pages()]},
            "family": {"enum": [module.FAMILY.id for module in FAMILIES]},
            "title": _text("What is true when the answer is ok."),
            "severity": {"enum": [severity.value for severity in Severity]},
            "answer": {"enum": [answer.value for answer in Answer]},
            "wanted": _text("What the profile wants, for people."),
            "observed": _text("What was found, for people."),
            "evidence": _text("The raw text that the answer rests on, at most 2000 characters."),
            "fix": _text("What to do, when the answer is bad; else empty."),
            "page": _text("The page of the check, in the repository."),
            "needs_root": {"type": "boolean", "description": "Root could tell."},
            "wanted_by": {"type": "array", "items": origin},
        }
    )


def audit_schema() -> dict[str, Any]:
    """Return the schema; its names of checks are those of this version."""
    machine = {
        name: _TEXT
        for name in ("kernel", "virtualization", "container", "distribution", "card", "user")
    }
    numbers = {"cpus": _COUNT, "memory_mib": _COUNT}
    flags = {"smt": {"type": "boolean"}, "hybrid": {"type": "boolean"}}
    whole = _object(
        {
            "schema": {"const": SCHEMA_VERSION},
            "profile": _text("Where the profile comes from."),
            "machine": _object({**machine, **numbers, **flags}),
            "counts": _object({answer.value: _COUNT for answer in Answer}),
            "findings": {"type": "array", "items": _finding()},
        }
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "archibald audit --json",
        **whole,
    }
