"""``init``, ``invite``, ``join``, ``leave``, ``members``, ``revoke``: who belongs to the realm."""

from __future__ import annotations

import re
import sys

import click

from hydramesh.cli import completing
from hydramesh.cli.common import EXAMPLES, Place, call, json_option, print_rows, show, when
from hydramesh.errors import InvalidArgument
from hydramesh.identity.invites import MAX_CODE
from hydramesh.v1 import control_pb2 as pb

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_span(text: str) -> float:
    """Seconds of a span such as 90s, 15m, 24h or 7d.

    >>> parse_span("15m")
    900.0
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise InvalidArgument(
            f"not a span of time: {text[:20]!a}", next_step="write for example 90s, 15m, 24h or 7d"
        )
    return float(int(found[1]) * _UNITS[found[2]])


@click.command(
    epilog=EXAMPLES + "  hydramesh init --realm band\n  hydramesh init --realm band --name studio"
)
@click.option("--realm", default="home", show_default=True, help="The realm's name.")
@click.option("--name", default="", help="This node's name. Default: from the host name.")
@click.option(
    "--certificate-life", default="24h", show_default=True, help="How long certificates last."
)
@json_option
@click.pass_obj
def init(place: Place, realm: str, name: str, certificate_life: str, as_json: bool) -> None:
    """Found a realm with this node as its authority.

    The authority keeps the realm's CA: it admits nodes and renews their certificates, so it must
    be reached at least once within a certificate's life.
    """
    life_s = parse_span(certificate_life)
    asked = pb.InitRequest(realm=realm, name=name, certificate_life_s=life_s)
    info = call(place, "Init", asked, alone="init")

    def text() -> None:
        click.echo(f"realm {info.realm} founded; this node is {info.name} ({info.nid})")
        click.echo("next: hydramesh invite (while hydrameshd runs)")

    show(info, as_json, text)


@click.command(
    epilog=EXAMPLES
    + "  hydramesh invite\n"
    + "  hydramesh invite --for laptop --expires 15m\n"
    + "  hydramesh invite --endpoint studio.example:50051"
)
@click.option("--for", "name", default="", help="The name that the new node will have.")
@click.option("--expires", default="1h", show_default=True, help="How long it can be used.")
@click.option(
    "--endpoint", "endpoints", multiple=True, help="HOST:PORT to put into it (up to four)."
)
@click.option("--no-qr", is_flag=True, help="Print no QR code.")
@json_option
@click.pass_obj
def invite(
    place: Place, name: str, expires: str, endpoints: tuple[str, ...], no_qr: bool, as_json: bool
) -> None:
    """Make a one-time invite: a code, and on a terminal a QR code.

    Whoever has the code can join, once: hand it on as you would a key. The new node has to reach
    an endpoint in it: this node's, a relay's (they are put into it), or that of any member which
    reaches this node, named with --endpoint.
    """
    asked = pb.InviteRequest(name=name, expires_s=parse_span(expires), endpoints=endpoints)
    made = call(place, "Invite", asked)

    def text() -> None:
        click.echo(made.code)
        if sys.stdout.isatty() and not no_qr:
            import segno

            segno.make(made.code.replace("-", ""), error="l").terminal(compact=True)
        sys.stderr.write(
            f"admits one node until {when(made.expires)}, at {', '.join(made.endpoints)}\n"
        )

    show(made, as_json, text)


@click.command(
    epilog=EXAMPLES + "  hydramesh join HM1-CODE\n  hydramesh join - --name laptop < code.txt"
)
@click.argument("code")
@click.option("--name", default="", help="This node's name. Default: from the host name.")
@json_option
@click.pass_obj
def join(place: Place, code: str, name: str, as_json: bool) -> None:
    """Join a realm with an invite's CODE, or with - from standard input.

    Arguments can be seen by other users of this machine for as long as the command runs.
    """
    if code == "-":
        code = sys.stdin.readline(2 * MAX_CODE)
    info = call(place, "Join", pb.JoinRequest(code=code.strip(), name=name), alone="join")

    def text() -> None:
        click.echo(f"joined realm {info.realm} as {info.name} ({info.nid})")
        click.echo(f"this clock differs from the authority's by {-info.clock_skew_s:+.1f} s")

    show(info, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh leave\n  hydramesh leave --dissolve")
@click.option("--dissolve", is_flag=True, help="End the realm for all (on its authority).")
@json_option
@click.pass_obj
def leave(place: Place, dissolve: bool, as_json: bool) -> None:
    """Leave the realm and delete its keys; the port closes."""
    reply = call(place, "Leave", pb.LeaveRequest(dissolve=dissolve), alone="leave")

    def text() -> None:
        click.echo(f"left realm {reply.realm}")
        if not reply.told and not dissolve:
            click.echo("the authority could not be told: there, run hydramesh revoke")

    show(reply, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh members\n  hydramesh members --json")
@json_option
@click.pass_obj
def members(place: Place, as_json: bool) -> None:
    """List whom the realm has admitted."""
    found = call(place, "ListMembers", pb.MembersRequest(), alone="members")

    def text() -> None:
        rows = [
            (
                each.name,
                each.nid,
                each.state,
                when(each.joined),
                " ".join(["authority"] * each.authority + ["this node"] * each.self),
            )
            for each in found.members
        ]
        print_rows(["name", "id", "state", "joined", ""], rows)

    show(found, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh revoke laptop")
@click.argument("node", shell_complete=completing.nodes)
@json_option
@click.pass_obj
def revoke(place: Place, node: str, as_json: bool) -> None:
    """Expel NODE (a name or an id) from the realm; only on the authority."""
    reply = call(place, "Revoke", pb.RevokeRequest(node=node))

    def text() -> None:
        click.echo(f"{reply.name} ({reply.nid}) is expelled")
        click.echo(
            "members hang up as soon as they hear of it; "
            f"its last certificate ends {when(reply.certificate_ends)}"
        )

    show(reply, as_json, text)
