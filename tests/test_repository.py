"""Rules of the repository that no linter knows."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from archibald.cli.common import VERBS, cli
from archibald.run import run

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

#: Hosts that packages come from. Each is put together here so that this file passes its own test.
_HOSTS = [
    r"(?:deb|ftp\.\w+|security|snapshot|archive|cdn\S*|mirrors?)\.debian" + r"\.org",
    r"(?:archive|security|ports)\.ubuntu" + r"\.com",
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "npmjs" + r"\.(?:org|com)",
    "crates" + r"\.io",
    r"proxy\.golang" + r"\.org",
    r"(?:cache|channels|releases)\.nixos" + r"\.org",
    r"mirrors?\.(?:kernel|edge\.kernel)" + r"\.org",
]

_LICENCES = {
    "LICENSE": "MIT License",
    "packages/archibald/LICENSE": "MIT License",
    "packages/hydramesh/LICENSE": "GNU LESSER GENERAL PUBLIC LICENSE",
    "packages/hydramesh/LICENSE.GPL-3.0": "GNU GENERAL PUBLIC LICENSE",
    "packages/streamdb/LICENSE": "GNU LESSER GENERAL PUBLIC LICENSE",
    "packages/streamdb/LICENSE.GPL-3.0": "GNU GENERAL PUBLIC LICENSE",
}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")


def _lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    # From ``def`` on: the options of a command are declared in its decorators, one a line.
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _made_by_protoc(path: Path) -> bool:
    """Whether its shape is not ours to decide; a test keeps it current."""
    return path.stem.endswith(("_pb2", "_pb2_grpc"))


def _source(root: Path, tree: list[Path]) -> list[Path]:
    return [
        path
        for path in tree
        if path.suffix == ".py"
        and path.is_relative_to(root / "packages")
        and "src" in path.parts
        and not _made_by_protoc(path)
    ]


def test_files_stay_short(root, tree):
    long = {
        str(path.relative_to(root)): count
        for path in tree
        if path.suffix == ".py"
        and not _made_by_protoc(path)
        and (count := _text(path).count("\n")) >= MAX_FILE_LINES
    }
    assert long == {}


def test_functions_stay_short(root, tree):
    long = {
        f"{path.relative_to(root)}:{node.lineno} {node.name}": _lines_of(node)
        for path in _source(root, tree)
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _lines_of(node) >= MAX_FUNCTION_LINES
    }
    assert long == {}


def test_nothing_happens_at_import_time(root, tree):
    """A module's top level declares; it calls nothing for its effect and opens nothing."""
    acts = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _source(root, tree)
        for node in ast.parse(_text(path)).body
        if isinstance(node, ast.With | ast.While)
        or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
    ]
    assert acts == []


def test_only_one_place_starts_programs(root, tree):
    starters = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _source(root, tree)
        if path.name != "run.py" or path.parent.name != "archibald"
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.Call)
        and re.fullmatch(
            r"subprocess\.(run|Popen|call|check_call|check_output)|os\.(system|popen|exec\w+|spawn\w+)",
            ast.unparse(node.func),
        )
    ]
    assert starters == []


def test_no_file_names_a_package_host(root, tree):
    hosts = re.compile("|".join(_HOSTS))
    found = {
        f"{path.relative_to(root)}: {match[0]}"
        for path in tree
        for match in hosts.finditer(_text(path))
    }
    assert found == set()


@pytest.mark.parametrize("parts", [("deb", "debian", "org"), ("files", "pythonhosted", "org")])
def test_the_search_for_hosts_finds_them(parts):
    assert re.search("|".join(_HOSTS), "https://" + ".".join(parts) + "/x")


@pytest.mark.parametrize(("name", "title"), sorted(_LICENCES.items()))
def test_licences_are_there(root, name, title):
    text = _text(root / name)
    assert text.lstrip().startswith(title)
    if title.startswith("MIT"):
        assert text == _text(root / "LICENSE")


@pytest.mark.parametrize("package", ["archibald", "hydramesh", "streamdb"])
def test_metadata_names_the_licence_files(root, package):
    folder = root / "packages" / package
    project = tomllib.loads(_text(folder / "pyproject.toml"))["project"]
    assert project["license"] == ("MIT" if package == "archibald" else "LGPL-3.0-or-later")
    assert sorted(project["license-files"]) == sorted(p.name for p in folder.glob("LICENSE*"))


@pytest.mark.parametrize("package", ["archibald", "hydramesh", "streamdb"])
def test_version_is_said_once_the_same(root, package):
    text = _text(root / "packages" / package / "pyproject.toml")
    assert tomllib.loads(text)["project"]["version"] == import_module(package).__version__


def test_scripts_are_executable(root, tree):
    # Package data is exempt: a wheel does not keep modes, so whoever installs it sets them.
    not_executable = [
        str(path.relative_to(root))
        for path in tree
        if path.read_bytes()[:2] == b"#!" and "src" not in path.parts
        if not os.access(path, os.X_OK)
    ]
    assert not_executable == []


def test_text_has_no_trailing_blanks(root, tree):
    # Recorded output of programs (.txt) keeps what the programs printed; licences what FSF wrote.
    kinds = {".py", ".toml", ".md", ".sh", ".nix", ".lua", ".json", ".lock", ".yml", ""}
    untidy = []
    for path in tree:
        if path.suffix not in kinds or path.name.startswith("LICENSE"):
            continue
        text = _text(path)
        if re.search(r"[ \t]+$", text, re.MULTILINE) or (text and not text.endswith("\n")):
            untidy.append(str(path.relative_to(root)))
    assert untidy == []


def test_links_between_documents_lead_somewhere(root, tree):
    broken = []
    for path in tree:
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", _text(path)):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(root)}: {target}")
    assert broken == []


def test_help_of_make_lists_every_target(root):
    makefile = _text(root / "Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    assert set(phony.removeprefix(".PHONY:").split()) == targets
    assert {"help", "iso", "run", "check", "test", "torture", "docs", "lock", "clean"} <= targets
    printed = run(["make", "-s", "-C", root]).stdout
    assert set(re.findall(r"^  ([a-z-]+) +\S", printed, re.MULTILINE)) == targets


@pytest.mark.parametrize("target", ["iso", "run", "check", "test", "torture", "docs", "lock"])
def test_each_target_sets_itself_up(root, target):
    assert "scripts/bootstrap" in run(["make", "-n", "-C", root, "ISO=x.iso", target]).stdout


def _commands(verb: str) -> list[list[str]]:
    command = cli.get_command(click.Context(cli), verb)
    if isinstance(command, click.Group):
        return [[verb], *([verb, name] for name in sorted(command.commands))]
    return [[verb]]


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_shows_an_example(verb):
    for words in _commands(verb):
        result = CliRunner().invoke(cli, [*words, "--help"], prog_name="archibald")
        assert result.exit_code == 0, words
        examples = result.output.partition("Examples:")[2]
        assert f"archibald {words[0]}" in examples, f"{' '.join(words)} --help has no example"
