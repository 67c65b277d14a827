"""``hydramesh benchmark``: measure the way to a node, with live progress on a terminal."""

from __future__ import annotations

import sys

import click

from hydramesh.cli import completing
from hydramesh.cli.common import EXAMPLES, Place, json_option, listen, print_rows, show
from hydramesh.v1 import mesh_pb2 as pb

_WIDTH = 24


def _progress(event: pb.BenchmarkEvent) -> None:
    if not sys.stderr.isatty():
        return
    bar = "#" * round(event.done * _WIDTH)
    unit = "ms" if event.phase == "round trips" else "MB/s"
    sys.stderr.write(f"\r{event.phase:12} [{bar:{_WIDTH}}] {event.value:9.2f} {unit}\x1b[K")
    sys.stderr.flush()


def _spread(told: pb.Distribution) -> str:
    lost = f", {told.lost} lost" if told.lost else ""
    return (
        f"{told.median:.2f} median, {told.p99:.2f} p99, {told.least:.2f} to {told.most:.2f} ms"
        f" ({told.count}{lost})"
    )


@click.command(
    epilog=EXAMPLES
    + "  hydramesh benchmark laptop\n"
    + "  hydramesh benchmark laptop --count 1000 --chunks 256 --json"
)
@click.argument("node", shell_complete=completing.nodes)
@click.option(
    "--count", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Round trips."
)
@click.option(
    "--chunks",
    default=64,
    show_default=True,
    type=click.IntRange(1, 16_384),
    help="Chunks of 1 MiB to pull.",
)
@json_option
@click.pass_obj
def benchmark(place: Place, node: str, count: int, chunks: int, as_json: bool) -> None:
    """Measure the way to NODE: round trips of control messages, and throughput.

    Round trips are those of 64 bytes from daemon to daemon, first while nothing else is sent, then
    while chunks are pulled. Chunks are pulled four at a time and verified by their BLAKE3, as
    content is; 1 MB is 1,000,000 bytes.
    """
    asked = pb.BenchmarkRequest(node=node, count=count, chunks=chunks)
    last = pb.BenchmarkEvent()
    for event in listen(place, "Benchmark", asked, service="Mesh"):
        last = event
        _progress(event)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    found = last.result

    def text() -> None:
        rows = [
            (
                "node",
                f"{found.name} ({found.nid}), {'direct' if found.linked else 'through others'}",
            ),
            ("round trip", _spread(found.idle)),
            ("under load", _spread(found.loaded)),
            (
                "throughput",
                f"{found.mb_per_s:.1f} MB/s, {found.median_mb_per_s:.1f} median of intervals,"
                f" {found.least_mb_per_s:.1f} the least",
            ),
            (
                "chunks",
                f"{found.chunks}, {found.chunk_median_ms:.1f} median,"
                f" {found.chunk_p99_ms:.1f} ms p99",
            ),
        ]
        print_rows(["", ""], rows)

    show(found, as_json, text)
