"""Probes of the running PipeWire: its clock, its real-time thread, the cards it has."""

from __future__ import annotations

import functools
from functools import partial

from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import Check, NotApplicableError, Verdict, make_check, verdict
from archibald.vm.selftest.pipewire import (
    ThreadScheduling,
    bound_cards,
    driver_of,
    last_block,
    parse_cards,
    parse_cpu_list,
    parse_dump,
    parse_metadata,
    parse_stat,
    parse_top,
    pipewire_pid,
    status_field,
)
from archibald.vm.selftest.reader import Reader
from archibald.vm.selftest.resources import detect_virtualization

#: How often pw-top is asked, about four seconds each, until a node is in the graph.
_LOOKS = 12

GROUP = "audio"


def audio_checks(reader: Reader, expected: Expectation) -> list[Check]:
    """Return the checks that need no sound to be playing."""
    audio = expected.profile.audio
    return [
        setting(reader, "rate", audio.rate, "Hz"),
        setting(reader, "quantum", audio.quantum, "frames"),
        setting(reader, "max-quantum", audio.max_quantum, "frames"),
        min_quantum(reader, expected),
        scheduling(reader, expected),
        affinity(reader, expected),
        cards(reader),
    ]


def _settings(reader: Reader) -> tuple[dict[str, str], str]:
    text = reader.command(["pw-metadata", "-n", "settings", "0"], in_session=True)
    return parse_metadata(text), text


def setting(reader: Reader, key: str, wanted: int, unit: str) -> Check:
    """A clock setting of the running PipeWire."""

    def judge() -> Verdict:
        found, text = _settings(reader)
        observed = found.get(f"clock.{key}", "nothing")
        return verdict(observed == str(wanted), f"{observed} {unit}", text)

    return make_check(f"pipewire.{key}", GROUP, f"{wanted} {unit}", judge)


def min_quantum(reader: Reader, expected: Expectation) -> Check:
    """The smallest quantum; PipeWire's own rule makes it 1024 inside a virtual machine."""
    audio = expected.profile.audio

    def judge() -> Verdict:
        found, text = _settings(reader)
        virtual = detect_virtualization(reader)
        observed = found.get("clock.min-quantum", "nothing")
        if virtual == "none":
            where = "on a real machine"
        elif audio.virtual_machine_quantum:
            raise NotApplicableError(f"{observed}: the profile keeps PipeWire's rule for {virtual}")
        else:
            where = f"inside {virtual}: its rule is overridden"
        good = observed == str(audio.min_quantum)
        return verdict(good, f"{observed} frames, {where}" if good else f"{observed} frames", text)

    return make_check("pipewire.min-quantum", GROUP, f"{audio.min_quantum} frames", judge)


def graph(reader: Reader, expected: Expectation, node_name: str) -> list[Check]:
    """Quantum and rate of the graph's driver while the node ``node_name`` plays.

    On a slow machine a card takes seconds to open: the graph is looked at up to ``_LOOKS`` times.
    """
    audio = expected.profile.audio

    @functools.cache
    def top() -> str:
        for _ in range(_LOOKS - 1):
            text = reader.command(["pw-top", "-b", "-n", "4"], in_session=True)
            if driver_of(parse_top(text), node_name) is not None:
                return text
        return reader.command(["pw-top", "-b", "-n", "4"], in_session=True)

    def judge(attribute: str, wanted: int, unit: str) -> Verdict:
        driver = driver_of(parse_top(top()), node_name)
        if driver is None:
            return verdict(False, f"{node_name} plays in no graph", last_block(top()))
        observed = getattr(driver, attribute)
        text = f"{observed} {unit}, driven by {driver.name}"
        return verdict(observed == wanted, text, last_block(top()))

    return [
        make_check(f"graph.{name}", GROUP, f"{wanted} {unit}", partial(judge, name, wanted, unit))
        for name, wanted, unit in (
            ("quantum", audio.quantum, "frames"),
            ("rate", audio.rate, "Hz"),
        )
    ]


def _data_loops(reader: Reader) -> list[tuple[str, ThreadScheduling]]:
    """Return (folder, scheduling) of every data-loop thread of the daemon."""
    tasks = f"/proc/{pipewire_pid(reader)}/task"
    threads = [
        (f"{tasks}/{tid}", parse_stat(reader.text(f"{tasks}/{tid}/stat")))
        for tid in reader.names(tasks)
    ]
    return [item for item in threads if item[1].comm.startswith("data-loop")]


def scheduling(reader: Reader, expected: Expectation) -> Check:
    """Policy and priority of the data loop's thread."""
    wanted = f"SCHED_FIFO {expected.profile.audio.data_loop_priority}"

    def judge() -> Verdict:
        loops = _data_loops(reader)
        if not loops:
            return verdict(False, "no data-loop thread")
        found = {thread.comm: f"SCHED_{thread.policy} {thread.priority}" for _, thread in loops}
        evidence = "\n".join(f"{path}: {thread}" for path, thread in loops)
        observed = ", ".join(sorted(set(found.values())))
        return verdict(set(found.values()) == {wanted}, observed, evidence)

    return make_check("data-loop.scheduling", GROUP, wanted, judge)


def affinity(reader: Reader, expected: Expectation) -> Check:
    """CPUs that the data loop's thread may run on."""
    wanted = set(expected.profile.cpu.audio)

    def judge() -> Verdict:
        loops = _data_loops(reader)
        if not loops:
            return verdict(False, "no data-loop thread")
        texts = [
            status_field(reader.text(f"{path}/status"), "Cpus_allowed_list") for path, _ in loops
        ]
        observed = f"CPU {', '.join(sorted(set(texts)))}"
        if not wanted:
            raise NotApplicableError(f"the profile pins it nowhere; it may use {observed}")
        return verdict(all(parse_cpu_list(text) == wanted for text in texts), observed)

    names = ", ".join(map(str, sorted(wanted)))
    return make_check("data-loop.affinity", GROUP, f"CPU {names}" if wanted else "any CPU", judge)


def cards(reader: Reader) -> Check:
    """Every sound card with a PCM device is a device of PipeWire."""

    def judge() -> Verdict:
        listing = reader.text("/proc/asound/cards")
        with_pcm = [
            card
            for card in parse_cards(listing)
            if any(
                name.startswith("pcm") for name in reader.names(f"/proc/asound/card{card.number}")
            )
        ]
        if not with_pcm:
            raise NotApplicableError("this machine has no sound card")
        bound = bound_cards(parse_dump(reader.command(["pw-dump"], in_session=True)))
        loose = [card.name for card in with_pcm if card.number not in bound]
        if loose:
            return verdict(False, f"not bound: {', '.join(loose)}", listing)
        return verdict(True, ", ".join(card.name for card in with_pcm), listing)

    return make_check("cards.bound", GROUP, "every card is a device of PipeWire", judge)
