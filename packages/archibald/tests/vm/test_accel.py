"""Choosing the accelerator: only an answer of a guest counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from archibald.errors import PreconditionError, ToolFailedError
from archibald.run import Result
from archibald.vm.accel import Accel, boot_sector, choose_accel, kvm_works, runs_code


def answering(status: int) -> Any:
    def runner(argv: Sequence[str], **_: Any) -> Result:
        return Result(tuple(argv), status, "", "")

    return runner


@pytest.mark.slow
def test_probe_runs_on_a_real_emulator() -> None:
    """The 64-bit code of the probe computes right where a processor is known to be right."""
    assert runs_code("tcg", timeout_s=120.0)


def test_probe_needs_the_answer_and_not_just_an_end() -> None:
    assert runs_code("kvm", runner=answering(33))
    assert not runs_code("kvm", runner=answering(0))
    assert not runs_code("kvm", runner=answering(1))


def test_probe_that_hangs_is_no_answer() -> None:
    def runner(argv: Sequence[str], **_: Any) -> Result:
        raise ToolFailedError("qemu-system-x86_64 did not end within 10 s")

    hanging: Any = runner
    assert not runs_code("kvm", runner=hanging)


def test_boot_sector_is_bootable() -> None:
    disk = boot_sector(b"\xf4")
    assert disk[0] == 0xF4
    assert disk[510:512] == b"\x55\xaa"
    with pytest.raises(ValueError, match="511 bytes"):
        boot_sector(bytes(511))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


def test_kvm_is_probed_once_per_boot(device: Path, tmp_path: Path) -> None:
    probes: list[str] = []

    def works(boot: str, answer: bool) -> bool:
        def probe() -> bool:
            probes.append(boot)
            return answer

        return kvm_works(
            device=device, probe=probe, cache=tmp_path / "c" / "kvm.json", boot_id=lambda: boot
        )

    assert works("first", True)
    assert works("first", False)
    assert not works("second", False)
    assert not works("second", True)
    assert probes == ["first", "second"]


def test_damaged_cache_is_probed_again(device: Path, tmp_path: Path) -> None:
    for text in ("", "[]", '"x"', '{"key": "b 0"}', '{"key": 1, "works": "yes"}'):
        cache = tmp_path / "kvm.json"
        cache.write_text(text)
        assert kvm_works(device=device, probe=lambda: True, cache=cache, boot_id=lambda: "b")


def test_unwritable_cache_is_no_failure(device: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert kvm_works(device=device, probe=lambda: True, cache=file / "c", boot_id=lambda: "b")


def test_missing_device_is_not_probed(tmp_path: Path) -> None:
    def probe() -> bool:
        raise AssertionError("probed")

    assert not kvm_works(device=tmp_path / "none", probe=probe, cache=tmp_path / "c")


def listing(text: str) -> Any:
    return lambda argv, **_: Result(tuple(argv), 0, text, "")


def test_choice() -> None:
    both = listing("Accelerators supported in QEMU binary:\ntcg\nkvm\n")
    assert choose_accel("auto", works=lambda: True, runner=both).name == "kvm"
    assert choose_accel("auto", works=lambda: False, runner=both).name == "tcg"
    assert choose_accel("tcg", works=lambda: True, runner=both) == Accel("tcg", "asked for")


def test_kvm_that_is_demanded_and_does_not_work() -> None:
    with pytest.raises(PreconditionError, match="--accel tcg"):
        choose_accel("kvm", works=lambda: False)


def test_qemu_without_any_accelerator() -> None:
    only_kvm = listing("Accelerators supported in QEMU binary:\nkvm\n")
    with pytest.raises(PreconditionError, match="no accelerator that works"):
        choose_accel("auto", works=lambda: False, runner=only_kvm)
