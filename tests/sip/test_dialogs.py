"""What overlaps, crosses or goes wrong inside dialogs and on the way to them, message by message."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.core.errors import SipError
from gateway.sip.attempt import Target
from gateway.sip.auth import Account
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallOffered,
    CallProgress,
    ChangeAnswered,
    ChangeFailed,
    OfferChanged,
)
from gateway.sip.message import Request, parse
from gateway.sip.outbound import Outbound
from gateway.sip.sdp import Media, SessionDescription
from gateway.sip.uri import parse_uri
from tests.sip.raw import PHONE, SDP, ask, invite, reply, request
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
    phone_talking,
    settled,
    talking,
    two,
)
from tests.sip.wire import Wire, pair


def came(wire: Wire) -> list:
    """What PHONE heard since it last looked."""
    heard = [parse(data) for data in wire.raw.get(PHONE, [])]
    wire.raw[PHONE] = []
    return heard


# --- CANCEL -------------------------------------------------------------------------------------------------------


def test_a_cancelled_invite_that_is_never_answered_is_let_go_after_64_t1() -> None:
    wire, node, call, sent = dialling()
    ask(wire, node, reply(sent, 180))
    node.hangup(call, "enough")
    wire.run(31)
    assert node.endpoint.busy
    wire.run(2)
    assert not node.endpoint.busy
    settled(wire, node)


def test_hanging_up_after_the_answer_is_a_bye_and_no_cancel() -> None:
    phone, call = phone_called()
    phone.gateway.hangup(call)
    phone.wire.run(0.02)
    assert methods([phone.heard()[-1]]) == ["BYE"]
    assert "CANCEL" not in phone.wire.starts()


def test_a_cancel_that_comes_after_the_answer_changes_nothing() -> None:
    phone, call = phone_talking()
    assert methods(phone.say("CANCEL", to_tag="", cseq=1, branch="z9hG4bKaaa")) == ["200 CANCEL"]
    assert phone.gateway.endpoint.calls == (call,)
    assert methods(phone.say("CANCEL", to_tag="", branch="z9hG4bKother")) == ["481 CANCEL"]


def test_a_name_that_is_still_looked_up_when_the_call_is_given_up_is_never_called() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.endpoint.invite("sip:x@somewhere.example", OFFER, now=wire.now)
    (lookup,) = node.endpoint.take_lookups()
    node.endpoint.hangup(call, now=wire.now)
    node.endpoint.located(lookup.number, [PHONE], wire.now)
    wire.collect(node)
    wire.run(1)
    assert wire.starts() == []
    settled(wire, node)


def test_our_reinvite_is_called_off_when_we_hang_up() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    change = phone.heard()[-1]
    phone.reply(change, 100)
    phone.wire.raw[PHONE] = []
    phone.gateway.hangup(call)
    phone.wire.run(0.02)
    assert sorted(methods(phone.heard())) == ["BYE", "CANCEL"]
    bye = next(m for m in phone.heard() if m.method == "BYE")
    cancel = next(m for m in phone.heard() if m.method == "CANCEL")
    for each, code in ((cancel, 200), (change, 487), (bye, 200)):
        phone.reply(each, code)
    settled(phone.wire, phone.gateway)


def test_a_bye_crosses_our_reinvite_whose_answer_is_still_acknowledged() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    change = phone.heard()[-1]
    assert methods(phone.say("BYE")) == ["200 BYE"]
    assert phone.gateway.last(CallEnded) == CallEnded(call, True, "hung up")
    assert methods(phone.reply(change, 200, body=MOVED)) == ["ACK"]
    assert phone.gateway.of(ChangeAnswered) == []
    settled(phone.wire, phone.gateway)


def test_a_reinvite_that_only_rings_is_cancelled_after_64_t1_and_the_call_goes_on() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    change = phone.heard()[-1]
    phone.reply(change, 180)
    phone.wire.raw[PHONE] = []
    phone.wire.run(32.1)
    cancel = phone.heard()[0]
    assert cancel.method == "CANCEL"
    phone.reply(cancel, 200)
    phone.reply(change, 487)
    assert phone.gateway.last(ChangeFailed).status == 487
    assert phone.gateway.endpoint.calls == (call,)


def test_the_phones_that_lost_are_told_that_another_took_the_call() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2", accounts=(Account("ann", "pw"),), domain="here")
    node.endpoint.tick(wire.now)
    call = Outbound(node.endpoint._stack, "call", ours(), sender="<sip:x@here>", addressee=None)
    call.start([Target(parse_uri(f"sip:{name}@10.0.0.9"), PHONE) for name in ("one", "two")])
    wire.collect(node)
    wire.run(0.02)
    one, two_ = came(wire)
    ask(wire, node, reply(two_, 180))
    (ack, cancel) = ask(wire, node, reply(one, 200, body=SDP))
    assert (ack.method, cancel.method, cancel.uri) == ("ACK", "CANCEL", "sip:two@10.0.0.9")
    assert cancel.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'


# --- changes that overlap -----------------------------------------------------------------------------------------


def test_the_answer_to_a_reinvite_is_repeated_until_its_ack() -> None:
    phone, call = phone_talking()
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))
    phone.wire.raw[PHONE] = []
    phone.wire.run(1.6)
    assert methods(phone.heard()) == ["200 INVITE"] * 3
    phone.say("ACK")
    phone.wire.raw[PHONE] = []
    phone.wire.run(40)
    assert phone.heard() == []
    assert phone.gateway.endpoint.calls == (call,)


def test_a_reinvite_whose_ack_never_comes_ends_the_call() -> None:
    phone, call = phone_talking()
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))
    phone.wire.run(33)
    assert phone.gateway.last(CallEnded) == CallEnded(call, False, "no ACK came", 102)


def test_each_repeated_answer_to_our_reinvite_gets_an_ack() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    change = phone.heard()[-1]
    for _ in range(3):
        assert methods(phone.reply(change, 200, body=MOVED)) == ["ACK"]
    assert len(phone.gateway.of(ChangeAnswered)) == 1


@pytest.mark.parametrize(("outgoing", "low", "high"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
def test_after_glare_who_called_waits_longer(outgoing: bool, low: float, high: float) -> None:
    waits = []
    for port in range(6002, 6018, 2):
        phone, call = phone_called() if outgoing else phone_talking()
        phone.wire.rng.seed(port)
        phone.gateway.endpoint._stack.rng.seed(port)
        phone.gateway.change(call, ours(port))
        phone.wire.run(0.02)
        change = phone.heard()[-1]
        phone.reply(change, 491, wait=0.0)
        began = phone.wire.now
        phone.wire.run(5)
        again = [at for at, _, _, m in phone.wire.log if isinstance(m, Request) and m.cseq[0] == change.cseq[0] + 1]
        waits.append(round(again[0] - began, 3))
    assert all(low <= wait <= high for wait in waits), waits
    assert len(set(waits)) > 4


def test_our_offer_and_theirs_cross_in_update_and_reinvite() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002), update=True)
    phone.wire.run(0.02)
    update = phone.heard()[-1]
    assert update.method == "UPDATE"
    assert methods(phone.say("UPDATE", MOVED)) == ["491 UPDATE"]
    assert methods(phone.say("INVITE", MOVED)) == ["491 INVITE", "491 INVITE"][:1]
    assert methods(phone.say("UPDATE")) == ["200 UPDATE"]  # a refresh offers nothing
    phone.reply(update, 200, body=MOVED)
    assert phone.gateway.last(ChangeAnswered).call == call


def test_a_second_update_before_the_first_is_answered_has_to_wait() -> None:
    phone, call = phone_talking()
    phone.say("UPDATE", MOVED)
    (refused,) = phone.say("UPDATE")
    assert (refused.status, refused.get("Retry-After") is not None) == (500, True)
    (refused,) = phone.say("INVITE", MOVED)
    assert refused.status == 500
    with pytest.raises(SipError):
        phone.gateway.change(call, ours(6002))
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))


def test_retry_after_is_honoured() -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    phone.reply(phone.heard()[-1], 500, **{"Retry-After": "7"})
    phone.wire.raw[PHONE] = []
    phone.wire.run(6.8)
    assert phone.heard() == []
    phone.wire.run(0.3)
    (again,) = phone.heard()
    assert again.method == "INVITE"
    phone.reply(again, 503, **{"Retry-After": "3600"})
    assert phone.gateway.last(ChangeFailed).status == 503


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("status", [408, 481])
def test_a_change_that_finds_the_call_gone_ends_it(method: str, status: int) -> None:
    phone, call = phone_called()
    phone.gateway.change(call, ours(6002), update=method == "UPDATE")
    phone.wire.run(0.02)
    said = methods(phone.reply(phone.heard()[-1], status))
    assert [m for m in said if m != "ACK"] == ["BYE"]
    assert phone.gateway.last(CallEnded) == CallEnded(call, False, "the peer no longer knows the call")


def test_a_key_that_finds_the_call_gone_ends_it() -> None:
    phone, call = phone_called()
    phone.gateway.info(call, "5")
    phone.wire.run(0.02)
    assert methods(phone.reply(phone.heard()[-1], 481)) == ["BYE"]
    assert phone.gateway.last(CallEnded).call == call


def test_update_is_not_sent_to_a_peer_that_does_not_name_it() -> None:
    phone, call = phone_talking()
    with pytest.raises(SipError):
        phone.gateway.change(call, ours(6002), update=True)


def test_a_reinvite_that_repeats_what_stands_asks_nobody() -> None:
    phone, call = phone_talking()
    said = phone.say("INVITE", SDP)
    assert methods(said) == ["200 INVITE"]
    assert phone.gateway.of(OfferChanged) == []
    phone.say("ACK")
    phone.gateway.change(call, ours(6002, "sendonly"))
    phone.wire.run(0.02)
    phone.reply(phone.heard()[-1], 200, body=MOVED)
    phone.say("INVITE", MOVED)
    assert phone.gateway.last(OfferChanged).call == call


def test_a_description_counts_on_only_when_it_changed() -> None:
    phone, call = phone_called()

    def version(message: Request) -> int:
        return int(message.body.split(b" ")[2])

    seen = [version(phone.sent)]
    for port in (6002, 6002, 6004):
        phone.gateway.change(call, ours(port))
        phone.wire.run(0.02)
        change = phone.heard()[-1]
        seen.append(version(change))
        phone.reply(change, 488 if port == 6002 else 200, body=MOVED)
    assert [b - a for a, b in pairwise(seen)] == [1, 0, 1]


# --- routes and hops ----------------------------------------------------------------------------------------------


def test_the_route_set_stands_once_the_call_is_up() -> None:
    wire, node, call, sent = dialling()
    ask(wire, node, reply(sent, 180, Record_Route="<sip:10.0.0.7;lr>"))
    ask(wire, node, reply(sent, 200, body=SDP, Record_Route="<sip:10.0.0.9:5060;lr;a=1>, <sip:10.0.0.9:5060;lr;a=2>"))
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    phone.say("UPDATE", Record_Route="<sip:10.0.0.6;lr>")
    node.change(call, ours(6002))
    wire.run(0.02)
    change = phone.heard()[-1]
    assert change.items("Route") == ["<sip:10.0.0.9:5060;lr;a=2>", "<sip:10.0.0.9:5060;lr;a=1>"]
    ask(wire, node, reply(change, 200, body=MOVED, Record_Route="<sip:10.0.0.5;lr>"))
    node.hangup(call)
    wire.run(0.02)
    assert phone.heard()[-1].items("Route") == ["<sip:10.0.0.9:5060;lr;a=2>", "<sip:10.0.0.9:5060;lr;a=1>"]


def test_a_strict_router_on_a_call_of_ours() -> None:
    wire, node, call, sent = dialling()
    ask(wire, node, reply(sent, 200, body=SDP, Record_Route="<sip:10.0.0.8;lr>, <sip:10.0.0.9:5060>"))
    node.hangup(call)
    wire.run(0.02)
    bye = parse(wire.raw[PHONE][-1])
    assert (bye.uri, bye.items("Route")) == (
        "sip:10.0.0.9:5060",
        ["<sip:10.0.0.8;lr>", "<sip:peer@10.0.0.9:5060>"],
    )


def test_a_target_moves_with_each_reinvite() -> None:
    phone, call = phone_talking()
    phone.say("UPDATE", Contact="<sip:1001@10.0.0.9:5070>")
    phone.gateway.hangup(call)
    phone.wire.run(0.02)
    assert phone.wire.log[-1][3].uri == "sip:1001@10.0.0.9:5070"


def test_hops_are_counted() -> None:
    _, node, call, sent = dialling(max_forwards=3)
    assert sent.get("Max-Forwards") == "3"
    wire = Wire()
    node = wire.node("10.0.0.2")
    call = node.invite("sip:x@10.0.0.9", OFFER, max_forwards=0)
    assert node.last(CallFailed) == CallFailed(call, 483, "Too Many Hops")
    assert wire.starts() == []
    wire, _, gateway = pair()
    (answered,) = ask(wire, gateway, request("OPTIONS", uri="sip:10.0.0.2", Max_Forwards="0"))
    assert answered.status == 200
    (refused,) = ask(wire, gateway, invite(uri="sip:8000@elsewhere.example", Max_Forwards="0"))
    assert refused.status == 483


# --- extensions ---------------------------------------------------------------------------------------------------


def test_unknown_extensions_are_named_and_known_ones_taken() -> None:
    wire, _, gateway = pair()
    (refused,) = ask(wire, gateway, invite(Require="timer, foo, 100rel, bar"))
    assert (refused.status, refused.items("Unsupported")) == (420, ["foo", "bar"])
    assert methods(ask(wire, gateway, invite(branch="z9hG4bKb", call_id="b", Require="timer", Proxy_Require="x"))) == []
    gateway.last(CallOffered)  # what proxies are asked is not ours to refuse
    (options,) = ask(wire, gateway, request("OPTIONS", uri="sip:10.0.0.2", branch="z9hG4bKc", call_id="c"))
    assert {"timer", "100rel"} <= set(options.items("Supported"))


def test_a_timestamp_comes_back_with_our_own_delay() -> None:
    wire, gateway, offered = called(Timestamp="54.1 0.2")
    wire.raw[PHONE] = []
    wire.run(1)
    gateway.ring(offered.call)
    wire.run(0.02)
    trying, ringing = came(wire)
    assert trying.get("Timestamp") == "54.1 0.200"
    assert [float(part) for part in ringing.get("Timestamp").split()] == pytest.approx([54.1, 1.05], abs=0.02)
    wire, _, gateway = pair()
    (answered,) = ask(wire, gateway, request("OPTIONS", uri="sip:10.0.0.2", Timestamp="7"))
    assert answered.get("Timestamp") == "7"


# --- reasons ------------------------------------------------------------------------------------------------------


def test_causes_are_told_both_ways() -> None:
    wire, caller, gateway, call, other = talking()
    caller.hangup(call, "done", cause=16)
    wire.run(0.1)
    assert gateway.last(CallEnded) == CallEnded(other, True, "done", 16)
    wire, caller, gateway = two()
    call = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.1)
    gateway.reject(gateway.last(CallOffered).call, 486, cause=17)
    wire.run(0.1)
    assert caller.last(CallFailed) == CallFailed(call, 486, "Busy Here", 17)
    wire, caller, gateway = two()
    call = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.5)
    caller.hangup(call, "changed my mind", cause=31)
    wire.run(0.1)
    assert gateway.last(CallCancelled).cause == 31
    assert gateway.last(CallCancelled).reason == "changed my mind"


# --- phones that do not answer, or send us elsewhere --------------------------------------------------------------


def test_a_phone_that_rings_for_ever_is_given_up_when_the_caller_says_so() -> None:
    wire, node, call, sent = dialling(ring_timeout=25.0)
    ask(wire, node, reply(sent, 180))
    wire.run(24.8)
    assert node.of(CallFailed) == []
    came(wire)
    wire.run(0.3)
    (cancel,) = came(wire)
    assert (cancel.method, cancel.get("Reason")) == ("CANCEL", 'Q.850;cause=19;text="no answer"')
    assert node.last(CallFailed) == CallFailed(call, 408, "No Answer", 19)
    ask(wire, node, reply(cancel, 200))
    ask(wire, node, reply(sent, 487))
    settled(wire, node)


def test_an_answer_in_time_ends_the_wait() -> None:
    wire, node, call, sent = dialling(ring_timeout=5.0)
    ask(wire, node, reply(sent, 200, body=SDP))
    wire.run(20)
    assert node.endpoint.calls == (call,)


def test_redirections_are_followed_where_the_call_allows_it() -> None:
    wire, node, call, sent = dialling(redirects=2)
    contacts = "<sip:low@10.0.0.9>;q=0.1, <sip:high@10.0.0.9>;q=0.9, <tel:+49123>, <sip:third@10.0.0.9>;q=0.05"
    _, first = ask(wire, node, reply(sent, 302, Contact=contacts))
    assert (first.uri, first.call_id, first.cseq[0]) == ("sip:high@10.0.0.9", sent.call_id, 2)
    _, second = ask(wire, node, reply(first, 486))
    assert second.uri == "sip:low@10.0.0.9"
    assert methods(ask(wire, node, reply(second, 404))) == ["ACK"]
    assert node.last(CallFailed) == CallFailed(call, 404, "Whatever")
    settled(wire, node)


@pytest.mark.parametrize(("status", "contact"), [(305, "<sip:p@10.0.0.9>"), (302, "<sip:x@10.0.0.9>"), (302, "*")])
def test_redirections_that_lead_nowhere(status: int, contact: str) -> None:
    wire, node, _, sent = dialling(redirects=5)
    assert methods(ask(wire, node, reply(sent, status, Contact=contact))) in (["ACK"], [])
    wire.run(40)
    assert [e.status for e in node.of(CallFailed)] in ([status], [408])


def test_a_redirected_call_is_answered() -> None:
    wire, node, call, sent = dialling(redirects=1)
    _, again = ask(wire, node, reply(sent, 301, Contact="<sip:y@10.0.0.9>"))
    ask(wire, node, reply(again, 180))
    assert node.last(CallProgress).status == 180
    ask(wire, node, reply(again, 200, body=SDP))
    assert node.last(CallAnswered).contact == "sip:y@10.0.0.9"
    assert node.endpoint.calls == (call,)


# --- leaving ------------------------------------------------------------------------------------------------------


def test_everything_open_is_ended_before_the_process_leaves() -> None:
    wire, caller, gateway = two({"trunks": ()}, max_calls=10)
    up = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.3)
    first = gateway.last(CallOffered)
    gateway.answer(first.call, answer(first.offer))
    ringing = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.3)
    gateway.ring(gateway.last(CallOffered).call)
    out = gateway.invite("sip:x@10.0.0.9", ours())
    wire.run(0.3)
    sent = next(m for m in came(wire) if m.method == "INVITE")
    ask(wire, gateway, reply(sent, 180))
    gateway.close("closing down")
    wire.run(0.1)
    assert caller.last(CallEnded) == CallEnded(up, True, "closing down")
    failed = caller.last(CallFailed)
    assert (failed.call, failed.status) == (ringing, 503)
    assert gateway.last(CallFailed).call == out
    assert gateway.endpoint.busy
    (cancel,) = [m for m in came(wire) if isinstance(m, Request)]
    assert cancel.method == "CANCEL"
    ask(wire, gateway, reply(cancel, 200))
    ask(wire, gateway, reply(sent, 487))
    assert not gateway.endpoint.busy
    settled(wire, gateway)


# --- what a hostile peer may try ----------------------------------------------------------------------------------


def test_endless_forks_are_not_kept() -> None:
    wire, node, call, sent = dialling()
    for number in range(100):
        ask(wire, node, reply(sent, 180, tag=f"fork{number}"), wait=0.0)
    assert len(node.endpoint._stack.dialogs) == 16
    assert node.endpoint.counters["too_many_forks"] == 84
    ask(wire, node, reply(sent, 200, tag="fork3", body=SDP))
    assert node.last(CallAnswered).call == call
    assert len(node.endpoint._stack.dialogs) == 1
    assert methods(ask(wire, node, reply(sent, 200, tag="fork99", body=SDP))) == ["ACK", "BYE"]
    assert node.endpoint.calls == (call,)


def test_a_redirection_puts_no_headers_into_the_request_uri() -> None:
    wire, node, _, sent = dialling(redirects=1)
    _, again = ask(wire, node, reply(sent, 302, Contact="<sip:y@10.0.0.9?Replaces=x>"))
    assert again.uri == "sip:y@10.0.0.9"


def test_a_lost_fork_does_not_change_who_refreshes_the_call() -> None:
    wire, node, call, sent = dialling(config={"session_expires": 60, "min_se": 20})
    ask(wire, node, reply(sent, 200, tag="one", body=SDP, **{"Session-Expires": "60;refresher=uas"}))
    ask(wire, node, reply(sent, 200, tag="two", body=SDP))
    came(wire)
    wire.run(35)
    assert [m for m in came(wire) if m.method != "BYE"] == []
    assert node.endpoint.calls == (call,)


@pytest.mark.parametrize("refresher", ["uac", "uas"])
def test_a_peer_cannot_make_us_refresh_all_the_time(refresher: str) -> None:
    wire, node, _, sent = dialling(config={"session_expires": 60, "min_se": 20})
    told = {"Session-Expires": f"1;refresher={refresher}", "Allow": "UPDATE"}
    ask(wire, node, reply(sent, 200, body=SDP, **told))
    came(wire)
    wire.run(9)
    assert came(wire) == []


def test_an_answer_of_ours_that_is_none_leaves_the_offer_standing() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 200, body=SDP))
    with pytest.raises(SipError):
        node.accept_change(call, SessionDescription((Media("video", 4002, "RTP/AVP", ("96",)),), "10.0.0.2"))
    node.accept_change(call, answer(node.last(OfferChanged).offer))
    assert node.last(CallAnswered).call == call


def test_an_unacknowledged_change_sends_no_second_bye() -> None:
    phone, call = phone_talking()
    phone.say("INVITE", MOVED)
    phone.gateway.accept_change(call, answer(phone.gateway.last(OfferChanged).offer))
    phone.gateway.hangup(call)
    phone.wire.run(0.02)
    bye = next(m for m in phone.heard() if isinstance(m, Request))
    phone.reply(bye, 200)
    phone.wire.raw[PHONE] = []
    phone.wire.run(64)
    assert phone.heard() == []
    settled(phone.wire, phone.gateway)
