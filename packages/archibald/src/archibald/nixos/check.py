"""The checks of the NixOS base. They need ``nix-instantiate``: no nixpkgs, no network.

Each check has one of four answers: ok, bad, not applicable, cannot tell; with what it looked at.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from archibald.nixos.conformance import compare, render_all
from archibald.nixos.evaluate import NixError, evaluate, nix_files, parse
from archibald.nixos.keys import BASELINE, assertions, changes, ignored
from archibald.nixos.nixtypes import wrong_definitions
from archibald.nixos.options import profile_options_text
from archibald.profile.load import load_profile
from archibald.run import Runner, run

State = Literal["ok", "bad", "not applicable", "cannot tell"]

#: Modules of a whole system, as the flake puts them together.
MODULES = ("audio", "base", "desktop", "users", "hydramesh", "branding")

#: What the flake of the project offers.
OUTPUTS = {
    "nixosModules": {"default", "audio", "base", "desktop", "users", "hydramesh", "branding",
                     "disk", "installer"},
    "nixosConfigurations": {"archibaldOS", "installer"},
    "packages": {"default", "archibald", "hydramesh", "streamdb", "installer", "vm"},
}  # fmt: skip

#: Functions of nixpkgs, and names of nix/ itself, that are no packages.
_NO_PACKAGES = frozenset(
    {"callPackage", "writeText", "writeTextDir", "runCommand", "mkShell", "extend", "formats",
     "lib", "archibald", "hydramesh", "streamdb"}
)  # fmt: skip
_PYTHON_FUNCTIONS = frozenset({"buildPythonApplication", "buildPythonPackage", "fetchPypi"})

_HASH = re.compile(r"sha256-[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True)
class Check:
    """The answer of one check, what is wrong, and what it looked at."""

    name: str
    state: State
    evidence: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """What the checks share: the source tree, the profiles, and what Nix makes of the modules."""

    root: Path
    profiles: tuple[Path, ...]
    runner: Runner
    evaluated: Mapping[str, Any]


def attributes() -> list[str]:
    """Return the reviewed attributes of nixpkgs, sorted."""
    text = (resources.files("archibald.nixos") / "attributes.txt").read_text(encoding="utf-8")
    return sorted(filter(None, (line.partition("#")[0].strip() for line in text.splitlines())))


def own_profiles(root: Path) -> list[Path]:
    """Return the profiles of a source tree."""
    return [*root.glob("archibald.toml"), *sorted((root / "profiles").glob("*.toml"))]


def _systems(profiles: Sequence[Path], keys: bool) -> list[dict[str, Any]]:
    """Return what is evaluated: each profile, the keys one by one, and what is off by default."""
    whole = [*MODULES, "disk", "installer"]
    disk = {"archibald": {"disk": {"device": "/dev/vda"}}}
    everything = {
        "archibald": {
            "disk": {"device": "/dev/vda", "encrypt": True},
            "session": {"enable": True},
            "wallpaper": {"enable": True},
        },
        "services": {
            "hydramesh": {
                "enable": True, "openFirewall": True, "apparmorEnable": True,
                "settings": {"plugins": {"lorawan": True}},
            }
        },
    }  # fmt: skip
    found = [
        {"modules": list(MODULES), "profile": str(path.resolve()), "config": {}}
        for path in profiles
    ]
    found.append({"modules": whole, "profile": dict(BASELINE), "config": everything})
    found.append({"modules": whole, "profile": dict(BASELINE), "config": disk})
    found += [
        {"modules": whole, "profile": change.profile, "config": disk}
        for change in (changes() if keys else ())
    ]
    return found


def evaluate_modules(
    root: Path, profiles: Sequence[Path], *, keys: bool = True, runner: Runner = run
) -> Any:
    """Return what Nix makes of the modules and of ``flake.nix``, in one evaluation.

    ``systems`` are one for each profile, one with everything on, the baseline of
    :mod:`archibald.nixos.keys`, and with ``keys`` one for each of its changes.
    Raises :class:`~archibald.nixos.evaluate.NixError`.
    """
    arguments = {
        "root": str(root.resolve()),
        "attributes": attributes(),
        "flake": (root / "flake.nix").is_file(),
        "systems": _systems(profiles, keys),
    }
    with resources.as_file(resources.files("archibald.nixos")) as folder:
        return evaluate(folder / "evaluate.nix", arguments, runner=runner)


def _answer(name: str, findings: Sequence[str], evidence: str) -> Check:
    return Check(name, "bad" if findings else "ok", evidence, tuple(findings))


def check_syntax(root: Path, runner: Runner) -> Check:
    """Parse every Nix file."""
    findings = []
    files = nix_files(root)
    for file in files:
        try:
            parse(file, runner=runner)
        except NixError as error:
            findings.append(f"{file.relative_to(root)}: {error.why}")
    return _answer("syntax", findings, f"{len(files)} files parsed")


def check_options_file(tree: Tree) -> Check:
    """Compare nix/profile.json with the options of this version."""
    text = (tree.root / "nix" / "profile.json").read_text(encoding="utf-8")
    stale = text != profile_options_text()
    findings = ["nix/profile.json is not what this version of archibald writes: make docs"]
    return _answer("profile options", findings if stale else [], "nix/profile.json, byte for byte")


def check_conformance(tree: Tree) -> Check:
    """Compare what both bases make of each profile."""
    profiles = [load_profile(path) for path in tree.profiles]
    findings, entries = [], 0
    for path, profile, found in zip(
        tree.profiles, profiles, render_all(tree.root, profiles, runner=tree.runner), strict=True
    ):
        findings += [f"{path.name}: {text}" for text in found["problems"] + found["unsupported"]]
        findings += [f"{path.name}: {difference}" for difference in compare(profile, found)]
        entries += len(found["entries"])
    evidence = f"{len(profiles)} profiles, {entries} boot entries"
    return _answer("conformance", findings, evidence)


def check_option_names(tree: Tree) -> Check:
    """Look up every option that the modules define, and the type of its value."""
    reports = [*tree.evaluated["systems"]]
    flake = tree.evaluated.get("flake", {})
    reports += [*flake.get("modules", {}).values(), *flake.get("systems", {}).values()]
    reports += [flake["together"]] if flake else []
    definitions = [one for report in reports for one in report["definitions"]]
    findings = wrong_definitions(definitions)
    findings += sorted(
        {
            f"{'.'.join(path)}: no module declares this option"
            for report in reports
            for path in report["undeclared"]
        }
    )
    findings += sorted(
        {
            f"{'.'.join(option['path'])}: has no description"
            for report in reports
            for option in report["declared"]
            if not option["described"]
        }
    )
    names = {".".join(one["path"]) for one in definitions}
    return _answer("option names", findings, f"{len(names)} definitions in {len(reports)} systems")


def check_keys(tree: Tree) -> Check:
    """See that each key of a profile makes a difference: no key is silently ignored."""
    systems = tree.evaluated["systems"]
    baseline = systems[len(tree.profiles) + 1]
    changed = list(zip(changes(), systems[len(tree.profiles) + 2 :], strict=True))
    asserted = [change for change, report in changed if assertions(report)]
    evidence = (
        f"{len({change.key for change, _ in changed})} keys, {len(changed)} values, of which "
        f"{len(asserted)} are refused by an assertion"
    )
    findings = ignored(baseline, changed)
    return _answer("profile keys", findings, evidence)


def check_assertions(tree: Tree) -> Check:
    """See that the profiles of the project meet all assertions."""
    findings = [
        f"{path.name}: {message}"
        for path, report in zip(tree.profiles, tree.evaluated["systems"], strict=False)
        for message in assertions(report)
    ]
    return _answer("assertions", findings, f"{len(tree.profiles)} profiles")


def _named_attributes(text: str) -> Iterator[str]:
    code = re.sub(r"#.*", "", text)
    for match in re.finditer(r"\bpkgs\.([A-Za-z_][\w'-]*)", code):
        yield match[1]
    for match in re.finditer(r"\bpython3Packages\.([A-Za-z_][\w'-]*)", code):
        if match[1] not in _PYTHON_FUNCTIONS:
            yield f"python3Packages.{match[1]}"


def check_attributes(tree: Tree) -> Check:
    """Look up every package that the flake and the modules name on the reviewed list."""
    reviewed = set(attributes())
    named = {
        (str(file.relative_to(tree.root)), name)
        for file in nix_files(tree.root)
        for name in _named_attributes(file.read_text(encoding="utf-8"))
        if name not in _NO_PACKAGES
    }
    named |= {("nix/packages.nix", name) for name in tree.evaluated["packageNames"].values()}
    findings = sorted(
        f"{file}: {name} is not on the reviewed list: look it up in nixpkgs, then add it to "
        "archibald/nixos/attributes.txt"
        for file, name in named
        if name not in reviewed
    )
    unused = sorted(reviewed - {name for _, name in named})
    findings += [f"attributes.txt: {name} is used nowhere" for name in unused]
    return _answer("package attributes", findings, f"{len(named)} uses")


def check_flake(tree: Tree) -> Check:
    """See that the flake offers what it says."""
    if "flake" not in tree.evaluated:
        return Check("flake", "not applicable", "there is no flake.nix")
    flake = tree.evaluated["flake"]
    have = {
        "nixosModules": set(flake["modules"]),
        "nixosConfigurations": set(flake["systems"]),
        "packages": set(flake["packages"]),
    }
    findings = [
        f"{output} lacks {', '.join(sorted(wanted - have[output]))}"
        for output, wanted in OUTPUTS.items()
        if wanted - have[output]
    ]
    return _answer("flake", findings, f"outputs {', '.join(flake['outputs'])}")


def check_lock(tree: Tree) -> Check:
    """See that flake.lock pins each input of flake.nix by revision and hash."""
    path = tree.root / "flake.lock"
    if not path.is_file() or "flake" not in tree.evaluated:
        return Check("lock", "not applicable", "there is no flake.nix with a flake.lock")
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        findings = list(_lock_problems(lock, tree.evaluated["flake"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        findings = [f"flake.lock is no lock of version 7: {type(error).__name__}: {error}"]
    return _answer("lock", findings, "flake.lock against the inputs of flake.nix")


def _lock_problems(lock: Mapping[str, Any], flake: Mapping[str, Any]) -> Iterator[str]:
    if lock["version"] != 7 or lock["root"] != "root":
        yield f"flake.lock has version {lock['version']}; 7 is the one that Nix reads and writes"
    nodes, inputs = lock["nodes"], flake["inputs"]
    if nodes["root"]["inputs"] != {name: name for name in inputs}:
        yield "flake.lock locks other inputs than flake.nix names"
    for name, url in inputs.items():
        for text in _node_problems(nodes[name], url, flake["follows"][name]):
            yield f"{name}: {text}"


def _node_problems(node: Mapping[str, Any], url: str, follows: Mapping[str, str]) -> Iterator[str]:
    original, locked = node["original"], node["locked"]
    shown = "/".join(original[key] for key in ("owner", "repo", "ref") if key in original)
    if url != f"{original['type']}:{shown}":
        yield f"flake.nix says {url}, flake.lock {original['type']}:{shown}"
    if any(locked[key] != original[key] for key in ("owner", "repo", "type")):
        yield "what is locked is another repository than what was asked for"
    if not re.fullmatch("[0-9a-f]{40}", locked["rev"]):
        yield "the revision is no commit"
    if not _HASH.fullmatch(locked["narHash"]):
        yield "narHash is no SHA-256"
    if not isinstance(locked["lastModified"], int) or locked["lastModified"] < 1:
        yield "lastModified is no time"
    if node.get("inputs", {}) != {inner: [target] for inner, target in follows.items()}:
        yield "its inputs follow others than flake.nix says"


def check_python_packages(tree: Tree) -> Check:
    """Compare the Python packages of nix/python.nix with each pyproject.toml."""
    if "flake" not in tree.evaluated:
        return Check("Python packages", "not applicable", "there is no flake.nix")
    recipes = tree.evaluated["flake"]["recipes"]
    findings = []
    folders = sorted(path.parent for path in tree.root.glob("packages/*/pyproject.toml"))
    for folder in folders:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        found = recipes.get(folder.name)
        if found is None:
            findings.append(f"{folder.name}: nix/python.nix does not build it")
            continue
        findings += [f"{folder.name}: {text}" for text in _recipe_problems(text, found)]
    return _answer("Python packages", findings, f"{len(folders)} packages")


#: Distributions that nixpkgs calls otherwise.
_NAMES_IN_NIXPKGS: Mapping[str, str] = {"eclipse-zenoh": "zenoh"}


def _requirement_name(text: str) -> str:
    """Return the name of a requirement such as "click>=8.2", as nixpkgs writes names."""
    match = re.match(r"[A-Za-z0-9._-]+", text)
    assert match, text
    name = match[0].lower().replace("_", "-").replace(".", "-")
    return _NAMES_IN_NIXPKGS.get(name, name)


def _recipe_problems(pyproject: str, recipe: Mapping[str, Any]) -> Iterator[str]:
    data = tomllib.loads(pyproject)
    project = data["project"]
    if (recipe["pname"], recipe["version"]) != (project["name"], project["version"]):
        yield f"is {recipe['pname']} {recipe['version']} in Nix"
    optional = project.get("optional-dependencies", {})
    pairs = [
        ("dependencies", project["dependencies"], recipe["dependencies"]),
        ("build-system", data["build-system"]["requires"], recipe["buildSystem"]),
        *((f"extra {name}", optional.get(name, []), recipe["optional"].get(name, []))
          for name in sorted({*optional, *recipe["optional"]})),
    ]  # fmt: skip
    for what, wanted, have in pairs:
        names = sorted(_requirement_name(text) for text in wanted)
        given = sorted(name.rpartition(".")[2] for name in have)
        if names != given:
            yield f"{what}: pyproject.toml has {', '.join(names)}; Nix has {', '.join(given)}"


_CHECKS: tuple[Callable[[Tree], Check], ...] = (
    check_options_file,
    check_conformance,
    check_assertions,
    check_keys,
    check_option_names,
    check_attributes,
    check_flake,
    check_lock,
    check_python_packages,
)


def check_all(
    root: Path, profiles: Sequence[Path] = (), *, keys: bool = True, runner: Runner = run
) -> list[Check]:
    """Run every check on a source tree; without ``keys`` all but the one of the profile's keys.

    ``profiles`` are looked at instead of those of the tree. Raises NoFlakeError for a folder that
    is no source tree, MissingToolError without nix-instantiate, ProfileError for wrong profiles.
    """
    syntax = check_syntax(root, runner)
    if syntax.state == "bad":
        return [syntax]
    chosen = tuple(profiles or own_profiles(root))
    try:
        evaluated = evaluate_modules(root, chosen, keys=keys, runner=runner)
    except NixError as error:
        return [syntax, Check("evaluation", "bad", "flake.nix and nix/", (error.why,))]
    tree = Tree(root, chosen, runner, evaluated)
    return [syntax, *(check(tree) for check in _CHECKS if keys or check is not check_keys)]
