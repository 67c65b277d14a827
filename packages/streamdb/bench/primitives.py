#!/usr/bin/env python3
"""How fast the parts work that every byte of a document passes through.

    packages/streamdb/bench/primitives.py [--mib 32] [--rounds 5] [--json]

Checksum, address, chunker, codec and cipher run interleaved, in rounds, on one core and one
synthetic recording (24-bit stereo; harmonics with noise), on noise, and on silence. Printed is the
median over the rounds in MB/s (10**6 bytes of document per second).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable

from streamdb import checks, chunking, codec
from streamdb.crypto import Cipher

CHUNK = 65536


def recording(size: int) -> bytes:
    """24-bit stereo PCM: some decaying harmonics over a noise floor of about 60 dB below."""
    import numpy as np

    frames = size // 6 + 1
    rng = np.random.default_rng(1)
    time_s = np.arange(frames) / 48_000
    envelope = np.exp(-3 * (time_s % 0.5))
    both = []
    for detune in (1.0, 1.003):
        tone = sum(np.sin(2 * np.pi * 110 * detune * n * time_s) / n**1.4 for n in range(1, 12))
        both.append(0.15 * envelope * tone + rng.normal(0, 0.0005, frames))
    samples = (np.stack(both, axis=1) * (1 << 23)).astype("<i4")
    return samples.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()[:size]


def drain(results: Iterable[object]) -> None:
    """Do the work and drop each result at once, as a store does: memory stays warm."""
    deque(results, maxlen=0)


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def jobs(size: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name → (bytes of document, work)."""
    music, noise, silence = recording(size), os.urandom(size), bytes(size)
    hint = codec.AudioLayout(6, 3)
    cipher = Cipher(os.urandom(32))
    chunks = pieces(music)
    coded = [codec.encode(chunk, hint) for chunk in chunks]
    sealed = [cipher.seal(b"chunk", b"key", 1, chunk) for chunk in chunks]
    small = [music[at : at + 300] for at in range(0, 300 * 4096, 300)]

    def encode(data: bytes, layout: codec.AudioLayout | None) -> Callable[[], object]:
        cut = pieces(data)
        return lambda: drain(codec.encode(chunk, layout) for chunk in cut)

    return {
        "crc32c, 64 KiB": (size, lambda: drain(checks.crc32c(chunk) for chunk in chunks)),
        "crc32c, 300 B": (300 * 4096, lambda: drain(checks.crc32c(record) for record in small)),
        "blake3, 64 KiB": (size, lambda: drain(checks.address(chunk) for chunk in chunks)),
        "chunker, music": (size, lambda: sum(1 for _ in chunking.split(music))),
        "chunker, noise": (size, lambda: sum(1 for _ in chunking.split(noise))),
        "chunker, pieces of 1 MiB": (
            size,
            lambda: sum(
                1
                for _ in chunking.split(
                    music[at : at + (1 << 20)] for at in range(0, size, 1 << 20)
                )
            ),
        ),
        "encode, music with hint": (size, encode(music, hint)),
        "encode, music": (size, encode(music, None)),
        "encode, noise": (size, encode(noise, None)),
        "encode, silence": (size, encode(silence, None)),
        "decode, music": (
            size,
            lambda: drain(
                codec.decode(number, payload, len(chunk))
                for (number, payload), chunk in zip(coded, chunks, strict=True)
            ),
        ),
        "seal, 64 KiB": (size, lambda: drain(cipher.seal(b"chunk", b"key", 1, c) for c in chunks)),
        "open, 64 KiB": (size, lambda: drain(cipher.open(b"chunk", b"key", 1, s) for s in sealed)),
        "seal, 300 B": (
            300 * 4096,
            lambda: drain(cipher.seal(b"doc", b"key", 1, r) for r in small),
        ),
    }


def measure(size: int, rounds: int) -> dict[str, float]:
    """Median MB/s of each job."""
    work = jobs(size)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (_, run) in work.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: work[name][0] / statistics.median(times[name]) / 1e6 for name in work}


def ratio(size: int) -> float:
    """How much smaller the recording gets."""
    music = recording(size)
    return size / sum(len(codec.encode(c, codec.AudioLayout(6, 3))[1]) for c in pieces(music))


def inserted() -> float:
    """New bytes in per cent when one second is put in front of a minute of 24-bit stereo."""
    second = 44_100 * 6
    shares = []
    for _ in range(8):
        minute, front = os.urandom(60 * second), os.urandom(second)
        before = {checks.address(chunk) for chunk in chunking.split(minute)}
        after = chunking.split(front + minute)
        new = sum(len(chunk) for chunk in after if checks.address(chunk) not in before)
        shares.append(100 * new / len(minute))
    return statistics.median(shares)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=32, help="MiB of document per job")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if not (1 <= arguments.mib <= 1024 and 1 <= arguments.rounds <= 1000):
        parser.error("--mib must be from 1 to 1024, --rounds from 1 to 1000")
    size = arguments.mib << 20
    found = measure(size, arguments.rounds)
    shrunk = ratio(min(size, 8 << 20))
    front = inserted()
    if arguments.json:
        figures = {"mb_per_s": found, "ratio_of_music": shrunk, "new_after_insertion": front}
        print(json.dumps(figures, indent=2))
        return 0
    for name, speed in found.items():
        print(f"{name:26} {speed:9,.0f} MB/s")
    print(f"{'ratio of the music':26} {shrunk:9.2f}")
    print(f"{'a second in front of 60':26} {front:9.2f} % of it are new bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
