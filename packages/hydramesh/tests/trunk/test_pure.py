"""What comes from the network before anything is trusted: ClientHellos and sealed heartbeats."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages.hydramesh.tests.identity.test_identity import NOW, authority, node

from hydramesh import errors
from hydramesh.identity import certs, enrol
from hydramesh.membership.model import Claim, Heartbeat, Neighbour, Report, Status
from hydramesh.trunk import envelope
from hydramesh.trunk.clienthello import NotTls, server_name

TOPIC = "hm/x/hb/y"


def hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("name", [None, "gate.hydramesh", "example.org"])
def test_the_name_of_a_real_hello(name):
    data = hello(name)
    assert server_name(data) == (name or "")
    for end in range(len(data)):
        assert server_name(data[:end]) is None


@given(st.binary(max_size=300))
def test_any_bytes_as_a_hello(data):
    try:
        server_name(b"\x16\x03\x01" + data)
        assert server_name(data) is None or data[0] == 22
    except NotTls:
        pass


@given(st.data())
def test_a_damaged_hello(data):
    original = bytearray(hello("gate.hydramesh"))
    original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotTls):
        server_name(bytes(original))


MADE = authority()
KEY, DER = node(MADE)
NID = certs.read_node(DER, MADE.ca_der).nid
BEAT = Heartbeat(
    node=NID,
    instance=5,
    incarnation=1,
    seq=9,
    stamp_us=77,
    leaving=True,
    neighbours=(Neighbour("0" * 16, 5, True),),
    reports=(Report("1" * 16, 1, 0, Status.DEAD),),
    claim=Claim("auto", 3, "0" * 16),
    relay=True,
)


def opener():
    return envelope.Opener(MADE.ca_der)


def sealed(key=KEY, der=DER, topic=TOPIC, body=b"body"):
    return envelope.seal(key, topic, body, der)


def test_a_heartbeat_comes_back_whole():
    body = envelope.encode_beat(BEAT, NOW, 3, ["10.0.0.1:5"])
    box = opener()
    assert box.open(TOPIC, NID, sealed(der=b"", body=body), NOW) is None
    opened = box.open(TOPIC, NID, sealed(body=body), NOW)
    assert opened == body
    assert box.open(TOPIC, NID, sealed(der=b"", body=body), NOW) == body
    said = envelope.decode_beat(body, NID)
    assert said == envelope.Beat(BEAT, NOW, 3, ("10.0.0.1:5",))


def test_forgeries_are_refused():
    thief, thief_der = node(MADE, name="thief")
    other = authority()
    stranger, stranger_der = node(other)
    box = opener()
    box.open(TOPIC, NID, sealed(), NOW)
    with pytest.raises(errors.CertificateInvalid):
        box.open(TOPIC, NID, sealed(key=thief, der=b""), NOW)
    with pytest.raises(errors.CertificateInvalid):
        box.open(TOPIC, NID, sealed(key=thief, der=thief_der), NOW)
    with pytest.raises(errors.WrongRealm):
        box.open(TOPIC, NID, sealed(key=stranger, der=stranger_der), NOW)
    with pytest.raises(errors.CertificateInvalid):
        box.open("hm/x/other", NID, sealed(), NOW)
    with pytest.raises(errors.CertificateExpired):
        box.open(TOPIC, NID, sealed(der=b""), NOW + 7200)
    with pytest.raises(errors.MessageTooLarge):
        box.open(TOPIC, NID, bytes(40000), NOW)
    with pytest.raises(errors.MessageMalformed):
        envelope.decode_beat(envelope.encode_beat(BEAT, NOW, 1, ()), "0" * 16)


@pytest.mark.parametrize(
    "claim", [Claim('"];evil', 1), Claim("m" * 17, 1), Claim("auto", 1, "../x"), Claim("", 1)]
)
def test_a_claim_cannot_be_anything(claim):
    body = envelope.encode_beat(replace(BEAT, claim=claim), NOW, 1, ())
    with pytest.raises(errors.MessageMalformed):
        envelope.decode_beat(body, NID)


@pytest.mark.parametrize("time", [float("inf"), float("-inf"), float("nan")])
def test_a_time_is_a_number(time):
    with pytest.raises(errors.MessageMalformed):
        envelope.decode_beat(envelope.encode_beat(BEAT, time, 1, ()), NID)
    with pytest.raises(errors.MessageMalformed):
        enrol.check_skew(time, NOW, "the authority")
    reply, _ = enrol.answer(MADE, enrol.renew_request(KEY, certs.pin(MADE.ca_der), [], time), NOW)
    with pytest.raises(errors.MessageMalformed):
        enrol.read_farewell(reply, MADE.ca_der)


@given(st.binary(max_size=500))
def test_any_bytes_as_a_message(data):
    with contextlib.suppress(errors.HydraMeshError):
        assert opener().open(TOPIC, NID, data, NOW) is None
    with contextlib.suppress(errors.HydraMeshError):
        envelope.decode_beat(data, NID)
