"""The boot's part of variants: a script of the initial RAM disk that puts their files in place.

The kernel argument ``archibald.variant=NAME`` names the boot entry. What differs between entries is
stored under /usr/lib/archibald/variants by the image builder; the script copies the chosen set over
the running root before systemd starts, so every program sees ordinary files.
"""

from __future__ import annotations

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, File, Hardware, Origin

SCRIPT_PATH = "/etc/initramfs-tools/scripts/init-bottom/archibald-variant"

SCRIPT = """\
#!/bin/sh
# Puts the files of the chosen boot entry (archibald.variant=NAME) in place.
case "$1" in prereqs) echo ""; exit 0 ;; esac
chosen=default
for word in $(cat /proc/cmdline); do
  case "$word" in archibald.variant=*) chosen=${word#*=} ;; esac
done
store="${rootmnt}/usr/lib/archibald/variants"
record="${rootmnt}/etc/archibald/variant"
[ -f "$store/paths" ] || exit 0
case "$chosen" in '' | *[!a-z0-9-]*) chosen=default ;; esac
if [ ! -d "$store/$chosen" ]; then
  echo "archibald: no variant $chosen in this image, starting the default" > /dev/kmsg
  chosen=default
fi
current=default
[ -f "$record" ] && read -r current < "$record"
[ "$current" = "$chosen" ] && exit 0
# Until all files are in place the record names no entry: a boot that stops here is made good by
# the next one, whatever entry that is.
mkdir -p "${record%/*}"
echo '?' > "$record"
sync
while read -r path; do
  if [ -e "$store/$chosen$path" ] || [ -L "$store/$chosen$path" ]; then
    mkdir -p "${rootmnt}${path%/*}"
    cp -a "$store/$chosen$path" "${rootmnt}$path.archibald-new" &&
      mv -f "${rootmnt}$path.archibald-new" "${rootmnt}$path"
  else
    rm -f "${rootmnt}$path"
  fi
done < "$store/paths"
sync
echo "$chosen" > "$record"
exit 0
"""


def contribute(profile: Profile, hardware: Hardware) -> list[Contribution]:
    """Add the script; it does nothing in an image without variants."""
    origin = Origin("variants", "each [[variant]] is a boot entry with files of its own")
    return [Contribution(File(SCRIPT_PATH, SCRIPT.encode(), 0o755), (origin,))]
