"""apt in a room of its own: private lists, state and cache; the host's proxies and certificates.

apt verifies signatures and resolves dependencies; nothing of the host's package state is read or
written. An index past its Valid-Until date is accepted: a locked snapshot is checked by signature
and hash, not by date, as reproducible builds do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote

from archibald.errors import PreconditionError, ToolFailedError, UsageError
from archibald.lock.model import LockedPackage, LockedRelease
from archibald.lock.sources import Source
from archibald.run import Runner, require_tools, run

APT_HELPER = "/usr/lib/apt/apt-helper"
_URI_LINE = re.compile(
    r"'(?P<uri>[^']+)' (?P<file>\S+\.deb) (?P<size>\d+) SHA256:(?P<sha>[0-9a-f]{64})"
)
_SIGNATURE_WORDS = re.compile(
    r"NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|is not signed|signatures? (?:was|were|is) invalid|"
    r"couldn't be verified|Hash Sum mismatch|public key is not available|Missing key|no signature|"
    r"has unexpected size|Clearsigned file isn't valid",
    re.IGNORECASE,
)
_NETWORK_WORDS = re.compile(
    r"Could not resolve|Unable to connect|Connection refused|Connection failed|timed out|"
    r"Temporary failure|Could not connect|Failed to fetch|does not have a Release file|"
    r"Could not open file|File not found|Unable to locate source",
    re.IGNORECASE,
)


class MirrorUnreachableError(PreconditionError):
    """The mirror did not answer, or does not hold the suite."""


class SignatureError(PreconditionError):
    """An index is not signed by a key of the keyring, or was changed on the way."""


class UnknownPackageError(UsageError):
    """The suite does not have a package that the profile asks for."""


class UnsatisfiableError(UsageError):
    """The packages that the profile asks for cannot be installed together."""


@dataclass
class AptRoom:
    """A private apt below ``folder`` for the given sources, verified with ``keyring``.

    ``preferences`` is the text of an apt preferences file (pinning); sources whose base is in
    ``trusted_bases`` are local and unsigned: repositories that we made of checked packages;
    ``status`` lists what counts as installed, in the form of dpkg's own list.
    """

    folder: Path
    sources: Sequence[Source]
    keyring: Path
    architecture: str = "amd64"
    preferences: str = ""
    trusted_bases: Sequence[str] = ()
    status: str = ""
    runner: Runner = run
    _env: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        require_tools(["apt-get", "gpgv"], purpose="finding and verifying Debian packages")
        for name in ("lists/partial", "cache/archives/partial", "empty"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text(self.status, "utf-8")
        (self.folder / "preferences").write_text(self.preferences, "utf-8")
        lines = [source.line(self._trust(source)) for source in self.sources]
        (self.folder / "sources.list").write_text("\n".join([*lines, ""]), "utf-8")
        config = self.folder / "apt.conf"
        config.write_text(self._config(), "utf-8")
        self._env = {"APT_CONFIG": str(config), "DEBIAN_FRONTEND": "noninteractive"}

    def _trust(self, source: Source) -> str:
        return "trusted=yes" if source.base in self.trusted_bases else f"signed-by={self.keyring}"

    def _config(self) -> str:
        f = self.folder
        return (
            f'Dir::Etc::SourceList "{f}/sources.list";\nDir::Etc::SourceParts "{f}/empty";\n'
            f'Dir::Etc::Preferences "{f}/preferences";\nDir::Etc::PreferencesParts "{f}/empty";\n'
            f'Dir::Etc::Trusted "{f}/empty/none";\nDir::Etc::TrustedParts "{f}/empty";\n'
            f'Dir::State "{f}";\nDir::State::Lists "{f}/lists";\nDir::State::status "{f}/status";\n'
            f'Dir::State::extended_states "{f}/extended_states";\nDir::Cache "{f}/cache";\n'
            f'Dir::Log "{f}";\n'
            f'APT::Architecture "{self.architecture}";\n'
            f'APT::Architectures {{ "{self.architecture}"; }};\n'
            'APT::Install-Recommends "false";\nAPT::Install-Suggests "false";\n'
            'APT::Sandbox::User "";\nAPT::Get::AllowUnauthenticated "false";\n'
            'Acquire::Languages "none";\nAcquire::GzipIndexes "false";\n'
            'Acquire::Check-Valid-Until "false";\nAcquire::ForceHash "SHA256";\n'
            'Acquire::AllowInsecureRepositories "false";\nAcquire::Retries "3";\n'
        )

    def update(self) -> None:
        """Fetch the signed indexes; raise on a bad signature or an unreachable mirror."""
        result = self.runner(
            ["apt-get", "update", "--error-on=any"], check=False, env=self._env, timeout_s=600
        )
        if result.returncode != 0:
            raise classify_update_failure(result.stdout + result.stderr)

    def names(self) -> set[str]:
        """Return the names of all packages that the indexes hold."""
        result = self.runner(["apt-cache", "pkgnames", "--no-all-names"], env=self._env)
        return set(result.stdout.split())

    def has_candidates(self, names: Sequence[str]) -> set[str]:
        """Return those of ``names`` that can be installed (not only mentioned by others)."""
        if not names:
            return set()
        result = self.runner(["apt-cache", "policy", *names], env=self._env)
        found: set[str] = set()
        current = ""
        for line in result.stdout.splitlines():
            if line and not line.startswith(" "):
                current = line.rstrip(":")
            elif line.startswith("  Candidate:") and "(none)" not in line:
                found.add(current)
        return found

    def resolve(self, requested: Mapping[str, str]) -> tuple[LockedPackage, ...]:
        """Return the closure of the requested packages with the essential and required ones.

        ``requested`` maps names to who wants them, for the errors. Raises
        :class:`UnknownPackageError` and :class:`UnsatisfiableError`.
        """
        self._require_known(requested)
        packages = self._install(["?essential", "?priority(required)", "apt", *sorted(requested)])
        if not packages:
            raise ToolFailedError("apt resolved nothing", why="it named no file to fetch")
        return packages

    def moved_by(self, names: Iterable[str]) -> set[str]:
        """Return which packages change when ``names`` are upgraded in the system of ``status``.

        Raises :class:`UnsatisfiableError`.
        """
        return {package.name for package in self._install(sorted(names))}

    def _install(self, words: Sequence[str]) -> tuple[LockedPackage, ...]:
        result = self.runner(
            ["apt-get", "install", "--yes", "--print-uris", "--no-install-recommends", *words],
            check=False, env=self._env,
        )  # fmt: skip
        if result.returncode != 0:
            raise UnsatisfiableError(
                "the packages of the profile cannot be installed together",
                why=_unmet(result.stdout + result.stderr),
                next_step="leave one of them out (apps.exclude, image.packages), or wait until the "
                "suite is consistent again and run archibald lock",
            )
        return parse_print_uris(result.stdout, self.sources)

    def _require_known(self, requested: Mapping[str, str]) -> None:
        missing = sorted(set(requested) - self.has_candidates(sorted(requested)))
        if not missing:
            return
        names = sorted(self.names())
        rows = [
            f"{name} (wanted by {requested[name]}); near names: "
            f"{', '.join(get_close_matches(name, names, n=3)) or 'none'}"
            for name in missing
        ]
        suites = ", ".join(source.suite for source in self.sources)
        raise UnknownPackageError(
            f"{suites} does not have {', '.join(missing)}",
            why="\n        ".join(rows),
            next_step="correct the name, or leave it out (apps.exclude, image.packages)",
        )

    def hashes(self, names: Sequence[str]) -> set[tuple[str, str, str]]:
        """Return (name, version, SHA-256) of all versions of ``names`` in the signed indexes."""
        result = self.runner(["apt-cache", "show", *names], check=False, env=self._env)
        rows = set()
        for stanza in result.stdout.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|SHA256): (\S+)$", stanza, re.MULTILINE))
            if len(fields) == 3:
                rows.add((fields["Package"], fields["Version"], fields["SHA256"]))
        return rows

    def releases(self) -> tuple[LockedRelease, ...]:
        """Return the signed indexes that the last update fetched, with their verified signers."""
        signed = [source for source in self.sources if source.base not in self.trusted_bases]
        return tuple(self._release(source) for source in signed)

    def _release(self, source: Source) -> LockedRelease:
        pattern = f"*_dists_{source.suite.replace('/', '_')}_InRelease"
        path = next(iter(sorted((self.folder / "lists").glob(pattern))), None)
        if path is None:
            raise SignatureError(
                f"{source.suite} has no signed index (InRelease)",
                next_step="use a mirror that serves InRelease files",
            )
        return LockedRelease(
            archive=source.archive,
            suite=source.suite,
            date=release_date(path.read_text("utf-8")).strftime("%Y-%m-%dT%H:%M:%SZ"),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            signed_by=self.verify_signature(path),
        )

    def verify_signature(self, path: Path) -> tuple[str, ...]:
        """Return the fingerprints that validly signed ``path``; raise when there is none."""
        result = self.runner(
            ["gpgv", "--keyring", self.keyring, "--status-fd", "1", "--output", "/dev/null", path],
            check=False,
        )
        signers = re.findall(
            r"^\[GNUPG:\] VALIDSIG .* ([0-9A-F]{40})$", result.stdout, re.MULTILINE
        )
        if not signers:
            raise SignatureError(
                f"{path.name} is not signed by a key of {self.keyring}",
                why=result.stderr.strip(),
                next_step="update debian-archive-keyring, or give --keyring FILE",
            )
        return tuple(sorted(set(signers)))

    def download(
        self,
        files: Sequence[tuple[str, Path, str]],
        *,
        on_tick: Callable[[], None] | None = None,
        log_file: Path | None = None,
    ) -> bool:
        """Fetch (address, target, sha256) rows with apt's own methods; True when all arrived."""
        words: list[str] = []
        for address, target, sha256 in files:
            words += [address, str(target), f"SHA256:{sha256}"]
        result = self.runner(
            [APT_HELPER, "download-file", *words],
            check=False, env=self._env, on_tick=on_tick, log_file=log_file,
        )  # fmt: skip
        return result.returncode == 0


def classify_update_failure(output: str) -> PreconditionError | ToolFailedError:
    """Return the error that a failed ``apt-get update`` stands for."""
    lines = [line for line in output.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    why = "\n        ".join(lines[:6]) or output.strip()[-400:]
    if _SIGNATURE_WORDS.search(output):
        return SignatureError(
            "the mirror's index does not carry a valid signature",
            why=why,
            next_step="check the mirror's address; update debian-archive-keyring; or give the "
            "keyring of your own mirror with --keyring FILE",
        )
    if _NETWORK_WORDS.search(output):
        return MirrorUnreachableError(
            "the Debian mirror cannot be reached",
            why=why,
            next_step="check the network and the mirror (--mirror ADDRESS), or build from the "
            "cache with --offline",
        )
    return ToolFailedError("apt-get update failed", why=why, next_step="repeat with --debug")


def _unmet(output: str) -> str:
    lines = output.splitlines()
    start = next((i for i, line in enumerate(lines) if "unmet dependencies" in line), None)
    rows = lines[start + 1 :] if start is not None else [li for li in lines if li.startswith("E:")]
    return "\n        ".join(row.strip() for row in rows[:8])


def parse_print_uris(output: str, sources: Sequence[Source]) -> tuple[LockedPackage, ...]:
    """Return the packages that ``apt-get install --print-uris`` lists, sorted by name."""
    packages = []
    for match in _URI_LINE.finditer(output):
        source = _source_of(match["uri"], sources)
        name, version, architecture = match["file"].removesuffix(".deb").split("_")
        packages.append(
            LockedPackage(
                name=name,
                version=unquote(version),
                architecture=architecture,
                sha256=match["sha"],
                size=int(match["size"]),
                path=unquote(match["uri"][len(source.base) :].lstrip("/")),
                archive=source.archive,
            )
        )
    return tuple(sorted(packages))


def _source_of(uri: str, sources: Sequence[Source]) -> Source:
    fits = [source for source in sources if uri.startswith(source.base.rstrip("/") + "/")]
    if not fits:
        raise ToolFailedError(f"apt named a file outside the mirrors: {uri.rpartition('/')[2]}")
    return max(fits, key=lambda source: len(source.base))


def release_date(text: str) -> datetime:
    """Return the Date of a Release file."""
    match = re.search(r"^Date: (.+)$", text, re.MULTILINE)
    try:
        date = parsedate_to_datetime(match[1].replace("UTC", "+0000") if match else "")
    except ValueError as error:
        raise SignatureError(
            "the mirror's index has no date", why=str(error), next_step="use another mirror"
        ) from error
    return date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
