"""``share``, ``follow`` and their like: collections, and who may do what in them."""

from __future__ import annotations

from pathlib import Path

import click

from hydramesh.cli import completing
from hydramesh.cli.common import EXAMPLES, Place, ask_library, json_option, print_rows, show, when
from hydramesh.library import errors as _library_errors  # so that its errors are known by name
from hydramesh.v1 import library_pb2 as pb

__all__ = ["collections", "fetch", "files", "follow", "grant", "share", "unfollow", "unshare"]
assert _library_errors
_ROLES = click.Choice(["owner", "editor", "reader", "none"])


def size_text(count: float) -> str:
    """Bytes for people.

    >>> size_text(999), size_text(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@click.command(
    epilog=EXAMPLES
    + "  hydramesh share ~/samples --as samples\n"
    + "  hydramesh share library.sdb --as drums --prefix drums\n"
    + "  hydramesh share ~/takes --as takes --everyone editor"
)
@click.argument("folder", metavar="DIR|STORE", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="The collection's name: a-z, 0-9 and hyphens.")
@click.option("--prefix", default="", help="Only this folder of the store.")
@click.option(
    "--everyone",
    type=click.Choice(["reader", "editor", "none"]),
    default="reader",
    show_default=True,
    help="What members of the realm may do who are not named by a grant.",
)
@json_option
@click.pass_obj
def share(place: Place, folder: Path, name: str, prefix: str, everyone: str, as_json: bool) -> None:
    """Share a folder of files, or a StreamDB store, with the realm.

    A folder is kept equal with the collection in both directions. This node is the collection's
    first owner.
    """
    asked = pb.ShareRequest(place=str(folder.absolute()), name=name, base=prefix, everyone=everyone)
    _show_one(ask_library(place, "Share", asked), as_json)


@click.command(epilog=EXAMPLES + "  hydramesh unshare samples")
@click.argument("name", shell_complete=completing.collections)
@json_option
@click.pass_obj
def unshare(place: Place, name: str, as_json: bool) -> None:
    """Stop sharing NAME; the documents stay here, and with those who followed."""
    _drop(place, name, as_json, shared=True)


@click.command(
    epilog=EXAMPLES
    + "  hydramesh follow samples\n"
    + "  hydramesh follow samples@studio --prefix drums/\n"
    + "  hydramesh follow samples --into ~/samples\n"
    + "  hydramesh follow archive --lazy"
)
@click.argument("name", shell_complete=completing.offered)
@click.option("--prefix", default="", help="Only paths that begin so.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="A StreamDB store (there the documents are below NAME/), or a folder of files. Default: a"
    " store in the state directory.",
)
@click.option("--lazy", is_flag=True, help="Names now, contents when they are fetched.")
@json_option
@click.pass_obj
def follow(
    place: Place, name: str, prefix: str, into: Path | None, lazy: bool, as_json: bool
) -> None:
    """Follow the collection NAME, or NAME@NODE where there are several.

    What is in the folder, or below NAME/ in the store, becomes part of the collection if this node
    may write.
    """
    asked = pb.FollowRequest(
        name=name, prefix=prefix, into=str(into.absolute()) if into else "", lazy=lazy
    )
    _show_one(ask_library(place, "Follow", asked), as_json)


@click.command(epilog=EXAMPLES + "  hydramesh unfollow samples")
@click.argument("name", shell_complete=completing.collections)
@json_option
@click.pass_obj
def unfollow(place: Place, name: str, as_json: bool) -> None:
    """Stop following NAME; the documents that are here stay."""
    _drop(place, name, as_json, shared=False)


def _drop(place: Place, name: str, as_json: bool, *, shared: bool) -> None:
    found = ask_library(place, "Drop", pb.DropRequest(name=name, shared=shared))

    def text() -> None:
        word = "shared" if shared else "followed"
        click.echo(f"{found.name} is not {word} any more")
        click.echo(f"its documents stay in {found.folder or found.store}")

    show(found, as_json, text)


def _show_one(found: pb.CollectionInfo, as_json: bool) -> None:
    def text() -> None:
        known = f"this node is {found.role}" if found.role != "none" else "followed"
        click.echo(f"{found.name}: {known}")
        click.echo(f"documents in {found.folder or found.store}")

    show(found, as_json, text)


def row_of(each: pb.CollectionInfo) -> tuple[str, ...]:
    """A line of the table of collections."""
    left = ""
    if each.pending_documents or each.pending_bytes:
        left = f"{each.pending_documents} documents, {size_text(each.pending_bytes)}"
        if each.eta_s:
            left += f", {each.eta_s:.0f} s"
    return (
        each.name,
        each.founder,
        each.role or "-",
        each.state,
        str(each.documents),
        size_text(each.bytes),
        left or "-",
        ", ".join(each.peers) or "-",
    )


@click.command(epilog=EXAMPLES + "  hydramesh collections\n  hydramesh collections --json")
@json_option
@click.pass_obj
def collections(place: Place, as_json: bool) -> int:
    """List what this node shares and follows, and what it could follow.

    Exit code 1 if one has failed.
    """
    found = ask_library(place, "ListCollections", pb.CollectionsRequest())

    def text() -> None:
        heads = ["name", "founder", "role", "state", "documents", "size", "left", "peers"]
        print_rows(heads, [row_of(each) for each in found.collections])
        for each in found.collections:
            for line in _remarks(each):
                click.echo(f"{each.name}: {line}")

    show(found, as_json, text)
    return 1 if any(each.state == "failed" for each in found.collections) else 0


def _remarks(each: pb.CollectionInfo) -> list[str]:
    lines = []
    if each.problem:
        lines.append(each.problem)
    if each.local:
        lines.append(f"{each.local} documents were changed here, and go nowhere: this node may not")
    if each.refused:
        lines.append(f"{each.refused} changes of peers were refused: their authors may not write")
    if each.clashes:
        lines.append(f"names differ by case or Unicode form alone: {', '.join(each.clashes)}")
    return lines


@click.command(
    epilog=EXAMPLES + "  hydramesh files archive\n  hydramesh files archive drums/ --json"
)
@click.argument("name", shell_complete=completing.collections)
@click.argument("prefix", default="", shell_complete=completing.documents)
@json_option
@click.pass_obj
def files(place: Place, name: str, prefix: str, as_json: bool) -> None:
    """List the documents of collection NAME whose paths begin with PREFIX."""
    whole = pb.Documents()
    after, more = "", True
    while more:
        asked = pb.DocumentsRequest(name=name, prefix=prefix, after=after)
        part = ask_library(place, "ListDocuments", asked)
        whole.documents.extend(part.documents)
        after, more = (part.documents[-1].path if part.documents else ""), part.more

    def text() -> None:
        rows = [
            (
                each.path,
                size_text(each.size),
                when(each.modified),
                "here" if each.here else "elsewhere",
                ", ".join(each.authors),
            )
            for each in whole.documents
        ]
        print_rows(["path", "size", "modified", "content", "last changed by"], rows)

    show(whole, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh fetch archive drums/kick.wav")
@click.argument("name", shell_complete=completing.collections)
@click.argument("paths", nargs=-1, required=True, shell_complete=completing.documents)
@json_option
@click.pass_obj
def fetch(place: Place, name: str, paths: tuple[str, ...], as_json: bool) -> None:
    """Bring the contents of documents of a lazy collection into its store."""
    found = ask_library(place, "Fetch", pb.FetchRequest(name=name, paths=paths))

    def text() -> None:
        click.echo(f"{found.fetched} documents are in {found.store}")

    show(found, as_json, text)


@click.command(
    epilog=EXAMPLES
    + "  hydramesh grant laptop editor --on samples\n"
    + "  hydramesh grant everyone none --on samples"
)
@click.argument("node", shell_complete=completing.grantees)
@click.argument("role", type=_ROLES)
@click.option(
    "--on",
    "name",
    required=True,
    shell_complete=completing.collections,
    help="The collection.",
)
@json_option
@click.pass_obj
def grant(place: Place, node: str, role: str, name: str, as_json: bool) -> None:
    """Make NODE (a name, an id, or everyone) an owner, editor or reader of a collection.

    Readers get everything and change nothing for others. The founder makes owners; owners make
    editors and readers.
    """
    found = ask_library(place, "Grant", pb.GrantRequest(node=node, role=role, name=name))

    def text() -> None:
        rows = [(each.name, each.nid, each.role) for each in found.roles]
        print_rows(["node", "id", "role"], [*rows, ("everyone else", "", found.everyone)])

    show(found, as_json, text)
