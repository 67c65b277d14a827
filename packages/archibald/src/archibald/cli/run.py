"""``archibald run``: boot an image in QEMU, or have it check itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from archibald.vm.check import Outcome, Progress


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald run out/archibaldos-0.1.0.iso\n"
    "  archibald run out/archibaldos-0.1.0.iso --headless\n"
    "  archibald run out/archibaldos-0.1.0.iso --check --variant low-latency\n"
    "  archibald run out/archibaldos-0.1.0.iso --check --firmware uefi --usb-stick"
)
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Let the guest test itself and print what it found.")
@click.option("--headless", is_flag=True, help="The serial console in this terminal; no window.")
@click.option("--variant", metavar="NAME", help="Boot this variant of the profile.")
@click.option("--kernel-entry", "entry", metavar="ID", help="Boot this entry of the boot menu.")
@click.option(
    "--firmware",
    type=click.Choice(["bios", "uefi"]),
    help="Boot the way a machine does, through its firmware and the boot menu. Without it --check "
    "and --headless load the kernel directly, which is faster; a window uses bios.",
)
@click.option("--usb-stick", is_flag=True, help="Attach the image as a USB stick, not as a CD-ROM.")
@click.option("--memory", "memory_mib", type=click.IntRange(256, 1048576), default=2048,
              show_default=True, metavar="MiB", help="Memory of the guest.")  # fmt: skip
@click.option("--cpus", type=click.IntRange(1, 255), default=2, show_default=True,
              help="CPUs of the guest.")  # fmt: skip
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), default="auto",
              show_default=True, help="auto: KVM if a test guest runs, else TCG.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), metavar="S",
              help="Seconds that --check waits (300 with KVM, 1200 with TCG).")  # fmt: skip
@click.option("--console-log", type=click.Path(path_type=Path, dir_okay=False),
              help="Keep the guest's console in this file.")  # fmt: skip
@click.option("--screenshot", type=click.Path(path_type=Path, dir_okay=False),
              help="With --check: save the guest's screen as a PNG file.")  # fmt: skip
@json_option
def command(image: Path, *, check: bool, headless: bool, as_json: bool, **options: Any) -> int:
    """Boot IMAGE, an ISO or a raw disk, in QEMU; nothing is written to it.

    With --check the guest runs its self-test: exit code 0 when the running system is the one that
    its profile describes, 1 when it is not.
    """
    from archibald.vm.boot import RunRequest

    request = RunRequest(image=image, **options)
    if check:
        from archibald.vm.check import check_image

        with _spinner() as progress:
            outcome = check_image(request, progress=progress)
        _print_outcome(outcome, as_json=as_json)
        return ExitCode.OK if outcome.passed else ExitCode.FINDINGS
    if as_json or request.screenshot:
        raise UsageError("--json and --screenshot go with --check")
    from archibald.vm.interactive import open_image

    if headless and request.console_log:
        raise UsageError(
            "--console-log does not go with --headless",
            next_step="the console is in this terminal; script(1) keeps it",
        )
    open_image(request, headless=headless)
    return ExitCode.OK


@contextlib.contextmanager
def _spinner() -> Iterator[Progress]:
    """Show the current phase on a terminal; say nothing when piped."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda phase: bar.update(task, description=phase)


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        document = outcome.report.model_dump(mode="json", by_alias=True)
        host = {"accel": outcome.accel, "entry": outcome.entry, "command": list(outcome.command)}
        print_json({**document, "host": host, "passed": outcome.passed})
        return
    from archibald.cli.selftest import print_report

    print_report(outcome.report)
