"""The command reference is current and complete."""

from __future__ import annotations

from pathlib import Path

from archibald.cli.common import VERBS
from archibald.cli.manual import manual

PAGE = Path(__file__).resolve().parents[4] / "docs/reference/commands.md"


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == manual(), "run make docs"


def test_every_verb_has_a_section_with_examples() -> None:
    text = manual()
    for verb in VERBS:
        section = text.partition(f"\n## archibald {verb}\n")[2].partition("\n## ")[0]
        assert "Examples:" in section, verb
