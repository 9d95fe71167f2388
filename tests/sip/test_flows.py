"""Which flow the requests of a dialog leave by: the one that stands, to where the peer is by now, never in clear where
the call began over TLS."""

from __future__ import annotations

import pytest

from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.events import CallFailed, CallOffered, OfferChanged
from gateway.sip.message import Message, Request, Response, parse
from gateway.sip.place import Place
from tests.sip.raw import SDP, ask, invite, reply, request
from tests.sip.talk import MOVED, answer, ours
from tests.sip.wire import Node, Wire

PBX = Trunk("pbx", ("10.0.0.0/24",))
PORTS = {"tcp": 5060, "tls": 5061, "ws": 8080}


class Caller:
    """Who calls a gateway from `source`, and may go on from another place. `via` and `contact` as they stand in its
    messages."""

    def __init__(self, source: Place, via: str, contact: str, **more: str) -> None:
        self.wire = Wire()
        self.node: Node = self.wire.node("10.0.0.2", ports=PORTS, trunks=(PBX,), destinations=("8000",))
        self.source, self.via, self.contact = source, via, contact
        self.cseq, self.tag = 0, ""
        self.say("INVITE", SDP, **more)
        offered = self.node.last(CallOffered)
        self.call = offered.call
        self.node.answer(self.call, answer(offered.offer))
        self.ok = self.accepted()
        self.tag = self.ok.to.tag
        self.say("ACK")

    def say(self, method: str, body: str = "", **more: str) -> list[Request | Response]:
        self.cseq += method != "ACK"
        via = f"{self.via};branch=z9hG4bK{method}{self.cseq}"
        named = {"to_tag": self.tag, "cseq": self.cseq, "body": body, "Via": via, "Contact": self.contact, **more}
        return ask(self.wire, self.node, request(method, **named), source=self.source)

    def accepted(self) -> Response:
        self.wire.run(0.05)
        response = parse(self.wire.raw[self.source][-1])
        assert isinstance(response, Response)
        assert response.status == 200
        return response

    def move(self, to: Place) -> None:
        """Goes on from another place, and says so by a re-INVITE."""
        self.source = to
        self.say("INVITE", MOVED)
        self.node.accept_change(self.call, answer(self.node.last(OfferChanged).offer))
        self.accepted()
        self.say("ACK")

    def byes(self, *lost: Place) -> list[Place]:
        """Where the BYE of the gateway goes; `lost` can't be reached."""
        self.wire.log.clear()
        self.node.hangup(self.call)
        for place in lost:
            self.node.unreachable(place)
        self.wire.run(0.05)
        return [target for _, source, target, message in self.wire.log if source == self.node.place and of(message)]


def of(message: Message) -> bool:
    return isinstance(message, Request) and message.method == "BYE"


# --- where the peer is by now -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "via", "contact"),
    [
        (
            Place("10.0.0.9", 40000),
            Place("10.0.0.9", 40777),
            "SIP/2.0/UDP 192.168.1.5:5060;rport",
            "<sip:1001@192.168.1.5:5060>",
        ),
        (
            Place("10.0.0.9", 40000, "ws", 1),
            Place("10.0.0.9", 40777, "ws", 2),
            "SIP/2.0/WS abc.invalid",
            "<sip:1001@abc.invalid;transport=ws>",
        ),
    ],
)
def test_a_peer_that_moved_is_asked_where_it_is_by_now(first: Place, then: Place, via: str, contact: str) -> None:
    caller = Caller(first, via, contact)
    caller.move(then)
    assert caller.byes() == [then]


def test_a_peer_that_never_moved_is_asked_where_it_was() -> None:
    first = Place("10.0.0.9", 40000)
    caller = Caller(first, "SIP/2.0/UDP 192.168.1.5:5060;rport", "<sip:1001@192.168.1.5:5060>")
    assert caller.byes() == [first]


def test_a_request_that_is_refused_moves_nobody() -> None:
    first = Place("10.0.0.9", 40000)
    caller = Caller(first, "SIP/2.0/UDP 192.168.1.5:5060;rport", "<sip:1001@192.168.1.5:5060>")
    caller.source, caller.cseq = Place("10.0.0.66", 40777), -1
    (refused,) = caller.say("INVITE", MOVED)
    assert isinstance(refused, Response)
    assert refused.status == 500
    assert caller.byes() == [first]


def test_a_proxy_on_a_websocket_is_reached_by_its_own_connection() -> None:
    flow = Place("10.0.0.9", 40000, "ws", 1)
    routes = {"Record_Route": "<sip:10.0.0.9:8080;transport=ws;lr>"}
    caller = Caller(flow, "SIP/2.0/WS 10.0.0.9:8080", "<sip:1001@abc.invalid;transport=ws>", **routes)
    assert caller.byes() == [flow]


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contact", ["<sip:1001@10.0.0.9:5060>", "<sip:1001@10.0.0.9:5060;transport=tcp>"])
def test_a_call_that_came_by_tls_never_goes_on_in_clear(contact: str) -> None:
    flow = Place("10.0.0.9", 50123, "tls", 7)
    caller = Caller(flow, "SIP/2.0/TLS 10.0.0.9:5061", contact)
    caller.node.disconnected(flow)
    assert caller.byes(flow) == [flow, Place("10.0.0.9", 5060, "tls", 0, "10.0.0.9")]
    assert caller.ok.get("Contact") == "<sip:trunkline@10.0.0.2:5061;transport=tls>"


@pytest.mark.parametrize("contact", ["<sip:1001@10.0.0.9:5060;transport=udp>", "<sip:1001@10.0.0.9:5060>"])
def test_a_secure_call_does_not_move_to_a_place_in_clear(contact: str) -> None:
    flow = Place("10.0.0.9", 50123, "tls", 7)
    caller = Caller(flow, "SIP/2.0/TLS 10.0.0.9:5061;rport", contact)
    caller.move(Place("10.0.0.9", 5060))
    assert {place.transport for place in caller.byes(flow)} == {"tls"}


def test_a_call_of_ours_that_left_by_tls_stays_on_it() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", ports=PORTS)
    server = Place("10.0.0.9", 5061, "tls", 0, "10.0.0.9")
    call = node.invite("sip:x@10.0.0.9;transport=tls", ours())
    wire.run(0.02)
    ask(wire, node, reply(parse(wire.raw[server][0]), 200, body=SDP, Contact="<sip:x@10.0.0.9:5060>"), source=server)
    node.hangup(call)
    wire.run(0.02)
    assert [(target, m.method) for _, s, target, m in wire.log if s == node.place and isinstance(m, Request)] == [
        (server, "INVITE"),
        (server, "ACK"),
        (server, "BYE"),
    ]


@pytest.mark.parametrize(("scheme", "calls"), [("sip", 1), ("sips", 2)])
def test_a_sips_call_is_redirected_to_sips_alone(scheme: str, calls: int) -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", ports=PORTS)
    server = Place("10.0.0.9", 5061, "tls", 0, "10.0.0.9")
    node.invite("sips:x@10.0.0.9", ours(), redirects=3)
    wire.run(0.02)
    sent = parse(wire.raw[server][0])
    assert sent.get("Contact") == "<sips:trunkline@10.0.0.2:5061;transport=tls>"
    ask(wire, node, reply(sent, 302, Contact=f"<{scheme}:y@10.0.0.9>"), source=server)
    assert sum(isinstance(m, Request) and m.method == "INVITE" for *_, m in wire.log) == calls
    assert len(node.of(CallFailed)) == 2 - calls


def test_sips_is_taken_over_tls_alone_and_answered_with_a_sips_contact() -> None:
    wire = Wire()
    node = wire.node(
        "10.0.0.2", ports=PORTS, trunks=(PBX,), destinations=("8000",), accounts=(Account("1001", "secret"),)
    )
    flow, uri = Place("10.0.0.9", 50123, "tls", 7), "sips:8000@10.0.0.2"
    via, contact = "SIP/2.0/TLS 10.0.0.9:5061;branch=z9hG4bKsips", "<sips:1001@10.0.0.9:5061>"
    (refused,) = ask(wire, node, invite(uri=uri))
    assert isinstance(refused, Response)
    assert refused.status == 416
    ask(wire, node, invite(uri=uri, Via=via, Contact=contact, call_id="2"), source=flow)
    offered = node.last(CallOffered)
    node.answer(offered.call, answer(offered.offer))
    wire.run(0.02)
    assert parse(wire.raw[flow][-1]).get("Contact") == "<sips:trunkline@10.0.0.2:5061;transport=tls>"
    asked = request("REGISTER", uri="sips:10.0.0.2", Via=via, Contact=contact, call_id="3")
    assert [m.status for m in ask(wire, node, asked, source=flow) if isinstance(m, Response)] == [401]


# --- ACK --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0.0, 120.0])
def test_the_ack_goes_where_the_answer_came_from(later: float) -> None:
    wire = Wire()
    dead, live = Place("10.0.0.50", 5060), Place("10.0.0.51", 5060)
    wire.names["proxy.test"] = [dead, live]
    node = wire.node("10.0.0.2")
    node.invite("sip:x@proxy.test", ours())
    wire.run(33)
    sent = parse(wire.raw[live][-1])
    ask(wire, node, reply(sent, 180, Contact="<sip:x@proxy.test>", Record_Route="<sip:proxy.test;lr>"), source=live)
    wire.run(later)
    ok = reply(sent, 200, body=SDP, Contact="<sip:x@proxy.test>", Record_Route="<sip:proxy.test;lr>")
    for _ in range(2):
        (ack,) = ask(wire, node, ok, source=live)
        assert isinstance(ack, Request)
        assert ack.method == "ACK"
