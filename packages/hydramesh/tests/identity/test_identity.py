"""Certificates, invites, books and enrolment: what is admitted, and each named refusal."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydramesh import errors
from hydramesh.identity import certs, enrol, invites, ledger, names
from hydramesh.identity.invites import Endpoint, Invite
from hydramesh.identity.roster import make_roster, read_roster
from hydramesh.v1 import enrol_pb2

NOW = 1_800_000_000.0
SECRET = bytes(range(16))


def authority(realm="band", now=NOW):
    ca_key, ca_der = certs.make_authority(realm, now)
    own = certs.public_bytes(certs.new_key())
    books, member = ledger.found(ledger.Ledger(life_s=3600), own, "studio", now)
    return enrol.Authority(ca_key, ca_der, realm, member.nid, books)


def invited(made, *, name="", life_s=600.0, secret=SECRET):
    digest = invites.secret_digest(secret)
    return replace(made, ledger=ledger.with_invite(made.ledger, digest, name, life_s, NOW))


def ask(made, key, *, secret=SECRET, name="laptop", now=NOW, endpoints=()):
    request = enrol.admit_request(key, secret, certs.pin(made.ca_der), name, endpoints, now)
    return enrol.answer(made, request, now)


def admitted(made, key, **given):
    reply, books = ask(made, key, **given)
    certificate, roster = enrol.read_reply(
        reply, made.ca_der, certs.public_bytes(key), given.get("now", NOW)
    )
    return certificate, roster, replace(made, ledger=books)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", "A", "-a", "a-", "a/b", "a\n", "a" * 33, "ä", "../x", "a\0"])
def test_what_is_no_name(bad):
    with pytest.raises(errors.InvalidName):
        names.check_name(bad)


@given(st.text())
def test_any_host_gives_a_name(host):
    assert names.check_name(names.name_from_host(host))


# -- certificates ----------------------------------------------------------------------------------


def node(made, *, now=NOW, life_s=3600.0, name="laptop"):
    key = certs.new_key()
    der = certs.sign_node(made.key, made.ca_der, certs.public_bytes(key), name, now, life_s)
    return key, der


def test_a_certificate_says_who_it_is():
    made = authority()
    key, der = node(made)
    read = certs.verify_node(der, made.ca_der, NOW)
    assert read.name == "laptop"
    assert read.nid == names.node_id(certs.public_bytes(key))
    assert read.realm_id == certs.realm_id(made.ca_der)
    assert not read.authority
    assert read.renew_at() == pytest.approx(NOW + 2400, abs=2)


def test_a_certificate_of_another_realm_is_refused():
    _, der = node(authority())
    with pytest.raises(errors.WrongRealm):
        certs.verify_node(der, authority().ca_der, NOW)


def test_times_are_checked():
    made = authority()
    _, der = node(made)
    assert certs.verify_node(der, made.ca_der, NOW - 200)
    with pytest.raises(errors.ClockSkew):
        certs.verify_node(der, made.ca_der, NOW - 7200)
    with pytest.raises(errors.CertificateExpired):
        certs.verify_node(der, made.ca_der, NOW + 3700)


@given(st.binary(max_size=600))
def test_any_bytes_as_a_certificate(data):
    with pytest.raises(errors.CertificateInvalid):
        certs.load_certificate(data)


def test_a_long_certificate_is_refused_unread():
    with pytest.raises(errors.MessageTooLarge):
        certs.load_certificate(bytes(5000))


# -- invites ---------------------------------------------------------------------------------------

hosts = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True),
)
endpoints = st.builds(Endpoint, hosts, st.integers(1, 65535))
some_invites = st.builds(
    Invite,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.lists(endpoints, min_size=1, max_size=4).map(tuple),
)


@given(some_invites)
def test_a_code_gives_back_its_invite(invite):
    code = invites.encode(invite)
    assert invites.decode(code) == invite
    assert invites.decode(code.lower().replace("-", "  ")) == invite


@given(some_invites, st.data())
def test_a_mistyped_code_is_refused(invite, data):
    code = invites.encode(invite)
    at = data.draw(st.integers(4, len(code) - 1).filter(lambda i: code[i] != "-"))
    letter = data.draw(st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
    wrong = code[:at] + letter + code[at + 1 :]
    try:
        assert invites.decode(wrong) == invite  # the same letter, or a letter's unused bits
    except errors.InviteMalformed:
        assert letter != code[at]


@given(st.one_of(st.text(max_size=200), st.text("HM10123456789ABCDEF- ").map("HM1".__add__)))
def test_any_text_as_a_code(text):
    with pytest.raises(errors.InviteMalformed) as caught:
        invites.decode(text)
    assert len(text) < 12 or text not in str(caught.value)


def test_nothing_shows_the_secret():
    invite = Invite(bytes(16), b"very-secret-code", 1, (Endpoint("::1", 1),))
    assert "very" not in repr(invite)
    assert b"very-secret-code".hex() not in repr(invite)


# -- enrolment -------------------------------------------------------------------------------------


def test_an_invite_admits_a_key():
    made, key = invited(authority()), certs.new_key()
    certificate, roster, made = admitted(made, key, endpoints=["10.0.0.2:50051"])
    assert certificate.name == "laptop"
    entry = roster.member(certificate.nid)
    assert entry is not None
    assert entry.endpoints == ("10.0.0.2:50051",)
    assert [each.name for each in roster.entries.values() if each.authority] == ["studio"]


def test_the_same_key_may_ask_again_after_a_lost_reply():
    made, key = invited(authority()), certs.new_key()
    first, _, made = admitted(made, key)
    again, _, _ = admitted(made, key)
    assert first.nid == again.nid


def refusal(reply):
    with pytest.raises(errors.HydraMeshError) as caught:
        enrol.read_reply(reply, b"", b"", NOW)
    return caught.value


def test_a_replayed_invite_is_refused():
    made = invited(authority())
    _, _, made = admitted(made, certs.new_key())
    reply, books = ask(made, certs.new_key(), name="other")
    assert isinstance(refusal(reply), errors.InviteUsed)
    assert books is made.ledger


def test_an_expired_and_an_unknown_invite_are_refused():
    made = invited(authority())
    reply, _ = ask(made, certs.new_key(), now=NOW + 601)
    assert isinstance(refusal(reply), errors.InviteExpired)
    reply, _ = ask(made, certs.new_key(), secret=bytes(16))
    assert isinstance(refusal(reply), errors.InviteUnknown)


def test_the_name_of_another_node_is_refused():
    made = invited(authority())
    reply, books = ask(made, certs.new_key(), name="studio")
    assert isinstance(refusal(reply), errors.DuplicateNode)
    assert not any(each.used_by for each in books.invites.values())


def test_the_invite_decides_the_name_if_it_has_one():
    made = invited(authority(), name="bert")
    certificate, _, _ = admitted(made, certs.new_key(), name="anna")
    assert certificate.name == "bert"


def test_a_key_that_the_joiner_does_not_have_is_not_certified():
    made, thief, victim = invited(authority()), certs.new_key(), certs.new_key()
    request = enrol_pb2.EnrolRequest.FromString(
        enrol.admit_request(thief, SECRET, certs.pin(made.ca_der), "x", (), NOW)
    )
    request.admit.public_key = certs.public_bytes(victim)
    reply, _ = enrol.answer(made, request.SerializeToString(), NOW)
    assert isinstance(refusal(reply), errors.CertificateInvalid)


@given(st.binary(max_size=400))
def test_any_bytes_as_a_request(data):
    made = MADE
    reply, books = enrol.answer(made, data, NOW)
    assert refusal(reply)
    assert books is made.ledger


MADE = authority()


@given(st.binary(max_size=400))
def test_any_bytes_as_greeting_reply_and_roster(data):
    for read in (
        lambda: enrol.read_hello(data, data, bytes(16), NOW),
        lambda: enrol.read_reply(data, MADE.ca_der, b"", NOW),
        lambda: read_roster(data, MADE.ca_der),
    ):
        with pytest.raises(errors.HydraMeshError):
            read()


# -- renewal, revocation, clocks -------------------------------------------------------------------


def renewed(made, key, *, now=NOW, told=None):
    request = enrol.renew_request(key, certs.pin(made.ca_der), (), told or now)
    return enrol.answer(made, request, now)


def test_a_node_renews_even_after_its_certificate_ended():
    made, key = invited(authority()), certs.new_key()
    _, _, made = admitted(made, key)
    late = NOW + 9 * 24 * 3600
    reply, _ = renewed(made, key, now=late)
    certificate, _ = enrol.read_reply(reply, made.ca_der, certs.public_bytes(key), late)
    assert certificate.not_after == pytest.approx(late + 3600, abs=2)


def test_a_revoked_node_gets_no_certificate():
    made, key = invited(authority()), certs.new_key()
    certificate, _, made = admitted(made, key)
    books, _ = ledger.expel(made.ledger, certificate.nid, NOW, "revoked")
    made = replace(made, ledger=books)
    reply, _ = renewed(made, key)
    assert isinstance(refusal(reply), errors.Revoked)
    roster = read_roster(made.roster(NOW), made.ca_der)
    assert roster.member(certificate.nid) is None
    assert roster.entries[certificate.nid].state == "revoked"
    reply, _ = ask(invited(made, secret=bytes(16)), key, secret=bytes(16))
    assert isinstance(refusal(reply), errors.Revoked)


def test_an_unknown_key_is_not_renewed():
    reply, _ = renewed(authority(), certs.new_key())
    assert isinstance(refusal(reply), errors.NotFound)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_wrong_clock_is_told_with_its_amount(hours):
    made, key = invited(authority()), certs.new_key()
    _, _, made = admitted(made, key)
    reply, _ = renewed(made, key, told=NOW + hours * 3600)
    error = refusal(reply)
    assert isinstance(error, errors.ClockSkew)
    assert "3 h 0 min" in error.why


def leaf(made):
    key = certs.new_key()
    return certs.sign_node(
        made.key, made.ca_der, certs.public_bytes(key), "studio", NOW, 3600, authority=True
    )


def test_the_greeting_is_checked_against_the_pin_and_the_clock():
    made = authority()
    said, pinned = enrol.hello(made, NOW), certs.pin(made.ca_der)
    assert enrol.read_hello(said, leaf(made), pinned, NOW).skew_s == 0
    with pytest.raises(errors.WrongRealm, match="another realm"):
        enrol.read_hello(said, leaf(made), certs.pin(authority().ca_der), NOW)
    with pytest.raises(errors.WrongRealm):
        enrol.read_hello(said, leaf(authority()), pinned, NOW)
    with pytest.raises(errors.WrongRealm, match="may not admit"):
        enrol.read_hello(said, node(made)[1], pinned, NOW)
    with pytest.raises(errors.ClockSkew):
        enrol.read_hello(said, leaf(made), pinned, NOW + 7200)


def test_leaving_frees_the_name():
    made, key = invited(authority()), certs.new_key()
    _, _, made = admitted(made, key)
    pinned = certs.pin(made.ca_der)
    reply, books = enrol.answer(made, enrol.leave_request(key, pinned, NOW), NOW)
    assert enrol.read_farewell(reply, made.ca_der).version > made.ledger.version
    made = invited(replace(made, ledger=books), secret=bytes(16))
    certificate, _, _ = admitted(made, certs.new_key(), secret=bytes(16))
    assert certificate.name == "laptop"


def test_books_survive_being_written():
    made, key = invited(authority()), certs.new_key()
    _, _, made = admitted(made, key, endpoints=["[::1]:5"])
    assert ledger.from_json(ledger.to_json(made.ledger)) == made.ledger
    with pytest.raises(errors.StateUnsafe):
        ledger.from_json({"members": [1]})


def test_a_forged_roster_is_refused():
    made, other = authority(), authority()
    forged = make_roster(made.ledger, "band", made.nid, other.key, NOW)
    with pytest.raises(errors.WrongRealm):
        read_roster(forged, made.ca_der)


def test_errors_cross_the_wire_with_their_kind():
    error = errors.from_wire("InviteUsed", "a", "b", "c")
    assert isinstance(error, errors.InviteUsed)
    assert type(errors.from_wire("Exception", "a", "", "")) is errors.HydraMeshError
    assert time.time() > 0
