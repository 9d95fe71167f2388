"""Peers that break off, say too much, or say what can't be used: every call ends, once, and nothing of it stays."""

from __future__ import annotations

import time

import pytest

from gateway.core.errors import SipError
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.edge import Listen
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallFailed,
    CallOffered,
    CallProgress,
    ChangeAnswered,
    OfferChanged,
    Registered,
)
from gateway.sip.message import Request, Response, parse
from gateway.sip.place import Place
from gateway.sip.trunks import Destinations, RegisterAs
from tests.sip.ends import counters, running, until
from tests.sip.raw import PHONE, SDP, ask, invite, reply, status
from tests.sip.talk import MOVED, Phone, answer, called, dialling, methods, ours, phone_talking, settled
from tests.sip.wire import Node, Wire, pair

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


# --- more than a call needs ----------------------------------------------------------------------------------------


def test_a_call_has_as_many_early_dialogs_as_phones_are_reached_and_no_more() -> None:
    wire, node, call, sent = dialling()
    for n in range(500):
        node.receive(reply(sent, 180, tag=f"t{n}"), PHONE)
    assert len(node.endpoint._stack.dialogs) == 16
    assert len(node.of(CallProgress)) == 16
    ask(wire, node, reply(sent, 200, tag="last", body=SDP))
    node.last(CallAnswered)
    assert len(node.endpoint._stack.dialogs) == 1
    node.hangup(call)
    settled(wire, node)


def test_answers_without_end_are_acknowledged_and_ended_once_each_and_lead_nowhere_else() -> None:
    wire, node, call, sent = dialling()
    victim = Place("10.0.0.77", 5060)
    ask(wire, node, reply(sent, 200, body=SDP))
    for n in range(500):
        node.receive(reply(sent, 200, tag=f"u{n}", body=SDP, Contact="<sip:v@10.0.0.77>"), PHONE)
    assert len(node.endpoint._stack.transactions) < 25
    wire.run(0.05)
    back = [m for m in came(wire) if m.to.tag.startswith("u")]
    assert sorted(m.method for m in back) == ["ACK"] * (500 - 15) + ["BYE"] * (500 - 15)
    wire.run(40)
    assert len({m.call_id + m.to.tag + m.method for m in came(wire, victim)}) == 15 * 2
    assert node.endpoint.calls == (call,)
    assert node.endpoint.counters["too_many_forks"] == 500 - 15
    node.hangup(call)
    settled(wire, node)


# --- routes, contacts, times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["<tel:+1>", "<http://x/>", "<sip:a;lr>, <mailto:x@y>", "oops"])
def test_a_record_route_that_leads_nowhere_is_refused(route: str) -> None:
    wire, _, gateway = pair()
    assert status(wire, gateway, invite(Record_Route=route)) == 400
    assert gateway.of(CallOffered) == []


def test_a_trunk_where_we_registered_hears_the_same_contact_throughout_the_call() -> None:
    wire, node, register = registering()
    grant(wire, node, register)
    call = node.invite("+4930123456", ours())
    wire.run(0.02)
    (sent,) = came(wire)
    contact = sent.get("Contact")
    assert contact == "<sip:l7@10.0.0.2:5060>"
    ask(wire, node, reply(sent, 200, body=SDP, Allow="INVITE, UPDATE"))
    node.change(call, ours(6002))
    wire.run(0.02)
    again = came(wire)[-1]
    assert (again.method, again.get("Contact")) == ("INVITE", contact)
    ask(wire, node, reply(again, 200, body=MOVED))
    node.last(ChangeAnswered)
    node.change(call, ours(6004), update=True)
    wire.run(0.02)
    update = came(wire)[-1]
    assert (update.method, update.get("Contact")) == ("UPDATE", contact)
    ask(wire, node, reply(update, 200, body=SDP.replace("a 1 1", "a 1 3")))
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    phone.say("INVITE", MOVED.replace("a 1 2", "a 1 4"))
    node.accept_change(call, ours(6004))
    wire.run(0.02)
    ok = phone.heard()[-1]
    assert (ok.status, ok.get("Contact")) == (200, contact)
    phone.say("ACK")
    node.refer(call, "sip:x@10.0.0.9")
    wire.run(0.02)
    refer = came(wire)[-1]
    assert (refer.method, refer.get("Contact")) == ("REFER", contact)


def test_an_invite_that_has_expired_already_is_given_up_at_once() -> None:
    wire, gateway, offered = called(Expires="0")
    wire.run(0.01)
    assert gateway.last(CallCancelled) == CallCancelled(offered.call, "expired")
    assert methods([parse(data) for data in wire.raw[PHONE]])[0] == "487 INVITE"


def test_a_registration_granted_while_we_leave_is_taken_back() -> None:
    wire, node, register = registering()
    node.close()
    assert node.endpoint.busy
    (again,) = grant(wire, node, register)
    assert (again.method, again.get("Expires"), again.call_id) == ("REGISTER", "0", register.call_id)
    ask(wire, node, reply(again, 200))
    assert not node.endpoint.busy
    assert node.of(Registered) == []
    settled(wire, node)


@pytest.mark.parametrize("code", [401, 403, 503])
def test_a_registration_that_was_not_granted_is_not_asked_for_again_when_we_leave(code: int) -> None:
    wire, node, register = registering()
    node.close()
    challenge = 'Digest realm="x", nonce="n", algorithm=MD5, qop="auth"'
    assert ask(wire, node, reply(register, code, WWW_Authenticate=challenge)) == []
    settled(wire, node)


@pytest.mark.parametrize(
    "how",
    [
        {"from_user": "\ud800"},
        {"from_display": "x\udfffy"},
        {"headers": {"X-Why": "\ud800"}},
        {"left": "\ud800"},
    ],
)
def test_text_that_no_message_can_hold_is_refused(how: dict[str, object]) -> None:
    _wire, node, _ = registering()
    for target in ("sip:x@10.0.0.9", "+4930123456"):
        with pytest.raises(SipError):
            node.invite(target, ours(), **how)
    with pytest.raises(SipError):
        node.invite("sip:\ud800@10.0.0.9", ours())
    assert node.endpoint.calls == ()


def test_a_call_of_ours_that_comes_back_for_another_number_is_no_loop() -> None:
    wire, _, gateway = pair()
    via = "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx, SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKy"
    ask(wire, gateway, invite(Via=via))
    gateway.last(CallOffered)
    assert status(wire, gateway, invite(Via=via.replace("Kx", "Kz"))) == 482  # but one request twice is


def test_credentials_name_the_uri_that_the_request_line_has_where_a_strict_router_is_asked_first() -> None:
    wire, node, call, sent = dialling(credentials=(Account("x", "pw"),))
    ask(wire, node, reply(sent, 200, body=SDP, Record_Route="<sip:10.0.0.9:5060>"))
    node.hangup(call)
    wire.run(0.02)
    bye = came(wire)[-1]
    ask(wire, node, reply(bye, 407, Proxy_Authenticate='Digest realm="x", nonce="n", algorithm=MD5, qop="auth"'))
    again = parse(wire.raw[PHONE][-1])
    assert (again.method, again.uri) == ("BYE", "sip:10.0.0.9:5060")
    assert 'uri="sip:10.0.0.9:5060"' in again.get("Proxy-Authorization")


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
