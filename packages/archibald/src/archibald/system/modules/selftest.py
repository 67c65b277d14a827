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
# Waits for the boot and the session to end their start, notes the memory in use before anything of
# the self-test is loaded, then runs it.
systemctl is-system-running --wait > /dev/null
tries=60
until pgrep -x wireplumber > /dev/null || [ "$tries" -eq 0 ]; do
  sleep 1
  tries=$((tries - 1))
done
sleep 15
cat /proc/meminfo > /run/archibald-meminfo
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
