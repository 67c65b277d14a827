#!/bin/sh
# finish.sh ROOT OUT EARLY_TAR AUTO_LIST: runs when all packages are installed.
#   OUT        folder that takes the boot files, account files and the list of all files
#   EARLY_TAR  files of the profile that the steps below read
#   AUTO_LIST  packages that came only as dependencies, one a line
set -eu
root=$1 out=$2 early=$3 auto=$4

rm -f "$root/usr/local/sbin/update-initramfs" "$root/usr/sbin/policy-rc.d"
tar -C "$root" --extract --file "$early" --no-same-owner --keep-directory-symlink

if [ -s "$auto" ]; then
  xargs chroot "$root" apt-mark auto < "$auto" > /dev/null
fi
if [ -s "$root/etc/locale.gen" ] && [ -x "$root/usr/sbin/locale-gen" ]; then
  chroot "$root" locale-gen
fi
chroot "$root" ldconfig

# Debian's packages enable what they bring; what the profile disables is switched off here, where
# links can still be removed.
for scope in system user; do
  preset="$root/etc/systemd/$scope-preset/10-archibald.preset"
  [ -f "$preset" ] || continue
  # Not "systemctl disable": that follows Also= and takes PipeWire's socket along with filter-chain.
  sed -n 's/^disable //p' "$preset" | while read -r unit; do
    find "$root/etc/systemd/$scope" -type l -lname "*/$unit" -print -delete
  done
done
# live-boot writes a file there when it starts the network.
mkdir -p "$root/etc/network"

# One initramfs per kernel, side by side.
pids=
for modules in "$root"/usr/lib/modules/*; do
  version=${modules##*/}
  chroot "$root" mkinitramfs -o "/boot/initrd.img-$version" "$version" &
  pids="$pids $!"
done
for pid in $pids; do wait "$pid"; done

mkdir -p "$out/boot" "$out/accounts"
cp "$root"/boot/vmlinuz-* "$root"/boot/initrd.img-* "$out/boot/"
# The boot files live beside the squashfs on the medium; an installer copies them from there.
rm -f "$root"/boot/initrd.img-* "$root"/initrd.img "$root"/initrd.img.old

# What a running system would regenerate, or what tells when and where it was made. Not /tmp: there
# mmdebstrap keeps the configuration without which its last steps would turn to the host's apt.
rm -rf "$root"/var/lib/apt/lists "$root"/var/cache/apt/*.bin \
  "$root"/var/cache/apt/archives "$root"/var/log/apt \
  "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/aux-cache "$root"/run/*
mkdir -p "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"
# The repository that the packages came from is this build's own; sources are written later.
rm -f "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
# The choice of what to leave out stays with the system; unsafe writes were for the build alone.
sed -i '/force-unsafe-io/d' "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
mv "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/archibald"
mv "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99archibald"
find "$root/var/log" -type f -delete
rm -f "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- \
  "$root"/etc/subuid- "$root"/etc/subgid- "$root"/var/lib/dpkg/*-old "$root"/var/lib/dpkg/lock* \
  "$root"/var/lib/dpkg/triggers/Lock "$root"/var/lib/apt/extended_states.* \
  "$root"/var/lib/systemd/random-seed "$root"/var/lib/systemd/credential.secret \
  "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/var/lib/dbus/machine-id
find "$root/var/backups" -type f -delete 2> /dev/null || true
: > "$root/etc/machine-id"
# Newer than /usr, so that systemd does not rebuild caches at every live boot.
: > "$root/etc/.updated"
: > "$root/var/.updated"

cp "$root"/etc/passwd "$root"/etc/group "$root"/etc/shadow "$root"/etc/gshadow "$out/accounts/"
chmod 600 "$out"/accounts/*
tar -C "$root/etc" --create --file "$out/skel.tar" --sort=name --owner=0 --group=0 --numeric-owner \
  --mtime="@$SOURCE_DATE_EPOCH" skel
find "$root" -xdev -mindepth 1 -printf '%y %m %U %G %s /%P\t%l\n' | LC_ALL=C sort -k 6 > "$out/files.list"
# shellcheck disable=SC2016 # the fields are dpkg-query's
chroot "$root" dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\n' \
  > "$out/dpkg.list"
