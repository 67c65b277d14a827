"""Xruns: counters turned into events, a load that is known, and provoked ones in a real jackd."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from archibald.cli.common import run_cli
from archibald.errors import PreconditionError
from archibald.measure.document import load_run
from archibald.measure.dspload import NODE, config, filters_for
from archibald.measure.graph import driver_of
from archibald.measure.records import XrunData
from archibald.measure.xruns import Counters
from archibald.tune.live.model import Node


def node(number: int, name: str, errors: int) -> Node:
    return Node(number, name, "R", 256, 48000, 1.0, 1.0, 0.1, 0.1, errors, follower=True)


def driver(name: str, quantum: int, *, state: str = "R") -> Node:
    rate = 48000 if quantum else 0
    return Node(9, name, state, quantum, rate, 1.0, 1.0, 0.1, 0.1, 0, follower=False)


def test_the_driver_is_the_one_that_a_client_follows():
    still, slow, fast = driver("Dummy", 0, state="S"), driver("hdmi", 1024), driver("usb", 64)
    nodes = [still, slow, node(30, "firefox", 0), fast, node(31, "jack_delay", 0)]
    assert driver_of(nodes, "jack_delay") is fast
    assert driver_of(nodes, "no-such-client") is None
    assert driver_of(nodes, "") is slow
    assert driver_of([still, node(31, "jack_delay", 0)], "jack_delay") is None
    # A driver of which there is no report yet, and its followers, which are not the other's.
    silent_one = driver("Dummy", 0)
    late = [fast, node(30, "pw-cat", 0), silent_one, node(31, "jack_delay", 0)]
    assert driver_of(late, "jack_delay") is None
    assert driver_of(late, "") is fast


def test_differences_of_counters_are_events():
    counters = Counters()
    counters.look([node(30, "sink", 7), node(31, "synth", 0)], 0.0)
    counters.look([node(30, "sink", 7), node(31, "synth", 3)], 1.0)
    counters.look([node(30, "sink", 8), node(31, "synth", 3)], 2.0)
    found = {one.name: [(e.at_s, e.missed) for e in one.events] for one in counters.nodes()}
    assert found == {"sink": [(2.0, 1)], "synth": [(1.0, 3)]}
    assert counters.missed == 4


def test_what_a_client_missed_before_is_not_counted_and_a_new_one_counts_from_zero():
    counters = Counters()
    counters.look([node(30, "sink", 100)], 0.0)
    counters.look([node(30, "sink", 100), node(40, "late", 2)], 1.0)
    assert counters.missed == 2
    # The number is used again by another client.
    counters.look([node(30, "sink", 100), node(40, "other", 1)], 2.0)
    assert counters.missed == 3


def test_a_counter_that_was_reset_is_no_negative_event():
    counters = Counters()
    counters.look([node(30, "sink", 50)], 0.0)
    counters.look([node(30, "sink", 0)], 1.0)
    counters.look([node(30, "sink", 2)], 2.0)
    assert counters.missed == 2


def silent(number: int, name: str) -> Node:
    """A node of which pw-top has no report: it shows zeros."""
    return Node(number, name, "R", 0, 0, 0.0, 0.0, None, None, 0, follower=False)


def test_a_look_without_a_report_is_no_counter_that_went_back():
    """As pw-top shows two drivers in turn: 176, nothing, 178."""
    counters = Counters()
    counters.look([node(30, "sink", 176), silent(31, "late")], 0.0)
    counters.look([silent(30, "sink"), node(31, "late", 90)], 1.0)
    counters.look([node(30, "sink", 178), node(31, "late", 90)], 2.0)
    found = {one.name: [(e.at_s, e.missed) for e in one.events] for one in counters.nodes()}
    assert found == {"sink": [(2.0, 2)], "late": []}
    assert counters.coarsest_s == 2.0, "it may have been at any time since the report before"


def test_nodes_of_one_name_are_told_apart():
    counters = Counters()
    counters.look([node(30, "pw-cat", 0), node(31, "pw-cat", 0)], 0.0)
    assert [one.name for one in counters.nodes()] == ["pw-cat (30)", "pw-cat (31)"]


def test_the_chain_has_as_many_filters_as_it_should():
    text = config(5, 88)
    assert text.count("bq_peaking") == 5
    assert text.count("output =") == 4
    assert text.count("{") == text.count("}")
    assert NODE in text


def test_filters_follow_the_share():
    assert filters_for(0.5, others_us=100, per_filter_us=2, cycle_us=1000) == 200
    with pytest.raises(PreconditionError, match="busier than 10%"):
        filters_for(0.1, others_us=200, per_filter_us=2, cycle_us=1000)
    with pytest.raises(PreconditionError, match="would take"):
        filters_for(0.9, others_us=0, per_filter_us=0.01, cycle_us=10_000)


@pytest.mark.parametrize(
    "words", ["--duration 0", "--duration -1", "--dsp-load 0", "--dsp-load 1.5", "--dsp-load nan"]
)
def test_absurd_arguments_are_a_usage_error(words, capsys):
    assert run_cli(["measure", "xruns", "--json", *words.split()]) == 2
    assert capsys.readouterr().err


def test_without_a_server_it_is_refused(capsys):
    code = run_cli(["measure", "xruns", "--json", "-d", "2", "--jack-server", "no-such-server"])
    assert code == 3
    assert json.loads(capsys.readouterr().out)["error"] in ("NoGraphError", "MissingToolError")


def counted(tmp_path, server, seconds) -> XrunData:
    target = tmp_path / "run.json"
    words = ["measure", "xruns", "-d", str(seconds), "--jack-server", server.name]
    assert run_cli([*words, "-o", str(target)]) == 0
    data = load_run(target).data
    assert isinstance(data, XrunData)
    return data


def heard(process: subprocess.Popen[bytes]) -> dict[str, list[float]]:
    """When the client stalled, and when it was told of an xrun itself (monotonic seconds)."""
    process.terminate()
    assert process.stdout is not None
    found: dict[str, list[float]] = {"stall": [], "xrun": []}
    for line in process.stdout.read().decode().splitlines():
        word, at = line.split()
        found[word].append(float(at))
    return found


#: Messages of one xrun reach two programs; a busy machine lets one of them wait (s).
NEAR_S = 0.1


def start_of(events: list[float], told: list[float]) -> tuple[float, int]:
    """Return when counting began, and which one the client was told was the first that counts.

    It is where the events fit best.
    """
    found = []
    for first in range(len(told) - len(events) + 1):
        start = told[first] - events[0]
        same = told[first : first + len(events)]
        off = max(abs(at - start - event) for at, event in zip(same, events, strict=True))
        found.append((off, start, first))
    assert found, f"{len(events)} events, and the client was told of {len(told)}"
    off, start, first = min(found)
    assert off < NEAR_S, f"{events} are not among {told}"
    return start, first


@pytest.mark.slow
def test_provoked_xruns_are_counted(jackd, tmp_path):
    """A client stalls for four cycles about twice a second, and is told of xruns itself.

    Each stall is an event, and every xrun that the client heard of is counted, no other.
    """
    server = jackd(1024)
    client = server.client("stalls", stall_every=23, stall_us=90_000)
    begun = time.monotonic()
    data = counted(tmp_path, server, 4)
    lasted = time.monotonic() - begun
    found = heard(client)
    (node,) = data.nodes
    assert (node.name, data.resolution_s) == ("jackd", 0)
    assert 4 <= data.observed_s <= lasted
    events = [event.at_s for event in node.events]
    told = found["xrun"]
    start, first = start_of(events, told)
    # None is left out: those before and after are outside of what was observed.
    before, after = told[:first], told[first + len(events) :]
    assert all(at - start < NEAR_S for at in before)
    assert all(at - start > data.observed_s - NEAR_S for at in after)
    stalls = [at - start for at in found["stall"] if 0 < at - start < data.observed_s - 0.3]
    assert len(stalls) >= 4
    for stall in stalls:
        assert any(-NEAR_S < at - stall < 0.3 for at in events), (stall, events)


@pytest.mark.slow
def test_the_load_of_the_graph_is_what_the_client_takes(jackd, tmp_path):
    server = jackd(2048)
    server.client("works", busy_us=12_000)  # of 42.7 ms
    data = counted(tmp_path, server, 3)
    assert 0.1 < data.dsp_load < 0.7
    assert (data.quantum, data.rate) == (2048, 48000)


@pytest.mark.slow
def test_a_load_needs_pipewire(jackd, capsys):
    server = jackd()
    words = ["-d", "2", "--dsp-load", "0.5", "--jack-server", server.name]
    assert run_cli(["measure", "xruns", "--json", *words]) == 3
    assert "PipeWire" in capsys.readouterr().err
