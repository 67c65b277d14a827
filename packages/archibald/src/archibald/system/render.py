"""Rendering: a SystemSpec as files, as a kernel command line, and variants as deltas. Pure.

Packages, users and groups have no files here: installing and creating them is the image builder's.
So is removing the links of disabled units that packages enable (see :func:`disabled_units`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from archibald.errors import UsageError
from archibald.system.compose import merge
from archibald.system.modules.common import header
from archibald.system.spec import (
    Contribution,
    Directory,
    File,
    Group,
    KernelArg,
    KernelModule,
    Link,
    Origin,
    Package,
    Sysctl,
    SystemSpec,
    Unit,
    User,
    kind_name,
    shown_value,
)

Node = File | Link | Directory

SYSCTL_PATH = "/etc/sysctl.d/60-archibald.conf"
MODULES_PATH = "/etc/modules-load.d/archibald.conf"
PRESET_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "system": "/etc/systemd/system-preset/10-archibald.preset",
        "user": "/etc/systemd/user-preset/10-archibald.preset",
    }
)


class VariantError(UsageError):
    """A variant changes what all boot entries of an image share."""


@dataclass(frozen=True)
class VariantDelta:
    """What a boot entry has in other files than the default.

    ``files`` maps absolute paths to nodes that are changed or added, ``removed`` are paths that
    only the default has, ``kernel_args`` are all kernel arguments of the variant.
    """

    name: str
    files: Mapping[str, Node]
    removed: tuple[str, ...]
    kernel_args: tuple[str, ...]


def rendered(spec: SystemSpec) -> tuple[Contribution, ...]:
    """Return all files, links and directories of a system, those made from other items included.

    Sorted by key. Raises :class:`~archibald.system.compose.ConflictError` when a module gives a
    file that is made here as well.
    """
    given = [c for c in spec.contributions if isinstance(c.item, File | Link | Directory)]
    return merge([*given, *_derived(spec)])


def rendered_tree(spec: SystemSpec) -> dict[str, Node]:
    """Return absolute path → node of everything that a system has in files, sorted by path.

    Raises as :func:`rendered` does.
    """
    nodes = [c.item for c in rendered(spec) if isinstance(c.item, File | Link | Directory)]
    return {node.path: node for node in sorted(nodes, key=lambda node: node.path)}


def kernel_command_line(spec: SystemSpec) -> str:
    """Return the system's kernel arguments as one line, sorted by name; boot arguments excluded."""
    return " ".join(_kernel_arguments(spec))


def disabled_units(spec: SystemSpec) -> tuple[Unit, ...]:
    """Return the units that are not to start by themselves.

    Packages enable some of them while they are configured. The preset files of the tree prevent
    that when they are there before; otherwise links of these names in ``/etc/systemd`` have to go.
    """
    return tuple(unit for unit in spec.of(Unit) if unit.state == "disabled")


def variant_delta(default: SystemSpec, other: SystemSpec) -> VariantDelta:
    """Return what ``other`` has in other files than ``default``.

    Raises :class:`VariantError` when they differ in what one image cannot have twice: packages,
    users, groups, and units that only the configuration of packages switches.
    """
    _check_shared(default, other)
    before, after = rendered_tree(default), rendered_tree(other)
    return VariantDelta(
        name=other.variant,
        files={path: node for path, node in after.items() if before.get(path) != node},
        removed=tuple(path for path in before if path not in after),
        kernel_args=_kernel_arguments(other),
    )


def _kernel_arguments(spec: SystemSpec) -> tuple[str, ...]:
    return tuple(argument.text for argument in spec.of(KernelArg))


def _derived(spec: SystemSpec) -> Iterator[Contribution]:
    sysctls = _listing(spec, Sysctl, SYSCTL_PATH)
    if sysctls:
        yield sysctls
    modules = _listing(spec, KernelModule, MODULES_PATH)
    if modules:
        yield modules
    yield from _unit_links(spec)
    yield from _presets(spec)


def _line(item: Sysctl | KernelModule) -> str:
    # The hyphen: a kernel without the setting is no error at boot.
    return f"-{item.name} = {item.value}" if isinstance(item, Sysctl) else item.name


def _listing(
    spec: SystemSpec, kind: type[Sysctl] | type[KernelModule], path: str
) -> Contribution | None:
    chosen = [c for c in spec.contributions if isinstance(c.item, kind)]
    if not chosen:
        return None
    lines = [header(_tables(chosen))]
    for contribution in chosen:
        lines += [f"# {origin}\n" for origin in contribution.origins]
        lines.append(f"{_line(contribution.item)}\n")  # type: ignore[arg-type]
    return _from("".join(lines), path, f"the {kind_name(chosen[0].item)}s of all modules")


def _tables(chosen: Sequence[Contribution]) -> str:
    """Return the tables of the profile that decide these items."""
    keys = {key for c in chosen for origin in c.origins for key in origin.keys}
    return ", ".join(sorted({key.partition(".")[0] for key in keys}))


def _from(text: str, path: str, why: str) -> Contribution:
    return Contribution(File(path, text.encode()), (Origin("render", why),))


def _unit_links(spec: SystemSpec) -> Iterator[Contribution]:
    paths = {node.path for node in spec.of(File)}
    for contribution in spec.contributions:
        unit = contribution.item
        if not isinstance(unit, Unit):
            continue
        folder = f"/etc/systemd/{unit.scope}"
        if unit.state == "masked":
            yield Contribution(Link(f"{folder}/{unit.name}", "/dev/null"), contribution.origins)
        elif unit.state == "enabled" and unit.wanted_by:
            source = _unit_file(unit)
            own = f"{folder}/{source}"
            target = own if own in paths else f"/usr/lib/systemd/{unit.scope}/{source}"
            link = Link(f"{folder}/{unit.wanted_by}.wants/{unit.name}", target)
            yield Contribution(link, contribution.origins)


def _unit_file(unit: Unit) -> str:
    """Return the name of the unit's file: an instance ``a@b.service`` has ``a@.service``."""
    stem, _, suffix = unit.name.rpartition(".")
    template, at, _instance = stem.partition("@")
    return f"{template}{at}.{suffix}"


def _presets(spec: SystemSpec) -> Iterator[Contribution]:
    """Make the states hold for packages that are installed or upgraded later, too."""
    for scope, path in PRESET_PATHS.items():
        chosen = [
            c for c in spec.contributions if isinstance(c.item, Unit) and c.item.scope == scope
        ]
        if chosen:
            text = header(_tables(chosen)) + "".join(map(_preset_line, chosen))
            yield _from(text, path, "states of units hold when packages are upgraded")


def _preset_line(contribution: Contribution) -> str:
    unit = contribution.item
    assert isinstance(unit, Unit)
    return f"{'enable' if unit.state == 'enabled' else 'disable'} {unit.name}\n"


def _shared(spec: SystemSpec) -> dict[str, Contribution]:
    return {
        c.item.key: c
        for c in spec.contributions
        if isinstance(c.item, Package | User | Group)
        or (isinstance(c.item, Unit) and _switched_by_package(c.item))
    }


def _switched_by_package(unit: Unit) -> bool:
    return unit.state == "disabled" or (unit.state == "enabled" and not unit.wanted_by)


def _check_shared(default: SystemSpec, other: SystemSpec) -> None:
    before, after = _shared(default), _shared(other)
    problems = []
    keys = set()
    for key in sorted({*before, *after}):
        first, second = before.get(key), after.get(key)
        if first is not None and second is not None and first.item == second.item:
            continue
        for name, side in ((default.variant, first), (other.variant, second)):
            if side is not None:
                origins = "; ".join(str(origin) for origin in side.origins)
                problems.append(f"{name}: {shown_value(side.item)}  <- {origins}")
                keys |= {key for origin in side.origins for key in origin.keys}
            else:
                problems.append(f"{name}: no {key.replace(':', ' ')}")
    if problems:
        named = f" ({', '.join(sorted(keys))})" if keys else ""
        raise VariantError(
            f"the variant {other.variant} needs another image: boot entries share packages, users, "
            "groups and the services that packages switch on",
            why="\n        ".join(problems),
            next_step=f"set the option in the profile itself, not in the variant{named}",
        )
