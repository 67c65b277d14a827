"""What a change writes to: kernel files, interrupts, threads, PipeWire, units, files, groups.

Every kind can be read and written as a text, so that the journal holds what was there before, and
undoing is writing it back. The kinds are a closed list, and each refuses targets that are not its
own: the journal is read by root.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from archibald.errors import ArchibaldError
from archibald.run import Runner, run
from archibald.tune.knobs.base import words
from archibald.tune.knobs.limits import group_members
from archibald.tune.knobs.pipewire import SETTINGS_COMMAND
from archibald.tune.knobs.scheduler import parse_mask
from archibald.tune.observe import MissingError, Sight
from archibald.vm.selftest.kernel import bracketed
from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.pipewire import parse_cpu_list, parse_metadata, parse_stat

#: A target's state as a text; None when it does not exist.
State = str | None

_POLICIES = {
    "OTHER": os.SCHED_OTHER,
    "FIFO": os.SCHED_FIFO,
    "RR": os.SCHED_RR,
    "BATCH": os.SCHED_BATCH,
    "IDLE": os.SCHED_IDLE,
}


class TargetError(Exception):
    """A target could not be read or written; the message says why in one line."""


class TargetGoneError(TargetError):
    """The target is not there (any more): a card was unplugged, a thread ended."""


@dataclass(frozen=True)
class Kind:
    """How a kind of target is read, written and compared.

    What does not ``outlive`` the boot (numbers of interrupts and threads) means another thing, or
    nothing, after a reboot.
    """

    read: Callable[[Sight, Runner, str], State]
    write: Callable[[Sight, Runner, str, State], None]
    normal: Callable[[str], object] = words
    outlives: bool = True


@dataclass(frozen=True)
class Targets:
    """Reads and writes targets of one machine."""

    sight: Sight
    runner: Runner = run

    def read(self, kind: str, target: str) -> State:
        """Return the state of a target. Raises :class:`TargetError`."""
        try:
            return KINDS[kind].read(self.sight, self.runner, target)
        except MissingError as error:
            raise TargetGoneError(str(error)) from None
        except (UnreadableError, ValueError, ArchibaldError) as error:
            raise TargetError(" ".join(str(error).split())) from None
        except OSError as error:
            raise TargetError(f"{target}: {error.strerror or error}") from None

    def write(self, kind: str, target: str, value: State) -> None:
        """Write a state. Raises :class:`TargetError` when the kernel or a program refuses."""
        try:
            KINDS[kind].write(self.sight, self.runner, target, value)
        except (FileNotFoundError, ProcessLookupError, MissingError) as error:
            raise TargetGoneError(f"{target}: {error}") from None
        except (UnreadableError, ValueError, ArchibaldError) as error:
            raise TargetError(" ".join(str(error).split())) from None
        except OSError as error:
            raise TargetError(f"{target}: {error.strerror or error}") from None

    @staticmethod
    def same(kind: str, one: State, other: State) -> bool:
        """Say whether two states mean the same."""
        if one is None or other is None:
            return one is other
        normal = KINDS[kind].normal
        try:
            return normal(one) == normal(other)
        except ValueError:
            return one == other


def _kernel_path(target: str) -> str:
    if not target.startswith(("/sys/", "/proc/sys/")) or ".." in target.split("/"):
        raise ValueError(f"{target} is no setting of the kernel")
    return target


def _write_kernel(sight: Sight, path: str, text: str) -> None:
    # Neither O_CREAT nor O_TRUNC: a file that is gone must not come back as an ordinary one. Only
    # a recorded tree has ordinary files, which have to be shortened.
    mode = os.O_WRONLY if sight.live else os.O_WRONLY | os.O_TRUNC
    descriptor = os.open(sight.path(path), mode)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


def _read_value(sight: Sight, _runner: Runner, target: str) -> State:
    return sight.text(_kernel_path(target)).rstrip("\n")


def _write_value(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    _write_kernel(sight, _kernel_path(target), value or "")


def _read_choice(sight: Sight, _runner: Runner, target: str) -> State:
    return bracketed(sight.text(_kernel_path(target)))


def _write_choice(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    text = value or ""
    if not sight.live:
        # What the kernel does: the list stays, the mark moves.
        before = sight.value(target)
        plain = before.replace(f"[{bracketed(before)}]", bracketed(before))
        text = re.sub(rf"\b{re.escape(text)}\b", f"[{text}]", plain)
    _write_kernel(sight, _kernel_path(target), text)


def _irq_path(target: str) -> str:
    return f"/proc/irq/{int(target)}/smp_affinity_list"


def _read_irq(sight: Sight, _runner: Runner, target: str) -> State:
    return sight.value(_irq_path(target))


def _write_irq(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    _write_kernel(sight, _irq_path(target), value or "")


def _thread(sight: Sight, target: str) -> tuple[int, str]:
    """Return the thread and its scheduling; one whose number was used again is another thread."""
    number, _, comm = target.partition(" ")
    found = parse_stat(sight.text(f"/proc/{int(number)}/stat"))
    if found.comm != comm:
        raise MissingError(f"thread {target} has ended")
    return int(number), f"{found.policy} {found.priority}"


def _read_thread(sight: Sight, _runner: Runner, target: str) -> State:
    return _thread(sight, target)[1]


def _write_thread(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    pid, _ = _thread(sight, target)
    policy, _, priority = (value or "").partition(" ")
    if not sight.live:
        raise ValueError("threads of a recorded machine cannot be scheduled")
    os.sched_setscheduler(pid, _POLICIES[policy], os.sched_param(int(priority)))


def _read_pipewire(sight: Sight, _runner: Runner, target: str) -> State:
    # Not through sight.command, which would remember the first answer.
    text = sight.commands(SETTINGS_COMMAND, in_session=True, accept=(0,))
    return parse_metadata(text).get(target)


def _write_pipewire(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    if not re.fullmatch(r"clock\.[a-z-]+", target):
        raise ValueError(f"{target} is no clock setting")
    change = ("-d", *SETTINGS_COMMAND[1:], target)
    if value is not None:
        change = (*SETTINGS_COMMAND[1:], target, value)
    sight.commands(("pw-metadata", *change), in_session=True, accept=(0,))


def _unit(target: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@._:-]*\.(service|timer|socket)", target):
        raise ValueError(f"{target} is no unit")
    return target


def _read_unit(sight: Sight, _runner: Runner, target: str) -> State:
    argv = ("systemctl", "is-active", _unit(target))
    state = sight.commands(argv, in_session=False, accept=range(5)).strip()
    return "active" if state in ("active", "activating", "reloading") else "inactive"


def _write_unit(_sight: Sight, runner: Runner, target: str, value: State) -> None:
    verb = "start" if value == "active" else "stop"
    runner(["systemctl", verb, _unit(target)], timeout_s=30)


def _etc_path(target: str) -> str:
    if not target.startswith("/etc/") or ".." in target.split("/"):
        raise ValueError(f"{target} is not in /etc")
    return target


def file_state(content: bytes, mode: int) -> str:
    """Return a file as a state: mode and content."""
    return f"{mode:04o}:{base64.b64encode(content).decode()}"


def file_content(state: str) -> bytes:
    """Return the content of a file's state."""
    return base64.b64decode(state.partition(":")[2])


def _read_file(sight: Sight, _runner: Runner, target: str) -> State:
    path = sight.path(_etc_path(target))
    if path.is_symlink():
        raise ValueError(f"{target} is a link; it is left alone")
    try:
        return file_state(path.read_bytes(), path.stat().st_mode & 0o7777)
    except FileNotFoundError:
        return None


def _write_file(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    path = sight.path(_etc_path(target))
    if value is None:
        path.unlink(missing_ok=True)
    else:
        mode, _, _ = value.partition(":")
        _replace(path, file_content(value), int(mode, 8))
    _sync_folder(path.parent)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file completely or not at all."""
    new = path.with_name(f".{path.name}.archibald-new")
    try:
        with new.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_folder(sight: Sight, _runner: Runner, target: str) -> State:
    return "there" if sight.path(_etc_path(target)).is_dir() else None


def _write_folder(sight: Sight, _runner: Runner, target: str, value: State) -> None:
    path = sight.path(_etc_path(target))
    if value is None:
        path.rmdir()
    else:
        path.mkdir(mode=0o755, exist_ok=True)
    _sync_folder(path.parent)


def _names(target: str) -> tuple[str, str]:
    found = re.fullmatch(r"([a-z_][a-z0-9_-]*) ([A-Za-z_][A-Za-z0-9_.-]*)", target)
    if not found:
        raise ValueError(f"{target!r} is no group and user")
    return found.group(1), found.group(2)


def _read_member(sight: Sight, _runner: Runner, target: str) -> State:
    group, user = _names(target)
    members = group_members(sight.text("/etc/group"), group)
    if members is None:
        raise MissingError(f"there is no group {group}")
    return "yes" if user in members else "no"


def _write_member(sight: Sight, runner: Runner, target: str, value: State) -> None:
    group, user = _names(target)
    if not sight.live:
        raise ValueError("groups of a recorded machine cannot be changed")
    runner(["gpasswd", "--add" if value == "yes" else "--delete", user, group])


KINDS: Mapping[str, Kind] = {
    "value": Kind(_read_value, _write_value),
    "choice": Kind(_read_choice, _write_choice),
    "mask": Kind(_read_value, _write_value, lambda text: frozenset(parse_mask(text))),
    "irq": Kind(
        _read_irq, _write_irq, lambda text: frozenset(parse_cpu_list(text)), outlives=False
    ),
    "thread": Kind(_read_thread, _write_thread, outlives=False),
    "pipewire": Kind(_read_pipewire, _write_pipewire, outlives=False),
    "unit": Kind(_read_unit, _write_unit, outlives=False),
    "file": Kind(_read_file, _write_file, str),
    "folder": Kind(_read_folder, _write_folder),
    "member": Kind(_read_member, _write_member),
}


def shown(kind: str, state: State) -> str:
    """Return a state as people read it."""
    if state is None:
        return "absent"
    if kind == "file":
        return f"file of {len(file_content(state))} bytes"
    return state
