"""Where packages come from: the host's apt configuration, an option, or the profile.

No address is kept in the project: this module finds it at run time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from archibald.errors import PreconditionError
from archibald.run import Runner, require_tools, run

#: Names under which a host's apt may list Debian's main archive.
_DEBIAN_SUITES = frozenset(
    {"oldoldstable", "oldstable", "stable", "testing", "unstable", "sid"}
    | {"bullseye", "bookworm", "trixie", "forky", "duke"}
)

#: Keyrings that sign Debian's archive, in the order in which they are tried.
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)

_GIVE_ONE = (
    "give one: archibald build iso --mirror http://MIRROR/debian, "
    "or set image.mirror in the profile"
)


class NoMirrorError(PreconditionError):
    """No Debian mirror is known on this machine."""


@dataclass(frozen=True)
class Mirrors:
    """Base addresses of the archives: ``debian`` always, ``security`` where there is one."""

    debian: str
    security: str = ""

    def base(self, archive: str) -> str:
        """Return the base address of an archive, without a final slash."""
        return {"debian": self.debian, "security": self.security}[archive]


@dataclass(frozen=True)
class Source:
    """One line of sources.list: an archive's suite."""

    archive: str
    base: str
    suite: str
    components: tuple[str, ...]

    def line(self, options: str = "") -> str:
        """Return it in sources.list form; ``options`` such as ``signed-by=FILE``."""
        bracket = f"[{options}] " if options else ""
        return f"deb {bracket}{self.base} {self.suite} {' '.join(self.components)}"


#: Suites are one word: "bullseye/updates" of old releases is no main archive.
_INDEX = re.compile(r"'(?P<base>[^']+?)/+dists/(?P<suite>[^/']+)/InRelease'")


def _address(text: str) -> str:
    """Return an address as apt prints it: no final slash, file: with one slash."""
    return re.sub(r"^((?:mirror\+)?file|copy):/+", r"\1:/", text.strip()).rstrip("/")


def mirrors_from_uris(output: str) -> Mirrors | None:
    """Return the Debian mirrors among the addresses that ``apt-get update`` would fetch.

    ``output`` is what ``apt-get update --print-uris`` prints; None when it names no Debian suite.
    """
    debian = security = ""
    for match in _INDEX.finditer(output):
        base, suite = _address(match["base"]), match["suite"]
        if base.startswith("cdrom:"):
            continue
        if suite in _DEBIAN_SUITES:
            debian = debian or base
        elif suite.endswith("-security") and suite.removesuffix("-security") in _DEBIAN_SUITES:
            security = security or base
    return Mirrors(debian, security) if debian else None


def _first_listed(base: str) -> str:
    """Return the first address of the list that a mirror+file: address names, others unchanged.

    The list is a file of this host, so its name must not get into an image.
    """
    if not base.startswith("mirror+file:"):
        return base
    path = Path(base.removeprefix("mirror+file:"))
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise NoMirrorError(
            "this host's list of mirrors cannot be read", why=str(error), next_step=_GIVE_ONE
        ) from error
    addresses = [row[0] for row in rows if row and not row[0].startswith("#")]
    if not addresses:
        raise NoMirrorError(
            "no Debian mirror is known", why=f"{path} lists none", next_step=_GIVE_ONE
        )
    return _address(addresses[0])


def security_beside(mirror: str) -> str:
    """Return the security archive that mirrors of Debian keep beside the main one, or ""."""
    return f"{mirror}-security" if mirror.endswith("/debian") else ""


def find_mirrors(*, option: str = "", profile: str = "", runner: Runner = run) -> Mirrors:
    """Return the mirrors to use: the option, else the profile's, else what the host's apt uses.

    Raises :class:`NoMirrorError` when none of them says.
    """
    chosen = _address(option or profile)
    if chosen:
        return Mirrors(chosen, security_beside(chosen))
    require_tools(["apt-get"], purpose="finding and verifying Debian packages")
    # Not "apt-get indextargets": that lists nothing before the host's first "apt-get update".
    result = runner(["apt-get", "update", "--print-uris"], check=False)
    mirrors = mirrors_from_uris(result.stdout)
    if mirrors is None:
        raise NoMirrorError(
            "no Debian mirror is known",
            why=result.stderr.strip() or "this host's apt configuration names no Debian suite",
            next_step=_GIVE_ONE,
        )
    return Mirrors(_first_listed(mirrors.debian), _first_listed(mirrors.security))


def sources_for(suite: str, components: tuple[str, ...], mirrors: Mirrors) -> tuple[Source, ...]:
    """Return the sources of a suite: with updates and security fixes once it is released."""
    sources = [Source("debian", mirrors.debian, suite, components)]
    if suite == "trixie":
        sources.append(Source("debian", mirrors.debian, "trixie-updates", components))
        if mirrors.security:
            sources.append(Source("security", mirrors.security, "trixie-security", components))
    return tuple(sources)


def find_keyring(option: Path | None = None) -> Path:
    """Return the keyring that verifies the archive; raise when there is none."""
    for candidate in (option,) if option else KEYRINGS:
        if candidate.is_file():
            return candidate
    raise PreconditionError(
        "the keyring of the Debian archive is missing",
        why=f"none of {', '.join(map(str, (option,) if option else KEYRINGS))} exists",
        next_step="sudo apt-get install debian-archive-keyring, or give --keyring FILE",
    )
