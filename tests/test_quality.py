"""Linters, types, layers and spelling as tests, so that one runner reports everything."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from archibald.run import find_tool, run


def _passes(root: Path, *argv: str | Path) -> None:
    result = run(argv, check=False, cwd=root)
    if result.returncode != 0:
        command = " ".join([Path(argv[0]).name, *map(str, argv[1:])])
        pytest.fail(f"{command[:200]}\n{result.stdout}{result.stderr}", pytrace=False)


def _python_tool(name: str) -> Path:
    return Path(sysconfig.get_path("scripts"), name)


def test_ruff_finds_nothing(root):
    _passes(root, _python_tool("ruff"), "check", "--output-format", "concise", ".")


def test_code_is_formatted(root):
    _passes(root, _python_tool("ruff"), "format", "--check", ".")


def test_types_hold(root):
    _passes(root, _python_tool("mypy"))


def test_imports_keep_to_the_layers(root):
    _passes(root, _python_tool("lint-imports"))


def test_words_are_spelled_right(root, tree):
    _passes(
        root,
        _python_tool("codespell"),
        *(path for path in tree if not path.name.startswith("LICENSE")),
    )


def test_shell_scripts_are_clean(root, scripts):
    tool = find_tool("shellcheck")
    if tool is None:
        pytest.fail("shellcheck is missing: scripts/host-tools check", pytrace=False)
    assert scripts
    _passes(root, tool, *(path.relative_to(root) for path in scripts))
