"""Keys, headers and the cipher: published vectors, every wrong key, and no nonce twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb import crypto
from streamdb.crypto import Cipher, InsecureKeyFile, InvalidKey, Key, KeyHeader
from streamdb.errors import AlreadyExists, CorruptData, NotFound, StorageFailure, WrongKey

SECRET = bytes(range(32))
PHRASE = "correct horse battery staple"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "studio.key"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("key", "extra", "expected"),
    [
        # The vectors of the specification, C2SP XAES-256-GCM.
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (
            b"\x03" * 32,
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ],
)
def test_derivation_is_that_of_the_specification(key, extra, expected):
    derived = crypto._XAES(key).derive(b"ABCDEFGHIJKL")
    assert derived.encrypt(b"MNOPQRSTUVWX", b"XAES-256-GCM", extra).hex() == expected


def test_a_message_has_the_form_of_the_specification():
    sealed = Cipher(SECRET).seal(b"doc", b"a", 1, b"kick")
    assert len(sealed) == 4 + crypto.OVERHEAD
    opened = crypto._XAES(SECRET).derive(sealed[:12])
    place = b"\0\0\0\x03\0\0\0\x01doca" + (1).to_bytes(8, "big")
    assert opened.decrypt(sealed[12:24], sealed[24:], place) == b"kick"


@given(
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=500),
)
def test_what_was_sealed_opens_in_its_place(table, key, version, plaintext):
    cipher = Cipher(SECRET)
    sealed = cipher.seal(table, key, version, plaintext)
    assert cipher.open(table, key, version, memoryview(sealed)) == plaintext
    assert Cipher(SECRET).open(table, key, version, sealed) == plaintext


@pytest.mark.parametrize(
    ("table", "key", "version"),
    [
        (b"doc", b"b", 1),
        (b"chunk", b"a", 1),
        (b"doc", b"a", 2),
        (b"do", b"ca", 1),
        (b"doca", b"", 1),
    ],
)
def test_a_message_does_not_open_in_another_place(table, key, version):
    cipher = Cipher(SECRET)
    sealed = cipher.seal(b"doc", b"a", 1, b"kick")
    with pytest.raises(CorruptData, match="does not open"):
        cipher.open(table, key, version, sealed)


def test_every_flipped_bit_and_every_cut_is_found():
    cipher = Cipher(SECRET)
    sealed = cipher.seal(b"doc", b"a", 1, b"kick")
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptData):
            cipher.open(b"doc", b"a", 1, damaged)
    for length in range(len(sealed)):
        with pytest.raises(CorruptData):
            cipher.open(b"doc", b"a", 1, sealed[:length])


def test_another_key_opens_nothing():
    sealed = Cipher(SECRET).seal(b"doc", b"a", 1, b"kick")
    with pytest.raises(CorruptData):
        Cipher(bytes(32)).open(b"doc", b"a", 1, sealed)


def test_the_derived_key_is_renewed(monkeypatch):
    monkeypatch.setattr(crypto, "MESSAGES_PER_KEY", 10)
    cipher = Cipher(SECRET)
    sealed = [cipher.seal(b"t", b"k", 1, b"x") for _ in range(35)]
    prefixes = [message[:12] for message in sealed]
    assert len(set(prefixes)) == 4
    assert max(prefixes.count(prefix) for prefix in prefixes) <= 10
    assert all(cipher.open(b"t", b"k", 1, message) == b"x" for message in sealed)


def test_more_writers_than_keys_are_remembered():
    sealed = [Cipher(SECRET).seal(b"t", b"k", 1, b"x") for _ in range(300)]
    reader = Cipher(SECRET)
    assert all(reader.open(b"t", b"k", 1, message) == b"x" for message in sealed * 2)


def _seal_many(pipe, cipher, count):
    pipe.send([cipher.seal(b"t", b"k", 1, b"x")[:24] for _ in range(count)])
    pipe.close()


def test_no_nonce_repeats_in_forked_children_threads_or_fresh_handles():
    """A forked child has its parent's state to the last bit, as after a restored snapshot."""
    cipher = Cipher(SECRET)
    nonces = [cipher.seal(b"t", b"k", 1, b"x")[:24] for _ in range(500)]
    context = multiprocessing.get_context("fork")
    children = []
    for _ in range(3):
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=_seal_many, args=(sending, cipher, 500))
        child.start()
        sending.close()
        children.append((child, receiving))
    for child, receiving in children:
        nonces += receiving.recv()
        child.join()
    guard = threading.Lock()

    def work():
        mine = [cipher.seal(b"t", b"k", 1, b"x")[:24] for _ in range(500)]
        with guard:
            nonces.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nonces += [Cipher(SECRET).seal(b"t", b"k", 1, b"x")[:24] for _ in range(500)]
    assert len(nonces) == 500 * 9
    assert len(set(nonces)) == len(nonces)


def test_addresses_are_keyed_and_stable():
    one, other = Cipher(SECRET), Cipher(bytes(32))
    assert one.address(b"kick") == Cipher(SECRET).address(memoryview(b"kick"))
    assert one.address(b"kick") != other.address(b"kick")
    assert len(one.address(b"")) == 32
    assert 0 <= one.chunk_seed < 1 << 63
    assert one.chunk_seed == Cipher(SECRET).chunk_seed != other.chunk_seed


def test_derived_keys_are_those_of_every_version():
    cipher = Cipher(SECRET)
    assert (
        cipher.address(b"kick").hex()
        == "306cd1bf87f3893233345aed9aaef17425b3589900e0b4012c54e98b3bc98153"
    )
    assert cipher.chunk_seed == 2967832326418007844


@pytest.mark.parametrize(
    "make", [lambda file: Key.from_file(file), lambda _: Key.from_passphrase(PHRASE)]
)
def test_a_store_opens_with_its_key_after_writing_the_header_down(make, key_file):
    key = make(key_file)
    header = KeyHeader.create(key, log_n=8)
    sealed = header.cipher(key).seal(b"t", b"k", 1, b"x")
    again = KeyHeader.from_bytes(header.to_bytes())
    assert again == header
    assert again.cipher(make(key_file)).open(b"t", b"k", 1, sealed) == b"x"


def test_a_wrong_key_is_told_from_damage(key_file):
    header = KeyHeader.create(Key.from_passphrase(PHRASE), log_n=8)
    with pytest.raises(WrongKey, match="passphrase does not open") as caught:
        header.cipher(Key.from_passphrase(PHRASE + "!"))
    assert PHRASE not in str(caught.value)
    with pytest.raises(WrongKey, match="locked with a passphrase"):
        header.cipher(Key.from_file(key_file))
    with pytest.raises(WrongKey, match="locked with a key file"):
        KeyHeader.create(Key.from_file(key_file)).cipher(Key.from_passphrase(PHRASE))
    other = Key(bytes(31) + b"\1", "file")
    with pytest.raises(WrongKey, match="key file does not open"):
        KeyHeader.create(Key.from_file(key_file)).cipher(other)


def test_two_stores_of_one_key_share_nothing(key_file):
    key = Key.from_file(key_file)
    one, other = KeyHeader.create(key), KeyHeader.create(key)
    assert one.salt != other.salt
    assert one.cipher(key).address(b"kick") != other.cipher(key).address(b"kick")


def test_changing_the_key_keeps_the_documents(key_file):
    old, new = Key.from_passphrase(PHRASE), Key.from_file(key_file)
    header = KeyHeader.create(old, log_n=8)
    sealed = header.cipher(old).seal(b"t", b"k", 1, b"x")
    changed = header.change_key(old, new)
    assert changed.cipher(new).open(b"t", b"k", 1, sealed) == b"x"
    with pytest.raises(WrongKey):
        changed.cipher(old)
    with pytest.raises(WrongKey):
        header.change_key(new, old)


def test_a_changed_cost_in_the_header_is_noticed():
    key = Key.from_passphrase(PHRASE)
    raw = json.loads(KeyHeader.create(key, log_n=8).to_bytes())
    raw["parameters"]["log_n"] = 7
    with pytest.raises(WrongKey):
        KeyHeader.from_bytes(json.dumps(raw).encode()).cipher(key)


@pytest.mark.parametrize(
    "change",
    [
        {"kdf": "md5"},
        {"kdf": None},
        {"salt": "00"},
        {"salt": "zz" * 16},
        {"salt": 5},
        {"verifier": ""},
        {"parameters": {"log_n": 40, "r": 8, "p": 1}},
        {"parameters": {"log_n": 21, "r": 8, "p": 1}},
        {"parameters": {"log_n": 10, "r": 8}},
        {"parameters": {"log_n": "x", "r": 8, "p": 1}},
        {"parameters": {"log_n": 1e999, "r": 8, "p": 1}},
        {"parameters": []},
    ],
)
def test_a_damaged_or_hostile_header_is_refused(change):
    raw = json.loads(KeyHeader.create(Key.from_passphrase(PHRASE), log_n=8).to_bytes())
    with pytest.raises(CorruptData, match="key header"):
        KeyHeader.from_bytes(json.dumps(raw | change).encode())


@given(st.binary(max_size=60))
def test_random_bytes_are_no_header(data):
    with pytest.raises(CorruptData):
        KeyHeader.from_bytes(data)


@pytest.mark.parametrize(
    "content", [SECRET, SECRET.hex().encode(), SECRET.hex().upper().encode() + b"\n"]
)
def test_key_files_are_raw_or_hexadecimal(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o640)
    assert Key.from_file(path) == Key(SECRET, "file")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620, 0o660, 0o601, 0o777])
def test_a_key_file_open_to_others_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(InsecureKeyFile, match="open to others") as caught:
        Key.from_file(key_file)
    assert "chmod 600" in caught.value.next_step
    assert SECRET.hex() not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"short", SECRET + b"!", b"x" * 64, b"g" * 64, bytes(32), b"a" * 9000]
)
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidKey):
        Key.from_file(path)


def test_a_key_file_that_is_not_there_or_no_file(tmp_path):
    with pytest.raises(NotFound, match="no key file"):
        Key.from_file(tmp_path / "missing")
    with pytest.raises(InvalidKey, match="regular file"):
        Key.from_file("/dev/null")
    with pytest.raises((InvalidKey, StorageFailure)):
        Key.from_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(InvalidKey, match="regular file"):
        Key.from_file(tmp_path / "pipe")
    with pytest.raises(StorageFailure, match="cannot be read"):
        Key.from_file("x" * 300)


def test_a_new_key_file_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "new.key"
    made = Key.create_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Key.from_file(path) == made
    assert Key.create_file(tmp_path / "other.key") != made
    with pytest.raises(AlreadyExists):
        Key.create_file(path)
    assert Key.from_file(path) == made


def test_secrets_do_not_show(key_file):
    for key in (Key.from_file(key_file), Key.from_passphrase(PHRASE)):
        header = KeyHeader.create(key, log_n=8)
        shown = f"{key!r} {key} {header!r} {header.cipher(key)!r} {header.to_bytes()!r}"
        assert PHRASE not in shown
        assert SECRET.hex() not in shown
        assert repr(SECRET)[2:-1] not in shown
        for secret in (key, header.cipher(key)):
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(secret)


def test_passphrases_are_long_enough_and_the_same_on_every_keyboard():
    with pytest.raises(InvalidKey, match="too short"):
        Key.from_passphrase("1234567")
    composed, decomposed = "\u00e9lan \u00e9lan", "e\u0301lan e\u0301lan"
    assert Key.from_passphrase(composed) == Key.from_passphrase(decomposed)
    assert hash(Key.from_passphrase(composed)) == hash(Key.from_passphrase(decomposed))


def test_the_default_cost_of_a_passphrase_takes_128_mib():
    header = KeyHeader.create(Key.from_passphrase(PHRASE))
    assert header.parameters == {"log_n": 17, "r": 8, "p": 1}


def test_a_cipher_needs_a_whole_key():
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher(b"short")
