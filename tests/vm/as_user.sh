#!/bin/sh
# as_user.sh UID FOLDER NEEDED... -- COMMAND...: run COMMAND as an ordinary user that exists for it
# alone. To be run as root in a mount namespace of its own (unshare --mount): the account files are
# private copies bound over the real ones, so nothing of the machine changes.
#   FOLDER   scratch space; becomes the user's
#   NEEDED   paths the user must be able to reach, also below folders that are closed to others
set -eu
uid=$1 folder=$2
shift 2
needed=
while [ "$1" != -- ]; do needed="$needed $1"; shift; done
shift

mkdir -p "$folder/accounts" "$folder/home"
for name in passwd group subuid subgid; do
  cat "/etc/$name" > "$folder/accounts/$name" 2> /dev/null || : > "$folder/accounts/$name"
done
echo "builder:x:$uid:$uid::$folder/home:/bin/sh" >> "$folder/accounts/passwd"
echo "builder:x:$uid:" >> "$folder/accounts/group"
for name in subuid subgid; do
  echo "builder:2000000:65536" >> "$folder/accounts/$name"
  [ -e "/etc/$name" ] || : > "/etc/$name"
done
for name in passwd group subuid subgid; do
  mount --bind "$folder/accounts/$name" "/etc/$name"
done
chown -R "$uid:$uid" "$folder/home" "$folder/cache" "$folder/tmp" "$folder/out"

# Open a way to what is needed: a closed folder on the way is replaced, in this namespace only, by
# an open one that holds nothing but the way.
open_way() {
  path=$1 way=
  rest=${path#/}
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    way="$way/$part"
    case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
    if [ -n "$rest" ] && ! setpriv --reuid "$uid" --regid "$uid" --clear-groups test -x "$way"; then
      stash="$folder/stash/$way"
      mkdir -p "$stash"
      [ -e "$folder/stash/$way.done" ] || mount --bind "$way" "$stash"
      : > "$folder/stash/$way.done"
      mount -t tmpfs -o mode=755 tmpfs "$way"
      mkdir -p "$way/$rest"
      mount --bind "$stash/$rest" "$way/$rest"
      return
    fi
  done
}
chmod 755 "$folder"
for path in $needed; do open_way "$path"; done

exec setpriv --reuid "$uid" --regid "$uid" --clear-groups \
  env HOME="$folder/home" USER=builder LOGNAME=builder TMPDIR="$folder/tmp" "$@"
