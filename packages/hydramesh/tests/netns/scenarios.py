"""What is done to a mesh, and how long it took to notice and to heal, in seconds.

The tests bound these figures generously; ``bench/healing.py`` repeats them and prints medians.
"""

from __future__ import annotations

import time
from statistics import median

from packages.hydramesh.tests.netns.lab import Lab, Machine, until

PATIENCE_S = 30.0
Figures = dict[str, float]


def dead_in(lab: Lab, eyes: Machine, others: list[Machine]) -> float:
    """Seconds until one machine knows that others are away."""
    names = {other.name for other in others}
    return until(lambda: not eyes.alive() & names, PATIENCE_S, lab.log)


def killed(lab: Lab, nodes: list[Machine]) -> Figures:
    """The last node is killed, then started again."""
    *rest, victim = nodes
    victim.kill()
    began = time.monotonic()
    found = {"detected": 0.0}
    for eyes in rest:
        dead_in(lab, eyes, [victim])
        found["detected"] = time.monotonic() - began
    began = time.monotonic()
    victim.start()
    found["started"] = time.monotonic() - began
    lab.whole(nodes)
    found["back"] = time.monotonic() - began
    return found


def partitioned(lab: Lab, nodes: list[Machine], away: list[Machine]) -> Figures:
    """Some nodes are cut off, silently; then the cut is mended."""
    rest = [node for node in nodes if node not in away]
    lab.partition(away)
    began = time.monotonic()
    sides = {}
    # Both sides at once: the slower one counts, whichever is asked first.
    for name, eyes, others in (("here", rest, away), ("there", away, rest)):
        for each in eyes:
            dead_in(lab, each, others)
        sides[name] = time.monotonic() - began
    lab.join()
    healed = lab.whole(nodes)
    return {"detected": max(sides.values()), "healed": healed}


def rerouted(lab: Lab, one: Machine, other: Machine) -> Figures:
    """The direct way between two nodes is cut silently; a third one still reaches both."""
    assert one.peers()[other.name].linked
    lab.apart(one, other, cut=True)
    began = time.monotonic()
    last_bad = began
    changed = False
    # Until nothing was amiss for two seconds, since the cut shows after half a second only.
    while time.monotonic() - max(last_bad, began + 2.0) < 2.0:
        assert time.monotonic() - began < PATIENCE_S, lab.log()
        seen = one.peers()[other.name], other.peers()[one.name]
        if any(each.state != "alive" for each in seen):
            last_bad, changed = time.monotonic(), True
        elif not changed and any(each.linked for each in seen):
            last_bad = time.monotonic()
        time.sleep(0.01)
    silent = last_bad - began
    lab.apart(one, other, cut=False)
    return {"rerouted": silent}


def one_way(lab: Lab, sender: Machine, receiver: Machine) -> Figures:
    """What one of two nodes sends is lost: both have to know, and heal."""
    lab.one_way(sender, receiver, cut=True)
    began = time.monotonic()
    dead_in(lab, receiver, [sender])
    dead_in(lab, sender, [receiver])
    detected = time.monotonic() - began
    lab.one_way(sender, receiver, cut=False)
    return {"detected": detected, "healed": lab.whole([sender, receiver])}


def bootstrap_dies(lab: Lab, nodes: list[Machine]) -> Figures:
    """The node that everybody joined through is killed for good; the others stay together."""
    first, *rest = nodes
    first.kill()
    began = time.monotonic()
    names = {each.name for each in rest}
    for eyes in rest:
        dead_in(lab, eyes, [first])
    detected = time.monotonic() - began
    together = until(
        lambda: all(each.alive() == names - {each.name} for each in rest), PATIENCE_S, lab.log
    )
    return {"detected": detected, "together": together}


def shaken(lab: Lab, nodes: list[Machine], for_s: float) -> Figures:
    """How the mesh is on ways that are slow and lossy: the share of looks at which all see all."""
    names = {each.name for each in nodes}
    looks = whole = 0
    began = time.monotonic()
    while time.monotonic() - began < for_s:
        looks += 1
        whole += all(each.alive() == names - {each.name} for each in nodes)
        time.sleep(0.05)
    again = lab.whole(nodes)
    rtts = [each.rtt_ms for node in nodes for each in node.peers().values()]
    return {"share_whole": whole / looks, "whole_again": again, "median_rtt_ms": median(rtts)}


def pulled(lab: Lab, one: Machine, other: Machine, mbit_per_s: float, chunks: int) -> Figures:
    """Chunks are pulled over a slow line: heartbeats have to get through beside them."""
    lab.slow(other, mbit_per_s)
    result = one.echo(other, chunks)
    return {
        "mb_per_s": result.mb_per_s,
        "loaded_median_ms": result.loaded.median,
        "loaded_most_ms": result.loaded.most,
    }
