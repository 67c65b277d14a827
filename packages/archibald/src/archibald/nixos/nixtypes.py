"""Do definitions fit the options of NixOS? Names and types from a checked-in part of its list.

``options.json`` holds the options that ``nix/`` uses, with their types as NixOS prints them, where
they were looked up, and options that were removed. A name that is not there is a finding: look it
up in the options of the pinned nixpkgs, then add it with its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

#: Types below which any name may be defined. The contents of disks are disko's own choice between
#: submodules, which its list of options does not spell out.
_OPEN = re.compile(r"attribute set|submodule|TOML value|nixpkgs config|one of bcachefs,")

_WILD = ("<name>", "*")


@dataclass
class Node:
    """A place in the tree of options: its type, if it is an option, and what lies below."""

    type: str = ""
    below: dict[str, Node] = field(default_factory=dict)


@cache
def known_options() -> Mapping[str, Mapping[str, str]]:
    """Return ``options`` (name → type) and ``removed`` (name → what became of it)."""
    file = resources.files("archibald.nixos") / "options.json"
    found: Mapping[str, Mapping[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def tree_of(options: Mapping[str, str]) -> Node:
    """Return the options as a tree; ``<name>`` and ``*`` stand for any name."""
    root = Node()
    for name, kind in options.items():
        node = root
        for part in name.split("."):
            node = node.below.setdefault(part, Node())
        node.type = kind
    return root


def problem(path: Sequence[str], value: Any, tree: Node, removed: Mapping[str, str]) -> str:
    """Return what is wrong with the definition of an option, or ""."""
    shown = ".".join(path)
    for name, reason in removed.items():
        if (shown + ".").startswith(name + "."):
            return f"{shown}: {reason}"
    node, container = tree, ""
    for part in path:
        if node.type:
            # A submodule whose options are known takes no others.
            closed = "submodule" in node.type and node.below
            container = node.type if _OPEN.search(node.type) and not closed else ""
        below = [node.below[key] for key in (part, *_WILD) if key in node.below]
        if not below:
            return "" if container else f"{shown}: NixOS has no such option"
        node = below[0]
    if not node.type:
        return "" if container else f"{shown}: is no option of NixOS, only a part of its name"
    if fits(node.type, value):
        return ""
    return f"{shown}: {json.dumps(value)[:80]} does not fit its type, {node.type}"


def _alternatives(kind: str) -> list[str]:
    """Split "A or B", but not inside parentheses or quotes."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(kind):
        depth += (char == "(") - (char == ")")
        if depth == 0 and kind.startswith(" or ", at):
            parts.append(kind[start:at])
            start = at + 4
    return [*parts, kind[start:]]


def _is_set(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys() & {"package", "path", "function"}


def _fits_one(kind: str, value: Any) -> bool:
    """Check one type; what NixOS writes in words of its own ("raw value") takes anything."""
    checks: tuple[tuple[str, bool], ...] = (
        ("null", value is None),
        ("boolean", isinstance(value, bool)),
        (r"(.*\b)?(un)?signed integer.*",
         isinstance(value, int) and not isinstance(value, bool)),
        ("strings? .*|string", isinstance(value, str)),
        ("(an )?absolute path|path", isinstance(value, str | dict) and not _is_set(value)),
        ("package", isinstance(value, dict) and "package" in value),
        ("one of .*|value .*", not isinstance(value, str) or f'"{value}"' in kind),
        ("submodule.*|attribute set", _is_set(value)),
    )  # fmt: skip
    found = next((good for pattern, good in checks if re.fullmatch(pattern, kind, re.I)), None)
    return True if found is None else found


def fits(kind: str, value: Any) -> bool:
    """Say whether a value, as JSON types, may be of a type as NixOS prints it.

    In doubt it does: types that this does not know take anything.
    """
    alternatives = _alternatives(kind.strip())
    if len(alternatives) > 1:
        return any(fits(alternative, value) for alternative in alternatives)
    kind = alternatives[0].strip()
    if kind.startswith("(") and kind.endswith(")"):
        return fits(kind[1:-1], value)
    if kind.startswith("list of "):
        inner = kind.removeprefix("list of ")
        return isinstance(value, list) and all(fits(inner, element) for element in value)
    if kind.startswith("attribute set of "):
        inner = kind.removeprefix("attribute set of ")
        return _is_set(value) and all(fits(inner, element) for element in value.values())
    return _fits_one(kind, value)


def definitions_within(
    definitions: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[list[str], Any, int]]:
    """Yield path, value and priority, also of what specialisations define, each without its path.

    ``specialisation.NAME.configuration.X`` is a definition of X; ours, ``archibald.*``, are left
    out, because the evaluation has checked them.
    """
    for one in definitions:
        path = list(one["path"])
        if path[0] == "specialisation" and len(path) > 3 and path[2] == "configuration":
            path = path[3:]
        if path[0] != "archibald":
            yield path, one["value"], int(one["priority"])


def wrong_definitions(definitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each definition that NixOS would refuse or discard."""
    known = known_options()
    tree, removed = tree_of(known["options"]), known["removed"]
    found = []
    for path, value, priority in definitions_within(definitions):
        wrong = problem(path, value, tree, removed)
        if wrong:
            found.append(wrong)
        elif isinstance(value, list) and priority == 1000:
            text = "a default list is discarded when anything else defines it"
            found.append(f"{'.'.join(path)}: {text}")
    return sorted(set(found))
