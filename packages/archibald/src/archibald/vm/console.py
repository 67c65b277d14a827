"""The guest's serial console: always drained, readable, and watched for a boot that failed."""

from __future__ import annotations

import codecs
import contextlib
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from archibald.errors import PreconditionError

#: Complete escape sequences: OSC (systemd prints OSC 3008), other strings, CSI, short ones.
_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
#: A sequence that the end of the text cuts off.
_CUT_OFF = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_KEPT_LINES = 2000
_LONGEST_LINE = 4096


def strip_sequences(text: str) -> str:
    """Return console text without escape sequences and control characters.

    Sequences that move the cursor to another line become a new line, so that menus stay legible.
    """

    def replacement(match: re.Match[str]) -> str:
        sequence = match.group()
        return "\n" if sequence.startswith("\x1b[") and sequence[-1] in "HfJ" else ""

    plain = _SEQUENCE.sub(replacement, text)
    plain = _CUT_OFF.sub("", plain).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", plain)


_PANIC = "Kernel panic - not syncing"

#: What on the console means that the boot failed, and how to say it.
_FAILURES = (
    (rf"{_PANIC}.*", "the guest's kernel panicked"),
    (r"\(initramfs\)", "the guest stopped in the initrd's shell"),
    (
        r"Unable to find a medium containing a live file ?system",
        "the guest did not find its medium",
    ),
    (r"You are in (?:emergency|rescue) mode", "the guest stopped in emergency mode"),
    (
        r"Cannot open access to console, the root account is locked",
        "the guest stopped in emergency mode",
    ),
    (r"grub rescue>|Minimal BASH-like line editing", "the boot loader found no menu"),
    (r"UEFI Interactive Shell|BdsDxe: No bootable option", "the firmware found nothing to boot"),
)

#: What on the console means that a phase has begun, latest first.
_PHASES = (
    ("systemd", r"Welcome to (?!GRUB)|systemd\[1\]: "),
    ("initrd", r"Loading, please wait|Begin: (?:Running|Mounting)|live-boot"),
    ("kernel", r"Linux version \d"),
    ("boot menu", r"GNU GRUB|Booting `"),
)


def find_failure(text: str) -> str | None:
    """Return what went wrong by the console's text, in one sentence, or None."""
    for pattern, meaning in _FAILURES:
        found = re.search(pattern, text)
        if found:
            return f"{meaning}: {found.group().strip()}" if "panic" in meaning else meaning
    return None


def find_phase(text: str) -> str | None:
    """Return the last phase of the boot that the console's text shows, or None."""
    for name, pattern in _PHASES:
        if re.search(pattern, text):
            return name
    return None


class Console:
    """Keeps the lines of a console. Feed it bytes; it is safe to read from another thread."""

    def __init__(self, log: IO[bytes] | None = None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        # A character may arrive in pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._received = 0
        self._failure: str | None = None
        self._phase: str | None = None

    def feed(self, data: bytes) -> None:
        """Take what the guest printed."""
        if self._log:
            self._log.write(data)
            self._log.flush()
        with self._lock:
            self._received += len(data)
            # Escape sequences never hold a newline, so cutting there cuts none of them.
            *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
            self._rest = self._rest[-_LONGEST_LINE:]
            for line in lines:
                self._take(strip_sequences(line[-_LONGEST_LINE:]))
            # An unfinished line may be a prompt; what a panic says is known when its line ends.
            self._watch(strip_sequences(self._rest).replace(_PANIC, ""))

    def _take(self, text: str) -> None:
        self._watch(text)
        self._lines.extend(line.rstrip() for line in text.split("\n") if line.strip())

    def _watch(self, text: str) -> None:
        self._failure = self._failure or find_failure(text)
        self._phase = find_phase(text) or self._phase

    @property
    def failure(self) -> str | None:
        """What went wrong, as soon as the console says so."""
        with self._lock:
            return self._failure

    @property
    def received(self) -> int:
        """How many bytes the guest has printed."""
        with self._lock:
            return self._received

    @property
    def phase(self) -> str | None:
        """The phase of the boot that was seen last."""
        with self._lock:
            return self._phase

    def last_lines(self, count: int = 20) -> list[str]:
        """Return the last lines, the unfinished one included."""
        with self._lock:
            rest = [line for line in strip_sequences(self._rest).split("\n") if line.strip()]
            return [*self._lines, *rest][-count:]

    def text(self) -> str:
        """Return all lines that are kept."""
        return "\n".join(self.last_lines(_KEPT_LINES))


@contextlib.contextmanager
def open_log(path: Path | None) -> Iterator[IO[bytes] | None]:
    """Open the file that keeps a console's bytes, if one is wanted. Raises PreconditionError."""
    if path is None:
        yield None
        return
    try:
        log = path.open("wb")
    except OSError as error:
        raise PreconditionError(
            f"the console's log {path} cannot be written",
            why=error.strerror or str(error),
            next_step="give --console-log another file",
        ) from None
    with log:
        yield log


class SerialLine(contextlib.AbstractContextManager["SerialLine"]):
    """A console on a Unix socket: a thread drains it, so the guest never waits."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path = path
        self._console = console
        self._socket: socket.socket | None = None
        self._connected = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="console", daemon=True)

    def __enter__(self) -> SerialLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def send(self, keys: bytes) -> None:
        """Type into the console; nothing happens when the guest is gone."""
        if self._connected.wait(timeout=5.0) and self._socket:
            with contextlib.suppress(OSError):
                self._socket.sendall(keys)

    def _drain(self) -> None:
        connection = connect_when_there(self._path, self._stop)
        if connection is None:
            return
        with connection:
            connection.settimeout(0.2)
            self._socket = connection
            self._connected.set()
            while not self._stop.is_set():
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                self._console.feed(data)


def connect_when_there(path: Path, stop: threading.Event) -> socket.socket | None:
    """Connect to a Unix socket as soon as it listens; None when told to stop before."""
    while not stop.is_set():
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            stop.wait(0.05)
            continue
        return connection
    return None
