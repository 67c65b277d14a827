"""What the tests of the whole repository share: where it is, and which files belong to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from archibald.run import run

ROOT = Path(__file__).resolve().parent.parent

_LISTING_OPTIONS = ("-z", "--cached", "--others", "--exclude-standard")

#: Folders that hold nothing of ours, for a tree that came without its git repository.
_NOT_OURS = {".git", ".venv", "out", "build", "__pycache__"}


def _listed_by_git() -> list[str]:
    # Files that are new and not committed yet count: rules should speak before the commit does.
    # The tree may belong to another user than the one who runs the tests.
    result = run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", *_LISTING_OPTIONS])
    return [name for name in result.stdout.split("\0") if name]


def _found_by_walking() -> list[str]:
    return [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if not _NOT_OURS.intersection(path.parts) and not any("_cache" in p for p in path.parts)
    ]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def tree() -> list[Path]:
    """Every file of the repository, tracked or about to be, as absolute paths."""
    names = _listed_by_git() if (ROOT / ".git").exists() else _found_by_walking()
    files = sorted(path for path in {ROOT / name for name in names} if path.is_file())
    assert ROOT / "pyproject.toml" in files
    return files


@pytest.fixture(scope="session")
def scripts(tree: list[Path]) -> list[Path]:
    """Every shell script: by its name, or by its first line."""
    return [path for path in tree if path.suffix == ".sh" or _is_shell(path)]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.split()[-1].endswith((b"/sh", b"/bash", b"bash"))
