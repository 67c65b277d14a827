"""``groups``, ``role``, ``relay``, ``heal``, ``simulate-failure``: how the mesh is steered."""

from __future__ import annotations

import sys
from typing import Any

import click

from hydramesh.cli import completing
from hydramesh.cli.common import EXAMPLES, Place, call, json_option, print_rows, show
from hydramesh.cli.joining import parse_span
from hydramesh.v1 import mesh_pb2 as pb


def _ask(place: Place, method: str, request: Any) -> Any:
    return call(place, method, request, service="Mesh")


@click.command(epilog=EXAMPLES + "  hydramesh groups\n  hydramesh groups --json")
@json_option
@click.pass_obj
def groups(place: Place, as_json: bool) -> None:
    """List the groups: nodes whose round trips to each other are all within the threshold.

    The threshold is group-rtt-threshold of the configuration (50 ms). A change shows after it has
    lasted for 10 s.
    """
    found = _ask(place, "ListGroups", pb.GroupsRequest())
    names = {each.nid: each.name for each in found.nodes}

    def text() -> None:
        rows = [
            (
                str(number),
                " ".join(names.get(nid, nid) for nid in each.nids),
                f"{each.worst_rtt_ms:.2f}" if len(each.nids) > 1 else "-",
            )
            for number, each in enumerate(found.groups, 1)
        ]
        print_rows(["group", "nodes", "worst rtt ms"], rows)

    show(found, as_json, text)


@click.command(
    epilog=EXAMPLES
    + "  hydramesh role show\n"
    + "  hydramesh role set auto\n"
    + "  hydramesh role set configured"
)
@click.argument("action", type=click.Choice(["show", "set"]), default="show")
@click.argument(
    "mode", type=click.Choice(["p2p", "auto", "master", "client", "configured"]), required=False
)
@json_option
@click.pass_obj
def role(place: Place, action: str, mode: str | None, as_json: bool) -> None:
    """Show or set the role of this node.

    p2p takes no part in elections; auto may become master when no node prefers to be; master
    prefers to be; client heeds a master and is never one. A master only schedules: data never goes
    through it. What is set lasts over restarts; "set configured" goes back to the configuration.
    """
    if (action == "set") != (mode is not None):
        raise click.UsageError("hydramesh role show, or: hydramesh role set MODE")
    found = _ask(place, "Role", pb.RoleRequest(set=mode or ""))

    def text() -> None:
        master = f"{found.master_name} ({found.master})" if found.master else "none"
        rows = [
            ("role", f"{found.mode} (by the {found.source})"),
            ("master", master if found.settled else "not known yet: this node listens first"),
            ("term", str(found.term)),
        ]
        print_rows(["", ""], rows)

    show(found, as_json, text)


@click.command(
    epilog=EXAMPLES
    + "  hydramesh relay show\n"
    + "  hydramesh relay on --advertise relay.example:50051\n"
    + "  hydramesh relay off"
)
@click.argument("action", type=click.Choice(["show", "on", "off"]), default="show")
@click.option(
    "--advertise",
    multiple=True,
    help="HOST:PORT where others reach this node (up to eight). Default: as configured.",
)
@json_option
@click.pass_obj
def relay(place: Place, action: str, advertise: tuple[str, ...], as_json: bool) -> None:
    """Make this node a relay, or none; or list the relays.

    A relay is a member that everybody can reach, such as a small rented host. Members that cannot
    dial each other, being behind NAT, keep a link to it, and their messages go through it. It has
    no library: it neither shares nor follows collections. What it forwards it could also read.
    """
    if advertise and action != "on":
        raise click.UsageError("--advertise goes with: hydramesh relay on")
    wanted = "" if action == "show" else action
    found = _ask(place, "Relay", pb.RelayRequest(set=wanted, advertise=advertise))

    def text() -> None:
        print_rows(
            ["", ""],
            [
                ("this node", "is a relay" if found.relay else "is no relay"),
                ("reached at", ", ".join(found.endpoints)),
                *(("relay", f"{each.name} ({each.nid}), {each.state}") for each in found.relays),
            ],
        )
        for warning in found.warnings:
            sys.stderr.write(f"warning: {warning}\n")

    show(found, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh heal\n  hydramesh heal --wait 30s --json")
@click.option("--wait", default="5s", show_default=True, help="How long to wait for them.")
@json_option
@click.pass_obj
def heal(place: Place, wait: str, as_json: bool) -> int:
    """Dial everybody who is away, now, and say who came back.

    The daemon does so by itself, at growing intervals; this is for the moment after a cable was put
    back. Exit code 1 if somebody is still away.
    """
    found = _ask(place, "Heal", pb.HealRequest(wait_s=parse_span(wait)))

    def text() -> None:
        rows = [
            (each.name, each.before, each.after, "direct" if each.linked else "", each.why)
            for each in found.nodes
        ]
        print_rows(["name", "was", "is", "reached", "last failure"], rows)
        click.echo(f"{found.alive} of {found.known} alive, after {found.took_s:.1f} s")

    show(found, as_json, text)
    return 0 if found.alive == found.known else 1


@click.command(
    "simulate-failure",
    epilog=EXAMPLES
    + "  hydramesh simulate-failure laptop\n"
    + "  hydramesh simulate-failure link laptop --for 30s\n"
    + "  hydramesh simulate-failure laptop --stop\n"
    + "  hydramesh simulate-failure",
)
@click.argument("what", nargs=-1, metavar="[NODE | link NODE]", shell_complete=completing.nodes)
@click.option("--for", "span", default="10s", show_default=True, help="How long: up to 10m.")
@click.option("--stop", is_flag=True, help="End it now.")
@json_option
@click.pass_obj
def simulate_failure(
    place: Place, what: tuple[str, ...], span: str, stop: bool, as_json: bool
) -> None:
    """Act as if NODE, or only the direct link to it, were gone for a while.

    This daemon then takes the link down, makes no other, and (without "link") hears nothing of the
    node through others either. It ends by itself, also when the daemon ends. Without a NODE: list
    what goes on.
    """
    link_only = len(what) == 2 and what[0] == "link"
    if len(what) > 1 and not link_only:
        raise click.UsageError("name one node, or: link NODE")
    asked = pb.FailureRequest(
        node=what[-1] if what else "", link_only=link_only, for_s=parse_span(span), stop=stop
    )
    found = _ask(place, "SimulateFailure", asked)

    def text() -> None:
        rows = [
            (each.name, "link" if each.link_only else "node", f"{each.left_s:.0f} s")
            for each in found.failures
        ]
        print_rows(["lost", "what", "for"], rows)

    show(found, as_json, text)
