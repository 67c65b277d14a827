"""The command reference is current and complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from streamdb.cli.common import VERBS
from streamdb.cli.manual import manual

PAGE = Path(__file__).parents[4] / "docs/reference/streamdb.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == manual(), "run make docs"


def test_the_module_prints_the_page():
    done = subprocess.run(
        [sys.executable, "-m", "streamdb.cli.manual"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == manual()


def test_every_verb_has_a_section_with_examples():
    text = manual()
    for verb in VERBS:
        section = text.partition(f"\n## streamdb {verb}\n")[2].partition("\n## ")[0]
        assert "Examples:" in section, verb
