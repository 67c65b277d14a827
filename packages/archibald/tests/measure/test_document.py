"""Run documents: what is written can be read, and nothing else can."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packages.archibald.tests.measure.samples import (
    DATA,
    jitter_data,
    jitter_series,
    recorded,
    run_of,
)

from archibald.errors import PreconditionError
from archibald.measure.document import (
    DamagedRunError,
    DocumentError,
    EmptyRunError,
    KernelRecord,
    Kind,
    NewerRunError,
    NotARunError,
    Run,
    default_filename,
    dump_run,
    load_run,
    parse_run,
    run_schema,
    write_run,
)
from archibald.measure.histogram import from_values
from archibald.measure.records import (
    BootData,
    BootUnit,
    LatencyData,
    LatencyPoint,
    MidiData,
    ResourcesData,
    ServiceUse,
    VirtualJitterData,
    VirtualJitterRow,
    XrunData,
    XrunEvent,
    XrunNode,
)

SCHEMA = Path(__file__).resolve().parents[4] / "docs/reference/measure.schema.json"

NODE = XrunNode(name="synth", events=(XrunEvent(at_s=3.5, missed=2),))

ALL_DATA = (
    jitter_data(),
    LatencyData(
        path="software-loop",
        method="jack_iodelay",
        points=(LatencyPoint(quantum=32, rate=96000, rtts_frames=(32.0, 32.001)),),
    ),
    XrunData(
        server="jackd", quantum=64, rate=48000, dsp_load=0.5, observed_s=600, resolution_s=0,
        nodes=(NODE,),
    ),
    BootData(
        firmware_s=None, loader_s=0.5, kernel_s=1, initrd_s=2, userspace_s=3,
        critical_chain=(BootUnit(unit="graphical.target", at_s=3, took_s=0),),
    ),
    ResourcesData(
        observed_s=10, memory_total_bytes=2**32, memory_used_bytes=2**28, wakeups_per_s=120,
        services=(ServiceUse(name="pipewire.service", memory_bytes=10**7),),
    ),
    MidiData(path="ALSA sequencer", sent=3, rtts_us=(50.0, 60.0)),
    VirtualJitterData(
        image="a.iso", emulator="QEMU 10",
        rows=(VirtualJitterRow(kernel="rt", load="idle", histogram=recorded()),),
    ),
)  # fmt: skip


@pytest.mark.parametrize("data", ALL_DATA, ids=lambda data: data.kind)
def test_what_is_written_can_be_read(tmp_path: Path, data: Any) -> None:
    run = run_of(data)
    path = tmp_path / "new" / "run.json"
    write_run(run, path)
    assert load_run(path) == run
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]
    jsonschema.validate(json.loads(path.read_text("utf-8")), run_schema())


def test_every_kind_is_covered() -> None:
    assert {Kind(data.kind) for data in ALL_DATA} == set(Kind)


def test_the_schema_is_current() -> None:
    text = json.dumps(run_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert SCHEMA.read_text("utf-8") == text, "run make docs"


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(dump_run(run_of(jitter_data()))), **changes})


def without(key: str) -> str:
    data = json.loads(dump_run(run_of(jitter_data())))
    del data[key]
    return json.dumps(data)


CYCLICTEST = (DATA / "cyclictest.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", NotARunError, "it is no JSON"),
        ("[" * 100_000, NotARunError, "it is no JSON"),
        ("3", NotARunError, "does not say"),
        ("{}", NotARunError, "does not say"),
        ('{"tool": "fio"}', NotARunError, "it is of 'fio'"),
        (CYCLICTEST, NotARunError, "file of cyclictest"),
        (changed(format=2), NewerRunError, "has format 2"),
        (changed(format="1"), DamagedRunError, "format"),
        (changed(kind="latency"), DamagedRunError, "a run of latency with data of jitter"),
        (changed(kind="speed"), DamagedRunError, "kind"),
        (changed(duration_s=-1), DamagedRunError, "duration_s"),
        (changed(started="2026-01-01T00:00:00"), DamagedRunError, "started"),
        (changed(more=1), DamagedRunError, "more"),
        (changed(data={"kind": "jitter", "series": []}), EmptyRunError, "has no samples"),
        (without("machine"), DamagedRunError, "machine"),
    ],
)
def test_other_files_are_refused_by_name(
    text: str, kind: type[DocumentError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        parse_run(text, filename="a.json")
    assert "a.json" in str(caught.value)
    assert caught.value.exit_code == 2


def test_not_a_number_is_refused() -> None:
    text = dump_run(run_of(jitter_data())).replace('"duration_s": 20.0', '"duration_s": NaN')
    with pytest.raises(DamagedRunError):
        parse_run(text, filename="a.json")


def test_blocks_that_are_not_the_histogram_are_refused() -> None:
    blocks = [from_values([1, 2], limit_us=9), from_values([3], limit_us=9)]
    good = jitter_series(blocks=blocks)
    assert good.histogram.cycles == 3
    with pytest.raises(ValueError, match="together are not the histogram"):
        jitter_series(blocks=blocks, histogram=recorded())
    with pytest.raises(ValueError, match="without their length"):
        jitter_series(blocks=blocks, block_s=0.0)


def test_unreadable_and_too_long_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        load_run(tmp_path / "none.json")
    with pytest.raises(DocumentError, match="cannot be read"):
        load_run(tmp_path)
    monkeypatch.setattr("archibald.measure.document.MAX_BYTES", 10)
    (tmp_path / "long.json").write_text("x" * 11)
    with pytest.raises(NotARunError, match="longer than"):
        load_run(tmp_path / "long.json")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreconditionError, match="cannot be written"):
        write_run(run_of(jitter_data()), tmp_path / "file" / "run.json")


@pytest.mark.parametrize(
    ("version", "realtime"),
    [
        ("#1 SMP PREEMPT_RT Debian 6.12.1-1 (2026-01-01)", True),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1", False),
        ("#1 SMP PREEMPT_RTX", False),
        ("", False),
    ],
)
def test_real_time_kernels_are_told_by_uname(version: str, realtime: bool) -> None:
    assert KernelRecord(release="6.12.1", version=version).realtime is realtime


def test_file_names_sort_by_time() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert default_filename(Kind.JITTER, when) == "jitter-20260102T020405Z.json"
    assert run_of(jitter_data(), started=when.astimezone(UTC)).title == (
        "jitter of 2026-01-02 02:04"
    )


def test_runs_cannot_be_changed() -> None:
    run = run_of(jitter_data())
    assert isinstance(run, Run)
    with pytest.raises(ValueError, match="frozen"):
        run.__setattr__("label", "other")
