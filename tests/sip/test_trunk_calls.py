"""Calls by trunks: who is let in as whom, and where a call goes that goes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import SipError
from gateway.sip import offer_answer, sdp
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.dialling import Barred
from gateway.sip.events import CallAnswered, CallFailed, CallOffered
from gateway.sip.identity import Identity
from gateway.sip.message import Request, Response
from gateway.sip.place import Place
from gateway.sip.trunks import Destinations, RegisterAs
from gateway.sip.uri import parse_uri
from tests.sip.raw import PHONE, SDP, ask, invite, reply, request
from tests.sip.wire import Node, Wire, peek


def gateway(*trunks: Trunk, **config: object) -> tuple[Wire, Node]:
    wire = Wire()
    return wire, wire.node("10.0.0.2", **{"trunks": trunks, "destinations": ("*",), **config})


def pbx(**more: object) -> Trunk:
    return Trunk("pbx", ("10.0.0.9",), **more)


def status(wire: Wire, node: Node, data: bytes) -> int:
    """The status of the first answer; 100 where the user is asked."""
    return ask(wire, node, data, 0.3)[0].status


PAI = "<sip:+49301112222@carrier.example>"

# --- in -------------------------------------------------------------------------------------------------------------


def test_numbers_are_read_as_the_trunks_country_dials_them() -> None:
    wire, node = gateway(pbx(country="DE"))
    ask(wire, node, invite(uri="sip:040123456@10.0.0.2", From="<sip:030123456@10.0.0.9>;tag=a"))
    offered = node.last(CallOffered)
    assert (offered.caller, offered.dialled, offered.requested) == ("+4930123456", "+4940123456", "040123456")
    ask(wire, node, invite(uri="sip:112@10.0.0.2", branch="z9hG4bKb", call_id="2"))
    assert (node.last(CallOffered).dialled, node.last(CallOffered).caller) == ("112", "1001")


@pytest.mark.parametrize(("trust", "caller"), [(True, "+49301112222"), (False, "1001")])
def test_only_a_trusted_trunk_is_believed(trust: bool, caller: str) -> None:
    wire, node = gateway(pbx(trust=trust))
    ask(wire, node, invite(P_Asserted_Identity=PAI, Diversion="<sip:+4940555666@x>;reason=user-busy"))
    offered = node.last(CallOffered)
    assert offered.caller == caller
    assert [(each.number, each.reason) for each in offered.identity.diverted] == [("+4940555666", "user-busy")]


@pytest.mark.parametrize(("ip", "caller"), [("10.0.0.8", "+49301112222"), ("10.0.0.66", "1001")])
def test_whoever_knows_the_line_of_our_contact_is_not_believed_for_it(ip: str, caller: str) -> None:
    register = RegisterAs("4930123", Account("4930123", "secret"))
    wire, node = gateway(Trunk("a", server="sip:10.0.0.8", register=register, trust=True))
    node.connect_trunks()
    (asked,) = heard(wire, Place("10.0.0.8", 5060))
    contact = asked.get("Contact")
    node.receive(reply(asked, 200, Contact=f"{contact};expires=300"), Place("10.0.0.8", 5060))
    line = contact.partition(";line=")[2].rstrip(">")
    sent = invite(uri=f"sip:4930123@10.0.0.2;line={line}", P_Asserted_Identity=PAI).replace(b"10.0.0.9", ip.encode())
    node.receive(sent, Place(ip, 5060))
    assert (node.last(CallOffered).trunk, node.last(CallOffered).caller) == ("a", caller)


@pytest.mark.parametrize(("allowed", "code"), [(True, 100), (False, 433)])
def test_anonymous_callers_are_taken_or_not(allowed: bool, code: int) -> None:
    wire, node = gateway(pbx(anonymous=allowed))
    assert status(wire, node, invite(Privacy="id")) == code


def test_a_full_trunk_says_when_to_try_again() -> None:
    wire, node = gateway(pbx(max_calls=1))
    ask(wire, node, invite())
    (answer,) = ask(wire, node, invite(branch="z9hG4bKb", call_id="2", tag="b"))
    assert isinstance(answer, Response)
    assert answer.status == 503
    assert 1 <= int(answer.get("Retry-After") or 0) <= 5
    node.reject(node.last(CallOffered).call, 486)
    wire.run(0.05)
    assert status(wire, node, invite(branch="z9hG4bKc", call_id="3", tag="c")) == 100


def test_calls_a_second_are_limited_and_counted() -> None:
    wire, node = gateway(pbx(per_second=3))
    for n in range(5):
        node.receive(invite(branch=f"z9hG4bK{n}", call_id=str(n), tag=str(n)), PHONE)
    wire.run(0.3)
    assert {peek(data).via.branch: peek(data).status for data in wire.raw[PHONE]} == {
        f"z9hG4bK{n}": 100 if n < 3 else 503 for n in range(5)
    }
    assert node.endpoint.counters["trunk_full"] == 2
    wire.run(1.0)
    node.receive(invite(branch="z9hG4bK9", call_id="9", tag="9"), PHONE)
    assert len(node.of(CallOffered)) == 4


def test_a_trunk_may_prove_itself_with_a_password() -> None:
    account = Account("pbx1", "secret")
    wire, node = gateway(Trunk("pbx", account=account), domain="gw")
    caller = wire.node("10.0.0.9", user="1001", credentials=(account,))
    offer = sdp.parse(SDP.encode())
    caller.invite("sip:8000@10.0.0.2", offer, from_user="5551234")
    wire.run(1.0)
    offered = node.last(CallOffered)
    assert (offered.trunk, offered.caller, offered.aor) == ("pbx", "5551234", None)
    stranger = wire.node("10.0.0.8", user="x", credentials=(Account("pbx1", "wrong"),))
    stranger.invite("sip:8000@10.0.0.2", offer)
    wire.run(1.0)
    assert len(node.of(CallOffered)) == 1


def test_options_of_a_peer_are_answered() -> None:
    wire, node = gateway(pbx())
    assert status(wire, node, request("OPTIONS", uri="sip:10.0.0.2")) == 200


# --- out ------------------------------------------------------------------------------------------------------------

OFFER = offer_answer.offer("10.0.0.2", 6000, ("G722", "PCMU", "PCMA"))
A, B = Place("10.0.0.8", 5060), Place("10.0.0.9", 5060)
EVERYWHERE = Destinations(allow=("*",))


def dials(name: str, place: Place, **more: object) -> Trunk:
    return Trunk(name, server=f"sip:{place.ip}", **more)


def dialler(*trunks: Trunk, outside: Destinations = EVERYWHERE, **config: object) -> tuple[Wire, Node]:
    return gateway(*trunks, outside=outside, codecs=("G722", "PCMU", "PCMA"), **config)


def heard(wire: Wire, place: Place) -> list[Request]:
    wire.run(0.02)
    return [m for data in wire.raw.pop(place, []) if isinstance(m := peek(data), Request)]


def test_a_number_goes_out_as_the_trunk_wants_it() -> None:
    ours = dials("a", A, country="DE", number_format="national", caller_id="+4930999", identity="pai", codecs=("PCMA",))
    wire, node = dialler(ours)
    who = Identity("+4930123456", "Anna", "+4930123456", diversion=("<sip:+4940555@x>;reason=user-busy",), trusted=True)
    node.invite("+442071234567", OFFER, caller=who, left="+4930777777")
    (sent,) = heard(wire, A)
    assert sent.uri == "sip:00442071234567@10.0.0.8"
    assert sent.get("To") == "<sip:00442071234567@10.0.0.8>"
    assert sent.get("From").startswith('"Anna" <sip:030123456@10.0.0.8>;tag=')
    assert sent.get("P-Asserted-Identity") == '"Anna" <sip:030999@10.0.0.8>'
    assert sent.all("Diversion") == [
        "<sip:030777777@10.0.0.8>;reason=deflection;counter=1",
        "<sip:+4940555@x>;reason=user-busy",
    ]
    (stream,) = sdp.parse(sent.body).media
    assert [codec.name for codec in stream.codecs] == ["PCMA", "telephone-event"]


def test_a_call_that_is_sent_on_has_a_hop_less_so_that_it_never_goes_in_circles() -> None:
    wire, node = dialler(dials("a", A))
    node.invite("+442071234567", OFFER, caller=Identity("+4930123456", hops=2))
    (sent,) = heard(wire, A)
    assert sent.get("Max-Forwards") == "1"
    node.invite("+442071234567", OFFER, caller=Identity("+4930123456", hops=1))
    assert node.last(CallFailed).status == 483
    assert heard(wire, A) == []


def test_a_withheld_caller_stays_withheld_outside() -> None:
    wire, node = dialler(dials("a", A, identity="from"))
    node.invite("+442071234567", OFFER, from_user="anonymous")
    (sent,) = heard(wire, A)
    assert sent.from_.uri.host == "anonymous.invalid"
    assert sent.get("Privacy") == "id"


def test_a_trunk_that_was_registered_at_is_called_where_it_stands_and_by_its_route() -> None:
    line = Account("4930123", "secret")
    ours = Trunk("a", server="sip:carrier.example", domain="tel.example", register=RegisterAs("4930123", line))
    wire, node = dialler(ours)
    wire.names["carrier.example"] = [A, B]
    node.connect_trunks()
    (register,) = heard(wire, A)
    contact = register.get("Contact")
    node.receive(reply(register, 200, Contact=f"{contact};expires=300", Service_Route="<sip:10.0.0.9;lr>"), A)
    node.invite("tel:+44-20-7123-4567", OFFER)
    (sent,) = heard(wire, A)
    assert sent.uri == "sip:+442071234567@tel.example"
    assert sent.get("Route") == "<sip:10.0.0.9;lr>"
    assert "line=" in contact
    assert sent.get("Contact") == f"{contact.partition(';line=')[0]}>"
    assert sent.from_.uri == parse_uri("sip:4930123@tel.example")
    challenge = 'Digest realm="tel.example", nonce="n", qop="auth"'
    node.receive(reply(sent, 407, Proxy_Authenticate=challenge), A)
    again = heard(wire, A)[-1]
    assert 'username="4930123"' in again.get("Proxy-Authorization")


@pytest.mark.parametrize("status", [503, 500, 408, 407, 430])
def test_the_next_trunk_is_tried_where_the_first_is_to_blame(status: int) -> None:
    wire, node = dialler(dials("a", A, failover=("b",)), dials("b", B))
    call = node.invite("+442071234567", OFFER, trunk="a")
    (first,) = heard(wire, A)
    node.receive(reply(first, status), A)
    second = next(m for m in heard(wire, B) if m.method == "INVITE")
    assert second.call_id != first.call_id
    assert (node.endpoint.trunks["a"].calls_out, node.endpoint.trunks["b"].calls_out) == (0, 1)
    node.receive(reply(second, 200, body=SDP), B)
    answered = node.last(CallAnswered)
    assert (answered.call, answered.trunk) == (call, "b")
    node.hangup(call)
    assert node.endpoint.trunks["b"].calls_out == 0
    node.invite("+442071234567", OFFER, trunk="a")
    assert "INVITE" not in [m.method for m in heard(wire, A)]  # it rests
    assert [m.method for m in heard(wire, B)].count("INVITE") == 1


@pytest.mark.parametrize("status", [403, 404, 480, 486, 488, 600, 603])
def test_what_the_callee_says_is_believed(status: int) -> None:
    wire, node = dialler(dials("a", A, failover=("b",)), dials("b", B))
    node.invite("+442071234567", OFFER, trunk="a")
    node.receive(reply(heard(wire, A)[0], status), A)
    assert node.last(CallFailed).status == status
    assert heard(wire, B) == []


def test_a_phone_that_rang_is_not_called_by_another_trunk() -> None:
    wire, node = dialler(dials("a", A, failover=("b",)), dials("b", B))
    node.invite("+442071234567", OFFER, trunk="a")
    (sent,) = heard(wire, A)
    node.receive(reply(sent, 180), A)
    node.receive(reply(sent, 503), A)
    assert node.last(CallFailed).status == 503
    assert heard(wire, B) == []


def test_a_silent_trunk_is_left_after_a_while_and_its_late_answer_hung_up() -> None:
    wire, node = dialler(dials("a", A, failover=("b",), patience_s=3.0), dials("b", B))
    call = node.invite("+442071234567", OFFER, trunk="a")
    wire.run(2.9)
    assert heard(wire, B) == []
    first = heard(wire, A)[0]
    wire.run(0.2)
    second = heard(wire, B)[0]
    node.receive(reply(first, 200, tag="late", body=SDP), A)
    assert [m.method for m in heard(wire, B)] == ["ACK", "BYE"]  # where its Contact is
    node.receive(reply(second, 200, body=SDP), B)
    assert node.last(CallAnswered).trunk == "b"
    assert node.of(CallFailed) == []
    node.hangup(call)


def test_trying_is_enough_to_be_waited_for() -> None:
    wire, node = dialler(dials("a", A, failover=("b",), patience_s=3.0), dials("b", B))
    node.invite("+442071234567", OFFER, trunk="a")
    node.receive(reply(heard(wire, A)[0], 100), A)
    wire.run(60)
    assert heard(wire, B) == []


def test_every_server_of_a_trunk_gets_its_chance_before_the_next_trunk() -> None:
    third = Place("10.0.0.7", 5060)
    wire, node = dialler(Trunk("a", server="sip:a.example", failover=("b",), patience_s=3.0), dials("b", third))
    wire.names["a.example"] = [A, B]
    node.invite("+442071234567", OFFER, trunk="a")
    wire.run(3.1)
    assert heard(wire, B)
    assert heard(wire, third) == []
    wire.run(3.1)
    assert heard(wire, third)


def test_a_full_trunk_is_passed_over() -> None:
    wire, node = dialler(dials("a", A, failover=("b",), max_calls=1), dials("b", B))
    for _ in range(2):
        node.invite("+442071234567", OFFER, trunk="a")
    assert len(heard(wire, A)) == 1
    assert len(heard(wire, B)) == 1
    node.invite("+442071234567", OFFER, trunk="a")
    assert len(heard(wire, B)) >= 1
    assert node.of(CallFailed) == []


def test_a_call_that_no_trunk_takes_fails_at_once() -> None:
    wire, node = dialler(dials("a", A, max_calls=1))
    for _ in range(2):
        node.invite("+442071234567", OFFER)
    assert (node.last(CallFailed).status, node.last(CallFailed).reason) == (503, "No Trunk")
    assert len(heard(wire, A)) == 1


def test_nothing_is_dialled_that_is_not_listed() -> None:
    rules = Destinations(allow=("+44",), deny=("+449",), country="GB")
    wire, node = dialler(dials("a", A), outside=rules)
    for target in ("+4930123456", "+449098790879", "tel:+12025550100"):
        with pytest.raises(Barred) as barred:
            node.invite(target, OFFER)
        assert barred.value.status == 403
    with pytest.raises(Barred):
        node.invite("112", OFFER, trunk="a")
    with pytest.raises(SipError):
        node.invite("+442071234567", OFFER, trunk="b")
    assert heard(wire, A) == []
    assert node.endpoint.counters["dialling_barred"] == 4
    node.invite("tel:020-7123-4567", OFFER)
    assert heard(wire, A)[0].target.user == "+442071234567"


def test_what_may_be_spent_is_limited() -> None:
    wire, node = dialler(dials("a", A), outside=Destinations(allow=("*",), max_calls=1, per_minute=2))
    call = node.invite("+442071234567", OFFER)
    with pytest.raises(Barred) as barred:
        node.invite("+442071234567", OFFER)
    assert barred.value.status == 503
    node.hangup(call)
    wire.run(2)
    node.hangup(node.invite("+442071234567", OFFER))
    wire.run(2)
    with pytest.raises(Barred):
        node.invite("+442071234567", OFFER)


def test_a_short_number_that_is_listed_is_dialled_as_tel() -> None:
    wire, node = dialler(dials("a", A), outside=Destinations(allow=("112",)))
    node.invite("tel:112", OFFER)
    assert [m.uri for m in heard(wire, A)] == ["sip:112@10.0.0.8"]


def test_a_peer_that_registers_with_us_is_called_where_it_is() -> None:
    account = Account("pbx1", "secret")
    wire, node = gateway(Trunk("pbx", account=account), outside=EVERYWHERE, domain="gw.example")
    node.invite("200", OFFER, trunk="pbx")
    assert node.last(CallFailed).status == 503
    peer = wire.node("10.0.0.9", user="pbx1", trunks=(Trunk("gw", ("10.0.0.2",)),), destinations=("*",))
    peer.register("sip:10.0.0.2", "sip:pbx1@gw.example", account)
    wire.run(0.5)
    node.invite("200", OFFER, trunk="pbx")
    wire.run(0.5)
    assert peer.last(CallOffered).dialled == "200"


def test_nothing_of_a_call_outside_remains_when_it_is_over() -> None:
    wire, node = dialler(dials("a", A, failover=("b",), patience_s=1.0), dials("b", B, patience_s=1.0))
    for _ in range(20):
        node.invite("+442071234567", OFFER, trunk="a")
    wire.run(200)
    assert len(node.of(CallFailed)) == 20
    assert not node.endpoint.calls
    assert not node.endpoint.busy
    assert [state.calls_out for state in node.endpoint.trunks.values()] == [0, 0]


def test_a_trunk_that_takes_callers_back_is_told_numbers_as_it_writes_them() -> None:
    takes = Trunk("takes", server="sip:sbc.example.com", domain="carrier.example", country="DE", refer=True)
    takes = replace(takes, number_format="national")
    _, node = gateway(takes, pbx(server="sip:10.0.0.9"))
    assert node.endpoint.refer_uri("takes", "+4930123456") == "sip:030123456@carrier.example"
    assert node.endpoint.refer_uri("pbx", "+4930123456") is None
    assert node.endpoint.refer_uri("", "+4930123456") is None
