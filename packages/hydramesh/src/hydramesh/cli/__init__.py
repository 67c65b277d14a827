"""The command line: one file per family of verbs, loaded only when a verb is used."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``hydramesh`` command."""
    from hydramesh.cli.common import run_cli

    sys.exit(run_cli(sys.argv[1:]))
