"""Self-test: the unit that runs it when the system is booted by ``archibald run --check``.

A udev rule starts it when a virtio-serial port of the agreed name appears, so it never runs on a
real machine, and costs nothing there.
"""

from __future__ import annotations

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, File, Hardware, Origin

#: Name of the virtio-serial port that starts the self-test.
PORT_NAME = "org.archibaldos.selftest"

_UNIT = "archibald-selftest.service"

_START = "/usr/lib/archibald/selftest-start"

_SCRIPT = f"""\
#!/bin/sh
# Waits for the boot and the session to end their start, and for the memory in use to settle; notes
# it, and whose it is, before anything of the self-test is loaded; then runs it.
systemctl is-system-running --wait > /dev/null
tries=60
until pgrep -x wireplumber > /dev/null || [ "$tries" -eq 0 ]; do
  sleep 1
  tries=$((tries - 1))
done
tries=120
while [ "$(systemctl is-active archibald-card.service)" = activating ] && [ "$tries" -gt 0 ]; do
  sleep 1
  tries=$((tries - 1))
done
sleep 10
available() {{ sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }}
tries=12 quiet=0 before=$(available)
while [ "$quiet" -lt 2 ] && [ "$tries" -gt 0 ]; do
  sleep 5
  now=$(available)
  quiet=$((quiet + 1))
  [ "$now" -lt "$((before + 256))" ] || quiet=0
  before=$now
  tries=$((tries - 1))
done
cat /proc/meminfo /proc/zoneinfo > /run/archibald-meminfo
for process in /proc/[0-9]*; do
  kib=$(sed -n 's/^Pss_Anon: *\\([0-9]*\\) kB/\\1/p' "$process/smaps_rollup" 2> /dev/null)
  [ -z "$kib" ] || printf '%s %s\\n' "$kib" "$(cat "$process/comm" 2> /dev/null)"
done | sort -rn | head -n 8 > /run/archibald-processes
exec /usr/bin/archibald selftest --port /dev/virtio-ports/{PORT_NAME}
"""

_SERVICE = f"""\
[Unit]
Description=Self-test of the live system for archibald run --check
Documentation=man:systemd.service(5)
# The boot has to be over before it is judged.
After=multi-user.target graphical.target

[Service]
# exec, not oneshot: a start job that lasted until the end would keep the boot unfinished, and the
# self-test waits for the boot to finish.
Type=exec
ExecStart={_START}
# Found failures are in the report; only a crash is a failure of the unit.
SuccessExitStatus=1
"""

_RULE = f"""\
# Starts the self-test in virtual machines that have its port.
SUBSYSTEM=="virtio-ports", ATTR{{name}}=="{PORT_NAME}", TAG+="systemd", \\
  ENV{{SYSTEMD_WANTS}}+="{_UNIT}"
"""


def contribute(_profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the unit and the udev rule."""
    origin = Origin("selftest", "archibald run --check asks the system about itself")
    files = (
        File(f"/usr/lib/systemd/system/{_UNIT}", _SERVICE.encode()),
        File(_START, _SCRIPT.encode(), 0o755),
        File("/usr/lib/udev/rules.d/90-archibald-selftest.rules", _RULE.encode()),
    )
    return [Contribution(item, (origin,)) for item in files]
