"""The kernels of an image in virtual time: the table and the chart of the documentation.

    .venv/bin/python bench/virtual_jitter.py IMAGE --markdown table.md --chart chart.svg
    .venv/bin/python bench/virtual_jitter.py IMAGE --quick              # two loads, two kernels
    .venv/bin/python bench/virtual_jitter.py --from run.json --chart chart.svg   # a run kept

Every figure is the same on every run with the same image and the same QEMU. A full run boots 24
times, about 20 to 60 s each. Exit codes are those of archibald measure virtual-jitter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from archibald.measure.document import Run, load_run
from archibald.measure.records import VirtualJitterData, VirtualJitterRow
from archibald.measure.virtual.compare import KERNELS, table
from archibald.measure.virtual.guest import LOADS

QUICK_LOADS = ("tmpfs", "memory")

_COLOURS = {"rt": "#2e7d4f", "generic": "#b3562c", "low-latency": "#8a7a2e"}
_ROW, _BAR, _LEFT, _WIDTH = 16, 12, 110, 760


def arguments(words: list[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, nargs="?", help="an ISO of archibald build iso")
    parser.add_argument("--quick", action="store_true", help="two loads, rt and generic")
    parser.add_argument("--cycles", type=int, default=4000, help="wake-ups per boot")
    parser.add_argument("--from", dest="kept", type=Path, help="a run document instead of boots")
    parser.add_argument("--json", type=Path, help="keep the run document here")
    parser.add_argument("--markdown", type=Path, help="write the table here; default: stdout")
    parser.add_argument("--chart", type=Path, help="write the chart (SVG) here")
    chosen = parser.parse_args(words)
    if (chosen.image is None) == (chosen.kept is None):
        parser.error("name an image, or a run with --from")
    return chosen


def command(image: Path, target: Path, *, quick: bool, cycles: int) -> list[str]:
    """Return what is run."""
    kernels = ("rt", "generic") if quick else tuple(KERNELS)
    loads = QUICK_LOADS if quick else tuple(LOADS)
    words = [sys.executable, "-m", "archibald", "measure", "virtual-jitter", str(image)]
    words += [word for kernel in kernels for word in ("--kernel", kernel)]
    words += [word for load in loads for word in ("--load", load)]
    return [*words, "--cycles", str(cycles), "-o", str(target)]


def markdown(run: Run) -> str:
    """Return the table."""
    assert isinstance(run.data, VirtualJitterData)
    head, *rows = table(run.data.rows)
    what = {load.name: load.what for load in LOADS.values()}
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {row[0]}: {what.get(row[0], '')} | {' | '.join(row[1:])} |" for row in rows]
    return "\n".join(lines) + "\n"


def chart(rows: list[VirtualJitterRow], title: str) -> str:
    """Return bars of the largest latency per load and kernel, on a scale by the root.

    The root shows 7 beside 500; each bar has its figure.
    """
    most = max(row.histogram.max_us for row in rows)
    loads = list(dict.fromkeys(row.load for row in rows))
    parts, y = [], 40
    for load in loads:
        parts.append(f'<text x="{_LEFT - 8}" y="{y + _BAR - 2}" text-anchor="end">{load}</text>')
        for row in (row for row in rows if row.load == load):
            width = (_WIDTH - _LEFT - 150) * (row.histogram.max_us / most) ** 0.5
            colour = _COLOURS.get(row.kernel, "#777777")
            parts.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
                f'<text x="{_LEFT + width + 6:.1f}" y="{y + _BAR - 2}">'
                f"{row.histogram.max_us:.0f} us, {escape(row.kernel)}</text>"
            )
            y += _ROW
        y += 8
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" '
        f'viewBox="0 0 {_WIDTH} {y + 10}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{y + 10}" fill="#ffffff"/>\n'
        f'<text x="10" y="22" font-size="14">{escape(title)}</text>\n{body}\n</svg>\n'
    )


def main(words: list[str]) -> int:
    """Run it, and write what was asked for."""
    chosen = arguments(words)
    with tempfile.TemporaryDirectory(prefix="virtual-jitter-") as folder:
        target = chosen.kept or chosen.json or Path(folder) / "run.json"
        if chosen.image is not None:
            line = command(chosen.image, target, quick=chosen.quick, cycles=chosen.cycles)
            done = subprocess.run(line, stdout=subprocess.DEVNULL, check=False)
            if done.returncode != 0:
                return done.returncode
        run = load_run(target)
    assert isinstance(run.data, VirtualJitterData)
    text = markdown(run)
    if chosen.markdown:
        chosen.markdown.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    if chosen.chart:
        title = f"Largest wake-up latency in virtual us ({run.data.emulator})"
        chosen.chart.write_text(chart(list(run.data.rows), title), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
