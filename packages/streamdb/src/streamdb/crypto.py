"""Encryption of a store: keys, the header that checks them, and the cipher.

**What is encrypted**: whatever the store hands to :meth:`Cipher.seal` (documents, metadata). Paths
are not, because searches read them; file lengths are not hidden either.

**The cipher** is XAES-256-GCM (a public specification of the C2SP project): AES-256-GCM with a
nonce of 192 bits. The first half derives the AES key, the second is GCM's nonce.

**Why no nonce repeats**: both halves come from the kernel's random generator. Nothing is counted,
so there is no counter that two processes could share, that a crash could lose, or that a restored
backup or a forked child could set back. One derived key serves at most 2**20 messages of one
handle, each with 96 fresh random bits: a repetition under one key has a probability below 2**-57,
and two handles need the same first half (2**-96) to meet at all.

**Keys**: a file of 32 random bytes, or a passphrase stretched by scrypt. Either only unwraps the
random *data key* of the store, so that key and passphrase can be changed without writing the
documents anew. Neither appears in ``repr``, in a log or on a command line.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdb.checks import address, hasher
from streamdb.errors import (
    AlreadyExists,
    CorruptData,
    NotFound,
    StorageFailure,
    StreamDBError,
    WrongKey,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from streamdb.checks import Buffer

KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES
"""By how many bytes sealing lengthens a message."""

MESSAGES_PER_KEY = 1 << 20

SCRYPT_LOG_N = 17
"""Default cost of a passphrase: 2**17 rounds of 1 KiB, 128 MiB of memory, about half a second."""

_MIN_PASSPHRASE = 8
_MAX_MEMORY = 1 << 30


class InsecureKeyFile(StreamDBError):
    """Others than its owner may read the key file, or its group may change it."""


class InvalidKey(StreamDBError):
    """The key file or passphrase cannot be a key: wrong length, not hexadecimal, empty."""

    exit_code = 2


class Key:
    """What unlocks a store: a key file's bytes or a passphrase. It never shows its content.

    >>> Key.from_passphrase("correct horse battery")
    Key(passphrase)
    """

    __slots__ = ("_kind", "_secret")

    def __init__(self, secret: bytes, kind: str) -> None:
        self._secret = secret
        self._kind = kind

    @property
    def kind(self) -> str:
        """``file`` or ``passphrase``."""
        return self._kind

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Key:
        """The key in a file: 32 raw bytes, or 64 hexadecimal digits.

        Raises NotFound without such a file, StorageFailure when it cannot be read, InsecureKeyFile
        when others may read it (mode beyond 0640), InvalidKey when its content is no key.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no key file {os.fspath(path)!r}",
                next_step="name an existing key file, or make one: streamdb init --new-key FILE",
            ) from error
        except OSError as error:
            raise StorageFailure(
                f"the key file {os.fspath(path)!r} cannot be read",
                why=error.strerror or str(error),
                next_step="run as its owner, or let its owner run chown",
            ) from error
        try:
            _check_mode(path, os.fstat(descriptor))
            content = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
        return cls(_parse_key(content, path), "file")

    @classmethod
    def create_file(cls, path: str | os.PathLike[str]) -> Key:
        """Make a new random key and write it to ``path`` (mode 0600, hexadecimal, on disk).

        Raises AlreadyExists rather than overwrite a key that documents may depend on.
        """
        secret = os.urandom(KEY_BYTES)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise AlreadyExists(
                f"{os.fspath(path)!r} exists already",
                why="a key that is overwritten makes what it encrypted unreadable",
                next_step="use that key, or name another file",
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(Path(path).parent)
        return cls(secret, "file")

    @classmethod
    def from_passphrase(cls, passphrase: str | bytes) -> Key:
        """A passphrase of at least 8 characters; InvalidKey when it is shorter.

        Text is taken as UTF-8 in composed form (NFC), so that every keyboard gives the same key.
        """
        if isinstance(passphrase, str):
            import unicodedata

            passphrase = unicodedata.normalize("NFC", passphrase).encode()
        if len(passphrase) < _MIN_PASSPHRASE:
            raise InvalidKey(
                "the passphrase is too short",
                why=f"it has fewer than {_MIN_PASSPHRASE} characters",
                next_step="choose a longer one; four or five random words are good",
            )
        return cls(passphrase, "passphrase")

    def __repr__(self) -> str:
        return f"Key({self._kind})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Key) and self._kind == other._kind and self._secret == other._secret
        )

    def __hash__(self) -> int:
        return hash((self._kind, self._secret))

    def __reduce__(self) -> Any:
        raise TypeError("a Key is not pickled: its secret would lie in another place")


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """What a store keeps in the clear about its key: how to stretch it, and the wrapped data key.

    Attributes:
        kdf: ``blake3`` (key file) or ``scrypt`` (passphrase).
        salt: 16 random bytes.
        parameters: of scrypt: ``log_n``, ``r``, ``p``.
        verifier: the data key, sealed with the stretched key; only the right key opens it.
    """

    kdf: str
    salt: bytes
    parameters: dict[str, int]
    verifier: bytes

    @classmethod
    def create(cls, key: Key, *, log_n: int = SCRYPT_LOG_N) -> KeyHeader:
        """The header of a new store, with a fresh random data key.

        >>> key = Key.from_passphrase("correct horse battery")
        >>> header = KeyHeader.create(key, log_n=10)
        >>> header.cipher(key).open(b"doc", b"a.wav", 1, header.cipher(key).seal(
        ...     b"doc", b"a.wav", 1, b"snare"))
        b'snare'
        """
        return cls._wrap(key, os.urandom(KEY_BYTES), log_n)

    def change_key(self, old: Key, new: Key, *, log_n: int = SCRYPT_LOG_N) -> KeyHeader:
        """The header under another key; the data key, and so every document, stays as it is."""
        return self._wrap(new, self._unwrap(old), log_n)

    def cipher(self, key: Key) -> Cipher:
        """The cipher of the store. Raises WrongKey when ``key`` is not the store's."""
        return Cipher(self._unwrap(key))

    def to_bytes(self) -> bytes:
        """The header as JSON; it holds no secret."""
        return json.dumps(
            {
                "kdf": self.kdf,
                "salt": self.salt.hex(),
                "parameters": self.parameters,
                "verifier": self.verifier.hex(),
            },
            sort_keys=True,
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyHeader:
        """Read what :meth:`to_bytes` wrote; CorruptData when it is damaged or out of bounds."""
        try:
            raw = json.loads(data)
            header = cls(
                kdf=str(raw["kdf"]),
                salt=bytes.fromhex(raw["salt"]),
                parameters={str(name): int(value) for name, value in raw["parameters"].items()},
                verifier=bytes.fromhex(raw["verifier"]),
            )
            header._check()
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise CorruptData(
                "the key header of the store is damaged",
                why=str(error),
                next_step="restore the store from a backup; without its header it stays locked",
            ) from error
        return header

    def _check(self) -> None:
        # A hostile header must not make us reserve all memory or compute for hours.
        if self.kdf not in {"blake3", "scrypt"}:
            raise ValueError(f"unknown key derivation {self.kdf!r}")
        if len(self.salt) != 16 or len(self.verifier) != KEY_BYTES + OVERHEAD:
            raise ValueError("salt or verifier has a wrong length")
        if self.kdf == "scrypt":
            log_n, r, p = (self.parameters[name] for name in ("log_n", "r", "p"))
            if not (1 <= log_n <= 22 and 1 <= r <= 32 and 1 <= p <= 16):
                raise ValueError("the cost of scrypt is out of bounds")
            if (128 * r) << log_n > _MAX_MEMORY:
                raise ValueError("scrypt would take more than 1 GiB of memory")

    @classmethod
    def _wrap(cls, key: Key, data_key: bytes, log_n: int) -> KeyHeader:
        passphrase = key.kind == "passphrase"
        kdf = "scrypt" if passphrase else "blake3"
        parameters = {"log_n": log_n, "r": 8, "p": 1} if passphrase else {}
        draft = cls(kdf, os.urandom(16), parameters, b"")
        wrapped = Cipher(draft._stretch(key)).seal(b"key", draft._binding(), 1, data_key)
        return cls(kdf, draft.salt, parameters, wrapped)

    def _unwrap(self, key: Key) -> bytes:
        if (key.kind == "passphrase") != (self.kdf == "scrypt"):
            wanted = "a passphrase" if self.kdf == "scrypt" else "a key file"
            raise WrongKey(
                f"the store is locked with {wanted}, not with a {key.kind}",
                next_step=f"give {wanted}",
            )
        try:
            return Cipher(self._stretch(key)).open(b"key", self._binding(), 1, self.verifier)
        except CorruptData:
            raise WrongKey(
                f"this {'passphrase' if key.kind == 'passphrase' else 'key file'}"
                " does not open the store",
                why="its data key cannot be unwrapped with it",
                next_step="check for a typing mistake, or find the key that the store has now",
            ) from None

    def _stretch(self, key: Key) -> bytes:
        if self.kdf == "blake3":
            return _derive("key file", key._secret + self.salt)
        import hashlib

        n, r, p = 1 << self.parameters["log_n"], self.parameters["r"], self.parameters["p"]
        memory = 128 * r * (n + p + 2) + (1 << 20)
        return hashlib.scrypt(
            key._secret, salt=self.salt, n=n, r=r, p=p, maxmem=memory, dklen=KEY_BYTES
        )

    def _binding(self) -> bytes:
        """What the verifier vouches for: a changed cost or salt does not go unseen."""
        return json.dumps([self.kdf, self.salt.hex(), self.parameters], sort_keys=True).encode()


class Cipher:
    """Seals and opens messages, and names content, under one 32-byte key. Safe to share by threads.

    >>> cipher = Cipher(bytes(32))
    >>> sealed = cipher.seal(b"doc", b"kick.wav", 7, b"boom")
    >>> cipher.open(b"doc", b"kick.wav", 7, sealed)
    b'boom'
    """

    __slots__ = ("_address_key", "_derived", "_lock", "_prefix", "_seed", "_used")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a cipher's key has {KEY_BYTES} bytes, not {len(key)}")
        self._address_key = _derive("chunk addresses", key)
        self._seed = int.from_bytes(_derive("cut points", key)[:8], "big") >> 1
        # Opening a store meets one prefix per writer that ever wrote to it: keep the last few.
        self._derived = lru_cache(maxsize=256)(_XAES(key).derive)
        self._lock = threading.Lock()
        self._prefix = b""
        self._used = MESSAGES_PER_KEY

    def seal(self, table: bytes, key: bytes, version: int, plaintext: Buffer) -> bytes:
        """Encrypt a message for one place: nonce, ciphertext and tag, ``OVERHEAD`` bytes longer.

        Args:
            table: where the message is stored; with ``key`` and ``version`` it is authenticated,
                so that a message moved or rolled back to another place does not open.
            key: under which key of the table.
            version: 0 to 2**64 - 1.
            plaintext: up to 2 GiB.
        """
        prefix = self._next_prefix()
        nonce = os.urandom(12)
        sealed = self._derived(prefix).encrypt(nonce, plaintext, _place(table, key, version))
        return prefix + nonce + sealed

    def open(self, table: bytes, key: bytes, version: int, sealed: Buffer) -> bytes:
        """The message that :meth:`seal` was given for this place.

        Raises CorruptData when a bit of it has changed, when it belongs to another place, or when
        it was sealed under another key (a wrong key of the store is refused before, at open).
        """
        from cryptography.exceptions import InvalidTag

        if len(sealed) < OVERHEAD:
            raise _unreadable(f"it has {len(sealed)} bytes, the shortest message has {OVERHEAD}")
        view = memoryview(sealed)
        try:
            return self._derived(bytes(view[:12])).decrypt(
                bytes(view[12:24]), view[24:], _place(table, key, version)
            )
        except InvalidTag:
            raise _unreadable("its authentication tag does not match") from None

    def address(self, data: Buffer) -> bytes:
        """The 32 bytes that name ``data`` in this store: keyed BLAKE3.

        Equal content has one address, so chunks are still shared; without the key nobody can test
        whether the store holds a file that they have.
        """
        return address(data, self._address_key)

    @property
    def chunk_seed(self) -> int:
        """The seed for :func:`streamdb.chunking.split`: cut points differ from store to store."""
        return self._seed

    def __repr__(self) -> str:
        return "Cipher()"

    def __reduce__(self) -> Any:
        raise TypeError("a Cipher is not pickled: its key would lie in another place")

    def _next_prefix(self) -> bytes:
        with self._lock:
            if self._used >= MESSAGES_PER_KEY:
                self._prefix = os.urandom(12)
                self._used = 0
            self._used += 1
            return self._prefix


class _XAES:
    """Key derivation of XAES-256-GCM: two CMAC blocks over the first half of the nonce.

    The specification's second message block differs from the first in its counter only; the subkey
    of CMAC is the doubled encryption of zeros.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        first = int.from_bytes(self._encrypt(bytes(16)), "big")
        doubled = first << 1
        if doubled >> 128:
            doubled ^= (1 << 128) | 0x87
        self._subkey = doubled.to_bytes(16, "big")

    def derive(self, prefix: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        blocks = b"".join(
            bytes(left ^ right for left, right in zip(head + prefix, self._subkey, strict=True))
            for head in (b"\0\x01X\0", b"\0\x02X\0")
        )
        return AESGCM(self._encrypt(blocks))

    def _encrypt(self, blocks: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
        from cryptography.hazmat.primitives.ciphers import algorithms, modes

        # ECB of single blocks is what CMAC is made of; no message is encrypted this way.
        encryptor = BlockCipher(algorithms.AES(self._key), modes.ECB()).encryptor()  # noqa: S305
        return encryptor.update(blocks) + encryptor.finalize()


def _derive(purpose: str, secret: bytes) -> bytes:
    """An independent 32-byte key for one purpose (keyed BLAKE3 of the secret)."""
    label = address(f"streamdb 1 {purpose}".encode())
    return hasher(label).update(secret).digest()


def _place(table: bytes, key: bytes, version: int) -> bytes:
    return struct.pack(">II", len(table), len(key)) + table + key + version.to_bytes(8, "big")


def _unreadable(why: str) -> CorruptData:
    return CorruptData(
        "an encrypted record does not open",
        why=why,
        next_step="run `streamdb check` to see what is damaged, then restore it from a backup",
    )


def _check_mode(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InvalidKey(f"{os.fspath(path)!r} is not a regular file", next_step="name a key file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise InsecureKeyFile(
            f"the key file {os.fspath(path)!r} is open to others",
            why=f"its mode is {mode:04o}; allowed are 0600 and 0640, or less",
            next_step=f"chmod 600 {os.fspath(path)!r}; make a new key if others may have read it",
        )


def _parse_key(content: bytes, path: str | os.PathLike[str]) -> bytes:
    if len(content) == KEY_BYTES:
        secret = content
    elif re.fullmatch(rb"[0-9a-fA-F]{64}", content.strip()):
        secret = bytes.fromhex(content.strip().decode())
    else:
        raise InvalidKey(
            f"{os.fspath(path)!r} does not hold a key",
            why=f"a key is {KEY_BYTES} raw bytes or 64 hexadecimal digits; the file has "
            f"{len(content)}{'+' if len(content) == 4096 else ''} bytes of another kind",
            next_step="make one: streamdb init --new-key FILE",
        )
    if len(set(secret)) == 1:
        raise InvalidKey(
            f"{os.fspath(path)!r} holds one byte repeated, not a random key",
            next_step="make a new one: streamdb init --new-key FILE",
        )
    return secret


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
