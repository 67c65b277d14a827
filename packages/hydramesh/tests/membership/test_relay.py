"""Relays: who cannot be dialled is reached through them, and a link to one is kept."""

from __future__ import annotations

from packages.hydramesh.tests.membership.world import World

from hydramesh.membership import Dial, Send, Status


def _world(nodes: int, relay: str, *, hidden: list[str]) -> World:
    """Hosts of which some cannot be dialled by anybody but dial others; one is the relay."""
    world = World(5, nodes)
    for one in hidden:
        for other in hidden:
            if one != other:
                world.never.add((one, other))
    for name in world.hosts:
        world.start(name, [other for other in world.hosts if other != name])
        process = world.hosts[name].process
        assert process is not None
        process.relay = name == relay
    return world


def test_hidden_nodes_meet_at_the_relay():
    hidden = [f"h{n}" for n in range(1, 9)]
    world = _world(9, "h0", hidden=hidden)
    world.run(40.0)
    nodes = sorted(host.node for host in world.hosts.values())
    for name in world.hosts:
        process = world.hosts[name].process
        assert process is not None
        assert process.members() == nodes
        assert name == "h0" or frozenset(("h0", name)) in world.links
    # A relay has room: it asks nobody to go, where another node would from five links on.
    relay = world.hosts["h0"].process
    assert relay is not None
    assert len(relay.links) == 8
    [said] = relay.leave(world.clock(world.hosts["h0"]))
    assert isinstance(said, Send)
    assert not any(link.surplus for link in said.beat.neighbours)


def test_a_node_that_reaches_most_keeps_a_link_to_the_relay():
    world = _world(6, "h0", hidden=["h1", "h2"])
    world.run(60.0)
    for name in ("h1", "h2"):
        assert frozenset(("h0", name)) in world.links


def test_without_need_nobody_counts_on_the_relay():
    world = _world(8, "h0", hidden=[])
    world.run(40.0)
    assert sum("h0" in link for link in world.links) <= 4


def test_who_said_good_bye_is_dialled_by_those_that_it_cannot_dial():
    """It was restarted: the other, whom nobody can dial, has to find it again."""
    world = World(7, 2)
    for name in world.hosts:
        world.start(name, [other for other in world.hosts if other != name])
    world.run(5.0)
    world.hidden.add("h1")
    for pause in (1.0, 90.0):
        world.leave("h0")
        world.run(world.now + pause)
        host = world.hosts["h1"]
        assert host.process is not None
        assert host.process.status(world.hosts["h0"].node) is Status.LEFT
        world.start("h0", ["h1"])
        world.run(world.now + 15.0)
        assert host.process.status(world.hosts["h0"].node) is Status.ALIVE


def test_who_is_no_member_any_more_is_not_called():
    world = World(7, 2)
    for name in world.hosts:
        world.start(name, [other for other in world.hosts if other != name])
    world.run(5.0)
    world.leave("h0")
    world.run(world.now + 1.0)
    host = world.hosts["h1"]
    assert host.process is not None
    asked = host.process.know([], world.clock(host))
    for _ in range(400):
        asked += host.process.tick(world.clock(host))
        world.run(world.now + 0.05)
    assert not [action for action in asked if isinstance(action, Dial)]


def test_who_is_away_is_dialled_at_once_when_asked():
    world = World(3, 2)
    for name in world.hosts:
        world.start(name, [other for other in world.hosts if other != name])
    world.run(5.0)
    world.cut |= {("h0", "h1"), ("h1", "h0")}
    world.wires_changed()
    world.run(40.0)
    host, other = world.hosts["h0"], world.hosts["h1"]
    assert host.process is not None
    assert not host.process.status(other.node).reachable
    asked = host.process.retry(world.clock(host))
    assert [action.node for action in asked if hasattr(action, "node")][:1] == [other.node]
    world.cut.clear()
    world.do(host, asked)
    world.run(41.0)
    assert host.process.status(other.node).reachable
