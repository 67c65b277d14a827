"""The audit of a real PipeWire: quantum, priority of the data loop, and missed wake-ups of a
server that runs.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from archibald.tune.apply import execute, roll_back
from archibald.tune.journal import Journal
from archibald.tune.plan import make_plan
from archibald.tune.targets import Targets
from archibald.vm.selftest.model import Answer

from .studio import NEEDS_ROOT, Studio, wait_for

pytestmark = [pytest.mark.vm, NEEDS_ROOT]


def test_a_data_loop_without_priority_is_bad(studio: Studio) -> None:
    studio.serve(realtime=False)
    loop = studio.find("pipewire.data-loop")
    assert (loop.answer, loop.observed) == (Answer.BAD, "SCHED_OTHER 0"), loop
    assert studio.find("limits.session").answer is Answer.BAD
    assert studio.find("pipewire.running").answer is Answer.OK


def test_a_data_loop_with_priority_is_ok(studio: Studio) -> None:
    studio.serve(realtime=True)
    loop = studio.find("pipewire.data-loop")
    assert (loop.answer, loop.observed) == (Answer.OK, "SCHED_FIFO 88"), loop


def test_the_quantum_is_the_one_that_runs(studio: Studio, tmp_path: Path) -> None:
    studio.serve(realtime=True)
    assert studio.find("pipewire.rate").answer is Answer.OK
    quantum = studio.find("pipewire.quantum")
    assert (quantum.answer, quantum.observed) == (Answer.BAD, "256 frames")
    assert studio.find("pipewire.graph").answer is Answer.NOT_APPLICABLE
    scene = studio.scene()
    targets, journal = Targets(scene.sight), Journal(tmp_path / "journal")
    plan = make_plan(scene, targets, only=["pipewire.quantum"])
    with journal.opened():
        execute(plan, scene, targets, journal)
        assert studio.find("pipewire.quantum").answer is Answer.OK
        studio.play()
        graph = studio.find("pipewire.graph")
        assert graph.answer is Answer.OK, graph
        assert "64 frames at 48000 Hz" in graph.observed
        assert {undone.outcome for undone in roll_back(journal, scene, targets)} == {"restored"}
    assert studio.find("pipewire.quantum").observed == "256 frames"


def test_provoked_xruns_are_counted(studio: Studio) -> None:
    studio.serve(realtime=True)
    player = studio.play()
    player.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    player.send_signal(signal.SIGCONT)
    wait_for(lambda: studio.find("pipewire.xruns").answer is Answer.BAD)
    found = studio.find("pipewire.xruns")
    assert "pw-cat" in found.observed, found
