"""Everything in HydraMesh that reads bytes of the network, each with honest messages to damage.

A decoder that lies behind a signature is given what was signed after the damage, as a member that
turned hostile would do.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from packages.hydramesh.tests.identity.test_identity import NOW, SECRET, authority, invited, node

from hydramesh import standing, wire
from hydramesh.identity import certs, enrol, gate, invites
from hydramesh.identity.invites import Endpoint, Invite
from hydramesh.identity.names import node_id
from hydramesh.identity.roster import _CONTEXT as ROSTER_CONTEXT
from hydramesh.identity.roster import read_roster
from hydramesh.membership.model import Claim, Heartbeat, Neighbour, Report, Status
from hydramesh.sync.charter import EVERYONE, Charter, collection_id, read_grants
from hydramesh.sync.given import pack_given, unpack_given
from hydramesh.sync.reconcile import FINGERPRINT, SUM, Frame, Kind, Range, Wanted
from hydramesh.sync.replica import Delta, Role
from hydramesh.sync.versions import Item
from hydramesh.trunk import envelope, passage
from hydramesh.trunk.clienthello import server_name
from hydramesh.v1 import enrol_pb2, trunk_pb2

TOPIC = "hm/x/hb/y"


@dataclass(frozen=True)
class Decoder:
    """One reader of bytes: what it does with them, and honest ones."""

    name: str
    read: Callable[[bytes], Any]
    valid: Sequence[bytes]


class _Realm:
    """One realm, and what its members say."""

    def __init__(self) -> None:
        self.made = invited(authority())
        self.key, self.der = node(self.made)
        self.nid = certs.read_node(self.der, self.made.ca_der).nid
        self.pin = certs.pin(self.made.ca_der)
        self.request = enrol.admit_request(
            self.key, SECRET, self.pin, "laptop", ["10.0.0.1:5", "[::1]:7"], NOW
        )
        self.others = (
            enrol.renew_request(self.key, self.pin, ["10.0.0.1:5"], NOW),
            enrol.leave_request(self.key, self.pin, NOW),
        )
        self.reply, _ = enrol.answer(self.made, self.request, NOW)
        own = certs.new_key()
        self.leaf = certs.sign_node(
            self.made.key, self.made.ca_der, certs.public_bytes(own), "studio", NOW, 3600,
            authority=True,
        )  # fmt: skip
        self.opener = envelope.Opener(self.made.ca_der)

    def beat(self) -> bytes:
        nids = [f"{n:016x}" for n in range(4)]
        beat = Heartbeat(
            self.nid, 5, 1, 9, 77, False,
            tuple(Neighbour(n, 500, True) for n in nids),
            tuple(Report(n, 1, 0, Status.ALIVE, 5, 5, 300) for n in nids),
            Claim("auto", 3, nids[0]), True,
        )  # fmt: skip
        return envelope.encode_beat(beat, NOW, 3, ["10.0.0.1:5", "studio.example:50051"])

    def sealed(self, body: bytes) -> bytes:
        return envelope.seal(self.key, TOPIC, body, self.der)

    def read_beat(self, body: bytes) -> object:
        return envelope.decode_beat(body, self.nid)

    def open(self, data: bytes) -> object:
        body = self.opener.open(TOPIC, self.nid, data, NOW)
        return self.read_beat(body) if body is not None else None

    def roster_of(self, body: bytes) -> object:
        signature = certs.sign(self.made.key, ROSTER_CONTEXT + body)
        signed = trunk_pb2.SignedRoster(body=body, signature=signature)
        return read_roster(signed.SerializeToString(), self.made.ca_der)

    def roster_body(self) -> bytes:
        return trunk_pb2.SignedRoster.FromString(self.made.roster(NOW)).body

    def answer(self, data: bytes) -> object:
        return enrol.answer(self.made, data, NOW)

    def answer_signed(self, data: bytes) -> object:
        """A request whose parts are hostile, but which is signed by a key of the sender's."""
        name = data[:20].decode("latin-1")
        endpoints = [part.decode("latin-1") for part in data[20:].split(b"\n")[:12]]
        request = enrol.admit_request(self.key, SECRET, self.pin, name, endpoints, NOW)
        return enrol.answer(self.made, request, NOW)

    def hello(self, data: bytes) -> object:
        return enrol.read_hello(data, self.leaf, self.pin, NOW)

    def hello_leaf(self, data: bytes) -> object:
        return enrol.read_hello(enrol.hello(self.made, NOW), data, self.pin, NOW)

    def read_reply(self, data: bytes) -> object:
        return enrol.read_reply(data, self.made.ca_der, certs.public_bytes(self.key), NOW)

    def farewell(self, data: bytes) -> object:
        return enrol.read_farewell(data, self.made.ca_der)

    def certificate(self, data: bytes) -> object:
        return certs.verify_node(data, self.made.ca_der, NOW)


def _client_hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError


def _frame(data: bytes) -> object:
    reader = asyncio.StreamReader(loop=_loop())
    reader.feed_data(data)
    reader.feed_eof()
    try:
        return _loop().run_until_complete(gate.read_frame(reader, enrol.MAX_REQUEST_BYTES))
    except asyncio.IncompleteReadError:
        return b""  # how a stream ends; the callers expect it


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _item() -> Item:
    given = pack_given({"mood": "dark", "tags": ["a", "b"], "rating": 4.5})
    return Item("drums/kick.wav", (("node-a", 3), ("node-b", 1)), bytes(32), 4096, 5, given)


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _wire() -> list[Decoder]:
    beat = Heartbeat("a", 5, 1, 9, 77, False, (Neighbour("b", 1),), claim=Claim("auto", 1, "b"))
    ranges = (
        Range(b"a/b\0", Kind.SUM, bytes(SUM)),
        Range(b"c\0", Kind.LIST, bytes(32)),
    )
    return [
        Decoder("wire heartbeat", wire.unpack_heartbeat, [wire.pack_heartbeat(beat)]),
        Decoder("wire items", wire.unpack_items, [wire.pack_items([_item()] * 3)]),
        Decoder("given", unpack_given, [_item().given]),
        Decoder("wire note", wire.unpack_note, [wire.pack_note(_item(), here=True)]),
        Decoder(
            "wire head",
            wire.unpack_head,
            [wire.pack_head(wire.Head(5.0, 1, 2, 3, 4, bytes(SUM), bytes(8), "drums/", True))],
        ),
        Decoder("wire since", wire.unpack_since, [wire.pack_since(1, 2, "drums/")]),
        Decoder("wire told", wire.unpack_told, [wire.pack_told(b"items", {"ab12": bytes(90)}, 3)]),
        Decoder(
            "wire parts",
            lambda data: wire.unpack_parts(data, 8),
            [wire.pack_parts([b"one", b"two"])],
        ),
        Decoder("wire piece", wire.unpack_piece, [wire.pack_piece("abc", -1)]),
        Decoder(
            "wire delta",
            wire.unpack_delta,
            [wire.pack_delta(Delta(1, 0, 9, False, (_item(),) * 3))],
        ),
        Decoder("wire frame", wire.unpack_frame, [wire.pack_frame(Frame(b"", ranges))]),
        Decoder(
            "wire wanted",
            wire.unpack_wanted,
            [wire.pack_wanted(Wanted(b"a", b"b", frozenset({bytes(FINGERPRINT)})))],
        ),
    ]


def _identity(realm: _Realm) -> list[Decoder]:
    code = invites.encode(
        Invite(
            realm.pin,
            SECRET,
            int(NOW),
            (Endpoint("10.0.0.1", 5), Endpoint("studio.example", 7), Endpoint("::1", 9)),
        )
    ).encode()
    failure = enrol_pb2.EnrolReply(failure=enrol_pb2.Failure(error="Revoked", what="no"))
    return [
        Decoder("invite", _text(invites.decode), [code, code.replace(b"-", b"").lower()]),
        Decoder(
            "endpoint",
            _text(invites.parse_endpoint),
            [b"10.0.0.1:5", b"[fe80::1]:65535", b"studio.example:50051"],
        ),
        Decoder("request", realm.answer, [realm.request, *realm.others]),
        Decoder("signed request", realm.answer_signed, [b"laptop" + b" " * 14 + b"10.0.0.1:5"]),
        Decoder("greeting", realm.hello, [enrol.hello(realm.made, NOW)]),
        Decoder("greeting's certificate", realm.hello_leaf, [realm.leaf, realm.der]),
        Decoder("reply", realm.read_reply, [realm.reply, failure.SerializeToString()]),
        Decoder("farewell", realm.farewell, [realm.reply]),
        Decoder("certificate", realm.certificate, [realm.der, realm.made.ca_der]),
        Decoder("frame", _frame, [gate.frame(b"x" * 50), gate.frame(b"")]),
        Decoder("standing", standing.read_choice, [
            b'{"mode": "auto", "relay": true, "advertise": ["10.0.0.1:5"]}'
        ]),
    ]  # fmt: skip


def _charter(realm: _Realm) -> Decoder:
    founder = node_id(certs.public_bytes(realm.key))
    charter = Charter(collection_id("loops", founder))
    charter.make(EVERYONE, Role.READER, realm.key)
    charter.make("b" * len(founder), Role.EDITOR, realm.key)
    return Decoder("charter", lambda data: read_grants(charter.collection, data), [charter.pack()])


def _trunk(realm: _Realm) -> list[Decoder]:
    return [
        _charter(realm),
        Decoder("envelope", realm.open, [realm.sealed(realm.beat()), realm.sealed(b"")]),
        Decoder("heartbeat", realm.read_beat, [realm.beat()]),
        Decoder(
            "roster", lambda data: read_roster(data, realm.made.ca_der), [realm.made.roster(NOW)]
        ),
        Decoder("signed roster", realm.roster_of, [realm.roster_body()]),
        Decoder(
            "step",
            passage.unpack_step,
            [passage.pack_step(passage.Step(bytes(16), 7, False, _client_hello("gate.hydramesh")))],
        ),
        Decoder("step back", passage.unpack_back, [passage.pack_back(b"hello", ends=True)]),
        Decoder(
            "client hello",
            server_name,
            [_client_hello(None), _client_hello("gate.hydramesh"), _client_hello("example.org")],
        ),
    ]


@cache
def decoders() -> dict[str, Decoder]:
    """All of them by name."""
    realm = _Realm()
    return {each.name: each for each in (*_wire(), *_identity(realm), *_trunk(realm))}


#: So that tests have their names without making keys while they are collected.
NAMES = (
    "wire heartbeat", "wire items", "wire note", "wire head", "wire since", "wire told",
    "wire parts", "wire piece", "charter", "wire delta", "wire frame", "wire wanted", "invite",
    "endpoint",
    "request", "signed request", "greeting", "greeting's certificate", "reply", "farewell",
    "certificate", "frame", "standing", "envelope", "heartbeat", "roster", "signed roster",
    "client hello", "step", "step back", "given",
)  # fmt: skip
