"""What the families share: knobs that are files of the kernel, and what the spec asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from archibald.system.spec import Contribution, File, Origin, Sysctl
from archibald.tune.model import Change, Knob, Page, Scene
from archibald.tune.observe import MissingError, Sight
from archibald.vm.selftest.kernel import bracketed
from archibald.vm.selftest.model import Answer, Check, NotApplicableError, Verdict, verdict


def words(text: str) -> str:
    """Return a text with single spaces: settings of several numbers are separated by tabs."""
    return " ".join(text.split())


def read_all(
    sight: Sight, paths: Sequence[str], absent: str, read: Callable[[str], str] = words
) -> dict[str, str]:
    """Return ``path → value`` of those files that exist.

    Raises NotApplicableError with the reason ``absent`` when there is none at all.
    """
    found = {}
    for path in paths:
        try:
            found[path] = read(sight.text(path))
        except MissingError:
            continue
    if not found:
        raise NotApplicableError(absent)
    return found


def listed(values: Mapping[str, str]) -> str:
    """Return the different values, the way people read them."""
    return ", ".join(sorted(set(values.values())))


def evidence(values: Mapping[str, str]) -> str:
    """Return what was read, file by file; equal files are counted."""
    rows = [f"{path}: {value}" for path, value in values.items()]
    return "\n".join(rows if len(rows) <= 16 else [*rows[:15], f"... {len(rows)} files in all"])


def file_knob(
    scene: Scene,
    page: Page,
    paths: Sequence[str],
    wanted: str,
    *,
    absent: str,
    origins: tuple[Origin, ...] = (),
    kind: str = "value",
    read: Callable[[str], str] | None = None,
) -> Knob:
    """Return a knob of kernel files that all have to hold one value."""  # fmt: skip
    understood = read or (bracketed if kind == "choice" else words)

    def judge() -> Verdict:
        values = read_all(scene.sight, paths, absent, understood)
        return verdict(set(values.values()) == {wanted}, listed(values), evidence(values))

    def changes() -> tuple[Change, ...]:
        values = read_all(scene.sight, paths, absent, understood)
        return tuple(
            Change(page.id, kind, path, wanted) for path, now in values.items() if now != wanted
        )

    return Knob(page, wanted, judge, changes, origins=origins)


def number(text: str) -> str:
    """Return the text of a whole number. Raises ValueError for anything else."""
    return str(int(text))


def sysctl_path(name: str) -> str:
    """Return the file of a setting with dots."""
    return "/proc/sys/" + name.replace(".", "/")


def sysctl_knobs(scene: Scene, pages: Sequence[Page]) -> list[Knob]:
    """Return the knobs of those pages that are settings which the system's spec has."""
    by_id = {page.id: page for page in pages}
    found = []
    for contribution in scene.spec.contributions:
        item = contribution.item
        if isinstance(item, Sysctl) and (page := by_id.get(f"sysctl.{item.name}")):
            found.append(
                file_knob(
                    scene,
                    page,
                    [sysctl_path(item.name)],
                    words(item.value),
                    absent=f"this kernel has no {item.name}",
                    origins=contribution.origins,
                    # What is no number is not understood, and not written over either.
                    read=number if item.value.lstrip("-").isdigit() else words,
                )
            )
    return found


def files_in(scene: Scene, folder: str) -> Iterator[tuple[File, Contribution]]:
    """Return the spec's files below a folder."""
    for contribution in scene.spec.contributions:
        item = contribution.item
        if isinstance(item, File) and item.path.startswith(folder):
            yield item, contribution


def tmpfiles_writes(scene: Scene) -> dict[str, tuple[str, tuple[Origin, ...]]]:
    """Return ``path → (value, origins)`` of what the spec lets systemd-tmpfiles write at boot."""
    found = {}
    for item, contribution in files_in(scene, "/etc/tmpfiles.d/"):
        text = item.content.decode()
        for path, value in re.findall(r"^w\s+(\S+)(?:\s+-){4}\s+(\S+)$", text, re.MULTILINE):
            found[path] = (value, contribution.origins)
    return found


def module_options(scene: Scene) -> dict[str, tuple[str, tuple[Origin, ...]]]:
    """Return ``/sys path of a module's parameter → (value, origins)`` of the spec's options."""
    found = {}
    for item, contribution in files_in(scene, "/etc/modprobe.d/"):
        text = item.content.decode()
        for module, options in re.findall(r"^options\s+(\S+)\s+(.+)$", text, re.MULTILINE):
            for option in options.split():
                name, _, value = option.partition("=")
                path = f"/sys/module/{module.replace('-', '_')}/parameters/{name}"
                found[path] = (value, contribution.origins)
    return found


def origins_of(scene: Scene, key: str) -> tuple[Origin, ...]:
    """Return who asked for an item of the spec; () when nobody did."""
    return next((c.origins for c in scene.spec.contributions if c.item.key == key), ())


def because(why: str, *keys: str) -> tuple[Origin, ...]:
    """Return the origin of what tuning itself derives from keys of the profile."""
    return (Origin("tune", why, keys),)


def from_check(check: Check) -> Verdict:
    """Return the verdict of a probe of the self-test."""
    return Verdict(check.answer, check.observed, check.evidence)


def unless(reason: str, check: Callable[[], Verdict]) -> Callable[[], Verdict]:
    """Return a judge that is not applicable for a reason, unless the reason is empty."""

    def judge() -> Verdict:
        return Verdict(Answer.NOT_APPLICABLE, reason) if reason else check()

    return judge
