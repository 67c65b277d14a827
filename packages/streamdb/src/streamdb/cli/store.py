"""Which store is meant, with which key: the options of every verb that opens one."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamdb import place
from streamdb.errors import (
    CorruptData,
    InvalidArgument,
    KeyRequired,
    NotFound,
    StorageFailure,
    StreamDBError,
)

if TYPE_CHECKING:
    from streamdb.crypto import Key
    from streamdb.model import Durability
    from streamdb.store import StreamDB

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_MOST_SECRET_BYTES = 4096


class InsecurePassphraseFile(StreamDBError):
    """Others may read the passphrase."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the command line says about the store: where it is, and where its key comes from."""

    store: str | None = None
    key_file: str | None = None
    ask: bool = False
    descriptor: int | None = None
    passphrase_file: str | None = None

    def root(self) -> Path:
        """The directory of the store that is meant.

        Raises:
            NotFound, InvalidArgument: none is named, and none or several are found.
        """
        return Path(self.store) if self.store else locate(os.environ, Path.cwd())

    def key(self, root: Path) -> Key | None:
        """The key that was given, if the store wants one.

        Raises:
            KeyRequired, InvalidKey, InsecureKeyFile, NotFound.
        """
        kind = _kind_of_key(root)
        if kind == "passphrase" and self == Access(self.store) and sys.stdin.isatty():
            return ask_passphrase(f"Passphrase of {root}: ")
        given = self.stored_key(root)
        if given is None and kind is not None:
            raise _key_required(root, kind)
        return given

    def stored_key(self, root: Path) -> Key | None:
        """The key as far as it was given, without asking for one that was not."""
        given = self._given_key()
        file = os.environ.get("STREAMDB_KEY_FILE")
        if given is None and file and _kind_of_key(root) == "file":
            from streamdb.crypto import Key

            return Key.from_file(file)
        return given

    def new_key(self) -> Key | None:
        """The key for a new store; a passphrase is asked for twice."""
        if self.ask:
            return ask_passphrase("Passphrase for the new store: ", twice=True)
        return self._given_key()

    def _given_key(self) -> Key | None:
        from streamdb.crypto import Key

        given = (self.key_file, self.ask or None, self.descriptor, self.passphrase_file)
        if sum(each is not None for each in given) > 1:
            raise InvalidArgument(
                "more than one key was given",
                next_step="give one of --key-file, --passphrase, --passphrase-fd,"
                " --passphrase-file",
            )
        if self.key_file is not None:
            return Key.from_file(self.key_file)
        if self.descriptor is not None:
            return Key.from_passphrase(_first_line(self.descriptor))
        if self.passphrase_file is not None:
            return Key.from_passphrase(_passphrase_in(self.passphrase_file))
        return ask_passphrase("Passphrase: ") if self.ask else None


def store_options(function: _Decorated) -> _Decorated:
    """Add the options; the command gets them as ``access``."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        context = click.get_current_context()
        before = (context.find_root().obj or {}).get("store")
        access = Access(
            store=options.pop("store") or before,
            key_file=options.pop("key_file"),
            ask=options.pop("passphrase"),
            descriptor=options.pop("passphrase_fd"),
            passphrase_file=options.pop("passphrase_file"),
        )
        return function(*args, access=access, **options)

    for option in reversed(
        (
            click.option("-s", "--store", metavar="DIR", help="The store."),
            click.option("--key-file", metavar="FILE", help="The key of an encrypted store."),
            click.option("--passphrase", is_flag=True, help="Ask for the passphrase."),
            click.option(
                "--passphrase-fd", type=int, metavar="N", help="Read it from descriptor N."
            ),
            click.option("--passphrase-file", metavar="FILE", help="Read it from a file."),
        )
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def open_store(access: Access, *, write: bool = False, durability: Durability = "full") -> StreamDB:
    """Open the store that is meant; for reading only, unless ``write``."""
    from streamdb.store import StreamDB

    root = access.root()
    return StreamDB.open(
        root, durability=durability, key=access.key(root), readonly=not write, create=False
    )


def locate(environment: Mapping[str, str], folder: Path) -> Path:
    """The store that is meant where none is named.

    ``STREAMDB_STORE``, else going up from ``folder``: a folder that is a store, or holds exactly
    one (named ``*.sdb`` or ``.streamdb``).

    Raises:
        NotFound: there is none; InvalidArgument: there are several.
    """
    named = environment.get("STREAMDB_STORE")
    if named:
        return Path(named)
    for each in (folder, *folder.parents):
        if (each / place.MARKER).is_file():
            return each
        found = sorted(_stores_in(each))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InvalidArgument(
                f"there are several stores in {each}: {names}",
                next_step="choose one with --store, or set STREAMDB_STORE",
            )
        if found:
            return found[0]
    raise NotFound(
        f"there is no store in {folder}, nor in a folder above it",
        next_step="name one with --store or STREAMDB_STORE, or make one: streamdb init",
    )


def _stores_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".sdb") or entry.name == ".streamdb":
                    path = Path(entry.path)
                    if (path / place.MARKER).is_file():
                        yield path
    except OSError:
        return


def ask_passphrase(prompt: str, *, twice: bool = False) -> Key:
    """Ask on the terminal, without showing what is typed.

    Raises:
        InvalidArgument: the two do not agree; InvalidKey: it is too short.
    """
    from getpass import getpass

    from streamdb.crypto import Key

    typed = getpass(prompt)
    if twice and getpass("The same again: ") != typed:
        raise InvalidArgument(
            "the two passphrases are not the same", next_step="try again; nothing was made"
        )
    return Key.from_passphrase(typed)


def _kind_of_key(root: Path) -> str | None:
    """``file``, ``passphrase``, or None for a store without a key (or no readable marker)."""
    try:
        marker = place.read_marker(root)
    except CorruptData:
        # Opening, checking or repairing it will say so, or mend it.
        return None
    if marker is None or marker.key is None:
        return None
    return "passphrase" if marker.key.get("kdf") == "scrypt" else "file"


def _key_required(root: Path, kind: str) -> KeyRequired:
    if kind == "file":
        way = "--key-file FILE, or set STREAMDB_KEY_FILE"
    else:
        way = "--passphrase to be asked, --passphrase-fd N, or --passphrase-file FILE"
    return KeyRequired(
        f"the store at {root} is encrypted",
        why=f"it was made with a {'key file' if kind == 'file' else 'passphrase'}",
        next_step=f"give it: {way}",
    )


def _first_line(descriptor: int) -> str:
    try:
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            content = file.read(_MOST_SECRET_BYTES)
    except OSError as error:
        raise InvalidArgument(
            f"descriptor {descriptor} cannot be read",
            why=error.strerror or str(error),
            next_step="open it, as in: --passphrase-fd 3 3< FILE",
        ) from None
    return _text(content or b"")


def _passphrase_in(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST_SECRET_BYTES)
    except FileNotFoundError:
        raise NotFound(f"there is no file {name!r}", next_step="name the passphrase's") from None
    except OSError as error:
        raise StorageFailure(f"{name!r} cannot be read", why=error.strerror or "") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise InsecurePassphraseFile(
            f"the passphrase in {name!r} is open to others",
            why=f"its mode is {mode:04o}",
            next_step=f"chmod 600 {name!r}; change the passphrase if others may have read it",
        )
    return _text(content)


def _text(content: bytes) -> str:
    try:
        return content.partition(b"\n")[0].rstrip(b"\r").decode()
    except UnicodeDecodeError:
        raise InvalidArgument("the passphrase is not UTF-8") from None
