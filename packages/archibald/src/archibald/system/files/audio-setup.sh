#!/bin/sh
# Tune this machine for real-time audio: plan, apply, measure, in that order.
#
# A way in to `archibald plan`, `apply` and `measure` with few options, which writes what it does to
# /var/log/audio-setup.log. `archibald rollback` takes back what it has changed.
# Exit codes: 0 ok, 1 something is still to be done, 2 usage, 3 a precondition is not met, 4 a
# program failed.
#
# For systems that are mounted somewhere, and for tests: ARCHIBALD is the command to call,
# AUDIO_SETUP_ROOT the root folder to look at, AUDIO_SETUP_LOG the log.
set -eu

ARCHIBALD=${ARCHIBALD:-archibald}
ROOT=${AUDIO_SETUP_ROOT:-}
LOG=${AUDIO_SETUP_LOG:-/var/log/audio-setup.log}

usage() {
    cat <<'TEXT'
Usage: audio-setup.sh [--help] [--skip-ascii] [--dry-run] [--user NAME] [--pci ID]

Tune this machine for real-time audio: show what will be changed, change it, and check the result.

  --help         show this text
  --skip-ascii   no banner
  --dry-run      show what would be changed; change nothing and write no log
  --user NAME    who makes music here (default: who called sudo): joins the group audio
  --pci ID       the sound card at this PCI address, such as 0000:00:1f.3 (lspci -D shows them);
                 for a USB interface, the address of its controller

Log: /var/log/audio-setup.log. To undo it: sudo archibald rollback.
To keep it over a reboot: sudo archibald apply --persist.

Examples:
  sudo /etc/audio-setup.sh
  sudo /etc/audio-setup.sh --user alice --pci 0000:00:1f.3
  /etc/audio-setup.sh --dry-run --skip-ascii
TEXT
}

# fail CODE WHAT NEXT
fail() {
    printf 'audio-setup: %s\n  next: %s\n' "$2" "$3" >&2
    exit "$1"
}

banner() {
    cat <<'ART'
    _/\_      _/\_      _/\_
   /    \    /    \    /    \      ArchibaldOS
 _/      \__/      \__/      \__   audio setup

ART
}

skip_ascii=no dry_run=no user='' pci=''

value() {
    [ "$2" -ge 2 ] || fail 2 "$1 needs a value" "audio-setup.sh --help"
}

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --skip-ascii) skip_ascii=yes ;;
        --dry-run) dry_run=yes ;;
        --user)
            value "$1" $#
            user=$2
            shift
            [ -n "$user" ] || fail 2 '--user needs a name' 'audio-setup.sh --help'
            ;;
        --pci)
            value "$1" $#
            pci=$2
            shift
            [ -n "$pci" ] || fail 2 '--pci needs an address' 'audio-setup.sh --help'
            ;;
        *) fail 2 "there is no option '$1'" 'audio-setup.sh --help' ;;
    esac
    shift
done

command -v "$ARCHIBALD" >/dev/null 2>&1 ||
    fail 3 "there is no command $ARCHIBALD" 'install archibald, or name it in the variable ARCHIBALD'

# The number of the sound card that hangs on a PCI device, directly or through USB.
card_of() {
    for entry in "$ROOT"/sys/class/sound/card*; do
        [ -e "$entry" ] || continue
        case $(readlink -f "$entry") in
            */"$1"/*) basename "$entry" | sed 's/^card//' && return ;;
        esac
    done
}

card=''
if [ -n "$pci" ]; then
    hex='[0-9a-fA-F]'
    # Without a domain it is the first one, as lspci shows it.
    # shellcheck disable=SC2254  # the patterns are meant to be patterns
    case $pci in
        $hex$hex$hex$hex:$hex$hex:$hex$hex.[0-7]) address=$pci ;;
        $hex$hex:$hex$hex.[0-7]) address=0000:$pci ;;
        *) fail 2 "'$pci' is no PCI address" "one such as 0000:00:1f.3: lspci -D lists them" ;;
    esac
    address=$(printf '%s' "$address" | tr 'A-F' 'a-f')
    card=$(card_of "$address")
    [ -n "$card" ] ||
        fail 3 "no sound card hangs on PCI device $address" 'lspci -D; cat /proc/asound/cards'
fi

if [ -z "$user" ] && [ "${SUDO_USER:-root}" != root ]; then
    user=$SUDO_USER
fi
if [ -n "$user" ]; then
    # The two dashes: a name may begin with one.
    id -u -- "$user" >/dev/null 2>&1 || fail 3 "there is no user '$user'" 'getent passwd'
fi

if [ "$dry_run" = no ] && [ -z "$ROOT" ] && [ "$(id -u)" -ne 0 ]; then
    fail 3 'changing the machine needs root' "sudo $0, or $0 --dry-run to look"
fi

[ "$skip_ascii" = yes ] || banner

# ask VERB ARGUMENT... calls our command with the card, the user and the root that were named.
ask() {
    set -- "$@" ${card:+--card "$card"} ${user:+--user "$user"} ${ROOT:+--root "$ROOT"}
    "$ARCHIBALD" "$@"
}

[ -z "$pci" ] || cat <<TEXT
The card at $address is number $card. Its PCI latency timer is left alone: PCI Express has none, and
nothing that is sold today has the old bus.
TEXT

if [ "$dry_run" = yes ]; then
    printf '%s\n' '== plan'
    ask plan
    exit 0
fi

(: >>"$LOG") 2>/dev/null || fail 3 "the log $LOG cannot be written" 'see df and ls -l of its folder'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
worst=0

# step TITLE COMMAND... shows and logs a command; what fails for good ends the script.
step() {
    printf '== %s (%s)\n' "$1" "$(date '+%Y-%m-%d %H:%M:%S')" | tee -a "$LOG"
    shift
    mkfifo "$work/pipe"
    tee -a "$LOG" <"$work/pipe" &
    reader=$!
    code=0
    "$@" >"$work/pipe" 2>&1 </dev/null || code=$?
    wait "$reader"
    rm "$work/pipe"
    [ "$code" -le "$worst" ] || worst=$code
    if [ "$code" -gt 1 ]; then
        printf 'audio-setup: stopped; see %s\n' "$LOG" >&2
        exit "$code"
    fi
}

step plan ask plan
step apply ask apply --yes
# Belonging to the group audio is for good, or it would not be: the next login reads it.
[ -z "$user" ] || step 'apply (groups)' ask apply --yes --persist limits.groups
# What is measured is the machine that runs, not one that was recorded.
if [ -z "$ROOT" ] && command -v cyclictest >/dev/null 2>&1; then
    step measure "$ARCHIBALD" measure jitter --output "$work/jitter.json"
fi
step audit ask audit

printf '%s\n' "Done. Log: $LOG" 'To undo it: sudo archibald rollback' \
    'To keep it over a reboot: sudo archibald apply --persist'
exit "$worst"
