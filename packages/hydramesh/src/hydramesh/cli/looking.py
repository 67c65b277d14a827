"""``status``, ``peers``, ``links``, ``doctor``, ``topology``: how the mesh is."""

from __future__ import annotations

import click

from hydramesh.cli.common import EXAMPLES, Place, call, json_option, print_rows, show, when
from hydramesh.identity.certs import span_text
from hydramesh.v1 import control_pb2 as pb


@click.command(epilog=EXAMPLES + "  hydramesh status\n  hydramesh status --json")
@json_option
@click.pass_obj
def status(place: Place, as_json: bool) -> int:
    """Show how this node is. Exit code 1 if there are problems."""
    found = call(place, "GetStatus", pb.StatusRequest())

    def text() -> None:
        rows = [("state", found.state)]
        if found.HasField("realm"):
            rows += [
                ("realm", f"{found.realm.realm} ({found.realm.realm_id[:8]})"),
                ("node", f"{found.realm.name} ({found.realm.nid})"),
                ("authority", "this node" if found.realm.authority else "another node"),
                ("listening", ", ".join(found.listening)),
                ("peers", f"{found.peers_alive} of {found.peers_known} alive"),
                ("links", str(found.links)),
                ("certificate", f"until {when(found.realm.certificate_ends)}"),
                ("renewal", f"at {when(found.renewal_due)}"),
            ]
        rows += [("running for", span_text(found.uptime_s))]
        rows += [("problem", each) for each in found.problems]
        print_rows(["", ""], rows)

    show(found, as_json, text)
    return 1 if found.problems else 0


def _quality(rtt_ms: float, jitter_ms: float, loss: float) -> tuple[str, str, str]:
    return (f"{rtt_ms:.2f}" if rtt_ms else "-", f"{jitter_ms:.2f}", f"{loss:.1%}")


@click.command(epilog=EXAMPLES + "  hydramesh peers\n  hydramesh peers --json")
@json_option
@click.pass_obj
def peers(place: Place, as_json: bool) -> None:
    """List the other nodes: state, round trip and jitter in milliseconds, loss of heartbeats."""
    found = call(place, "ListPeers", pb.PeersRequest())

    def text() -> None:
        rows = [
            (
                each.name,
                each.nid,
                each.state,
                *_quality(each.rtt_ms, each.jitter_ms, each.loss),
                "direct" if each.linked else "through others",
                ", ".join(_roles(each)),
            )
            for each in found.peers
        ]
        print_rows(["name", "id", "state", "rtt ms", "jitter ms", "loss", "reached", "role"], rows)

    show(found, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh links")
@json_option
@click.pass_obj
def links(place: Place, as_json: bool) -> None:
    """List the direct links of this node."""
    found = call(place, "ListLinks", pb.LinksRequest())

    def text() -> None:
        rows = [
            (each.name, each.nid, each.direction, *_quality(each.rtt_ms, each.jitter_ms, each.loss))
            for each in found.links
        ]
        print_rows(["name", "id", "dialled", "rtt ms", "jitter ms", "loss"], rows)

    show(found, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh doctor")
@json_option
@click.pass_obj
def doctor(place: Place, as_json: bool) -> int:
    """Check certificate, clock, port and peers. Exit code 1 if something is bad."""
    found = call(place, "Diagnose", pb.DiagnoseRequest())

    def text() -> None:
        rows = [(each.answer, each.name, each.evidence, each.next_step) for each in found.checks]
        print_rows(["answer", "check", "evidence", "next"], rows)

    show(found, as_json, text)
    return 1 if any(each.answer == "bad" for each in found.checks) else 0


@click.command(epilog=EXAMPLES + "  hydramesh topology\n  hydramesh topology --dot > mesh.dot")
@click.option("--dot", is_flag=True, help="Print the graph for Graphviz.")
@json_option
@click.pass_obj
def topology(place: Place, dot: bool, as_json: bool) -> None:
    """Show who is linked with whom, as both ends tell it."""
    found = call(place, "GetTopology", pb.TopologyRequest())
    names = {each.nid: each.name for each in found.nodes}

    def text() -> None:
        if dot:
            click.echo(dot_text(found), nl=False)
            return
        rows = [
            (
                names.get(each.from_nid, each.from_nid),
                names.get(each.to_nid, each.to_nid),
                f"{each.rtt_ms:.2f}",
            )
            for each in found.edges
        ]
        print_rows(["node", "node", "rtt ms"], rows)

    show(found, as_json, text)


def dot_text(found: pb.Topology) -> str:
    """The graph in the language of Graphviz; ids and names hold nothing to escape."""
    lines = ["graph mesh {"]
    grouped = {nid for group in found.groups for nid in group.nids}
    nodes = {each.nid: _dot_node(each) for each in found.nodes}
    for number, group in enumerate(found.groups, 1):
        worst = f", {group.worst_rtt_ms:.2f} ms" if len(group.nids) > 1 else ""
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f'    label="group {number}{worst}";')
        lines += [f"    {nodes[nid]}" for nid in group.nids if nid in nodes]
        lines.append("  }")
    lines += [f"  {text}" for nid, text in nodes.items() if nid not in grouped]
    for edge in found.edges:
        lines.append(f'  "{edge.from_nid}" -- "{edge.to_nid}" [label="{edge.rtt_ms:.2f} ms"];')
    return "\n".join([*lines, "}"]) + "\n"


def _roles(each: pb.Peer) -> list[str]:
    """What a node is in the mesh: the master, its role, a relay."""
    role = [] if each.role in ("", "p2p") or each.leads else [each.role]
    return ["the master"] * each.leads + role + ["relay"] * each.relay


def _dot_node(each: pb.Peer) -> str:
    style = "solid" if each.state in ("alive", "suspect") else "dashed"
    label = "\\n".join([each.name, *_roles(each)])
    shape = ", shape=box" if each.relay else ""
    bold = ", penwidth=2" if each.leads else ""
    return f'"{each.nid}" [label="{label}", style={style}{shape}{bold}];'
