"""``archibald latency-budget``: where the latency of a profile comes from, stage by stage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile

if TYPE_CHECKING:
    from archibald.measure.budget import Budget, Interface, Scheduling

_INTERFACES = ("usb-high-speed", "pcie", "built-in", "software")


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald latency-budget\n"
    "  archibald latency-budget --interface pcie\n"
    "  archibald latency-budget --scheduling timer --quantum 64"
)
@click.option(
    "-p",
    "--profile",
    "profile_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whose quantum and rate. Default: the profile of this system, else archibald.toml here.",
)
@click.option("--variant", default="default", metavar="NAME", help="Boot entry of the profile.")
@click.option(
    "--interface",
    type=click.Choice(_INTERFACES),
    default="usb-high-speed",
    show_default=True,
    help="How the device is attached; software: no device.",
)
@click.option(
    "--scheduling",
    type=click.Choice(("irq", "timer")),
    default="irq",
    show_default=True,
    help="What wakes the graph: the device, or a timer.",
)
@click.option(
    "--headroom",
    type=click.IntRange(0, 65536),
    metavar="FRAMES",
    help="Headroom per direction. Default: 0 with irq, one quantum with timer.",
)
@click.option(
    "--async-edges",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="N",
    help="Links that hand over in the next cycle.",
)
@click.option(
    "--quantum", type=click.IntRange(1, 65536), metavar="FRAMES", help="Instead of the profile's."
)
@click.option(
    "--rate", type=click.IntRange(8000, 768000), metavar="HZ", help="Instead of the profile's."
)
@json_option
def command(
    *, profile_path: Path | None, variant: str, interface: Interface, scheduling: Scheduling,
    headroom: int | None, async_edges: int, quantum: int | None, rate: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Print the latency budget of a profile and a type of interface.

    Each stage has its formula and the source of its numbers. Ranges are those of devices in
    general: `archibald measure latency` measures yours.
    """
    from archibald.measure.budget import latency_budget
    from archibald.profile.load import boot_entry

    profile, source = chosen_profile(profile_path)
    audio = boot_entry(profile, variant).audio
    found = latency_budget(
        quantum or audio.quantum, rate or audio.rate, interface, scheduling=scheduling,
        headroom_frames=headroom, async_edges=async_edges,
    )  # fmt: skip
    if as_json:
        sums = {name: getattr(found, name) for name in ("nominal_ms", "low_ms", "high_ms")}
        print_json({**asdict(found), **sums, "profile": source, "statement": found.statement})
    else:
        click.echo("\n".join(_lines(found, source)))


def _lines(found: Budget, source: str) -> list[str]:
    import textwrap

    lines = [
        f"profile: {source}",
        f"{found.quantum} frames at {found.rate} Hz, {found.interface}, {found.scheduling} "
        "scheduling",
        "",
        f"{'stage':<26} {'formula':<20} {'ms':>15}",
    ]
    for stage in found.stages:
        lines.append(f"{stage.name:<26} {stage.formula:<20} {_range(stage.low_ms, stage.high_ms)}")
    lines += [f"{'sum':<26} {'':<20} {_range(found.low_ms, found.high_ms)}", "", "sources:"]
    for text in dict.fromkeys(stage.source for stage in found.stages):
        names = ", ".join(stage.name for stage in found.stages if stage.source == text)
        lines += textwrap.wrap(
            f"{names}: {text}", 80, initial_indent="  ", subsequent_indent="    "
        )
    return [*lines, "", *textwrap.wrap(found.statement, 80)]


def _range(low: float, high: float) -> str:
    return f"{low:>15.3f}" if low == high else f"{f'{low:.3f} - {high:.3f}':>15}"
