"""Checksums and addresses, against published values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb import checks


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_crc32c_of_the_vectors_of_rfc_3720(data, expected):
    assert checks.crc32c(data) == expected
    assert checks.crc32c(memoryview(data)) == expected
    assert checks.crc32c(bytearray(data)) == expected


@given(st.binary(max_size=300), st.integers(0, 300))
def test_crc32c_goes_on_from_a_former_value(data, cut):
    assert checks.crc32c(data[cut:], checks.crc32c(data[:cut])) == checks.crc32c(data)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_crc32c_finds_every_flipped_bit(data, choice):
    position = choice.draw(st.integers(0, len(data) * 8 - 1))
    flipped = bytearray(data)
    flipped[position // 8] ^= 1 << position % 8
    assert checks.crc32c(flipped) != checks.crc32c(data)


def test_the_crc_is_that_of_the_processor_not_the_slow_one():
    import crc32c

    assert crc32c.hardware_based


# The official test vectors' input is 0, 1, ... 250, 0, 1, ...; their key is this text.
_KEY = b"whats the Elvish word for friend"  # codespell:ignore whats


@pytest.mark.parametrize(
    ("length", "plain", "keyed"),
    [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
        ),
    ],
)
def test_addresses_are_blake3(length, plain, keyed):
    data = bytes(number % 251 for number in range(length))
    assert checks.address(data).hex() == plain
    assert checks.address(memoryview(data), _KEY).hex() == keyed
    assert len(checks.address(data)) == checks.ADDRESS_BYTES


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_a_hasher_fed_in_pieces_gives_the_address_of_the_whole(pieces):
    state = checks.hasher()
    for piece in pieces:
        state.update(piece)
    assert state.digest() == checks.address(b"".join(pieces))
