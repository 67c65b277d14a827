"""The command line as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "profiles/core.toml"


@dataclass(frozen=True)
class Finished:
    """What a run of the command line left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


def archibald(
    *words: str | Path,
    cache: Path | None = None,
    env: dict[str, str] | None = None,
    prefix: Sequence[str | Path] = (),
    timeout_s: float = 1800,
) -> Finished:
    """Run ``archibald`` in a process of its own; its standard error is shown if the test fails."""
    full = {**os.environ, **(env or {})}
    if cache is not None:
        full["ARCHIBALD_CACHE"] = str(cache)
    done = subprocess.run(
        [*map(str, prefix), sys.executable, "-m", "archibald", *map(str, words)],
        env=full, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT,
    )  # fmt: skip
    sys.stderr.write(done.stderr)
    return Finished(done.returncode, done.stdout, done.stderr)
