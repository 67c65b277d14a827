"""What the tests of lock, image and command line share: tiny archives, keys, a lock, fake tools."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import settings

from archibald.lock.model import Lock, LockedPackage, LockedRelease
from archibald.lock.sources import Mirrors
from archibald.run import build_environment, run

# How long an example takes depends on the machine and on what else it does.
settings.register_profile("archibald", deadline=None)
settings.load_profile("archibald")

_FIRST_DAY = datetime(2026, 10, 1, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """A throw-away signing key: its own GnuPG home, and the keyring that verifies it."""

    home: Path
    keyring: Path

    def gpg(self, *arguments: str, stdin: bytes = b"") -> None:
        """Run gpg with this key's home."""
        options = ["--homedir", str(self.home), "--batch", "--quiet", "--yes"]
        run(["gpg", *options, *arguments], stdin=stdin)

    def clearsign(self, text: str, target: Path) -> None:
        """Write ``text`` with this key's signature to ``target``."""
        self.gpg("--output", str(target), "--clearsign", stdin=text.encode())


@pytest.fixture(scope="session")
def make_key(tmp_path_factory) -> Iterator[Callable[[str], Key]]:
    """Make a signing key; the agents that gpg starts end with the session."""
    if shutil.which("gpg") is None or shutil.which("gpg-agent") is None:
        pytest.skip("signing needs gpg and gpg-agent: scripts/host-tools check")
    homes: list[Path] = []

    def make(name: str) -> Key:
        # A short path: gpg's agent listens on a socket in it.
        home = Path(tempfile.mkdtemp(prefix="gpg-"))
        homes.append(home)
        key = Key(home, tmp_path_factory.mktemp("keys") / f"{name}.gpg")
        address = f"{name}@example.invalid"
        key.gpg("--passphrase", "", "--quick-generate-key", address, "ed25519", "sign", "never")
        key.gpg("--output", str(key.keyring), "--export", address)
        return key

    yield make
    for home in homes:
        run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def key(make_key) -> Key:
    """The key that the tests' archives are signed with."""
    return make_key("archive")


@pytest.fixture(scope="session")
def foreign_key(make_key) -> Key:
    """A key that no keyring of the tests holds."""
    return make_key("foreign")


@pytest.fixture(scope="session")
def make_deb(tmp_path_factory) -> Callable[..., Path]:
    """Build a Debian package without files; the same arguments give the same file."""
    folder = tmp_path_factory.mktemp("debs")

    def make(control: str) -> Path:
        target = folder / f"{hashlib.sha256(control.encode()).hexdigest()}.deb"
        if not target.exists():
            tree = target.with_suffix(".tree")
            (tree / "DEBIAN").mkdir(parents=True)
            (tree / "DEBIAN/control").write_text(control)
            run(
                ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, target],
                env={"SOURCE_DATE_EPOCH": "1790000000"},
            )
        return target

    return make


@dataclass
class Archive:
    """A Debian archive in a folder, which apt reads through a file: address."""

    folder: Path
    make_deb: Callable[[str], Path]
    stanzas: dict[tuple[str, str], str] = field(default_factory=dict)
    day: int = 0

    @property
    def address(self) -> str:
        return f"file:{self.folder}"

    @property
    def mirrors(self) -> Mirrors:
        return Mirrors(self.address)

    def index(self, suite: str = "forky") -> Path:
        """Return where the index of packages is."""
        return self.folder / "dists" / suite / "main/binary-amd64/Packages"

    def file(self, name: str, version: str) -> Path:
        """Return where a package is."""
        return self.folder / "pool" / f"{name}_{version.rpartition(':')[2]}_all.deb"

    def add(self, name: str, version: str = "1.0", *, depends: str = "", extra: str = "") -> None:
        """Put a real package into the archive; ``publish`` makes it known."""
        control = self._control(name, version, depends, extra)
        path = self.file(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.make_deb(control), path)
        content = path.read_bytes()
        self._list(name, version, control, len(content), hashlib.sha256(content).hexdigest())

    def mention(self, name: str, version: str = "1.0") -> None:
        """Put a package into the index alone."""
        digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
        self._list(name, version, self._control(name, version, "", ""), 1000, digest)

    def remove(self, name: str, version: str) -> None:
        """Take a package out of the archive, as a moving suite does."""
        del self.stanzas[name, version]
        self.file(name, version).unlink()

    def publish(self, key: Key | None, *, suite: str = "forky") -> None:
        """Write the index of a new day and sign it; without a key it stays unsigned."""
        self.day += 1
        date = _FIRST_DAY + timedelta(days=self.day)
        index = self.index(suite)
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(self.stanzas.values()))
        content = index.read_bytes()
        release = (
            f"Origin: Tests\nSuite: testing\nCodename: {suite}\n"
            f"Date: {format_datetime(date).replace('+0000', 'UTC')}\n"
            "Architectures: amd64\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
        )
        folder = self.folder / "dists" / suite
        (folder / "Release").write_text(release)
        (folder / "InRelease").unlink(missing_ok=True)
        if key is not None:
            key.clearsign(release, folder / "InRelease")
        # apt asks for what is newer than its copy, in whole seconds.
        for path in (index, folder / "Release", folder / "InRelease"):
            if path.exists():
                os.utime(path, (date.timestamp(), date.timestamp()))

    @staticmethod
    def _control(name: str, version: str, depends: str, extra: str) -> str:
        needs = f"Depends: {depends}\n" if depends else ""
        return (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            f"Maintainer: Tests <tests@example.invalid>\n{needs}{extra}Description: test\n"
        )

    def _list(self, name: str, version: str, control: str, size: int, sha256: str) -> None:
        path = self.file(name, version).relative_to(self.folder)
        self.stanzas[name, version] = f"{control}Filename: {path}\nSize: {size}\nSHA256: {sha256}\n"


@pytest.fixture(scope="session")
def make_archive(make_deb) -> Callable[[Path], Archive]:
    """Make an archive in a folder: the least of a system, and two packages; not yet published."""
    if shutil.which("apt-get") is None:
        pytest.skip("this machine has no apt")

    def make(folder: Path) -> Archive:
        made = Archive(folder, make_deb)
        made.add("base-thing", "1:1.0+b1", extra="Essential: yes\nPriority: required\n")
        made.add("apt", "3.0")
        made.add("python3", "3.14.2-1")
        made.add("libtone++", "2.0~rc1")
        made.add("synth", "1.0", depends="libtone++ (>= 2)")
        return made

    return make


@pytest.fixture
def archive(make_archive, tmp_path) -> Archive:
    """An archive of the test's own; not yet published."""
    made: Archive = make_archive(tmp_path / "archive")
    return made


def _locked(name: str, version: str, **changes: str) -> LockedPackage:
    file_version = version.rpartition(":")[2]
    values = {"architecture": "amd64", "archive": "debian", **changes}
    return LockedPackage(
        name=name,
        version=version,
        sha256=hashlib.sha256(f"{name} {version}".encode()).hexdigest(),
        size=100 + len(name),
        path=f"pool/main/{name[0]}/{name}/{name}_{file_version}_{values['architecture']}.deb",
        **values,
    )


@pytest.fixture(scope="session")
def lock() -> Lock:
    """A lock as `archibald lock` makes them: epochs, tildes, wheels, two archives."""
    return Lock(
        suite="forky",
        snapshot=datetime(2026, 10, 30, 8, 8, 1, tzinfo=UTC),
        components=("main", "non-free-firmware"),
        requested=("pipewire", "python3"),
        releases=(
            LockedRelease("debian", "forky", "2026-10-30T08:08:01Z", "a" * 64, ("B8" * 20,)),
        ),
        packages=(
            _locked("busybox", "1:1.38.0-3+b1"),
            _locked("libstdc++6", "16.2.0-3"),
            _locked("openssl", "3.6.0-1~deb14u1", archive="security"),
            _locked("pipewire", "1.6.2-1"),
            _locked("python3", "3.14.2-1", architecture="all"),
        ),
        python="3.14",
        python_requirements=("click>=8.2", 'tomli>=2 ; python_version < "3.11"'),
        wheels={
            "click-8.3.0-py3-none-any.whl": "c" * 64,
            "pydantic_core-2.41.4-cp314-cp314-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": "d"
            * 64,
        },
        tools={"mmdebstrap": "1.5.7-3", "squashfs-tools": "1:4.7.2-1"},
    )


@dataclass(frozen=True)
class Toolbox:
    """The only folder in which external programs are found; empty at first."""

    folder: Path

    def add(self, name: str, body: str = "exit 0") -> None:
        """Put a program there: a shell script."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def add_real(self, *names: str) -> None:
        """Put programs of this machine there."""
        for name in names:
            found = shutil.which(name)
            assert found, name
            (self.folder / name).symlink_to(found)


@pytest.fixture
def toolbox(tmp_path, monkeypatch) -> Toolbox:
    """Let external programs be looked for in a folder of the test alone."""
    folder = tmp_path / "toolbox"
    folder.mkdir()

    def environment(extra=None):
        return {**build_environment(), "PATH": str(folder), **(extra or {})}

    monkeypatch.setattr("archibald.run.build_environment", environment)
    return Toolbox(folder)
