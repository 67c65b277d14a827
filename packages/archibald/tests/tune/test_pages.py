"""The pages of the checks: complete, written by hand, and up to date in the repository."""

from __future__ import annotations

import json
from pathlib import Path

from archibald.cli.manual import manual
from archibald.tune.knobs import FAMILIES, all_knobs, all_pages
from archibald.tune.pages import documents, page_text
from archibald.tune.schema import audit_schema

from .conftest import NAMES

ROOT = Path(__file__).parents[4]


def test_pages_in_the_repository_are_up_to_date():
    folder = ROOT / "docs/reference/checks"
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.md")}
    assert found == documents()


def test_schema_in_the_repository_is_up_to_date():
    path = ROOT / "docs/reference/audit.schema.json"
    assert json.loads(path.read_text("utf-8")) == audit_schema()


def test_every_knob_has_a_page_and_every_page_a_knob(scene):
    ids = [page.id for _, page in all_pages()]
    assert len(ids) == len(set(ids)) >= 50
    for name in NAMES:
        if name != "container":
            assert sorted(knob.page.id for _, knob in all_knobs(scene(name))) == sorted(ids)


def test_pages_say_something():
    for _, page in all_pages():
        assert len(page.why) > 100, page.id
        assert page.reads, page.id
        assert page.fix, page.id
        text = page_text(page.id)
        assert max(map(len, text.splitlines())) <= 110, page.id


def test_families_have_names_of_their_own():
    assert len({module.FAMILY.id for module in FAMILIES}) == len(FAMILIES)


def test_the_verbs_are_in_the_manual():
    text = manual()
    for verb in ("audit", "plan", "apply", "rollback", "status", "drift"):
        assert f"## archibald {verb}" in text
