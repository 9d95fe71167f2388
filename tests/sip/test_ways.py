"""Which way a message leaves: several places, several transports, the address each peer is told."""

from __future__ import annotations

import pytest

from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.events import CallFailed, CallOffered, CallProgress, ContactDown
from gateway.sip.message import Request, parse
from gateway.sip.place import Place
from gateway.sip.uri import hostport
from tests.sip.raw import SDP, reply, request
from tests.sip.wire import Node, Wire

OFFER = offer_answer.offer("10.0.0.2", 6000)
FIRST, SECOND = Place("10.0.0.8", 5060), Place("10.0.0.9", 5060)


def named(**config: object) -> tuple[Wire, Node]:
    """A node, and a name that leads to two places."""
    wire = Wire()
    wire.names["pbx.example"] = [FIRST, SECOND]
    return wire, wire.node("10.0.0.2", **config)


def heard(wire: Wire, place: Place) -> list[Request]:
    return [message for data in wire.raw.get(place, []) if isinstance(message := parse(data), Request)]


def test_a_name_without_an_address_fails_the_call() -> None:
    _wire, node = named()
    node.invite("sip:x@nowhere.example", OFFER)
    assert node.last(CallFailed).status == 503


def test_a_place_that_nobody_listens_at_is_left_for_the_next_with_a_new_branch() -> None:
    wire, node = named()
    node.invite("sip:x@pbx.example", OFFER)
    wire.run(0.02)
    node.unreachable(FIRST)
    wire.run(0.02)
    (one,), (two,) = heard(wire, FIRST), heard(wire, SECOND)
    assert (one.call_id, one.cseq, one.from_.tag) == (two.call_id, two.cseq, two.from_.tag)
    assert one.via.branch != two.via.branch
    assert node.endpoint.counters["failed_over"] == 1


@pytest.mark.parametrize(("status", "places"), [(503, 2), (486, 1), (500, 1)])
def test_503_goes_on_to_the_next_place_and_other_refusals_do_not(status: int, places: int) -> None:
    wire, node = named()
    node.invite("sip:x@pbx.example", OFFER)
    wire.run(0.02)
    node.receive(reply(heard(wire, FIRST)[0], status), FIRST)
    wire.run(0.02)
    assert len([place for place in (FIRST, SECOND) if any(r.method == "INVITE" for r in heard(wire, place))]) == places
    assert bool(node.of(CallFailed)) == (places == 1)


def test_silence_goes_on_to_the_next_place() -> None:
    wire, node = named()
    node.invite("sip:x@pbx.example", OFFER)
    wire.run(31.9)
    assert not heard(wire, SECOND)
    wire.run(0.2)
    assert heard(wire, SECOND)


def test_a_phone_that_rang_and_then_fell_silent_is_not_called_elsewhere() -> None:
    wire, node = named()
    call = node.invite("sip:x@pbx.example", OFFER)
    wire.run(0.02)
    node.receive(reply(heard(wire, FIRST)[0], 180), FIRST)
    assert node.last(CallProgress).status == 180
    node.hangup(call)
    wire.run(40)
    assert not heard(wire, SECOND)


def test_a_large_request_goes_over_tcp_first_and_over_udp_where_that_fails() -> None:
    wire, node = named(ports={"tcp": 5060})
    tcp = SECOND._replace(transport="tcp")
    node.invite("sip:x@10.0.0.9", OFFER, headers={"X-Long": "x" * 1300})
    wire.run(0.02)
    (request,) = heard(wire, tcp)
    assert request.via.transport == "TCP"
    assert request.get("Contact") == "<sip:trunkline@10.0.0.2:5060;transport=tcp>"
    node.unreachable(tcp)
    wire.run(0.02)
    (request,) = heard(wire, SECOND)
    assert request.via.transport == "UDP"
    assert request.get("Contact") == "<sip:trunkline@10.0.0.2:5060>"
    node.invite("sip:x@10.0.0.9;transport=udp", OFFER, headers={"X-Long": "x" * 1300})
    wire.run(0.02)
    assert len(heard(wire, tcp)) == 1


def test_peers_outside_are_told_the_address_that_they_see() -> None:
    wire, node = named(advertise={"udp": ("203.0.113.5", 15060)})
    for host, told in (("10.0.0.9", "10.0.0.2:5060"), ("198.51.100.7", "203.0.113.5:15060")):
        node.invite(f"sip:x@{host}", OFFER)
        wire.run(0.02)
        (request,) = heard(wire, Place(host, 5060))
        assert request.get("Contact") == f"<sip:trunkline@{told}>"
        assert request.via.sent_by == told
        node.receive(reply(request, 486), Place(host, 5060))
    assert len(node.of(CallFailed)) == 2


@pytest.mark.parametrize(
    ("outside", "ip", "told"),
    [
        ("198.51.100.7", "2001:db8::9", "[2001:db8::2]:5060"),
        ("198.51.100.7", "192.0.2.9", "198.51.100.7:15060"),
        ("2001:db8::7", "192.0.2.9", "10.0.0.2:5060"),
        ("sip.example.com", "2001:db8::9", "sip.example.com:15060"),
    ],
)
def test_peers_are_told_an_address_of_their_own_family(outside: str, ip: str, told: str) -> None:
    wire, node = named(advertise={"udp": (outside, 15060)}, host6="2001:db8::2")
    node.invite(f"sip:x@{hostport(ip, None)}", OFFER)
    wire.run(0.02)
    (request,) = heard(wire, Place(ip, 5060))
    assert request.get("Contact") == f"<sip:trunkline@{told}>"


def test_over_a_connection_requests_of_the_dialog_come_back_by_it() -> None:
    flow, pbx = Place("10.0.0.9", 40123, "tcp", 7), Trunk("pbx", ("10.0.0.0/24",))
    wire, node = named(ports={"tcp": 5060}, destinations=("8000",), trunks=(pbx,))
    via = "SIP/2.0/TCP 10.0.0.9:5060;branch=z9hG4bKtcp"
    node.receive(request("INVITE", body=SDP, Via=via), flow)
    call = node.last(CallOffered).call
    node.answer(call, offer_answer.answer(node.last(CallOffered).offer, "10.0.0.2", 6000))
    wire.run(0.02)
    answers = [parse(data) for data in wire.raw[flow]]
    assert [a.status for a in answers] == [200]
    assert answers[-1].get("Contact") == "<sip:trunkline@10.0.0.2:5060;transport=tcp>"
    ack = request("ACK", Via=via.replace("tcp", "ack"), to_tag=answers[-1].to.tag, drop=("Contact",))
    node.receive(ack, flow)
    node.hangup(call)
    wire.run(0.02)
    assert [r.method for r in heard(wire, flow)] == ["BYE"]


def test_a_lost_connection_takes_the_phones_that_registered_over_it() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", ports={"tcp": 5060}, accounts=(Account("1001", "pw"),))
    flow = Place("10.0.0.9", 40123, "tcp", 7)
    phone = wire.node("10.0.0.9", 40123, user="1001")
    phone.place = flow
    wire.nodes[flow] = wire.nodes.pop(Place("10.0.0.9", 40123))
    phone.register("sip:10.0.0.2", "sip:1001@10.0.0.2", Account("1001", "pw"))
    wire.run(0.2)
    assert node.contacts("sip:1001@10.0.0.2")
    node.disconnected(flow)
    assert node.last(ContactDown).reason == "connection lost"
