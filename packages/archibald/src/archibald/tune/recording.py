"""Recorded machines: a compact text that becomes a tree which :func:`recorded_sight` looks at.

One entry per line, ``#`` starts a comment::

    /sys/devices/system/cpu/cpu{0..3}/cpufreq/scaling_governor = powersave
    /sys/class/sound/card0 -> ../../devices/pci0000:00/0000:00:1f.3/sound/card0
    /sys/devices/pci0000:00/0000:00:1f.3/sound/card0/
    /proc/meminfo <<
    MemTotal: 16000000 kB
    .
    $ pw-metadata -n settings 0 <<
    ...
    .
    node /dev/cpu_dma_latency 0660 root audio
    user musician 1000
    process 812 pipewire OTHER 0 1000
    task 812 820 data-loop.0 FIFO 88 1
    kthread 131 irq/131-xhci_hcd FIFO 50

A process has its user's number, a task (a thread of the process) the list of its CPUs.
``{0..3}`` stands for the numbers; a value may name the number as ``{}``. A text ends with a line
that is one dot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archibald.errors import UsageError
from archibald.tune.observe import NOTES
from archibald.vm.selftest.pipewire import POLICIES

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class RecordingError(UsageError):
    """A recording has a line that cannot be understood."""


@dataclass
class Recording:
    """A recorded machine: files, links, folders, answers of programs."""

    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Make the tree below ``root``."""
        for folder in self.folders:
            _inside(root, folder).mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            path = _inside(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        for name, target in self.links.items():
            path = _inside(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
        root.mkdir(parents=True, exist_ok=True)
        notes = {"commands": self.commands, "nodes": self.nodes, "user": self.user}
        (root / NOTES).write_text(json.dumps(notes), "utf-8")


def _inside(root: Path, name: str) -> Path:
    if ".." in name.split("/"):
        raise RecordingError(f"{name} leads out of the recording")
    return root / name.lstrip("/")


def parse_recording(text: str, *, filename: str) -> Recording:
    """Return the machine that a text describes. Raises :class:`RecordingError`."""
    found = Recording()
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line.endswith(" <<"):
            body = _body(lines, f"{filename}:{number}")
            _put_text(found, line.removesuffix(" <<"), body)
        else:
            _put_line(found, line, f"{filename}:{number}")
    return found


def _body(lines: Iterator[tuple[int, str]], where: str) -> str:
    body: list[str] = []
    for _, line in lines:
        if line == ".":
            return "".join(f"{part}\n" for part in body)
        body.append(line)
    raise RecordingError(f"{where}: the text has no end", next_step="end it with a line '.'")


def _put_text(found: Recording, head: str, body: str) -> None:
    if head.startswith("$ "):
        found.commands[head[2:]] = body
        return
    for name, number in _expanded(head):
        found.files[name] = body.replace("{}", number)


def _put_line(found: Recording, line: str, where: str) -> None:
    words = line.split()
    form = _FORMS.get(words[0])
    if form is not None and len(words) == form[0]:
        form[1](found, words)
    elif " -> " in line:
        name, _, target = line.partition(" -> ")
        for each, number in _expanded(name):
            found.links[each] = target.replace("{}", number)
    elif " = " in line or line.endswith(" ="):
        name, _, value = line.partition(" =")
        for each, number in _expanded(name):
            found.files[each] = value[1:].replace("{}", number).replace("\\0", "\0") + "\n"
    elif line.startswith("/") and line.endswith("/"):
        found.folders += [each for each, _ in _expanded(line)]
    else:
        raise RecordingError(f"{where}: cannot be understood", why=line[:120])


def _user(found: Recording, words: list[str]) -> None:
    found.user = {"name": words[1], "uid": words[2]}


def _node(found: Recording, words: list[str]) -> None:
    found.nodes[words[1]] = " ".join(words[2:])


def _process(found: Recording, words: list[str]) -> None:
    _, pid, comm, policy, priority, uid = words
    found.files[f"/proc/{pid}/stat"] = _stat(pid, comm, policy, priority, parent=1)
    found.files[f"/proc/{pid}/status"] = f"Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
    found.files[f"/proc/{pid}/cmdline"] = f"/usr/bin/{comm}\0"
    _task(found, ["task", pid, pid, comm, policy, priority, "0-255"])


def _task(found: Recording, words: list[str]) -> None:
    _, pid, tid, comm, policy, priority, cpus = words
    folder = f"/proc/{pid}/task/{tid}"
    found.files[f"{folder}/stat"] = _stat(tid, comm, policy, priority, parent=1)
    found.files[f"{folder}/status"] = f"Name:\t{comm}\nCpus_allowed_list:\t{cpus}\n"


def _kthread(found: Recording, words: list[str]) -> None:
    _, pid, comm, policy, priority = words
    found.files[f"/proc/{pid}/stat"] = _stat(pid, comm, policy, priority, parent=2)


def _stat(pid: str, comm: str, policy: str, priority: str, *, parent: int) -> str:
    """Return a line of /proc/PID/stat: 52 fields, rt_priority is 40, policy 41 (proc(5))."""
    number = next(number for number, name in POLICIES.items() if name == policy)
    fields = ["S", str(parent), *["0"] * 35, priority, str(number), *["0"] * 11]
    return f"{pid} ({comm}) {' '.join(fields)}\n"


#: First word of a line → how many words it has, and what it puts there.
_FORMS: dict[str, tuple[int, Callable[[Recording, list[str]], None]]] = {
    "user": (3, _user),
    "node": (5, _node),
    "process": (6, _process),
    "task": (7, _task),
    "kthread": (5, _kthread),
}


def _expanded(name: str) -> list[tuple[str, str]]:
    """Return (name, number) for each number of a range, or the name alone."""
    found = _RANGE.search(name)
    if not found:
        return [(name, "")]
    numbers = range(int(found.group(1)), int(found.group(2)) + 1)
    return [(_RANGE.sub(str(number), name), str(number)) for number in numbers]
