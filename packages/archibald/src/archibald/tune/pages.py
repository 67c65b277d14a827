"""The documentation of the checks: one page each, and their list; printed from the checks."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from archibald.tune.knobs import FAMILIES, all_pages
from archibald.tune.model import Page

_NOTE = "Made by `make docs` from the checks; change the text in the code instead.\n"

_ABOUT = (
    "What the four answers mean, why there is no score, and how the checks compare with those of\n"
    "other tools: [About the audit](../../explanation/audit.md)."
)

_TABLE_HEAD = ("| check | says | severity |", "|---|---|---|")

_SEVERITIES = {
    "high": "high: without it dropouts are to be expected",
    "medium": "medium: dropouts under load",
    "low": "low: a rare disturbance, or comfort",
}


def page_text(check: str) -> str:
    """Return the page of a check as Markdown. Raises KeyError."""
    page = next((page for _, page in all_pages() if page.id == check), None)
    if page is None:
        raise KeyError(check)
    return (
        f"# {page.id}: {page.title}\n\n"
        f"{_filled(page.why)}\n\n"
        f"- Severity: {_SEVERITIES[page.severity.value]}.\n"
        f"{_filled(f'- Reads: {page.reads}.', '  ')}\n"
        f"{_filled(f'- When it is bad: {page.fix}.', '  ')}\n"
    )


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def index_text() -> str:
    """Return the list of all checks as Markdown, grouped by family."""
    lines = ["# Checks", "", _NOTE, _ABOUT]
    for module in FAMILIES:
        lines += ["", f"## {module.FAMILY.title}", "", *_TABLE_HEAD]
        lines += [_row(page) for page in module.PAGES]
    return "\n".join(lines) + "\n"


def _row(page: Page) -> str:
    return f"| [{page.id}]({page.id}.md) | {page.title} | {page.severity.value} |"


def documents() -> dict[str, str]:
    """Return ``file name → text`` of the folder of pages."""
    return {"README.md": index_text()} | {
        f"{page.id}.md": page_text(page.id) for _, page in all_pages()
    }


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def command(folder: Path) -> None:
    """Write all pages into FOLDER; pages of checks that are gone are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = documents()
    for stale in set(folder.glob("*.md")) - {folder / name for name in texts}:
        stale.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    command(prog_name="python -m archibald.tune.pages")
