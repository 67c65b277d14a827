"""SystemSpec: a whole system as plain data, every item with the module that asked for it.

Modules (``archibald.system.modules``) turn a profile into contributions; :mod:`.compose`
merges them. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, order=True)
class Origin:
    """Who asked for an item: the module, the reason, and the profile keys that decide it."""

    module: str
    why: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        keys = f" ({', '.join(self.keys)})" if self.keys else ""
        return f"{self.module}: {self.why}{keys}"


@dataclass(frozen=True)
class Hardware:
    """What is known of the machine. An image for any machine leaves fields at None."""

    cpus: int | None = None
    virtual_machine: bool | None = None


@dataclass(frozen=True)
class Package:
    """A Debian package to install."""

    name: str

    @property
    def key(self) -> str:
        return f"package:{self.name}"


@dataclass(frozen=True)
class File:
    """A regular file. ``path`` is absolute; ``owner`` and ``group`` are names."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    @property
    def key(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: str
    target: str

    @property
    def key(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class Directory:
    """A directory that must exist with this mode and owner."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @property
    def key(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True)
class KernelArg:
    """One kernel argument, ``name`` or ``name=value``. One value per name."""

    text: str

    @property
    def key(self) -> str:
        return f"kernel-arg:{self.text.partition('=')[0]}"


@dataclass(frozen=True)
class Sysctl:
    """A kernel setting under /proc/sys, with dots."""

    name: str
    value: str

    @property
    def key(self) -> str:
        return f"sysctl:{self.name}"


@dataclass(frozen=True)
class Unit:
    """The state of a systemd unit: enabled, disabled or masked.

    ``wanted_by`` is the target that pulls an enabled unit in; empty means what the unit's own
    [Install] section says at the time packages are configured, so nothing has to be done.
    """

    name: str
    state: Literal["enabled", "disabled", "masked"]
    scope: Literal["system", "user"] = "system"
    wanted_by: str = ""

    @property
    def key(self) -> str:
        return f"unit:{self.scope}:{self.name}"


@dataclass(frozen=True)
class Group:
    """A group; ``gid`` None takes the one that a package creates."""

    name: str
    gid: int | None = None

    @property
    def key(self) -> str:
        return f"group:{self.name}"


@dataclass(frozen=True)
class User:
    """A login user with its own primary group of the same name and number."""

    name: str
    uid: int
    full_name: str
    home: str
    shell: str
    groups: tuple[str, ...]
    password: str

    @property
    def key(self) -> str:
        return f"user:{self.name}"


@dataclass(frozen=True)
class KernelModule:
    """A kernel module to load at boot."""

    name: str

    @property
    def key(self) -> str:
        return f"kernel-module:{self.name}"


@dataclass(frozen=True)
class Forbidden:
    """A systemd unit that must not be active; the self-test checks it."""

    unit: str

    @property
    def key(self) -> str:
        return f"forbidden:{self.unit}"


Item = (
    Package
    | File
    | Link
    | Directory
    | KernelArg
    | Sysctl
    | Unit
    | Group
    | User
    | KernelModule
    | Forbidden
)


@dataclass(frozen=True)
class Contribution:
    """An item and everybody who asked for it."""

    item: Item
    origins: tuple[Origin, ...]

    def joined_by(self, other: Contribution) -> Contribution:
        """Return this contribution with the origins of ``other`` added, sorted."""
        return replace(self, origins=tuple(sorted({*self.origins, *other.origins})))


#: Kind of item → the name that users type and read.
KIND_NAMES: dict[type, str] = {
    Package: "package",
    File: "file",
    Link: "link",
    Directory: "directory",
    KernelArg: "kernel-arg",
    Sysctl: "sysctl",
    Unit: "unit",
    Group: "group",
    User: "user",
    KernelModule: "kernel-module",
    Forbidden: "forbidden",
}


def kind_name(item: Item) -> str:
    """Return the kind of an item as users read it, such as "kernel-arg"."""
    return KIND_NAMES[type(item)]


def shown_value(item: Item) -> str:
    """Return an item as one line for people, without contents and passwords."""
    match item:
        case File():
            return f"file {item.path} {item.mode:04o} {item.owner}:{item.group}"
        case Link():
            return f"link {item.path} -> {item.target}"
        case Directory():
            return f"directory {item.path} {item.mode:04o} {item.owner}:{item.group}"
        case KernelArg():
            return f"kernel argument {item.text}"
        case Sysctl():
            return f"{item.name} = {item.value}"
        case Unit():
            by = f" by {item.wanted_by}" if item.wanted_by else ""
            return f"{item.scope} unit {item.name} {item.state}{by}"
        case User():
            return f"user {item.name} {item.uid} {item.home} in {', '.join(item.groups)}"
        case Group():
            return f"group {item.name}" + ("" if item.gid is None else f" {item.gid}")
        case Forbidden():
            return f"unit {item.unit} must not run"
        case _:
            return f"{kind_name(item).replace('-', ' ')} {item.name}"


def contributions(origin: Origin, *items: Item) -> list[Contribution]:
    """Return the items as contributions of one origin."""
    return [Contribution(item, (origin,)) for item in items]


@dataclass(frozen=True)
class SystemSpec:
    """A composed system: its contributions sorted by key, and the name of its variant."""

    variant: str
    contributions: tuple[Contribution, ...]

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """Return the items of one kind, sorted by key."""
        return [c.item for c in self.contributions if isinstance(c.item, kind)]
