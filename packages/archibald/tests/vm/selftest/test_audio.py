"""Probes of PipeWire, on what PipeWire 1.6.9 printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from archibald.profile.model import Profile
from archibald.vm.selftest import audio
from archibald.vm.selftest.expectation import Expectation, expectation
from archibald.vm.selftest.model import Answer, UnreadableError
from archibald.vm.selftest.pipewire import (
    bound_cards,
    driver_of,
    hardware_sinks,
    parse_cards,
    parse_cpu_list,
    parse_dump,
    parse_metadata,
    parse_stat,
    parse_top,
    pipewire_pid,
)

PROFILE = Profile.model_validate({"desktop": {"enable": False}})


@pytest.fixture
def expected() -> Expectation:
    return expectation(PROFILE, "quiet")


@pytest.fixture
def machine(reader: Any, recorded: Callable[[str], str]) -> Any:
    """A booted guest with two cards and a running PipeWire."""
    reader.files = {
        "/proc/asound/cards": recorded("asound-cards.txt"),
        "/proc/asound/card0/pcm0p/info": "",
        "/proc/asound/card1/pcm0p/info": "",
        "/proc/585/status": "Name:\tpipewire\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/585/cmdline": "/usr/bin/pipewire\0-c\0filter-chain.conf\0",
        "/proc/509/status": "Name:\tpipewire\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/509/cmdline": "/usr/bin/pipewire\0",
        "/proc/12/status": "Name:\tpipewire\nUid:\t112\t112\t112\t112\n",
        "/proc/12/cmdline": "/usr/bin/pipewire\0",
        "/proc/509/task/509/stat": recorded("main-thread.stat"),
        "/proc/509/task/509/status": "Cpus_allowed_list:\t0-1\n",
        "/proc/509/task/527/stat": recorded("data-loop.stat"),
        "/proc/509/task/527/status": "Cpus_allowed_list:\t1\n",
    }
    reader.commands = {
        "pw-metadata -n settings 0": recorded("pw-metadata.txt"),
        "pw-top": recorded("pw-top.txt"),
        "pw-dump": recorded("pw-dump.json"),
        "systemd-detect-virt": "qemu\n",
    }
    return reader


def answers(checks: list[Any]) -> dict[str, tuple[Answer, str]]:
    return {check.id: (check.answer, check.observed) for check in checks}


def test_everything_as_promised(machine: Any, expected: Expectation) -> None:
    found = answers(audio.audio_checks(machine, expected))
    assert found == {
        "pipewire.rate": (Answer.OK, "96000 Hz"),
        "pipewire.quantum": (Answer.OK, "32 frames"),
        "pipewire.max-quantum": (Answer.OK, "64 frames"),
        "pipewire.min-quantum": (Answer.OK, "16 frames, inside qemu: its rule is overridden"),
        "data-loop.scheduling": (Answer.OK, "SCHED_FIFO 88"),
        "data-loop.affinity": (Answer.OK, "CPU 1"),
        "cards.bound": (Answer.OK, "USB-Audio - QEMU USB Audio, HDA-Intel - HDA Intel"),
    }


def test_nothing_runs(reader: Any, expected: Expectation) -> None:
    found = answers(audio.audio_checks(reader, expected))
    assert {answer for answer, _ in found.values()} == {Answer.CANNOT_TELL}


def test_rule_for_virtual_machines_that_won(machine: Any, expected: Expectation) -> None:
    text = machine.commands["pw-metadata -n settings 0"]
    raised = text.replace("clock.min-quantum' value:'16'", "clock.min-quantum' value:'1024'")
    machine.commands["pw-metadata -n settings 0"] = raised
    check = audio.min_quantum(machine, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "1024 frames")


def test_rule_for_virtual_machines_that_is_wanted(machine: Any) -> None:
    kept = PROFILE.model_copy(
        update={"audio": PROFILE.audio.model_copy(update={"virtual_machine_quantum": True})}
    )
    check = audio.min_quantum(machine, expectation(kept, "quiet"))
    assert check.answer is Answer.NOT_APPLICABLE


def test_graph_runs_with_another_quantum_than_the_settings_say(
    machine: Any, expected: Expectation
) -> None:
    """The recorded client asked for 100 ms, so the graph ran with the largest quantum."""
    found = answers(audio.graph(machine, expected, "pw-play"))
    assert found["graph.quantum"] == (Answer.BAD, "64 frames, driven by null-sink")
    assert found["graph.rate"] == (Answer.OK, "96000 Hz, driven by null-sink")
    assert machine.asked.count("pw-top -b -n 4") == 1


def test_node_that_does_not_play(machine: Any, expected: Expectation) -> None:
    found = answers(audio.graph(machine, expected, "somebody-else"))
    assert found["graph.quantum"] == (Answer.BAD, "somebody-else plays in no graph")
    assert machine.asked.count("pw-top -b -n 4") > 1


def test_thread_without_real_time(
    machine: Any, expected: Expectation, recorded: Callable[[str], str]
) -> None:
    ordinary = recorded("main-thread.stat").replace("(pipewire)", "(data-loop.0)")
    machine.files["/proc/509/task/527/stat"] = ordinary
    check = audio.scheduling(machine, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "SCHED_OTHER 0")


def test_second_data_loop_counts_as_well(
    machine: Any, expected: Expectation, recorded: Callable[[str], str]
) -> None:
    lower = recorded("data-loop.stat").replace("data-loop.0", "data-loop.1")
    machine.files["/proc/509/task/528/stat"] = lower.replace(" 1 88 1 ", " 1 20 1 ")
    check = audio.scheduling(machine, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "SCHED_FIFO 20, SCHED_FIFO 88")


def test_thread_on_any_cpu(machine: Any, expected: Expectation) -> None:
    machine.files["/proc/509/task/527/status"] = "Cpus_allowed_list:\t0-1\n"
    check = audio.affinity(machine, expected)
    assert (check.answer, check.observed) == (Answer.BAD, "CPU 0-1")


def test_profile_that_pins_nothing(machine: Any) -> None:
    free = PROFILE.model_copy(update={"cpu": PROFILE.cpu.model_copy(update={"audio": []})})
    check = audio.affinity(machine, expectation(free, "quiet"))
    assert check.answer is Answer.NOT_APPLICABLE
    assert "CPU 1" in check.observed


def test_card_that_pipewire_has_not(machine: Any) -> None:
    machine.commands["pw-dump"] = "[]"
    check = audio.cards(machine)
    assert check.answer is Answer.BAD
    assert "HDA-Intel" in check.observed


def test_machine_without_cards(machine: Any) -> None:
    machine.files["/proc/asound/cards"] = "--- no soundcards ---\n"
    assert audio.cards(machine).answer is Answer.NOT_APPLICABLE


def test_card_without_sound_is_not_asked_for(machine: Any) -> None:
    """A card of MIDI ports alone has no PCM device, so PipeWire has no device for it."""
    machine.files["/proc/asound/cards"] += " 2 [Keys           ]: USB-Audio - Keyboard\n"
    machine.files["/proc/asound/card2/midi0"] = ""
    assert audio.cards(machine).answer is Answer.OK


def test_daemon_among_processes(machine: Any) -> None:
    assert pipewire_pid(machine) == 509
    del machine.files["/proc/509/status"]
    with pytest.raises(UnreadableError, match="audio-user"):
        pipewire_pid(machine)


def test_dump(recorded: Callable[[str], str]) -> None:
    objects = parse_dump(recorded("pw-dump.json"))
    assert bound_cards(objects) == {0, 1}
    sinks = hardware_sinks(objects)
    assert [sink.name for sink in sinks] == [
        "alsa_output.pci-0000_00_03.0.analog-stereo",
        "alsa_output.usb-QEMU_QEMU_USB_Audio_1-0000_00_01.0-1-00.analog-stereo",
    ]
    assert (sinks[0].object_id, sinks[0].card) == (35, 1)
    for text in ("", "{}", "x"):
        with pytest.raises(ValueError, match="pw-dump"):
            parse_dump(text)


def test_top(recorded: Callable[[str], str]) -> None:
    rows = parse_top(recorded("pw-top.txt"))
    assert [row.name for row in rows] == [
        "Dummy-Driver", "Freewheel-Driver", "null-sink", "pw-play",
    ]  # fmt: skip
    driver = driver_of(rows, "pw-play")
    assert driver is not None
    assert (driver.name, driver.state, driver.quantum, driver.rate, driver.errors) == (
        "null-sink", "R", 64, 96000, 17,
    )  # fmt: skip
    assert driver_of(rows, "null-sink") is None
    with pytest.raises(ValueError, match="no nodes"):
        parse_top("S   ID  QUANT   RATE    WAIT    BUSY   W/Q   B/Q  ERR FORMAT           NAME\n")


def test_metadata(recorded: Callable[[str], str]) -> None:
    found = parse_metadata(recorded("pw-metadata.txt"))
    assert found["clock.quantum"] == "32"
    assert found["clock.allowed-rates"] == "[ 96000 ]"
    with pytest.raises(ValueError, match="no settings"):
        parse_metadata("Can't connect")


def test_stat(recorded: Callable[[str], str]) -> None:
    thread = parse_stat(recorded("data-loop.stat"))
    assert (thread.comm, thread.policy, thread.priority) == ("data-loop.0", "FIFO", 88)
    odd = recorded("data-loop.stat").replace("(data-loop.0)", "(a) b (c)")
    assert parse_stat(odd).comm == "a) b (c"
    for text in ("", "1 (x) S 1 2", "no parentheses"):
        with pytest.raises(ValueError, match="stat"):
            parse_stat(text)


def test_lists() -> None:
    assert parse_cpu_list("0-2,5\n") == {0, 1, 2, 5}
    assert parse_cpu_list("") == set()
    assert parse_cards("--- no soundcards ---\n") == []
