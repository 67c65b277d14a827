#!/bin/sh
# early.sh ROOT: runs once the essential packages are installed, before all others.
set -eu
root=$1
# The kernels' own scripts would each make an initramfs; one is made per kernel at the very end.
mkdir -p "$root/usr/local/sbin"
printf '#!/bin/sh\nexit 0\n' > "$root/usr/local/sbin/update-initramfs"
chmod 755 "$root/usr/local/sbin/update-initramfs"
# No service may start inside the root file system while it is being made.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
