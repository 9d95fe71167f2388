"""Session timers on the wire: refreshed by either side by UPDATE or re-INVITE, refused when short, or ended."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.sip.events import CallAnswered, CallEnded, CallOffered, ChangeAnswered, ChangeFailed, OfferChanged
from gateway.sip.message import Request
from tests.sip.raw import PHONE, SDP, ask, invite, reply
from tests.sip.talk import (
    MOVED,
    OFFER,
    Phone,
    answer,
    called,
    dialling,
    methods,
    ours,
    phone_called,
    settled,
    talking,
    two,
)
from tests.sip.wire import Wire, pair, short

SHORT = {"session_expires": 60, "min_se": 20}


def requests(wire: Wire, method: str) -> list[tuple[float, Request]]:
    """What was sent of a method, and when after the start, without repeats."""
    found: dict[int, tuple[float, Request]] = {}
    for at, _, _, message in wire.log:
        if isinstance(message, Request) and message.method == method:
            found.setdefault(message.cseq[0], (round(at - 1000, 1), message))
    return list(found.values())


def test_a_standing_call_is_refreshed_at_half_time_by_update_without_a_word_to_the_users() -> None:
    wire, caller, gateway, call, _ = talking({"session_expires": 60}, min_se=20, session_expires=1800)
    before = len(caller.events), len(gateway.events)
    wire.run(250)
    sent = requests(wire, "UPDATE")
    assert [round(b - a) for (a, _), (b, _) in pairwise(sent)] == [45] * (len(sent) - 1)
    assert len(sent) >= 5
    assert all(update.body == b"" and update.get("Session-Expires") == "90;refresher=uac" for _, update in sent)
    assert (len(caller.events), len(gateway.events)) == before
    caller.hangup(call)
    settled(wire, caller, gateway)


def test_who_refreshes_is_who_called_unless_the_answer_says_otherwise() -> None:
    phone, call = phone_called(config=SHORT)
    wire, node = phone.wire, phone.gateway
    assert phone.sent.get("Session-Expires") == "60"
    wire.raw[PHONE] = []
    wire.run(31)
    assert methods([phone.heard()[0]]) == ["UPDATE"]  # this phone knows no timers: we ask all the same
    answered_wire, other, _, sent = dialling(config=SHORT)
    told = {"Session-Expires": "60;refresher=uas", "Allow": "UPDATE"}
    ask(answered_wire, other, reply(sent, 200, body=SDP, **told))
    answered_wire.raw[PHONE] = []
    answered_wire.run(39)
    assert answered_wire.raw[PHONE] == []
    answered_wire.run(1.1)
    assert other.last(CallEnded).reason == "the session expired"
    assert call in node.endpoint.calls


def test_nobody_refreshes_so_the_call_is_ended_and_the_bye_says_why() -> None:
    wire, gateway, offered = called(config=SHORT, Session_Expires="60;refresher=uac", Supported="timer")
    gateway.answer(offered.call, answer(offered.offer))
    wire.run(0.05)
    ok = Phone(wire, gateway).heard()[-1]
    assert (ok.get("Session-Expires"), ok.get("Require")) == ("60;refresher=uac", "timer")
    phone = Phone(wire, gateway, tag=ok.to.tag)
    phone.say("ACK")
    wire.run(39)
    assert gateway.of(CallEnded) == []
    wire.raw[PHONE] = []
    wire.run(1.2)
    (bye,) = phone.heard()
    assert (bye.method, bye.get("Reason")) == ("BYE", 'Q.850;cause=102;text="the session expired"')
    assert gateway.last(CallEnded) == CallEnded(offered.call, False, "the session expired", 102)


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_the_peers_refresh_keeps_the_call(method: str) -> None:
    wire, gateway, offered = called(config=SHORT, Session_Expires="60;refresher=uac", Supported="timer")
    gateway.answer(offered.call, answer(offered.offer))
    wire.run(0.05)
    phone = Phone(wire, gateway, tag=Phone(wire, gateway).heard()[-1].to.tag)
    phone.say("ACK")
    for _ in range(3):
        wire.run(30)
        more = {"Session_Expires": "60;refresher=uac", "Supported": "timer"}
        said = phone.say(method, SDP if method == "INVITE" else "", **more)
        assert [m.status for m in said] == [200]
        assert said[0].get("Session-Expires") == "60;refresher=uac"
        if method == "INVITE":
            assert b"m=audio 6000" in said[0].body
            phone.say("ACK")
    assert gateway.of(OfferChanged) == []
    assert gateway.endpoint.calls == (offered.call,)


def test_a_peer_without_update_is_refreshed_by_reinvite_with_the_same_description() -> None:
    wire, node, call, sent = dialling(config=SHORT)
    told = {"Session-Expires": "60;refresher=uac", "Allow": "INVITE, ACK, BYE"}
    ask(wire, node, reply(sent, 200, body=SDP, **told))
    wire.raw[PHONE] = []
    wire.run(30.05)
    (again,) = Phone(wire, node).heard()
    assert (again.method, again.body) == ("INVITE", sent.body)
    assert methods(ask(wire, node, reply(again, 200, body=SDP, **told))) == ["ACK"]
    assert node.of(ChangeAnswered) == []
    wire.raw[PHONE] = []
    wire.run(30.1)
    (again,) = Phone(wire, node).heard()
    ask(wire, node, reply(again, 200, body=MOVED, **told))
    assert node.last(ChangeAnswered).media.port == 4002
    assert node.endpoint.calls == (call,)


@pytest.mark.parametrize("status", [405, 501, 488])
def test_a_refused_update_is_followed_by_a_reinvite(status: int) -> None:
    phone, call = phone_called(config=SHORT)
    phone.wire.raw[PHONE] = []
    phone.wire.run(30.05)
    (update,) = phone.heard()
    (again,) = phone.reply(update, status)
    assert again.method == "INVITE"
    phone.reply(again, 200, body=SDP, **{"Session-Expires": "60;refresher=uac"})
    assert phone.gateway.of(ChangeFailed) == []
    assert phone.gateway.endpoint.calls == (call,)


def test_a_refresh_that_fails_is_tried_once_more_and_then_the_call_ends() -> None:
    wire, node, call, sent = dialling(config=SHORT)
    told = {"Session-Expires": "60;refresher=uac", "Allow": "UPDATE"}
    ask(wire, node, reply(sent, 200, body=SDP, **told))
    for pause in (30.05, 15.05):
        wire.raw[PHONE] = []
        wire.run(pause)
        updates = [m for m in Phone(wire, node).heard() if m.method == "UPDATE"]
        if updates:
            ask(wire, node, reply(updates[0], 500))
    assert node.last(CallEnded) == CallEnded(call, False, "the session expired", 102)


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_that_finds_the_call_gone_ends_it(status: int) -> None:
    phone, call = phone_called(config=SHORT)
    phone.wire.raw[PHONE] = []
    phone.wire.run(30.05)
    (update,) = phone.heard()
    (bye,) = phone.reply(update, status)
    assert bye.method == "BYE"
    assert phone.gateway.last(CallEnded).call == call


def test_a_peer_that_vanished_is_noticed_though_it_knows_no_timers() -> None:
    phone, call = phone_called(config=SHORT)
    phone.wire.run(30 + 33)
    assert phone.gateway.last(CallEnded).call == call


def test_a_session_too_short_is_refused_and_asked_for_longer() -> None:
    wire, _, gateway = pair()
    (refused,) = ask(wire, gateway, invite(Session_Expires="60", Supported="timer"))
    assert (refused.status, refused.get("Min-SE")) == (422, "90")
    wire, caller, gateway = two({"session_expires": 30, "min_se": 20}, session_expires=600, min_se=300)
    caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.5)
    gateway.answer(gateway.last(CallOffered).call, answer(gateway.last(CallOffered).offer))
    wire.run(0.3)
    caller.last(CallAnswered)
    said = [short(m) for _, _, _, m in wire.log]
    assert said[:4] == ["INVITE", "422 INVITE", "ACK", "INVITE"]
    again = requests(wire, "INVITE")[1][1]
    assert (again.get("Session-Expires"), again.get("Min-SE")) == ("300", "300")


def test_a_refresh_too_short_is_refused_inside_the_call() -> None:
    phone, call = phone_called()
    (refused,) = phone.say("UPDATE", Session_Expires="60", Supported="timer")
    assert (refused.status, refused.get("Min-SE")) == (422, "90")
    assert call in phone.gateway.endpoint.calls


def test_a_change_is_a_refresh_and_a_refresh_waits_for_a_change() -> None:
    phone, call = phone_called(config=SHORT)
    wire, node = phone.wire, phone.gateway
    wire.run(20)
    node.change(call, ours(6002))
    wire.run(0.02)
    change = phone.heard()[-1]
    phone.reply(change, 200, body=MOVED, Allow="UPDATE", **{"Session-Expires": "60;refresher=uac"})
    wire.raw[PHONE] = []
    wire.run(29)
    assert wire.raw[PHONE] == []
    wire.run(1.1)
    assert methods([phone.heard()[0]]) == ["UPDATE"]
    node.change(call, ours(6004))  # waits for the refresh
    assert methods([phone.heard()[-1]]) == ["UPDATE"]
    (again,) = phone.reply(phone.heard()[0], 200)
    assert (again.method, b"m=audio 6004" in again.body) == ("INVITE", True)


def test_timers_can_be_left_to_the_peers() -> None:
    wire, caller, gateway, call, _ = talking({"session_expires": 0}, session_expires=0)
    wire.run(4000)
    assert wire.starts() == ["INVITE", "100 INVITE", "200 INVITE", "ACK"]
    caller.hangup(call)
    settled(wire, caller, gateway)
