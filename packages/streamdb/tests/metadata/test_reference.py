"""The reference page is what the code says, and its examples are queries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from streamdb.metadata.fields import FIELDS
from streamdb.metadata.reference import page
from streamdb.query import parse
from streamdb.query.values import _UNITS

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "streamdb-metadata.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_module_prints_the_page():
    result = subprocess.run(
        [sys.executable, "-m", "streamdb.metadata.reference"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout == page()


def test_every_field_and_unit_is_on_the_page():
    text = page()
    for field in FIELDS.values():
        for name in (field.name, *field.aliases):
            assert f"`{name}`" in text
    for units in _UNITS.values():
        for unit in units:
            assert unit in text.lower() or unit in {"sec", "µs", "bits", "b", "db", "lufs", "dbtp"}


def test_the_examples_of_the_page_are_queries():
    text = page()
    example = re.search(r"^    (rate=.*\n.*)$", text, re.MULTILINE)
    assert example
    assert len(parse(example[1]).terms) == 10
    for written in ("markers.label:verse", "origination=2024-06", "-has:tempo", 'name="a b"'):
        parse(written)
