"""The client in C that tests put into a graph: a known delay, a known load, known xruns."""

from __future__ import annotations

from pathlib import Path

from archibald.run import run

SOURCE = Path(__file__).with_name("data") / "client.c"


def build(folder: Path) -> Path:
    """Compile it, and return the program."""
    program = folder / "client"
    run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE, "-ljack"])
    return program
