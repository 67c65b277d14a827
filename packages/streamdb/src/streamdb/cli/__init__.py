"""The command line: one file per verb or family, loaded only when the verb is used."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``streamdb`` command."""
    from streamdb.cli.common import run_cli

    sys.exit(run_cli(sys.argv[1:]))
