"""The command line: one file per verb, loaded only when the verb is used."""

from __future__ import annotations

import sys

from archibald.cli.common import run_cli


def main() -> None:
    """Entry point of the ``archibald`` command."""
    sys.exit(run_cli(sys.argv[1:]))
