"""A real PipeWire without hardware: in a chroot of the core image's file system.

The server is the image's, on whatever kernel runs the tests.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from archibald.errors import ArchibaldError
from archibald.profile.model import Profile
from archibald.run import run
from archibald.tune.audit import audit, make_scene
from archibald.tune.model import Finding, Scene
from archibald.tune.observe import Sight
from archibald.vm.selftest.model import Answer, UnreadableError
from archibald.vm.selftest.reader import SessionUser

from .cli import CORE, archibald

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mount need root")

#: A number that no session of the host has.
UID = 54321

#: Inside the chroot.
RUNTIME = "/tmp/run"

SINK = """\
context.objects = [
    {   factory = adapter
        args = {
            factory.name = support.null-audio-sink
            node.name = test-sink
            media.class = Audio/Sink
            audio.position = [ FL FR ]
            monitor.channel-volumes = true
        }
    }
]
"""

#: What the server is started with: not what the profile wants.
CLOCK = """\
context.properties = {
    default.clock.rate = 48000
    default.clock.allowed-rates = [ 48000 96000 ]
    default.clock.quantum = 256
    default.clock.min-quantum = 16
    default.clock.max-quantum = 2048
}
context.properties.rules = []
"""

PROFILE = Profile.model_validate(
    {
        "audio": {"rate": 48000, "quantum": 64, "max_quantum": 2048},
        "cpu": {"audio": [], "minimum": 1},
    }
)


class Studio:
    """A chroot in which PipeWire and its clients run as an ordinary user."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root, self._stack = root, stack

    def _words(self, argv: Sequence[str], *, realtime: bool) -> list[str]:
        env = [f"XDG_RUNTIME_DIR={RUNTIME}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME}/bus",
               "HOME=/tmp", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"]  # fmt: skip
        # Not by a limit: raising one needs a capability that containers and test machines lack.
        caps = ["--inh-caps=+sys_nice", "--ambient-caps=+sys_nice"] if realtime else []
        return [
            "chroot", str(self.root), "setpriv", f"--reuid={UID}", f"--regid={UID}",
            "--clear-groups", *caps, "env", "-i", *env, *argv,
        ]  # fmt: skip

    def start(self, *argv: str, realtime: bool = False) -> subprocess.Popen[bytes]:
        """Start a program; it ends with the test."""
        log = (self.root / f"tmp/{argv[0]}.log").open("ab")
        self._stack.callback(log.close)
        process = subprocess.Popen(
            self._words(argv, realtime=realtime), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._stack.callback(_end, process)
        return process

    def ask(self, argv: Sequence[str], *, in_session: bool, accept: Sequence[int]) -> str:
        """Ask a program in the chroot, as :class:`Sight` does."""
        del in_session
        try:
            result = run(self._words(argv, realtime=False), check=False, timeout_s=10)
        except ArchibaldError as error:
            raise UnreadableError(f"{error.what}: {error.why}") from None
        if result.returncode not in accept:
            raise UnreadableError(f"{argv[0]}: {result.stderr}")
        return result.stdout

    def scene(self) -> Scene:
        """Return the machine with the session of this user."""
        sight = Sight(Path("/"), SessionUser("musician", UID), self.ask)
        return make_scene(sight, PROFILE)

    def find(self, check: str) -> Finding:
        """Return what the audit says of one check now."""
        return next(f for f in audit(self.scene()).findings if f.check == check)

    def serve(self, *, realtime: bool) -> subprocess.Popen[bytes]:
        """Start PipeWire and WirePlumber and wait until the sink is there."""
        server = self.start("pipewire", realtime=realtime)
        wait_for(lambda: (self.root / RUNTIME[1:] / "pipewire-0").exists())
        self.start("wireplumber")
        wait_for(lambda: "test-sink" in self._answer("pw-dump"))
        return server

    def play(self) -> subprocess.Popen[bytes]:
        """Play silence into the sink, and wait until the graph runs."""
        player = self.start(
            "pw-cat", "--playback", "--raw", "--rate=48000", "--channels=2", "--format=s16",
            "--latency=64", "/dev/zero",
        )  # fmt: skip
        wait_for(lambda: self.find("pipewire.graph").answer in (Answer.OK, Answer.BAD))
        return player

    def _answer(self, *argv: str) -> str:
        try:
            return self.ask(argv, in_session=True, accept=(0,))
        except UnreadableError:
            return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


@contextmanager
def mounted(*arguments: str | Path, at: Path) -> Iterator[None]:
    """Mount something, and take it away again."""
    run(["mount", *arguments, at])
    try:
        yield
    finally:
        run(["umount", "--lazy", at])


@pytest.fixture(scope="session")
def core_tree(vm_folder: Path) -> Path:
    """The core image's file system, unpacked."""
    done = archibald("build", "rootfs", "--profile", CORE, "--output", vm_folder / "for-pipewire",
                     "--json")  # fmt: skip
    assert done.code == 0, done.err
    tree = Path(mkdtemp(prefix="core-tree-", dir=vm_folder))
    tree.chmod(0o755)
    without = [f"--exclude=./{name}/*" for name in ("dev", "boot", "usr/lib/modules")]
    run(["tar", "--zstd", "-xf", done.document["image"], "-C", tree, *without])
    return tree


@pytest.fixture
def studio(core_tree: Path) -> Iterator[Studio]:
    """The chroot with its mounts, a bus, and settings that differ from the profile."""
    root = core_tree
    with ExitStack() as stack:
        for arguments, at in (
            (("-t", "proc", "proc"), root / "proc"),
            (("--bind", "/dev"), root / "dev"),
            (("-t", "tmpfs", "tmpfs"), root / "tmp"),
            (("-t", "tmpfs", "tmpfs"), root / "etc/pipewire/pipewire.conf.d"),
        ):
            stack.enter_context(mounted(*arguments, at=at))
        # The bus wants to know the name of who starts it.
        (root / "tmp/passwd").write_text(f"musician:x:{UID}:{UID}::/tmp:/bin/sh\n")
        stack.enter_context(mounted("--bind", root / "tmp/passwd", at=root / "etc/passwd"))
        (root / RUNTIME[1:]).mkdir(mode=0o700)
        for folder in (root / "tmp", root / RUNTIME[1:]):
            os.chown(folder, UID, UID)
        (root / "etc/pipewire/pipewire.conf.d/10-test.conf").write_text(SINK + CLOCK)
        it = Studio(root, stack)
        it.start("dbus-daemon", "--session", "--nofork", f"--address=unix:path={RUNTIME}/bus")
        wait_for(lambda: (root / RUNTIME[1:] / "bus").exists())
        yield it
