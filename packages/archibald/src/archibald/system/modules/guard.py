"""What runs beside the audio: the watchdog, awake CPUs, and the card's interrupts first.

Three parts, because they need three kinds of rights and last three different times:

- The **watchdog** is a process of root that stays, and takes memory. A small image leaves it out.
- **Awake CPUs** need the right to one device, which the group audio has, and last as long as
  PipeWire does. So it is a service of the user, bound to PipeWire's: systemd ends it however
  PipeWire ends, and the kernel forgets the request with the process. That process is ``sleep``.
- The **card's interrupts**, and keeping those of other devices and the kernel's own work off the
  audio CPUs, need root for a moment, when the card appears, and the machine's number of CPUs. A
  udev rule starts a service that sets them and ends; they cost nothing while nobody plays, so
  nothing has to watch whether somebody does.
"""

from __future__ import annotations

from functools import partial

from archibald.profile.model import Realtime
from archibald.system.modules.common import text_file
from archibald.system.spec import Contribution, File, Origin, Unit, contributions

_because = partial(Origin, "realtime")

#: Longest time (us) that a CPU may take to wake up: 6 % of a cycle of 0.33 ms.
WAKE_UP_US = 20

#: Our command, where an image has it.
PROGRAM = "/usr/bin/archibald"

WATCHDOG_UNIT = "archibald-watchdog.service"
AWAKE_UNIT = "archibald-awake.service"
CARD_UNIT = "archibald-card.service"
CARD_RULE = "/etc/udev/rules.d/96-archibald-card.rules"

_WATCHDOG = """\
[Unit]
Description=Watchdog for real-time threads that leave ordinary programs no CPU
Documentation=man:sched(7)
# A container has no real-time priority to give, and the host has a watchdog of its own.
ConditionVirtualization=!container

[Service]
Type=exec
ExecStart={program} watchdog --after {after_s}
Restart=on-failure
RestartSec=10
# It may not do its work here, and would not the next time.
RestartPreventExitStatus=3
# Priority and locked memory; the rest is for notifications, sent as the user.
CapabilityBoundingSet=CAP_SYS_NICE CAP_IPC_LOCK CAP_SETUID CAP_SETGID CAP_DAC_READ_SEARCH
LimitMEMLOCK=infinity
OOMScoreAdjust=-500
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX

[Install]
WantedBy=multi-user.target
"""

_AWAKE = """\
[Unit]
Description=Awake CPUs while PipeWire runs
Documentation=https://docs.kernel.org/power/pm_qos_interface.html
BindsTo=pipewire.service
After=pipewire.service
ConditionPathExists=/dev/cpu_dma_latency

[Service]
# The kernel holds the latency (us) as long as the device is open. Who may not open it goes without.
ExecStart=/bin/sh -c 'test -w /dev/cpu_dma_latency || exit 0; \\
  exec 3<>/dev/cpu_dma_latency && printf 0x%%08x {wake_up_us} >&3 && exec sleep infinity'

[Install]
WantedBy=pipewire.service
"""

_CARD = """\
[Unit]
Description=The sound card's interrupts on the audio CPUs, and first; other work elsewhere
Documentation=https://docs.kernel.org/core-api/irq/irq-affinity.html
After=multi-user.target

[Service]
# exec, not oneshot: the boot is over without it, and it takes a second.
Type=exec
ExecStart={program} session start irq.card-affinity irq.audio-cpu irq.card-priority \
scheduler.workqueues
# 1: the kernel refused a change; 3: a machine with fewer CPUs than the profile names. Both are
# findings of the audit, and no reason for a failed boot.
SuccessExitStatus=1 3
Nice=10
CapabilityBoundingSet=CAP_SYS_NICE CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
RuntimeDirectory=archibald
RuntimeDirectoryPreserve=yes
"""

_RULE = f"""\
# A sound card that appears, at boot or later, gets its interrupts where the data loop runs.
SUBSYSTEM=="sound", KERNEL=="card*", TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="{CARD_UNIT}"
"""


def system_unit(name: str, body: str, keys: str) -> File:
    """Return a unit of the system as a file that a system without our packages can have, too."""
    return text_file(f"/etc/systemd/system/{name}", body, keys=keys)


def contribute(realtime: Realtime) -> list[Contribution]:
    """Return the units that the profile asks for, and what starts them."""
    return [*_watchdog(realtime), *_awake(realtime), *_card(realtime)]


def _watchdog(realtime: Realtime) -> list[Contribution]:
    if not realtime.watchdog:
        return []
    keys = ("realtime.watchdog", "realtime.watchdog_after_s")
    body = _WATCHDOG.format(program=PROGRAM, after_s=realtime.watchdog_after_s)
    return contributions(
        _because("a runaway real-time thread would lock the machine", keys),
        system_unit(WATCHDOG_UNIT, body, ", ".join(keys)),
        Unit(WATCHDOG_UNIT, "enabled", wanted_by="multi-user.target"),
    )


def _awake(realtime: Realtime) -> list[Contribution]:
    if not realtime.keep_awake:
        return []
    path, key = f"/etc/systemd/user/{AWAKE_UNIT}", "realtime.keep_awake"
    return contributions(
        _because("a CPU in deep sleep wakes up too late for the next cycle", (key,)),
        text_file(path, _AWAKE.format(wake_up_us=WAKE_UP_US), keys=key),
        Unit(AWAKE_UNIT, "enabled", "user", wanted_by="pipewire.service"),
    )


def _card(realtime: Realtime) -> list[Contribution]:
    if not realtime.card_first:
        return []
    key = "realtime.card_first"
    return contributions(
        _because("the data loop waits for the card's interrupt", (key,)),
        system_unit(CARD_UNIT, _CARD.format(program=PROGRAM), key),
        text_file(CARD_RULE, _RULE, keys=key),
    )
