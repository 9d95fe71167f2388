"""Peers that break off, say too much, or say what can't be used: every call ends, once, and nothing of it stays."""

from __future__ import annotations

import time

import pytest

from gateway.core.errors import SipError
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.edge import Listen
from gateway.sip.events import (
    CallFailed,
    OfferChanged,
)
from gateway.sip.message import Request, Response, parse
from gateway.sip.place import Place
from gateway.sip.trunks import Destinations, RegisterAs
from tests.sip.ends import counters, running, until
from tests.sip.raw import PHONE, SDP, ask, reply
from tests.sip.talk import MOVED, Phone, answer, dialling, methods, ours, phone_talking, settled
from tests.sip.wire import Node, Wire

LINE = Account("l7", "pw")
EVERYWHERE = Destinations(allow=("*",), country="DE")


def registering(*others: Trunk, **more: object) -> tuple[Wire, Node, Request]:
    """A gateway that registers a trunk at PHONE, and the REGISTER: (wire, gateway, REGISTER)."""
    wire = Wire()
    line = Trunk("line", server="sip:10.0.0.9", register=RegisterAs("l7", LINE), **more)
    node = wire.node("10.0.0.2", trunks=(*others, line), outside=EVERYWHERE)
    node.connect_trunks()
    wire.run(0.1)
    return wire, node, next(m for m in came(wire) if m.method == "REGISTER")


def grant(wire: Wire, node: Node, register: Request, **more: str) -> list[Request | Response]:
    return ask(wire, node, reply(register, 200, Contact=f"{register.get('Contact')};expires=600", **more))


def came(wire: Wire, place: Place = PHONE) -> list[Request]:
    """The requests that came to a place since it was last asked."""
    found = [parse(data) for data in wire.raw.pop(place, [])]
    return [message for message in found if isinstance(message, Request)]


# --- what can't be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["oops", "<sip:a b>", "tel:+1", "<http://x>", "<>", "sip:", '"', "<sip:x"])
def test_a_service_route_that_is_none_is_left_out(route: str) -> None:
    wire, node, register = registering(max_calls=1)
    grant(wire, node, register, Service_Route=f"{route}, <sip:10.0.0.9;lr>")
    assert all(each == "<sip:10.0.0.9;lr>" for each in node.endpoint.trunks["line"].routes)
    node.invite("+4930123456", ours())
    wire.run(0.02)
    (sent,) = came(wire)
    assert sent.method == "INVITE"
    ask(wire, node, reply(sent, 486))
    assert node.last(CallFailed).status == 486
    assert node.endpoint.trunks["line"].calls_out == 0


def test_a_call_goes_over_to_a_trunk_whose_service_route_is_none() -> None:
    first = Trunk("first", server="sip:10.0.0.8", priority=1)
    wire, node, register = registering(first, priority=5)
    grant(wire, node, register, Service_Route="oops")
    node.invite("+4930123456", ours())
    wire.run(0.02)
    ask(wire, node, reply(came(wire, Place("10.0.0.8", 5060))[0], 500), source=Place("10.0.0.8", 5060))
    assert [m.method for m in came(wire)] == ["INVITE"]


# --- calls that break off ------------------------------------------------------------------------------------------


def test_a_phone_that_hangs_up_before_its_offer_is_answered_ends_the_call() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 200, body=SDP))
    node.last(OfferChanged)
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    assert "200 BYE" in methods(phone.say("BYE"))
    failed = node.last(CallFailed)
    assert (failed.call, failed.status) == (call, 487)
    with pytest.raises(SipError):
        node.accept_change(call, ours())
    assert methods(ask(wire, node, reply(sent, 200, body=SDP))) in ([], ["ACK"])
    settled(wire, node)


def test_an_offer_of_a_phone_that_nobody_answers_ends_the_call_in_time() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 200, body=SDP))
    wire.run(31)
    assert node.endpoint.calls == (call,)
    wire.run(2)
    assert len(node.of(CallFailed)) == 1
    assert [m.method for m in came(wire)] == ["ACK", "BYE", *["BYE"] * node.endpoint.counters["retransmitted"]]
    settled(wire, node)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_change_that_nobody_answers_is_refused_in_time_and_the_call_goes_on(method: str) -> None:
    phone, call = phone_talking()
    phone.say(method, MOVED)
    phone.gateway.last(OfferChanged)
    phone.wire.raw[PHONE] = []
    phone.wire.run(33)
    assert f"504 {method}" in methods(phone.heard())
    with pytest.raises(SipError):
        phone.gateway.accept_change(call, ours())
    if method == "INVITE":
        phone.say("ACK")
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, ours())
    phone.wire.run(0.05)
    assert methods(phone.heard())[-1] == "200 INVITE"
    assert phone.gateway.endpoint.calls == (call,)


def test_an_answer_to_a_change_is_not_repeated_once_the_call_is_over() -> None:
    phone, call = phone_talking()
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))
    phone.gateway.hangup(call, "done")
    phone.wire.run(0.05)
    bye = came(phone.wire)[-1]
    assert bye.method == "BYE"
    ask(phone.wire, phone.gateway, reply(bye, 200))
    phone.wire.raw[PHONE] = []
    phone.wire.run(100)
    assert phone.heard() == []
    settled(phone.wire, phone.gateway)


def test_one_bye_is_enough_where_neither_it_nor_the_answer_to_a_change_is_acknowledged() -> None:
    phone, call = phone_talking()
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))
    phone.wire.run(10)
    phone.gateway.hangup(call, "done")
    phone.wire.run(100)
    byes = {m.cseq[0] for m in came(phone.wire) if m.method == "BYE"}
    assert len(byes) == 1
    settled(phone.wire, phone.gateway)


def test_a_fork_that_rings_on_is_let_go_with_the_call() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 180, tag="one"))
    ask(wire, node, reply(sent, 200, tag="two", body=SDP))
    node.hangup(call)
    wire.run(0.02)
    bye = came(wire)[-1]
    assert bye.method == "BYE"
    ask(wire, node, reply(bye, 200))
    settled(wire, node)


# --- our own faults ------------------------------------------------------------------------------------------------


def broken(handle: str, call_id: str) -> None:
    raise RuntimeError("broken")


def test_a_call_that_can_not_be_begun_holds_nothing() -> None:
    wire, node, register = registering(max_calls=1)
    grant(wire, node, register)
    node.endpoint.on_dialog(broken)
    with pytest.raises(RuntimeError):
        node.invite("+4930123456", ours())
    assert node.endpoint.calls == ()
    assert node.endpoint.trunks["line"].calls_out == 0
    assert not node.endpoint.busy
    node.endpoint.on_dialog(lambda handle, call_id: None)
    node.invite("+4930123456", ours())
    wire.run(0.02)
    assert [m.method for m in came(wire)] == ["INVITE"]


def test_a_call_that_can_not_go_on_ends() -> None:
    first = Trunk("first", server="sip:10.0.0.8", priority=1)
    wire, node, register = registering(first, priority=5)
    grant(wire, node, register)
    call = node.invite("+4930123456", ours())
    node.endpoint.on_dialog(broken)
    with pytest.raises(RuntimeError):
        wire.run(40)
    wire.collect(node)
    assert (node.last(CallFailed).call, node.last(CallFailed).status) == (call, 500)
    assert node.endpoint.calls == ()
    assert [state.calls_out for state in node.endpoint.trunks.values()] == [0, 0]


async def test_an_alarm_that_fails_is_counted_and_the_next_one_rings() -> None:
    async with running(Listen("udp", "127.0.0.1")) as node:
        stack, rang = node.edge.endpoint._stack, []
        node.edge.endpoint.tick(time.monotonic())
        stack.after(0.01, lambda: broken("", ""))
        stack.after(0.02, lambda: rang.append(1))
        node.edge.settle()
        await until(lambda: rang)
        assert counters(node)["internal_errors"] == 1
