"""A load on the graph that is known: a chain of filters of PipeWire's own filter-chain.

No program is added to an image for it: the same ``pipewire`` that serves the graph runs as a
client, with a chain of second-order filters in its data loop. Their time is proportional to their
number, so a first short chain is timed, and the right number follows. The chain gets no input and
plays silence.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from archibald.errors import PreconditionError
from archibald.measure.graph import PipeWire
from archibald.run import spawn
from archibald.tune.live.model import Node

NODE = "archibald-load.out"

#: The chain that is timed first, and the longest one that is built.
_FIRST, _MOST = 200, 20_000

_STARTS_S = 15.0

_CONFIG = """\
context.properties = {{ log.level = 1 }}
context.spa-libs = {{
    audio.convert.* = audioconvert/libspa-audioconvert
    support.* = support/libspa-support
}}
context.modules = [
    {{ name = libpipewire-module-rt args = {{ nice.level = -11 rt.prio = {priority} }}
       flags = [ ifexists nofail ] }}
    {{ name = libpipewire-module-protocol-native }}
    {{ name = libpipewire-module-client-node }}
    {{ name = libpipewire-module-adapter }}
    {{ name = libpipewire-module-filter-chain
       args = {{
           node.description = "Load of archibald measure"
           media.name = "archibald-load"
           filter.graph = {{ nodes = [ {nodes} ] links = [ {links} ] }}
           audio.channels = 1
           audio.position = [ MONO ]
           capture.props = {{ node.name = archibald-load.in node.autoconnect = false
               node.always-process = true node.group = archibald-load }}
           playback.props = {{ node.name = {name} node.always-process = true
               node.group = archibald-load }}
       }} }}
]
"""


def config(filters: int, priority: int) -> str:
    """Return the configuration of a chain."""
    nodes = " ".join(
        f"{{ type = builtin name = b{number} label = bq_peaking "
        f'control = {{ "Freq" = 1000.0 "Q" = 1.0 "Gain" = 0.0 }} }}'
        for number in range(filters)
    )
    links = " ".join(
        f'{{ output = "b{number}:Out" input = "b{number + 1}:In" }}'
        for number in range(filters - 1)
    )
    return _CONFIG.format(nodes=nodes, links=links, priority=priority, name=NODE)


def filters_for(share: float, *, others_us: float, per_filter_us: float, cycle_us: float) -> int:
    """Return how many filters bring the graph to a share of the cycle.

    ``others_us`` is what the graph takes without them. Raises PreconditionError when it takes
    more already, or when more filters than can be built were needed.
    """
    free_us = share * cycle_us - others_us
    if free_us <= 0:
        raise PreconditionError(
            f"the graph is busier than {share:.0%} already",
            why=f"without the load it takes {others_us:.0f} us of {cycle_us:.0f} us",
            next_step="choose a larger --dsp-load, or end some clients",
        )
    count = max(1, round(free_us / per_filter_us))
    if count > _MOST:
        raise PreconditionError(
            f"a load of {share:.0%} would take {count} filters", why=f"{_MOST} are the most",
            next_step="choose a smaller --dsp-load or quantum",
        )  # fmt: skip
    return count


@contextlib.contextmanager
def loaded(graph: PipeWire, share: float, priority: int) -> Iterator[int]:
    """Keep the graph at a share of its cycle inside the block; yields the number of filters.

    Raises PreconditionError and ToolFailedError.
    """
    with _chain(graph, _FIRST, priority):
        found = _times(graph)
    count = filters_for(
        share,
        others_us=found.all_us - found.load_us,
        per_filter_us=max(found.load_us / _FIRST, 1e-3),
        cycle_us=found.cycle_us,
    )
    with _chain(graph, count, priority):
        yield count


@contextlib.contextmanager
def _chain(graph: PipeWire, filters: int, priority: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="archibald-load-", dir=graph.folder) as name:
        folder = Path(name)
        # The session's user has to read it, also when root measures.
        folder.chmod(0o755)
        file = folder / "load.conf"
        file.write_text(config(filters, priority), "utf-8")
        inside = f"/{file.relative_to(graph.root)}"
        command = graph.words(["pipewire", "-c", inside])
        with spawn(command.argv, env=command.env):
            # Followers have no rate of their own.
            _wait_for(lambda: any(n.name == NODE and n.state == "R" for n in graph.nodes()))
            yield


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _STARTS_S
    while not condition():
        if time.monotonic() > deadline:
            raise PreconditionError(
                "the load does not start",
                why="its filters do not run in the graph: nothing drives it",
                next_step="archibald top shows whether the graph has a driver",
            )
        time.sleep(0.1)


class Busy(NamedTuple):
    """What the nodes of the busiest driver's graph compute in a cycle."""

    quantum: int
    rate: int
    all_us: float
    load_us: float

    @property
    def cycle_us(self) -> float:
        """Length of a cycle."""
        return 1e6 * self.quantum / self.rate

    @property
    def share(self) -> float:
        """The share of the cycle that is computed in; 1 is all of it."""
        return min(1.0, self.all_us / self.cycle_us)


def busy(nodes: Sequence[Node]) -> Busy | None:
    """Return what the graph computes, from the times of its nodes; None when none runs.

    Not the time from a cycle's start to its end, in which late wake-ups are waited for: those are
    what is measured, not the load.
    """
    graphs: list[Busy] = []
    for node in nodes:
        if not node.follower:
            running = node.running and node.quantum > 0
            graphs.append(
                Busy(node.quantum, node.rate, node.busy_us or 0.0, 0.0 if running else -1)
            )
        elif graphs and node.state == "R":
            now, own = graphs[-1], node.busy_us or 0.0
            load = now.load_us + (own if node.name == NODE and now.load_us >= 0 else 0.0)
            graphs[-1] = now._replace(all_us=now.all_us + own, load_us=load)
    running_ones = [graph for graph in graphs if graph.load_us >= 0]
    return max(running_ones, key=lambda graph: (graph.load_us, graph.all_us), default=None)


def _times(graph: PipeWire) -> Busy:
    """Return the medians of some looks. Raises PreconditionError when nothing can be timed."""
    looks = [found for found in (busy(graph.nodes()) for _ in range(7)) if found]
    timed = [found for found in looks if found.load_us > 0]
    if not timed:
        raise PreconditionError(
            "the load cannot be timed", why="pw-top shows no times for it",
            next_step="archibald top shows whether the graph runs",
        )  # fmt: skip
    return timed[-1]._replace(
        all_us=statistics.median(found.all_us for found in timed),
        load_us=statistics.median(found.load_us for found in timed),
    )
