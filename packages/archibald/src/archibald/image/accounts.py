"""Users and groups: the base's account files with the profile's added. Pure, but for the hash.

Passwords are hashed by the host's crypt(3) through perl, which every Debian has; the password goes
through standard input, never through argv.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from archibald.errors import ToolFailedError, UsageError
from archibald.run import Runner, run
from archibald.system.spec import Group, User

#: Groups that systems of this profile use, with a number when no package brings them.
_FIRST_FREE_GID = 900


@dataclass(frozen=True)
class Accounts:
    """The texts of passwd, group, shadow and gshadow."""

    passwd: str
    group: str
    shadow: str
    gshadow: str

    def uid(self, name: str) -> int:
        """Return a user's number; KeyError when there is none."""
        return _number(self.passwd, name)

    def gid(self, name: str) -> int:
        """Return a group's number; KeyError when there is none."""
        return _number(self.group, name)

    def files(self) -> Mapping[str, tuple[str, int, str]]:
        """Return path → (text, mode, group) of the four files."""
        return {
            "/etc/passwd": (self.passwd, 0o644, "root"),
            "/etc/group": (self.group, 0o644, "root"),
            "/etc/shadow": (self.shadow, 0o640, "shadow"),
            "/etc/gshadow": (self.gshadow, 0o640, "shadow"),
        }


def _number(text: str, name: str) -> int:
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise KeyError(name)


def _names(text: str) -> set[str]:
    return {line.partition(":")[0] for line in text.splitlines() if line}


def _free_gid(text: str, name: str) -> int:
    used = {int(line.split(":")[2]) for line in text.splitlines() if line}
    gid = next((gid for gid in range(_FIRST_FREE_GID, 1000) if gid not in used), None)
    if gid is None:
        raise UsageError(
            f"there is no number left for group {name}", why=f"{_FIRST_FREE_GID} to 999 are taken"
        )
    return gid


def _add_group(accounts: Accounts, name: str, gid: int | None) -> Accounts:
    if name in _names(accounts.group):
        if gid is not None and accounts.gid(name) != gid:
            raise UsageError(
                f"group {name} has number {accounts.gid(name)} in the base, the profile says {gid}"
            )
        return accounts
    number = _free_gid(accounts.group, name) if gid is None else gid
    return Accounts(
        passwd=accounts.passwd,
        group=f"{accounts.group}{name}:x:{number}:\n",
        shadow=accounts.shadow,
        gshadow=f"{accounts.gshadow}{name}:!::\n",
    )


def _join(text: str, group: str, member: str) -> str:
    lines = []
    for line in text.splitlines():
        head, _, members = line.rpartition(":")
        if line.startswith(f"{group}:"):
            names = [name for name in members.split(",") if name]
            line = f"{head}:{','.join(dict.fromkeys([*names, member]))}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _add_user(accounts: Accounts, user: User, hashed: str, day: int) -> Accounts:
    if user.name in _names(accounts.passwd):
        raise UsageError(
            f"the base has an account {user.name} already",
            next_step="choose another name in users.name",
        )
    group, gshadow = accounts.group, accounts.gshadow
    for name in user.groups:
        group, gshadow = _join(group, name, user.name), _join(gshadow, name, user.name)
    line = f"{user.name}:x:{user.uid}:{user.uid}:{user.full_name},,,:{user.home}:{user.shell}\n"
    return Accounts(
        passwd=accounts.passwd + line,
        group=group,
        shadow=f"{accounts.shadow}{user.name}:{hashed}:{day}:0:99999:7:::\n",
        gshadow=gshadow,
    )


def _fixed_days(shadow: str, day: int) -> str:
    """Replace the day on which each password was last changed: it tells when the base was made."""
    lines = [line.split(":") for line in shadow.splitlines() if line]
    return "".join(":".join([*row[:2], str(day), *row[3:]]) + "\n" for row in lines)


def with_accounts(
    base: Accounts,
    groups: Sequence[Group],
    users: Sequence[User],
    *,
    epoch: int,
    hash_password: Callable[[User], str],
) -> Accounts:
    """Return the base's accounts with the profile's groups and users added."""
    day = epoch // 86400
    result = Accounts(base.passwd, base.group, _fixed_days(base.shadow, day), base.gshadow)
    for group in groups:
        result = _add_group(result, group.name, group.gid)
    for user in users:
        result = _add_group(result, user.name, user.uid)
        for name in user.groups:
            result = _add_group(result, name, None)
        result = _add_user(result, user, hash_password(user), day)
    return result


def crypt_password(user: User, *, runner: Runner = run) -> str:
    """Return the SHA-512 crypt hash of a user's password; the salt depends on the name alone.

    A fixed salt is right for this purpose only: the live session's password is public.
    """
    salt = hashlib.sha256(f"archibald live {user.name}".encode()).hexdigest()[:16]
    program = 'my ($salt, $word) = map { chomp; $_ } <STDIN>; print crypt($word, "\\$6\\$$salt\\$")'
    result = runner(["perl", "-e", program], stdin=f"{salt}\n{user.password}\n".encode())
    if not result.stdout.startswith("$6$"):
        raise ToolFailedError("crypt(3) of this host does not know SHA-512")
    return result.stdout
