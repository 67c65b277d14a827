"""What runs inside: one script, one load, cyclictest, and its result on the serial line. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from archibald.errors import ToolFailedError, UsageError
from archibald.measure.histogram import Histogram, HistogramError, parse_cyclictest

#: Virtual microseconds between wake-ups, and from where on latencies are only counted.
INTERVAL_US = 1000
LIMIT_US = 2000

#: SCHED_FIFO, above every thread of the kernel but the ones that must not wait.
PRIORITY = 95

_BEGIN, _END = "archibald-result-begin", "archibald-result-end"

#: Programs of every guest, and the small commands that busybox is called for.
PROGRAMS = ("busybox", "cyclictest")
APPLETS = ("cat", "dd", "ifconfig", "insmod", "mke2fs", "mount", "poweroff", "rm", "sh", "sleep",
           "sync", "true")  # fmt: skip

#: One datagram after the other to a socket that nobody reads: all of it is softirq work. The
#: address is 127.0.0.1, port 9, as sockaddr_in.
_UDP = (
    "perl -e 'my $to = pack(\"S n a4 x8\", 2, 9, \"\\x7f\\0\\0\\1\"); "
    "socket(R, 2, 2, 17); bind(R, $to) or die; socket(S, 2, 2, 17); connect(S, $to) or die; "
    "my $data = \"x\" x 1400; while (1) { send(S, $data, 0) }'"
)  # fmt: skip

_FORK = (
    "perl -e 'while (1) { my $pid = fork; if (!$pid) { exec \"/usr/bin/true\" } waitpid $pid, 0 }'"
)


@dataclass(frozen=True)
class GuestLoad:
    """A load inside: shell code that runs until the machine is off, and what it needs.

    ``modules`` are loaded and ``prepare`` runs before; both are the same for every kernel.
    """

    name: str
    what: str
    script: str = ""
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    prepare: str = ""


def _forever(commands: str) -> str:
    return f"while :; do {commands}; done"


LOADS: Mapping[str, GuestLoad] = {
    load.name: load
    for load in (
        GuestLoad("idle", "nothing"),
        GuestLoad("fork", "fork, exec, wait", _FORK, ("perl",)),
        GuestLoad(
            "hackbench", "160 processes that send each other messages",
            "hackbench -g 4 -l 100000000 >/dev/null", ("hackbench",),
        ),
        GuestLoad("udp", "a flood of datagrams over loopback", _UDP, ("perl",)),
        GuestLoad(
            "tmpfs", "150 MB written to tmpfs and deleted",
            _forever("dd if=/dev/zero of=/tmp/x bs=1M count=150 2>/dev/null; rm /tmp/x"),
        ),
        GuestLoad(
            "memory", "200 MB mapped, touched and unmapped",
            _forever("dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null"),
            # Huge pages are unmapped at once; a real-time kernel has none, and audio avoids them.
            (), (), "{ [ ! -e $HUGE ] || echo never >$HUGE; }",
        ),
        GuestLoad(
            "files", "files written by the ext4 driver and deleted",
            _forever(
                "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/mnt/$i bs=256k count=16 "
                "2>/dev/null; done; sync; rm /mnt/*"
            ),
            (), ("brd", "ext4"),
            # Without a journal: busybox makes ext2, and the driver is ext4's.
            "mke2fs /dev/ram0 >/dev/null 2>&1 && mount -t ext4 /dev/ram0 /mnt",
        ),
        GuestLoad(
            "block", "a block device written and flushed",
            _forever("dd if=/dev/zero of=/dev/ram0 bs=1M count=48 conv=fsync 2>/dev/null"),
            (), ("brd",),
        ),
    )
}  # fmt: skip


def find_load(name: str) -> GuestLoad:
    """Return a load by its name. Raises UsageError."""
    if name not in LOADS:
        raise UsageError(f"there is no load {name!r}", next_step=f"choose of: {', '.join(LOADS)}")
    return LOADS[name]


def init_script(load: GuestLoad, modules: tuple[str, ...], cycles: int) -> str:
    """Return the guest's first program. ``modules`` are files, in the order to load them.

    A step that fails ends it with its name, so that no figure comes of half a load.
    """
    steps = [f"insmod /modules/{name} rd_nr=1 rd_size=65536" if name.startswith("brd.")
             else f"insmod /modules/{name}" for name in modules]  # fmt: skip
    if load.prepare:
        steps.append(load.prepare)
    checked = "\n".join(f"{step} || fail {shlex.quote(step)}" for step in steps)
    background = f"({load.script}) &\nload=$!" if load.script else "load="
    return f"""\
#!/usr/bin/sh
export PATH=/usr/bin LC_ALL=C
HUGE=/sys/kernel/mm/transparent_hugepage/enabled
fail() {{ echo "{_BEGIN}"; echo "failed: $1"; echo "{_END}"; poweroff -f; }}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=400M tmp /tmp
ifconfig lo 127.0.0.1 up || fail 'ifconfig'
{checked}
{background}
sleep 1
cyclictest -m -p {PRIORITY} -i {INTERVAL_US} -l {cycles} -h {LIMIT_US} -q \\
    --json=/tmp/result >/dev/null 2>/tmp/said || fail "cyclictest: $(cat /tmp/said)"
if [ -n "$load" ] && ! [ -d "/proc/$load" ]; then fail 'the load ended by itself'; fi
echo "{_BEGIN}"
cat /tmp/result
echo "{_END}"
poweroff -f
"""


def parse_result(console: str, *, where: str) -> Histogram:
    """Return the latencies that a guest printed. Raises ToolFailedError that says how it ended."""
    text = console.replace("\r\n", "\n")
    found = re.search(rf"^{_BEGIN}\n(.*?)^{_END}$", text, re.MULTILINE | re.DOTALL)
    if found is None:
        last = " | ".join([line.strip() for line in text.splitlines() if line.strip()][-4:])
        raise ToolFailedError(
            f"{where}: the guest gave no result",
            why=last[-600:] or "its console is empty",
            next_step="keep the consoles with --console-logs DIR and read the guest's",
        )
    body = found[1]
    if body.startswith("failed: "):
        raise ToolFailedError(
            f"{where}: the guest could not measure", why=body[8:].strip()[:400],
            next_step="keep the consoles with --console-logs DIR and read the guest's",
        )  # fmt: skip
    try:
        return parse_cyclictest(body, filename=f"the result of {where}")[0]
    except (HistogramError, KeyError) as error:
        raise ToolFailedError(
            f"{where}: the guest's result cannot be understood", why=" ".join(str(error).split())
        ) from None
