"""``archibald report``: one HTML file, and a Markdown summary, of measured runs."""

from __future__ import annotations

from pathlib import Path

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.errors import PreconditionError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald report jitter.json latency.json\n"
    "  archibald report --output studio.html --markdown studio.md jitter.json"
)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="RUN.json...")
@click.option("-o", "--output", type=_FILE, default=Path("report.html"), show_default=True,
              help="The HTML file; plots are inside.")  # fmt: skip
@click.option("--markdown", type=_FILE, help="Also write a summary in Markdown.")
@click.option("--title", default="Measurements", show_default=True, help="Heading.")
@json_option
def command(
    *, files: tuple[Path, ...], output: Path, markdown: Path | None, title: str, as_json: bool
) -> None:
    """Make one self-contained HTML file from measured runs.

    It needs no network and no other file, and is readable on a phone, light and dark.
    """
    from archibald.measure.document import load_run
    from archibald.measure.report import html_report, markdown_report

    runs = [load_run(path) for path in files]
    written = [_write(output, html_report(runs, title=title))]
    if markdown:
        written.append(_write(markdown, markdown_report(runs, title=title)))
    if as_json:
        print_json({"runs": len(runs), "written": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(f"wrote {path}")


def _write(path: Path, text: str) -> Path:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise PreconditionError(
            f"{path} cannot be written",
            why=(error.strerror or str(error)).lower(),
            next_step="name another file with --output",
        ) from None
    return path
