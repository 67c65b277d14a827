"""Requests and answers of synchronisation as signed messages.

Members forward for each other, so a link does not say who asks. A request is signed by who asks,
over the key expression with the name of who is asked; an answer is signed over the request, so
neither can be used a second time for something else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from blake3 import blake3

from hydramesh.errors import HydraMeshError, MessageMalformed, Revoked
from hydramesh.identity.certs import SKEW_LIMIT_S
from hydramesh.identity.names import is_node_id
from hydramesh.identity.realm import Realm
from hydramesh.trunk.envelope import Opener, seal
from hydramesh.wire import MAX_MESSAGE_BYTES

_NID = 16
_TIME = 8
_NONCE = 8
_LIMIT = MAX_MESSAGE_BYTES + (1 << 16)


class Door:
    """Signs and checks; ``realm`` gives the realm as it is now."""

    def __init__(self, realm: Callable[[], Realm]) -> None:
        self._realm = realm
        self._opener = Opener(realm().ca_der)

    @property
    def nid(self) -> str:
        """This node's id."""
        return self._realm().nid

    def _seal(self, context: str, body: bytes) -> bytes:
        realm = self._realm()
        return seal(realm.key, context, body, realm.certificate.der)

    def _open(self, context: str, nid: str, data: bytes) -> bytes:
        entry = self._realm().roster.entries.get(nid)
        if entry is not None and entry.revoked:
            raise Revoked(f"{nid} was expelled")
        body = self._opener.open(context, nid, data, time.time(), _LIMIT)
        if body is None:
            raise MessageMalformed("a message came without a certificate")
        return body

    def request(self, topic: str, body: bytes) -> bytes:
        """A request for a topic."""
        now = int(time.time() * 1000).to_bytes(_TIME, "big")
        return self.nid.encode() + self._seal(topic, now + secrets.token_bytes(_NONCE) + body)

    def read_request(self, topic: str, data: bytes) -> tuple[str, bytes]:
        """(who asks, what).

        Raises:
            MessageMalformed and other named errors: it is none, is old, or of nobody who may.
        """
        nid = data[:_NID].decode("ascii", "replace")
        if not is_node_id(nid):
            raise MessageMalformed("a request names no node")
        body = self._open(topic, nid, data[_NID:])
        if len(body) < _TIME + _NONCE:
            raise MessageMalformed("a request is cut off")
        sent = int.from_bytes(body[:_TIME], "big") / 1000
        if abs(time.time() - sent) > SKEW_LIMIT_S:
            raise MessageMalformed("a request is old, or its sender's clock is wrong")
        return nid, body[_TIME + _NONCE :]

    def reply(self, topic: str, request: bytes, body: bytes) -> bytes:
        """The answer to a request."""
        return self._seal(_answer(topic, request), body)

    def read_reply(self, topic: str, nid: str, request: bytes, data: bytes) -> bytes:
        """What a node answered.

        Raises:
            HydraMeshError: the node did not write this, or not for this request.
        """
        return self._open(_answer(topic, request), nid, data)

    def announce(self, topic: str, body: bytes) -> bytes:
        """A message for whoever listens."""
        return self._seal(topic, body)

    def read_announcement(self, topic: str, nid: str, data: bytes) -> bytes | None:
        """What a node announced, or None if it did not write that."""
        try:
            return self._open(topic, nid, data)
        except HydraMeshError:
            return None


def _answer(topic: str, request: bytes) -> str:
    return f"{topic}#{blake3(request).hexdigest()}"
