"""``archibald advise``: which settings should this machine have?"""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.measuring import FiniteRange
from archibald.cli.tuning import chosen_profile, look
from archibald.errors import PreconditionError, UsageError

if TYPE_CHECKING:
    from archibald.measure.advise import Choice, Recommendation
    from archibald.profile.model import Profile

_FILE = click.Path(path_type=Path, dir_okay=False)
_BAR = 30


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald advise jitter.json\n"
    "  archibald advise --dsp-load 70 jitter.json latency.json xruns.json\n"
    "  archibald advise --write --profile archibald.toml jitter.json"
)
@click.argument("files", nargs=-1, type=_FILE, metavar="[RUN.json]...")
@click.option(
    "-p",
    "--profile",
    "profile_path",
    type=_FILE,
    help="Default: the profile of this system, else archibald.toml here.",
)
@click.option(
    "--dsp-load",
    type=FiniteRange(0, 95),
    default=50.0,
    show_default=True,
    metavar="PERCENT",
    help="Share of a cycle that the session's plugins take.",
)
@click.option(
    "--risk",
    type=FiniteRange(0.0001, 50),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="How many sessions of 10 minutes may have an xrun.",
)
@click.option(
    "--rate", type=click.IntRange(8000, 768000), metavar="HZ", help="Instead of the profile's."
)
@click.option("--card", default="", metavar="ID", help="The audio interface, by id or number.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/"),
    metavar="DIR",
    help="Look at a recorded system instead of the running one.",
)
@click.option("--chart", type=_FILE, metavar="FILE.svg", help="Also draw the trade-off.")
@click.option("--write", is_flag=True, help="Show the change and write it into the profile.")
@json_option
def command(
    *, files: tuple[Path, ...], profile_path: Path | None, dsp_load: float, risk: float,
    rate: int | None, card: str, root: Path, chart: Path | None, write: bool, as_json: bool,
) -> None:  # fmt: skip
    """Recommend quantum, rate, headroom, CPU and interrupts from measured runs.

    Without runs only what the machine itself tells. With --write the profile keeps its comments
    and layout.
    """
    from archibald.measure.advise import advise
    from archibald.measure.document import load_run

    profile, source = chosen_profile(profile_path)
    runs = [load_run(path) for path in files]
    machine = look(profile, root=root, card=card, user_name="", ask=False).machine
    found = advise(
        runs, profile, machine, dsp_load=dsp_load / 100, target=risk / 100, rate=rate
    )  # fmt: skip
    changes = found.changes(profile)
    if as_json:
        print_json(_data(found, changes, source))
    else:
        click.echo("\n".join(_lines(found, source)))
    if chart:
        _draw(found, chart)
    if write:
        _write(profile_path, changes, quiet=as_json)


def _data(found: Recommendation, changes: dict[str, Any], source: str) -> dict[str, Any]:
    return {
        "profile": source,
        "dsp_load": found.dsp_load,
        "risk": found.target,
        "advice": [asdict(one) for one in found.advice],
        "choices": [asdict(one) for one in found.choices],
        "no_prediction": found.forecast.refusal if found.forecast else "no run of jitter",
        "warnings": list(found.warnings),
        "changes": changes,
    }


def _lines(found: Recommendation, source: str) -> list[str]:
    from archibald.measure.forecast import assumptions

    lines = [f"profile: {source}", *(f"warning: {text}" for text in found.warnings), ""]
    for one in found.advice:
        lines.append(f"{one.subject:<11} {one.text}")
        lines += textwrap.wrap(one.reason, 80, initial_indent=" " * 12, subsequent_indent=" " * 12)
    if found.forecast is None:
        return lines
    lines += ["", f"at {100 * found.dsp_load:.0f} % DSP load, per session of 10 minutes:", ""]
    lines.append(f"{'quantum':>7} {'buffering':>10} {'deadline':>9}  P(xrun)")
    lines += [_row(one) for one in found.choices]
    if found.forecast.tail is not None:
        lines += ["", *textwrap.wrap(assumptions(found.forecast), 80)]
    else:
        lines += ["", *textwrap.wrap(f"no prediction: {found.forecast.refusal}", 80)]
    return lines


def _row(one: Choice) -> str:
    mark = "ok" if one.allowed else "  "
    bar = ""
    if one.risk_high is not None:
        # One bar over six powers of ten: full is certain.
        share = 1 + math.log10(max(1e-6, min(1.0, one.risk_high))) / 6
        bar = "#" * round(_BAR * share)
    seen = f"  seen: {one.observed}" if one.observed else ""
    return (
        f"{one.quantum:>7} {one.buffering_ms:>7.2f} ms {one.budget_us:>6.0f} us  "
        f"{one.risk:<32} {mark} {bar}{seen}"
    ).rstrip()


def _draw(found: Recommendation, path: Path) -> None:
    from archibald.measure.advise_chart import trade_off_svg

    if found.forecast is None or not found.forecast.predictions:
        raise UsageError(
            "there is no trade-off to draw",
            why="no jitter run gives a prediction",
            next_step="archibald measure jitter, 5 minutes or more under load",
        )
    _save(path, trade_off_svg(found))
    click.echo(f"wrote {path}", err=True)


def _write(path: Path | None, changes: dict[str, Any], *, quiet: bool) -> None:
    from archibald.measure.tomledit import diff, set_values
    from archibald.profile.load import read_profile

    target = path or Path("archibald.toml")
    try:
        before = target.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise PreconditionError(
            f"{target} cannot be read", why=(reason or str(error)).lower(),
            next_step=f"archibald profile init {target}, or name another one with --profile",
        ) from None  # fmt: skip
    after = set_values(before, changes, filename=str(target))
    if not changes or after == before:
        click.echo(f"{target} already says so", err=quiet)
        return
    click.echo(diff(before, after, filename=str(target)), nl=False, err=quiet)
    _checked(target, after)
    _save(target, after)
    click.echo(f"wrote {target}; archibald plan shows what apply would change", err=quiet)
    assert read_profile(target)


def _checked(target: Path, text: str) -> Profile:
    """Check the new text where it will stand, because what it extends is found from there."""
    import tempfile

    from archibald.profile.load import load_profile

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", suffix=".toml"
    ) as stream:
        stream.write(text)
        stream.flush()
        return load_profile(Path(stream.name))


def _save(path: Path, text: str) -> None:
    import os

    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, "utf-8")
        if path.exists():
            new.chmod(path.stat().st_mode & 0o777)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise PreconditionError(
            f"{path} cannot be written", why=(error.strerror or str(error)).lower()
        ) from None
