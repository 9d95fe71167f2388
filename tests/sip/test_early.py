"""Before the answer: reliable provisional responses, early media, late offers and UPDATE, both ways."""

from __future__ import annotations

import pytest

from gateway.core.errors import SipError
from gateway.sip import sdp
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    CallProgress,
    ChangeAnswered,
    OfferChanged,
)
from gateway.sip.message import parse
from tests.sip.raw import PHONE, SDP, ask, invite, reply
from tests.sip.talk import MOVED, OFFER, Phone, answer, called, dialling, methods, ours, settled, two
from tests.sip.wire import pair

RELIABLE = {"Require": "100rel"}


def ringing(described: bool = True, late: bool = False, **more: object) -> tuple[Phone, str, str]:
    """PHONE called and was told 183 or 180: the phone, the gateway's handle, the RSeq of what it was told."""
    wire, gateway, offered = called(**more, **({"body": ""} if late else {}))
    wire.raw[PHONE] = []
    gateway.ring(offered.call, (answer(offered.offer) if offered.offer else ours()) if described else None)
    wire.run(0.02)
    (said,) = [parse(data) for data in wire.raw[PHONE]]
    return Phone(wire, gateway, tag=said.to.tag), offered.call, said.get("RSeq") or ""


# --- as the one who is called -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reliable", "supported", "require", "described", "expected"),
    [
        ("supported", "100rel", "", True, True),
        ("supported", "100rel", "", False, False),
        ("supported", "", "", True, False),
        ("supported", "", "100rel", False, True),
        ("required", "100rel", "", False, True),
        ("required", "", "", True, False),
        ("never", "100rel", "", True, False),
    ],
)
def test_what_is_said_reliably(reliable: str, supported: str, require: str, described: bool, expected: bool) -> None:
    told = {"Supported": supported, "Require": require}
    phone, _, number = ringing(described, config={"reliable": reliable}, **{k: v for k, v in told.items() if v})
    assert bool(number) is expected
    if expected:
        assert phone.heard()[0].get("Require") == "100rel"


def test_without_100rel_nobody_may_require_it() -> None:
    wire, _, gateway = pair(reliable="never")
    (refused,) = ask(wire, gateway, invite(**RELIABLE))
    assert (refused.status, refused.get("Unsupported")) == (420, "100rel")


def test_it_is_repeated_until_prack_and_the_answer_after_it_says_nothing_twice() -> None:
    phone, call, number = ringing(**RELIABLE)
    phone.wire.run(1.6)
    repeats = [m for m in phone.heard() if m.status == 183]
    assert len(repeats) == 3
    assert {m.get("RSeq") for m in repeats} == {number}
    (taken,) = phone.say("PRACK", RAck=f"{number} 1 INVITE")
    assert taken.status == 200
    phone.wire.raw[PHONE] = []
    phone.wire.run(5)
    assert phone.heard() == []
    phone.gateway.answer(call)
    phone.wire.run(0.02)
    (ok,) = phone.heard()
    assert (ok.status, ok.body) == (200, b"")
    phone.cseq = 1
    phone.say("ACK")
    assert phone.gateway.last(CallConfirmed).call == call


def test_the_answer_waits_for_the_prack_of_a_description() -> None:
    phone, call, number = ringing(**RELIABLE)
    phone.gateway.answer(call)
    phone.wire.run(0.02)
    assert {m.status for m in phone.heard()} == {183}
    with pytest.raises(SipError):
        phone.gateway.answer(call)
    assert methods(phone.say("PRACK", RAck=f"{number} 1 INVITE")) == ["200 PRACK", "200 INVITE"]


def test_an_answer_overtakes_a_bare_ringing_whose_prack_still_counts() -> None:
    phone, call, number = ringing(False, **RELIABLE)
    wire, gateway = phone.wire, phone.gateway
    gateway.answer(call, answer(gateway.last(CallOffered).offer))
    wire.run(3)
    assert [m.status for m in phone.heard() if m.status < 200] == [180]
    assert methods(phone.say("PRACK", RAck=f"{number} 1 INVITE"))[0] == "200 PRACK"


@pytest.mark.parametrize(
    ("rack", "status"), [("1 1 INVITE", 481), ("{n} 2 INVITE", 481), ("{n} 1 BYE", 481), ("one", 400), ("", 400)]
)
def test_a_prack_for_nothing_is_refused(rack: str, status: int) -> None:
    phone, _, number = ringing(**RELIABLE)
    (refused,) = phone.say("PRACK", RAck=rack.replace("{n}", number))
    assert refused.status == status


def test_without_a_prack_the_call_is_refused_with_504() -> None:
    phone, call, _ = ringing(**RELIABLE)
    phone.wire.run(33)
    assert [m.status for m in phone.heard()][-1] == 504
    assert phone.gateway.last(CallEnded) == CallEnded(call, False, "no PRACK came")
    settled(phone.wire, phone.gateway)


def test_a_caller_who_gives_up_ends_the_repeats() -> None:
    phone, call, _ = ringing(**RELIABLE)
    assert methods(phone.say("CANCEL", to_tag="", branch="z9hG4bKaaa")) == ["200 CANCEL", "487 INVITE"]
    phone.gateway.last(CallCancelled)
    phone.wire.raw[PHONE] = []
    phone.wire.run(0.4)
    assert phone.heard() == []
    assert call not in phone.gateway.endpoint.calls


def test_two_reliable_responses_go_one_after_the_other() -> None:
    phone, call, number = ringing(False, **RELIABLE)
    phone.gateway.ring(call, answer(phone.gateway.last(CallOffered).offer))
    phone.wire.run(0.02)
    assert [m.status for m in phone.heard()] == [180]
    said = phone.say("PRACK", RAck=f"{number} 1 INVITE")
    assert methods(said) == ["200 PRACK", "183 INVITE"]
    assert int(said[1].get("RSeq")) == int(number) + 1


def test_a_late_offer_goes_in_a_reliable_183_and_is_answered_by_prack() -> None:
    phone, call, number = ringing(late=True, **RELIABLE)
    (early,) = phone.heard()
    assert sdp.parse(early.body).media[0].port == 6000
    (taken,) = phone.say("PRACK", SDP, RAck=f"{number} 1 INVITE")
    assert taken.status == 200
    settled_media = phone.gateway.last(ChangeAnswered)
    assert (settled_media.call, settled_media.media.port) == (call, 4000)
    phone.gateway.answer(call)
    phone.wire.run(0.02)
    assert phone.heard()[-1].body == b""


@pytest.mark.parametrize("body", ["", "nonsense", SDP.replace("0 8 101", "18")])
def test_a_late_offer_that_prack_does_not_answer_ends_the_call(body: str) -> None:
    phone, call, number = ringing(late=True, **RELIABLE)
    said = phone.say("PRACK", body, RAck=f"{number} 1 INVITE")
    assert methods(said) == ["488 PRACK", "488 INVITE"]
    assert phone.gateway.last(CallEnded).call == call


def test_a_late_offer_to_a_caller_without_100rel_waits_for_the_answer() -> None:
    phone, call, number = ringing(late=True)
    (early,) = phone.heard()
    assert (early.status, early.body, number) == (183, b"", "")
    phone.gateway.answer(call)
    phone.wire.run(0.02)
    assert sdp.parse(phone.heard()[-1].body).media[0].port == 6000


def test_a_caller_who_insists_on_an_early_offer_hears_nothing_without_one() -> None:
    wire, gateway, offered = called(body="", **RELIABLE)
    wire.raw[PHONE] = []
    gateway.ring(offered.call)
    wire.run(0.1)
    assert PHONE not in wire.raw or wire.raw[PHONE] == []
    assert gateway.endpoint.counters["rings_unsaid"] == 1


def test_update_in_an_early_dialog_once_early_media_is_settled() -> None:
    phone, call, number = ringing(**RELIABLE)
    phone.say("PRACK", RAck=f"{number} 1 INVITE")
    phone.say("UPDATE", MOVED)
    changed = phone.gateway.last(OfferChanged)
    assert (changed.call, changed.offer.media[0].port) == (call, 4002)
    phone.gateway.accept_change(call, answer(changed.offer, 6002))
    phone.wire.run(0.02)
    assert sdp.parse(phone.heard()[-1].body).media[0].port == 6002


def test_update_before_early_media_is_settled_has_to_wait() -> None:
    phone, _, _ = ringing(False)
    (refused,) = phone.say("UPDATE", MOVED)
    assert refused.status == 500
    assert refused.get("Retry-After")


def test_ours_is_changed_by_update_while_it_rings() -> None:
    phone, call, number = ringing(Supported="100rel", Allow="INVITE, ACK, UPDATE, PRACK")
    with pytest.raises(SipError):
        phone.gateway.change(call, ours(6002))  # the PRACK is still to come
    phone.say("PRACK", RAck=f"{number} 1 INVITE")
    phone.wire.raw[PHONE] = []
    phone.gateway.change(call, ours(6002))
    phone.wire.run(0.02)
    (update,) = phone.heard()
    assert (update.method, sdp.parse(update.body).media[0].port) == ("UPDATE", 6002)
    phone.reply(update, 200, body=MOVED)
    assert phone.gateway.last(ChangeAnswered).media.port == 4002


def test_a_prack_may_carry_an_offer_of_its_own() -> None:
    phone, call, number = ringing(**RELIABLE)
    phone.say("PRACK", MOVED, RAck=f"{number} 1 INVITE")
    changed = phone.gateway.last(OfferChanged)
    phone.gateway.accept_change(call, answer(changed.offer, 6004))
    phone.wire.run(0.02)
    taken = phone.heard()[-1]
    assert (methods([taken]), sdp.parse(taken.body).media[0].port) == (["200 PRACK"], 6004)


def test_an_invite_that_expires_is_given_up() -> None:
    wire, gateway, offered = called(Expires="20")
    gateway.ring(offered.call)
    wire.run(19)
    assert gateway.of(CallCancelled) == []
    wire.raw[PHONE] = []
    wire.run(1.5)
    assert gateway.last(CallCancelled) == CallCancelled(offered.call, "expired")
    assert methods([parse(data) for data in wire.raw[PHONE]])[0] == "487 INVITE"


def test_ringing_is_said_again_each_minute() -> None:
    wire, gateway, offered = called()
    gateway.ring(offered.call)
    wire.run(190)
    assert wire.starts(gateway).count("180 INVITE") == 4


# --- as the one who calls -----------------------------------------------------------------------------------------


def test_reliable_responses_are_acknowledged_in_order_and_once() -> None:
    wire, node, call, sent = dialling()
    assert "100rel" in sent.get("Supported")
    (prack,) = ask(wire, node, reply(sent, 180, RSeq="7", **RELIABLE))
    assert (prack.method, prack.get("RAck"), prack.cseq[0]) == ("PRACK", "7 1 INVITE", 2)
    ask(wire, node, reply(prack, 200))
    assert ask(wire, node, reply(sent, 180, RSeq="7", **RELIABLE)) == []
    assert ask(wire, node, reply(sent, 183, RSeq="9", body=SDP, **RELIABLE)) == []
    assert [e.status for e in node.of(CallProgress)] == [180]
    (prack,) = ask(wire, node, reply(sent, 183, RSeq="8", body=SDP, **RELIABLE))
    assert prack.get("RAck") == "8 1 INVITE"
    ask(wire, node, reply(prack, 200))
    assert node.last(CallProgress).media.port == 4000
    ask(wire, node, reply(sent, 200))
    answered = node.last(CallAnswered)
    assert (answered.call, answered.media.port) == (call, 4000)


def test_a_prack_that_came_out_of_order_is_sent_again() -> None:
    wire, node, _, sent = dialling()
    (prack,) = ask(wire, node, reply(sent, 180, RSeq="1", **RELIABLE))
    again = ask(wire, node, reply(prack, 500), wait=1.2)
    assert [(m.method, m.get("RAck")) for m in again] == [("PRACK", "1 1 INVITE")] * 2
    ask(wire, node, reply(again[0], 200))


def test_each_fork_is_acknowledged_in_its_own_dialog() -> None:
    wire, node, _, sent = dialling()
    (one,) = ask(wire, node, reply(sent, 183, tag="one", RSeq="1", body=SDP, **RELIABLE))
    (two_,) = ask(wire, node, reply(sent, 183, tag="two", RSeq="1", body=SDP, **RELIABLE))
    assert (one.to.tag, two_.to.tag) == ("one", "two")
    assert one.cseq == two_.cseq
    for prack in (one, two_):
        ask(wire, node, reply(prack, 200))
    assert methods(ask(wire, node, reply(sent, 200, tag="two"))) == ["ACK"]
    late = ask(wire, node, reply(sent, 200, tag="one"))
    assert methods(late) == ["ACK", "BYE"]
    assert len(node.of(CallAnswered)) == 1


def test_a_phone_that_is_out_is_passed_over_while_others_ring() -> None:
    wire, node, _, sent = dialling()
    ask(wire, node, reply(sent, 180, tag="one"))
    ask(wire, node, reply(sent, 199, tag="one"))
    assert [e.status for e in node.of(CallProgress)] == [180]
    ask(wire, node, reply(sent, 200, tag="two", body=SDP))
    node.last(CallAnswered)


def test_100rel_may_be_required_and_is_let_go_where_a_phone_refuses_it() -> None:
    wire, node, _, sent = dialling(config={"reliable": "required"})
    assert sent.get("Require") == "100rel"
    _, again = ask(wire, node, reply(sent, 420, Unsupported="100rel"))
    assert (again.method, again.get("Require"), again.cseq[0]) == ("INVITE", None, 2)
    ask(wire, node, reply(again, 420, Unsupported="100rel"))
    assert node.last(CallFailed).status == 420


def test_the_phone_offers_in_its_answer_and_gets_ours_in_the_ack() -> None:
    wire, node, call, sent = dialling(offer=False)
    assert (sent.body, sent.get("Content-Type")) == (b"", None)
    assert ask(wire, node, reply(sent, 200, body=SDP)) == []
    changed = node.last(OfferChanged)
    assert changed.call == call
    assert ask(wire, node, reply(sent, 200, body=SDP)) == []
    wire.raw[PHONE] = []
    node.accept_change(call, answer(changed.offer))
    wire.run(0.02)
    (ack,) = [parse(data) for data in wire.raw[PHONE]]
    assert (ack.method, sdp.parse(ack.body).media[0].port) == ("ACK", 6000)
    assert node.last(CallAnswered).media.port == 4000
    (again,) = ask(wire, node, reply(sent, 200, body=SDP))
    assert (again.method, again.body) == ("ACK", ack.body)


def test_the_phone_offers_in_a_reliable_183_and_gets_ours_in_the_prack() -> None:
    wire, node, call, sent = dialling(offer=False)
    assert ask(wire, node, reply(sent, 183, RSeq="1", body=SDP, **RELIABLE)) == []
    node.accept_change(call, answer(node.last(OfferChanged).offer))
    wire.run(0.02)
    prack = parse(wire.raw[PHONE][-1])
    assert (prack.method, sdp.parse(prack.body).media[0].port) == ("PRACK", 6000)
    ask(wire, node, reply(prack, 200))
    assert methods(ask(wire, node, reply(sent, 200))) == ["ACK"]
    assert node.last(CallAnswered).media.port == 4000


@pytest.mark.parametrize("body", ["", "nonsense"])
def test_an_answer_without_the_offer_it_owes_ends_the_call(body: str) -> None:
    wire, node, call, sent = dialling(offer=False)
    assert methods(ask(wire, node, reply(sent, 200, body=body))) == ["ACK", "BYE"]
    assert node.last(CallFailed).call == call


def test_an_offer_of_the_phone_may_be_refused() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 200, body=SDP))
    wire.raw[PHONE] = []
    node.reject_change(call)
    wire.run(0.02)
    assert methods([parse(data) for data in wire.raw[PHONE]]) == ["ACK", "BYE"]
    assert node.last(CallFailed).status == 488
    early_wire, early, call, sent = dialling(offer=False)
    ask(early_wire, early, reply(sent, 183, RSeq="1", body=SDP, **RELIABLE))
    early.reject_change(call)
    early_wire.run(0.02)
    assert methods([parse(early_wire.raw[PHONE][-1])]) == ["CANCEL"]
    assert early.last(CallFailed).status == 488


def test_two_phones_that_offer_are_told_one_after_the_other() -> None:
    wire, node, call, sent = dialling(offer=False)
    for tag in ("one", "two"):
        ask(wire, node, reply(sent, 183, tag=tag, RSeq="1", body=SDP, **RELIABLE))
    assert len(node.of(OfferChanged)) == 1
    wire.raw[PHONE] = []
    node.accept_change(call, answer(node.last(OfferChanged).offer))
    assert len(node.of(OfferChanged)) == 2
    node.accept_change(call, answer(node.last(OfferChanged).offer))
    wire.run(0.02)
    assert [parse(data).to.tag for data in wire.raw[PHONE]] == ["one", "two"]
    with pytest.raises(SipError):
        node.accept_change(call, ours())


def test_hanging_up_on_a_phone_that_waits_for_our_answer() -> None:
    wire, node, call, sent = dialling(offer=False)
    ask(wire, node, reply(sent, 200, body=SDP))
    wire.raw[PHONE] = []
    node.hangup(call, "never mind")
    wire.run(0.02)
    ack, bye = [parse(data) for data in wire.raw[PHONE]]
    assert methods([ack, bye]) == ["ACK", "BYE"]
    ask(wire, node, reply(bye, 200))
    settled(wire, node)


def test_a_phone_that_rings_changes_its_early_media() -> None:
    wire, node, call, sent = dialling()
    (prack,) = ask(wire, node, reply(sent, 183, RSeq="1", body=SDP, Allow="UPDATE", **RELIABLE))
    ask(wire, node, reply(prack, 200))
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    phone.say("UPDATE", MOVED)
    node.accept_change(call, answer(node.last(OfferChanged).offer, 6002))
    wire.run(0.02)
    assert methods([parse(wire.raw[PHONE][-1])]) == ["200 UPDATE"]
    wire.raw[PHONE] = []
    node.change(call, ours(6004))
    wire.run(0.02)
    (update,) = [parse(data) for data in wire.raw[PHONE]]
    assert (update.method, update.to.tag) == ("UPDATE", "peer")
    ask(wire, node, reply(update, 200, body=MOVED.replace("a 1 2", "a 1 3")))
    assert node.last(ChangeAnswered).call == call
    ask(wire, node, reply(sent, 200))
    assert node.last(CallAnswered).call == call


def test_update_of_a_phone_that_has_not_answered_our_offer_is_glare() -> None:
    wire, node, _, sent = dialling()
    ask(wire, node, reply(sent, 180))
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    (refused,) = phone.say("UPDATE", MOVED)
    assert refused.status == 491


def test_a_phone_that_says_bye_before_it_answers_is_out_and_the_call_goes_on() -> None:
    wire, node, call, sent = dialling()
    ask(wire, node, reply(sent, 180))
    phone = Phone(wire, node, sent, tag=sent.from_.tag)
    assert methods(phone.say("BYE")) == ["200 BYE"]
    assert node.endpoint.calls == (call,)
    ask(wire, node, reply(sent, 486))
    assert node.last(CallFailed).status == 486
    settled(wire, node)


def test_early_media_between_two_endpoints_is_acknowledged_and_answered() -> None:
    wire, caller, gateway = two()
    call = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.1)
    offered = gateway.last(CallOffered)
    gateway.ring(offered.call, answer(offered.offer))
    gateway.answer(offered.call)
    wire.run(0.1)
    assert caller.last(CallProgress).media.port == 6000
    assert caller.last(CallAnswered).call == call
    gateway.last(CallConfirmed)
    assert wire.starts() == ["INVITE", "183 INVITE", "PRACK", "200 PRACK", "200 INVITE", "ACK"]
    caller.hangup(call)
    settled(wire, caller, gateway)


def test_a_late_offer_between_two_endpoints() -> None:
    wire, caller, gateway = two()
    call = caller.invite("sip:8000@10.0.0.2", None)
    wire.run(0.1)
    offered = gateway.last(CallOffered)
    assert offered.offer is None
    gateway.answer(offered.call, ours())
    wire.run(0.1)
    caller.accept_change(call, answer(caller.last(OfferChanged).offer, 4000, "10.0.0.1"))
    wire.run(0.1)
    assert caller.last(CallAnswered).media.port == 6000
    assert gateway.last(CallConfirmed).media.port == 4000
    gateway.hangup(offered.call)
    settled(wire, caller, gateway)
