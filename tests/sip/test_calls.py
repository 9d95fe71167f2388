"""Calls between two endpoints of ours over a wire of values, and their races."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.errors import SipError
from gateway.sip import offer_answer, sdp
from gateway.sip.auth import Account, digest, fields, response
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    CallProgress,
    ChangeAnswered,
    ChangeFailed,
    InfoDigit,
    OfferChanged,
)
from gateway.sip.message import Request, parse
from tests.sip.raw import PHONE, SDP, ask, invite, reply, request, status
from tests.sip.wire import Node, Wire, pair

OFFER = offer_answer.offer("10.0.0.1", 4000)


MOVED = SDP.replace("a 1 1", "a 1 2").replace("4000", "4002")


def answer_to(offer: sdp.SessionDescription, ip: str = "10.0.0.2", port: int = 6000) -> sdp.SessionDescription:
    return offer_answer.answer(offer, ip, port)


def offered() -> tuple[Wire, Node, Node, str, CallOffered]:
    wire, caller, gateway = pair()
    call = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.3)
    return wire, caller, gateway, call, gateway.last(CallOffered)


def talking() -> tuple[Wire, Node, Node, str, str]:
    wire, caller, gateway, call, offer = offered()
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(0.1)
    caller.last(CallAnswered)
    gateway.last(CallConfirmed)
    return wire, caller, gateway, call, offer.call


def settled(wire: Wire, *nodes: Node) -> None:
    """Time passes; nothing lingers: no dialog, no transaction, no alarm; each call ended exactly once."""
    wire.run(200)
    for node in nodes:
        assert not node.endpoint.busy
        assert node.endpoint.calls == ()
        assert node.endpoint.next_timer() is None
        ends = [e.call for e in node.events if isinstance(e, (CallEnded, CallFailed, CallCancelled))]
        assert len(ends) == len(set(ends))


def test_a_call_is_offered_rung_answered_confirmed_and_ended_by_the_caller() -> None:
    wire, caller, gateway = pair()
    call = caller.invite(
        "sip:8000@10.0.0.2", OFFER, from_user="1001", from_display='Ann "A"', headers={"X-Why": "a\r\nVia: b"}
    )
    wire.run(0.3)
    offer = gateway.last(CallOffered)
    assert (offer.caller, offer.display, offer.dialled, offer.trunk) == ("1001", 'Ann "A"', "8000", "pbx")
    assert offer.headers["X-Why"] == "a Via: b"
    gateway.ring(offer.call)
    wire.run(0.1)
    assert caller.last(CallProgress).status == 180
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(0.1)
    answered = caller.last(CallAnswered)
    assert (answered.call, answered.media.ip, answered.media.port) == (call, "10.0.0.2", 6000)
    assert (answered.media.payload, answered.media.dtmf_payload) == (0, 101)
    assert gateway.last(CallConfirmed).answer is None
    caller.hangup(call, "done")
    wire.run(1)
    assert gateway.last(CallEnded) == CallEnded(offer.call, True, "done")
    assert caller.last(CallEnded) == CallEnded(call, False, "done")
    assert wire.starts() == ["INVITE", "100 INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]
    settled(wire, caller, gateway)


def test_the_gateway_hangs_up() -> None:
    wire, caller, gateway, _, call = talking()
    gateway.hangup(call, "goodbye")
    wire.run(0.1)
    assert caller.last(CallEnded).by_peer
    settled(wire, caller, gateway)


def test_both_hang_up_at_once() -> None:
    wire, caller, gateway, theirs, ours = talking()
    caller.hangup(theirs)
    gateway.hangup(ours)
    settled(wire, caller, gateway)
    assert [s for s in wire.starts() if "BYE" in s].count("200 BYE") == 2


@pytest.mark.parametrize("code", [404, 480, 486, 503, 603])
def test_a_rejection_reaches_the_caller(code: int) -> None:
    wire, caller, gateway, call, offer = offered()
    gateway.reject(offer.call, code, "No\r\nWay")
    wire.run(0.1)
    assert caller.last(CallFailed) == CallFailed(call, code, "No Way")
    assert gateway.last(CallEnded).by_peer is False
    settled(wire, caller, gateway)


def test_hangup_before_an_answer_refuses() -> None:
    wire, caller, gateway, _, offer = offered()
    gateway.hangup(offer.call)
    wire.run(0.1)
    assert caller.last(CallFailed).status == 480
    settled(wire, caller, gateway)


def test_early_media_and_the_same_words_in_the_answer() -> None:
    wire, caller, gateway, _, offer = offered()
    gateway.ring(offer.call, answer_to(offer.offer))
    wire.run(0.1)
    progress = caller.last(CallProgress)
    assert (progress.status, progress.media.port) == (183, 6000)
    gateway.answer(offer.call)
    wire.run(0.1)
    assert caller.last(CallAnswered).answer == progress.answer
    settled_after_hangup(wire, caller, gateway, offer.call)


def settled_after_hangup(wire: Wire, caller: Node, gateway: Node, call: str) -> None:
    gateway.hangup(call)
    settled(wire, caller, gateway)


# --- CANCEL -------------------------------------------------------------------------------------------------------


def test_cancel_while_it_rings() -> None:
    wire, caller, gateway, call, offer = offered()
    gateway.ring(offer.call)
    wire.run(0.1)
    caller.hangup(call, "gave up")
    assert caller.last(CallFailed).status == 487
    wire.run(0.1)
    assert gateway.last(CallCancelled) == CallCancelled(offer.call, "gave up")
    assert wire.starts()[-4:] == ["CANCEL", "200 CANCEL", "487 INVITE", "ACK"]
    with pytest.raises(SipError):
        gateway.answer(offer.call, answer_to(offer.offer))
    gateway.ring(offer.call)
    settled(wire, caller, gateway)
    assert wire.starts()[-1] == "ACK"


def test_cancel_waits_for_a_provisional_response() -> None:
    wire, caller, gateway = pair()
    call = caller.invite("sip:8000@10.0.0.2", OFFER)
    caller.hangup(call)
    assert wire.starts() == ["INVITE"]
    wire.run(0.3)
    assert wire.starts()[:3] == ["INVITE", "100 INVITE", "CANCEL"]
    gateway.last(CallCancelled)
    settled(wire, caller, gateway)


def test_cancel_crosses_the_answer_so_the_call_is_acknowledged_and_ended() -> None:
    wire, caller, gateway, call, offer = offered()
    caller.hangup(call)
    gateway.answer(offer.call, answer_to(offer.offer))
    settled(wire, caller, gateway)
    said = wire.starts()
    assert "200 CANCEL" in said
    assert "487 INVITE" not in said
    assert said.index("ACK") < said.index("BYE")
    assert gateway.last(CallEnded).by_peer
    assert caller.of(CallAnswered) == []


def test_a_phone_that_never_says_more_than_trying_is_let_go_after_cancel() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.invite("sip:x@10.0.0.9", OFFER)
    wire.run(0.02)
    sent = parse(wire.raw[PHONE][0])
    ask(wire, node, reply(sent, 100, tag=""))
    node.hangup(call)
    settled(wire, node)
    assert [e.status for e in node.of(CallFailed)] == [487]


def test_bye_in_an_early_dialog_is_a_cancel() -> None:
    wire, _caller, gateway = pair()
    ask(wire, gateway, invite())
    gateway.ring(gateway.last(CallOffered).call)
    wire.run(0.1)
    tag = parse(wire.raw[PHONE][-1]).to.tag
    answers = ask(wire, gateway, request("BYE", to_tag=tag, cseq=2, branch="z9hG4bKbye"))
    assert sorted(a.status for a in answers) == [200, 487]
    gateway.last(CallCancelled)


# --- 2xx and ACK --------------------------------------------------------------------------------------------------


def test_an_answer_is_repeated_until_64_t1_then_the_call_is_ended() -> None:
    wire, _caller, gateway = pair()
    ask(wire, gateway, invite())
    offer = gateway.last(CallOffered)
    start = wire.now
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(31.9)
    times = [round(t - start, 2) for t, _, _, m in wire.log if getattr(m, "status", 0) == 200]
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert gateway.of(CallEnded) == []
    wire.run(0.2)
    assert gateway.last(CallEnded) == CallEnded(offer.call, False, "no ACK came", 102)
    assert wire.starts()[-1] == "BYE"


def test_hangup_before_the_ack_waits_for_it() -> None:
    wire, _caller, gateway = pair()
    ask(wire, gateway, invite())
    offer = gateway.last(CallOffered)
    gateway.answer(offer.call, answer_to(offer.offer))
    gateway.hangup(offer.call, "changed my mind")
    wire.run(0.1)
    assert gateway.last(CallEnded).by_peer is False
    assert "BYE" not in wire.starts(gateway)
    tag = parse(wire.raw[PHONE][-1]).to.tag
    answers = ask(wire, gateway, request("ACK", to_tag=tag, branch="z9hG4bKack"))
    assert [a.method for a in answers if isinstance(a, Request)] == ["BYE"]


def test_a_lost_ack_is_sent_again_for_each_repeated_answer() -> None:
    wire, caller, gateway, _, offer = offered()
    lost: list[bytes] = []

    def lose_first_ack(data: bytes, source: object, target: object) -> list[float]:
        if data.startswith(b"ACK") and not lost:
            lost.append(data)
            return []
        return [0.01]

    wire.fate = lose_first_ack
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(2)
    assert wire.starts().count("ACK") == 2
    assert len(gateway.of(CallConfirmed)) == 1
    assert len(caller.of(CallAnswered)) == 1


def test_a_late_offer_is_answered_in_the_ack() -> None:
    wire, _caller, gateway = pair()
    ask(wire, gateway, invite(body=""))
    offer = gateway.last(CallOffered)
    assert offer.offer is None
    gateway.answer(offer.call, offer_answer.offer("10.0.0.2", 6000))
    wire.run(0.1)
    ok = parse(wire.raw[PHONE][-1])
    assert sdp.parse(ok.body).media[0].port == 6000
    ask(wire, gateway, request("ACK", to_tag=ok.to.tag, branch="z9hG4bKack", body=SDP))
    confirmed = gateway.last(CallConfirmed)
    assert (confirmed.media.ip, confirmed.media.port) == ("10.0.0.9", 4000)


def test_a_late_offer_without_an_answer_ends_the_call() -> None:
    wire, _caller, gateway = pair()
    ask(wire, gateway, invite(body=""))
    offer = gateway.last(CallOffered)
    gateway.answer(offer.call, offer_answer.offer("10.0.0.2", 6000))
    wire.run(0.1)
    tag = parse(wire.raw[PHONE][-1]).to.tag
    answers = ask(wire, gateway, request("ACK", to_tag=tag, branch="z9hG4bKack"))
    assert [a.method for a in answers if isinstance(a, Request)] == ["BYE"]
    assert gateway.last(CallEnded).by_peer is False


# --- inside the dialog --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["caller", "gateway"])
def test_hold_and_resume_by_either_side(direction: str) -> None:
    wire, caller, gateway, theirs, ours = talking()
    asker, call, other = (caller, theirs, gateway) if direction == "caller" else (gateway, ours, caller)
    for wish, expected in (("sendonly", False), ("inactive", False), ("sendrecv", True)):
        asker.change(call, offer_answer.offer("10.0.0.1", 4000, direction=wish))
        wire.run(0.1)
        changed = other.last(OfferChanged)
        other.accept_change(changed.call, offer_answer.answer(changed.offer, "10.0.0.2", 6000))
        wire.run(0.1)
        assert asker.last(ChangeAnswered).media.receive is expected
    versions = [int(m.body.split(b" ")[2]) for _, s, _, m in wire.log if s == asker.place and m.body.startswith(b"v=0")]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions)
    asker.hangup(call)
    settled(wire, caller, gateway)


def test_a_change_without_a_common_codec_is_refused_and_the_call_goes_on() -> None:
    wire, caller, gateway, call, _ = talking()
    video = sdp.SessionDescription((sdp.Media("video", 4002, "RTP/AVP", ("96",)),), "10.0.0.1")
    caller.change(call, video)
    wire.run(0.1)
    assert caller.last(ChangeFailed).status == 488
    assert gateway.of(OfferChanged) == []
    caller.hangup(call)
    settled(wire, caller, gateway)


def test_the_user_may_refuse_a_change() -> None:
    wire, caller, gateway, call, _ = talking()
    caller.change(call, offer_answer.offer("10.0.0.1", 4002))
    wire.run(0.1)
    gateway.reject_change(gateway.last(OfferChanged).call, 488)
    wire.run(0.1)
    assert caller.last(ChangeFailed).status == 488
    with pytest.raises(SipError):
        gateway.accept_change(gateway.last(OfferChanged).call, OFFER)


def test_two_changes_at_once_get_491_and_both_succeed_later() -> None:
    wire, caller, gateway, theirs, ours = talking()
    for node in (caller, gateway):
        node.on_event = accepting(node)
    caller.change(theirs, offer_answer.offer("10.0.0.1", 4002))
    gateway.change(ours, offer_answer.offer("10.0.0.2", 6002))
    wire.run(0.5)
    assert wire.starts().count("491 INVITE") == 2
    wire.run(10)
    assert caller.last(ChangeAnswered).call == theirs
    assert gateway.last(ChangeAnswered).call == ours
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def accepting(node: Node) -> Callable[[object], None]:
    def accept(event: object) -> None:
        if isinstance(event, OfferChanged):
            node.accept_change(event.call, offer_answer.answer(event.offer, node.place[0], 7000))

    return accept


def test_a_second_reinvite_before_the_first_is_answered_gets_500_with_retry_after() -> None:
    wire, gateway, tag, _ = raw_talk()
    assert ask(wire, gateway, invite(to_tag=tag, cseq=2, branch="z9hG4bK2", body=MOVED)) == []
    (answer,) = ask(wire, gateway, invite(to_tag=tag, cseq=3, branch="z9hG4bK3"))
    assert answer.status == 500
    assert 0 <= int(answer.get("Retry-After")) <= 10


def raw_talk(**more: str) -> tuple[Wire, Node, str, str]:
    """A call up between PHONE, spoken by hand, and the gateway: (wire, gateway, its tag, handle)."""
    wire, _, gateway = pair()
    ask(wire, gateway, invite(**more))
    offer = gateway.last(CallOffered)
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(0.05)
    tag = parse(wire.raw[PHONE][-1]).to.tag
    ask(wire, gateway, request("ACK", to_tag=tag, branch="z9hG4bKack"))
    gateway.last(CallConfirmed)
    return wire, gateway, tag, offer.call


def test_cancel_of_a_reinvite_leaves_the_call() -> None:
    wire, gateway, tag, call = raw_talk()
    ask(wire, gateway, invite(to_tag=tag, cseq=2, branch="z9hG4bK2", body=MOVED))
    answers = ask(wire, gateway, request("CANCEL", to_tag=tag, cseq=2, branch="z9hG4bK2"))
    assert sorted(a.status for a in answers) == [200, 487]
    assert gateway.endpoint.calls == (call,)


def test_bye_while_a_reinvite_waits() -> None:
    wire, gateway, tag, call = raw_talk()
    ask(wire, gateway, invite(to_tag=tag, cseq=2, branch="z9hG4bK2", body=MOVED))
    answers = ask(wire, gateway, request("BYE", to_tag=tag, cseq=3, branch="z9hG4bK3"))
    assert sorted(a.status for a in answers) == [200, 487]
    assert gateway.last(CallEnded) == CallEnded(call, True, "hung up")


def test_a_reinvite_without_an_offer_gets_ours() -> None:
    wire, gateway, tag, call = raw_talk()
    ask(wire, gateway, invite(to_tag=tag, cseq=2, branch="z9hG4bK2", body=""))
    assert gateway.last(OfferChanged).offer is None
    gateway.accept_change(call, offer_answer.offer("10.0.0.2", 6010))
    wire.run(0.05)
    assert sdp.parse(parse(wire.raw[PHONE][-1]).body).media[0].port == 6010
    ask(wire, gateway, request("ACK", to_tag=tag, cseq=2, branch="z9hG4bKa2", body=SDP))
    assert gateway.last(ChangeAnswered).media.port == 4000


def test_update_with_and_without_an_offer() -> None:
    wire, gateway, tag, call = raw_talk()
    assert status(wire, gateway, request("UPDATE", to_tag=tag, cseq=2, branch="z9hG4bK2")) == 200
    ask(wire, gateway, request("UPDATE", to_tag=tag, cseq=3, branch="z9hG4bK3", body=MOVED))
    gateway.accept_change(call, answer_to(gateway.last(OfferChanged).offer))
    wire.run(40)
    answers = [parse(data) for data in wire.raw[PHONE]]
    assert [a.status for a in answers] == [200]
    assert sdp.parse(answers[0].body).media[0].port == 6000


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/dtmf-relay", "Signal=5\r\nDuration=240\r\n", ("5", 240)),
        ("application/dtmf-relay", "Signal= *\r\n", ("*", 160)),
        ("application/dtmf-relay", "Signal=11\r\nDuration=junk", ("#", 160)),
        ("application/dtmf", "7", ("7", 160)),
        ("application/dtmf", "10", ("*", 160)),
        ("application/dtmf", " a\r\n", ("A", 160)),
    ],
)
def test_keys_come_by_info(kind: str, body: str, expected: tuple[str, int]) -> None:
    wire, gateway, tag, call = raw_talk()
    assert status(wire, gateway, request("INFO", to_tag=tag, cseq=2, branch="z9hG4bK2", kind=kind, body=body)) == 200
    digit = gateway.last(InfoDigit)
    assert (digit.call, digit.digit, digit.ms) == (call, *expected)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/dtmf", "x", 400),
        ("application/dtmf-relay", "Duration=1", 400),
        ("application/dtmf", "99", 400),
        ("text/plain", "5", 415),
        ("application/dtmf", "", 200),
    ],
)
def test_other_infos_press_no_key(kind: str, body: str, expected: int) -> None:
    wire, gateway, tag, _ = raw_talk()
    assert (
        status(wire, gateway, request("INFO", to_tag=tag, cseq=2, branch="z9hG4bK2", kind=kind, body=body)) == expected
    )
    assert gateway.of(InfoDigit) == []


@pytest.mark.parametrize(
    ("method", "cseq", "expected", "more"),
    [
        ("OPTIONS", 2, 200, {}),
        ("PUBLISH", 2, 405, {}),
        ("REFER", 2, 400, {}),
        ("TELEPORT", 2, 501, {}),
        ("INFO", 1, 500, {}),
        ("UPDATE", 2, 420, {"Require": "precondition"}),
        ("UPDATE", 2, 200, {"Require": "timer"}),
    ],
)
def test_other_requests_in_a_dialog(method: str, cseq: int, expected: int, more: dict[str, str]) -> None:
    wire, gateway, tag, _ = raw_talk()
    data = request(method, to_tag=tag, cseq=cseq, branch="z9hG4bK2", **more)
    assert status(wire, gateway, data) == expected


def test_record_routes_are_copied_and_used() -> None:
    routes = "<sip:10.0.0.9:5060;lr;a=1>, <sip:10.0.0.8;lr>"
    wire, gateway, _tag, call = raw_talk(Record_Route=routes)
    ok = next(m for _, s, _, m in wire.log if getattr(m, "status", 0) == 200)
    assert ok.get("Record-Route") == routes
    gateway.hangup(call)
    wire.run(0.02)
    bye = parse(wire.raw[PHONE][-1])
    assert bye.items("Route") == ["<sip:10.0.0.9:5060;lr;a=1>", "<sip:10.0.0.8;lr>"]
    assert bye.uri == "sip:1001@10.0.0.9:5060"


def test_a_strict_router_finds_itself_in_the_request_uri() -> None:
    wire, gateway, _tag, call = raw_talk(Record_Route="<sip:10.0.0.9:5060>, <sip:10.0.0.8;lr>")
    gateway.hangup(call)
    wire.run(0.02)
    bye = parse(wire.raw[PHONE][-1])
    assert bye.uri == "sip:10.0.0.9:5060"
    assert bye.items("Route") == ["<sip:10.0.0.8;lr>", "<sip:1001@10.0.0.9:5060>"]


def test_a_caller_behind_nat_is_spoken_to_where_it_came_from() -> None:
    wire, gateway, _, call = raw_talk(Contact="<sip:1001@192.168.0.7:5060>")
    gateway.hangup(call)
    wire.run(0.02)
    bye = parse(wire.raw[PHONE][-1])
    assert bye.method == "BYE"
    assert bye.uri == "sip:1001@192.168.0.7:5060"


# --- outbound -----------------------------------------------------------------------------------------------------


def dialling() -> tuple[Wire, Node, str, Request]:
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.invite("sip:x@10.0.0.9", offer_answer.offer("10.0.0.2", 6000))
    wire.run(0.02)
    return wire, node, call, parse(wire.raw[PHONE][0])


def test_a_silent_phone_fails_with_408_after_64_t1() -> None:
    wire, node, _call, _ = dialling()
    wire.run(31.9)
    assert node.events == []
    wire.run(0.2)
    assert node.last(CallFailed).status == 408
    settled(wire, node)


def test_a_phone_that_is_gone_fails_at_once_when_the_network_says_so() -> None:
    wire, node, call, _ = dialling()
    node.unreachable(PHONE)
    assert node.last(CallFailed) == CallFailed(call, 503, "Service Unavailable")
    settled(wire, node)


def test_answers_of_two_forks_keep_the_first_and_end_the_second() -> None:
    wire, node, call, sent = dialling()
    ask(wire, node, reply(sent, 180, tag="one"))
    ask(wire, node, reply(sent, 180, tag="two"))
    first = ask(wire, node, reply(sent, 200, tag="one", body=SDP))
    assert [m.method for m in first] == ["ACK"]
    second = ask(wire, node, reply(sent, 200, tag="two", body=SDP))
    assert [m.method for m in second] == ["ACK", "BYE"]
    assert all(m.to.tag == "two" for m in second)
    assert [m.method for m in ask(wire, node, reply(sent, 200, tag="two", body=SDP))] == ["ACK"]
    assert len(node.of(CallAnswered)) == 1
    assert node.endpoint.calls == (call,)


@pytest.mark.parametrize("body", ["", "nonsense", SDP.replace("RTP/AVP 0 8 101", "RTP/AVP 18")])
def test_an_answer_that_cannot_be_used_ends_the_call(body: str) -> None:
    wire, node, _call, sent = dialling()
    said = ask(wire, node, reply(sent, 200, body=body))
    assert [m.method for m in said] == ["ACK", "BYE"]
    assert node.last(CallFailed).status == 488
    ask(wire, node, reply(said[1], 200))
    settled(wire, node)


def test_redirection_is_not_followed() -> None:
    wire, node, _call, sent = dialling()
    ask(wire, node, reply(sent, 302))
    assert node.last(CallFailed).status == 302
    settled(wire, node)


def test_headers_are_named_properly_or_refused() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    for bad in ("X: y\r\nVia", "Via", "f", "call-id", "", "X Y", "l"):
        with pytest.raises(SipError):
            node.invite("sip:x@10.0.0.9", OFFER, headers={bad: "1"})
    node.invite("sip:x@10.0.0.9", OFFER, from_display='Zoë "Z"\r\nX: 1', headers={"X-Trunkline-Intent": "贷款\r\nX: 2"})
    wire.run(0.02)
    sent = parse(wire.raw[PHONE][0])
    assert sent.get("X-Trunkline-Intent") == "贷款 X: 2"
    assert sent.from_.display == 'Zoë "Z" X: 1'
    assert sent.get("X") is None


def test_nobody_registered_fails_at_once() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.invite("agent", OFFER)
    assert node.last(CallFailed) == CallFailed(call, 480, "Not Registered")


def test_a_caller_without_users_may_call_the_default_port_of_its_own_address() -> None:
    wire = Wire()
    node = wire.node("10.0.0.9", 5555)
    node.invite("sip:8000@10.0.0.9", OFFER)
    wire.run(0.02)
    assert parse(wire.raw[PHONE][0]).uri == "sip:8000@10.0.0.9"


def test_a_place_that_has_no_address_fails_at_once() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", names={"pbx.local": "10.0.0.9"})
    node.invite("sip:x@elsewhere.local", OFFER)
    assert node.last(CallFailed).status == 503
    node.invite("sip:x@pbx.local", OFFER)
    wire.run(0.02)
    assert len(wire.raw[PHONE]) == 1


def test_the_endpoint_leaves_in_order() -> None:
    wire, caller, gateway, _, _ours = talking()
    gateway.close("closing down")
    wire.run(0.1)
    assert caller.last(CallEnded).reason == "closing down"
    assert not gateway.endpoint.busy


def test_a_proxys_challenge_is_answered_for_the_invite_and_again_for_the_bye() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.invite("sip:x@10.0.0.9", OFFER, credentials=[Account("us", "pw", realm="pbx")])
    wire.run(0.02)
    challenge = {"Proxy_Authenticate": 'Digest realm="pbx", nonce="n1", qop="auth", algorithm=SHA-256'}
    ack, again = ask(wire, node, reply(parse(wire.raw[PHONE][0]), 407, **challenge))
    assert (ack.method, again.method, again.cseq) == ("ACK", "INVITE", (2, "INVITE"))
    given = fields(again.get("Proxy-Authorization"))
    expected = response(
        digest("SHA-256", "us:pbx:pw"), "SHA-256", "INVITE", again.uri, "n1", "auth", "00000001", given["cnonce"]
    )
    assert (given["response"], given["nc"]) == (expected, "00000001")
    (acked,) = ask(wire, node, reply(again, 200, body=SDP))
    assert acked.get("Proxy-Authorization") == again.get("Proxy-Authorization")
    node.hangup(call)
    wire.run(0.02)
    bye = parse(wire.raw[PHONE][-1])
    assert fields(bye.get("Proxy-Authorization"))["nc"] == "00000002"
    challenge = {"Proxy_Authenticate": 'Digest realm="pbx", nonce="n2", qop="auth"'}
    (signed,) = ask(wire, node, reply(bye, 407, **challenge))
    assert (signed.method, fields(signed.get("Proxy-Authorization"))["nonce"]) == ("BYE", "n2")
    ask(wire, node, reply(signed, 200))
    settled(wire, node)


def test_credentials_that_do_not_serve_are_not_tried_twice() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", credentials=(Account("us", "wrong"),))
    node.invite("sip:x@10.0.0.9", OFFER)
    wire.run(0.02)
    challenge = {"WWW_Authenticate": 'Digest realm="pbx", nonce="n1"'}
    _, again = ask(wire, node, reply(parse(wire.raw[PHONE][0]), 401, **challenge))
    (ack,) = ask(wire, node, reply(again, 401, **challenge))
    assert ack.method == "ACK"
    assert node.last(CallFailed).status == 401
    settled(wire, node)
