"""What modules share: files that say where they come from."""

from __future__ import annotations

from archibald.system.spec import File


def header(keys: str, comment: str = "#") -> str:
    """Return the first line of a generated file; ``keys`` are the tables or keys that decide it."""
    if not keys:
        return f"{comment} Made by archibald, the same for every profile.\n"
    return f"{comment} Made by archibald from the profile ({keys}); change the profile instead.\n"


def text_file(path: str, body: str, *, keys: str, mode: int = 0o644, comment: str = "#") -> File:
    """Return a text file that starts with :func:`header`."""
    return File(path, (header(keys, comment) + body).encode(), mode)


def cpu_list(cpus: list[int]) -> str:
    """Return CPU numbers the way the kernel writes them: ``1-3,6``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def xkb_layout(keymap: str) -> tuple[str, str]:
    """Return the XKB layout and variant of a keymap such as "de" or "de-nodeadkeys"."""
    layout, _, variant = keymap.partition("-")
    return layout, variant
