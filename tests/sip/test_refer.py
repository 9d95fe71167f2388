"""Transfers by REFER over a wire of values: asked of us, asked by us, and what gets refused."""

from __future__ import annotations

import pytest

from gateway.core.errors import SipError
from gateway.sip.config import Account, Trunk
from gateway.sip.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    CallOffered,
    InfoDigit,
    TransferAsked,
    TransferProgress,
)
from gateway.sip.message import Request, Response
from gateway.sip.refer import LAST_WORD_S, LIFE_S, PATIENCE_S
from tests.sip.test_calls import OFFER, answer_to, settled, talking
from tests.sip.wire import Node, Wire


def bodies(wire: Wire, source: Node) -> list[tuple[str, str]]:
    """What NOTIFYs of a node told: state and first line of the body; repeats once."""
    sent = [m for _, s, _, m in wire.log if s == source.place and isinstance(m, Request) and m.method == "NOTIFY"]
    told: dict[int, tuple[str, str]] = {}
    for message in sent:
        state = (message.get("Subscription-State") or "").partition(";")[0]
        told[message.cseq[0]] = (state, message.body.decode().strip())
    return list(told.values())


def asked() -> tuple[Wire, Node, Node, str, str, TransferAsked]:
    """The caller asked the gateway to transfer it to sip:bo@10.0.0.2."""
    wire, caller, gateway, theirs, ours = talking()
    caller.refer(theirs, "sip:bo@10.0.0.2")
    wire.run(0.1)
    return wire, caller, gateway, theirs, ours, gateway.last(TransferAsked)


def test_a_transfer_is_asked_for_taken_and_told_to_its_end() -> None:
    wire, caller, gateway, theirs, ours, event = asked()
    assert (event.call, event.target, event.dialled, event.replaces) == (ours, "sip:bo@10.0.0.2", "bo", None)
    assert "trunkline" in event.referred_by or "alice" in event.referred_by
    gateway.accept_transfer(event.transfer)
    wire.run(0.1)
    gateway.transfer_progress(event.transfer, 180)
    wire.run(0.1)
    gateway.transfer_progress(event.transfer, 200)
    wire.run(0.1)
    told = [("active", "SIP/2.0 100 Trying"), ("active", "SIP/2.0 180 Ringing"), ("terminated", "SIP/2.0 200 OK")]
    assert bodies(wire, gateway) == told
    assert [(p.status, p.final) for p in caller.of(TransferProgress)] == [
        (202, False),
        (100, False),
        (180, False),
        (200, True),
    ]
    assert caller.last(TransferProgress).call == theirs
    assert not gateway.endpoint._stack.transfers
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_whoever_asked_hears_the_outcome_before_they_are_hung_up() -> None:
    wire, caller, gateway, theirs, ours, event = asked()
    gateway.accept_transfer(event.transfer)
    gateway.transfer_progress(event.transfer, 200)
    gateway.hangup(ours, "transferred")
    wire.run(0.2)
    assert caller.last(TransferProgress).status == 200
    kinds = [type(e) for e in caller.events if getattr(e, "call", "") == theirs]
    assert kinds.index(CallEnded) > max(at for at, kind in enumerate(kinds) if kind is TransferProgress)
    settled(wire, caller, gateway)


def test_a_phone_that_does_not_answer_the_outcome_is_hung_up_all_the_same() -> None:
    wire, caller, gateway, theirs, ours, event = asked()
    gateway.accept_transfer(event.transfer)
    wire.run(0.1)
    wire.fate = lambda data, source, target: [] if data.startswith(b"NOTIFY") else [0.01]
    gateway.transfer_progress(event.transfer, 200)
    gateway.hangup(ours, "transferred")
    wire.run(LAST_WORD_S + 0.5)
    assert caller.last(CallEnded).call == theirs
    settled(wire, caller, gateway)


def test_a_transfer_that_fails_leaves_the_call_as_it_is() -> None:
    wire, caller, gateway, theirs, ours, event = asked()
    gateway.accept_transfer(event.transfer)
    gateway.transfer_progress(event.transfer, 486, "Busy\r\nHere")
    wire.run(0.1)
    assert bodies(wire, gateway)[-1] == ("terminated", "SIP/2.0 486 Busy Here")
    failed = caller.last(TransferProgress)
    assert (failed.status, failed.reason, failed.final) == (486, "Busy Here", True)
    caller.refer(theirs, "sip:chen@10.0.0.2")  # another may follow
    wire.run(0.1)
    gateway.reject_transfer(gateway.last(TransferAsked).transfer, 403)
    wire.run(0.1)
    assert (caller.last(TransferProgress).status, caller.last(TransferProgress).final) == (403, True)
    gateway.hangup(ours)
    settled(wire, caller, gateway)


def test_a_transfer_goes_on_after_the_asker_hung_up() -> None:
    wire, caller, gateway, theirs, _, event = asked()
    gateway.accept_transfer(event.transfer)
    wire.run(0.1)
    caller.hangup(theirs)
    wire.run(0.1)
    gateway.transfer_progress(event.transfer, 200)  # nobody wants to know: 481, and that is the end of it
    settled(wire, caller, gateway)
    assert not gateway.endpoint._stack.transfers


def test_progress_while_a_notify_is_on_its_way_is_told_once_and_newest() -> None:
    wire, caller, gateway, theirs, _, event = asked()
    gateway.accept_transfer(event.transfer)
    for status in (180, 183, 180, 200):
        gateway.transfer_progress(event.transfer, status)
    wire.run(0.2)
    assert bodies(wire, gateway) == [("active", "SIP/2.0 100 Trying"), ("terminated", "SIP/2.0 200 OK")]
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_a_transfer_nobody_answers_is_declined_and_one_without_end_expires() -> None:
    wire, caller, gateway, theirs, ours, _ = asked()
    wire.run(PATIENCE_S + 1)
    assert (caller.last(TransferProgress).status, caller.last(TransferProgress).final) == (603, True)
    caller.refer(theirs, "sip:bo@10.0.0.2")
    wire.run(0.1)
    gateway.accept_transfer(gateway.last(TransferAsked).transfer)
    wire.run(LIFE_S + 1)
    assert bodies(wire, gateway)[-1] == ("terminated", "SIP/2.0 100 Trying")
    assert caller.last(TransferProgress).final
    gateway.hangup(ours)
    settled(wire, caller, gateway)


def test_only_one_transfer_at_a_time_is_asked_for() -> None:
    wire, caller, gateway, theirs, ours, _ = asked()
    with pytest.raises(SipError):
        caller.refer(theirs, "sip:chen@10.0.0.2")
    gateway.hangup(ours)
    settled(wire, caller, gateway)


def in_dialog(node: Node, call: str, method: str, *headers: tuple[str, str], body: bytes = b"") -> list[int]:
    """A request made by hand in the dialog of a node's call; the list gets the final status."""
    heard: list[int] = []
    conversation = node.endpoint._talking(call)
    conversation.ask(method, list(headers), body, lambda response: heard.append(response.status))
    node.wire.collect(node)
    node.wire.run(0.1)
    return heard


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([("Refer-To", "<sip:bo@10.0.0.2>"), ("Refer-To", "<sip:chen@10.0.0.2>")], 400),
        ([("Refer-To", "<sip:bo@10.0.0.2>, <sip:chen@10.0.0.2>")], 400),
        ([("Refer-To", "<sip:bo@@@>")], 400),
        ([("Refer-To", "<sip:bo@10.0.0.2?Replaces=nonsense>")], 400),
        ([("Refer-To", "<mailto:bo@example.com>")], 416),
        ([("Refer-To", "<sip:bo@10.0.0.2;method=BYE>")], 403),
    ],
)
def test_what_is_no_transfer_is_refused(headers: list[tuple[str, str]], status: int) -> None:
    wire, caller, gateway, theirs, _ = talking()
    assert in_dialog(caller, theirs, "REFER", *headers) == [status]
    assert not gateway.of(TransferAsked)
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_no_subscription_where_the_peer_wants_none() -> None:
    wire, caller, gateway, theirs, _ = talking()
    status = in_dialog(caller, theirs, "REFER", ("Refer-To", "sip:bo@10.0.0.2"), ("Refer-Sub", "false"))
    assert status == []
    gateway.accept_transfer(gateway.last(TransferAsked).transfer)
    wire.run(0.1)
    assert status == [202]
    gateway.transfer_progress(gateway.last(TransferAsked).transfer, 200)
    wire.run(0.1)
    assert bodies(wire, gateway) == []
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_the_subscription_of_a_transfer_is_kept_or_given_up_by_subscribe() -> None:
    wire, caller, gateway, theirs, _, event = asked()
    gateway.accept_transfer(event.transfer)
    wire.run(0.1)
    assert in_dialog(caller, theirs, "SUBSCRIBE", ("Event", "refer"), ("Expires", "60")) == [200]
    assert in_dialog(caller, theirs, "SUBSCRIBE", ("Event", "dialog")) == [489]
    assert in_dialog(caller, theirs, "SUBSCRIBE", ("Event", "refer;id=9999")) == [403]
    assert in_dialog(caller, theirs, "SUBSCRIBE", ("Event", "refer"), ("Expires", "0")) == [200]
    assert bodies(wire, gateway)[-1][0] == "terminated"
    assert not gateway.endpoint._stack.transfers
    caller.hangup(theirs)
    settled(wire, caller, gateway)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([("Event", "dialog"), ("Subscription-State", "active")], b"SIP/2.0 100 Trying", 489),
        ([("Event", "refer"), ("Subscription-State", "active")], b"SIP/2.0 100 Trying", 415),
        ([("Event", "refer"), ("Subscription-State", "active"), ("Content-Type", "message/sipfrag")], b"hello", 400),
        ([("Event", "refer"), ("Content-Type", "message/sipfrag")], b"SIP/2.0 100 Trying", 400),
        (
            [("Event", "refer"), ("Subscription-State", "active"), ("Content-Type", "message/sipfrag")],
            b"SIP/2.0 180 Ringing\r\n",
            200,
        ),
    ],
)
def test_notifies_that_are_none(headers: list[tuple[str, str]], body: bytes, status: int) -> None:
    wire, caller, gateway, theirs, ours, _ = asked()
    assert in_dialog(gateway, ours, "NOTIFY", *headers, body=body) == [status]
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_a_notify_nobody_asked_for_is_481() -> None:
    wire, caller, gateway, theirs, ours = talking()
    told = [("Event", "refer"), ("Subscription-State", "active"), ("Content-Type", "message/sipfrag")]
    assert in_dialog(gateway, ours, "NOTIFY", *told, body=b"SIP/2.0 100 Trying\r\n") == [481]
    caller.hangup(theirs)
    settled(wire, caller, gateway)


# --- Replaces -----------------------------------------------------------------------------------------------------


def two_calls() -> tuple[Wire, Node, Node, list[str], list[str]]:
    """The caller has two calls with the gateway."""
    wire, caller, gateway, theirs, ours = talking()
    second = caller.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.1)
    offer = gateway.last(CallOffered)
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(0.1)
    return wire, caller, gateway, [theirs, second], [ours, offer.call]


def test_an_attended_transfer_names_the_other_call() -> None:
    wire, caller, gateway, theirs, ours = two_calls()
    caller.refer(theirs[0], "sip:8000@10.0.0.2", replaces=theirs[1])
    wire.run(0.1)
    event = gateway.last(TransferAsked)
    assert (event.call, event.replaces) == (ours[0], ours[1])
    refer = next(m for _, _, _, m in wire.log if isinstance(m, Request) and m.method == "REFER")
    assert "%3Bto-tag%3D" in (refer.get("Refer-To") or "")
    gateway.reject_transfer(event.transfer)
    for call in theirs:
        caller.hangup(call)
    settled(wire, caller, gateway)


def test_an_attended_transfer_to_a_call_that_is_gone_fails_by_notify() -> None:
    wire, caller, gateway, theirs, ours = two_calls()
    gateway.hangup(ours[1])
    caller.refer(theirs[0], "sip:8000@10.0.0.2", replaces=theirs[1])
    wire.run(1)
    assert not gateway.of(TransferAsked)
    assert bodies(wire, gateway)[-1] == ("terminated", "SIP/2.0 481 Call/Transaction Does Not Exist")
    assert gateway.endpoint.calls == (ours[0],)
    caller.hangup(theirs[0])
    settled(wire, caller, gateway)


def phone_and_gateway() -> tuple[Wire, Node, Node, str, str]:
    """A call between the gateway and a phone that proves who it is: ann's."""
    wire = Wire()
    phone = wire.node("10.0.0.1", user="ann", credentials=(Account("ann", "secret"),))
    accounts, trunks = (Account("ann", "secret"),), (Trunk("pbx", ("10.0.0.7",)),)
    gateway = wire.node("10.0.0.2", accounts=accounts, destinations=("8000",), trunks=trunks)
    theirs = phone.invite("sip:8000@10.0.0.2", OFFER, from_user="ann")
    wire.run(0.2)
    offer = gateway.last(CallOffered)
    gateway.answer(offer.call, answer_to(offer.offer))
    wire.run(0.2)
    return wire, phone, gateway, theirs, offer.call


def replacing(node: Node, call: str, more: str = "") -> dict[str, str]:
    """The Replaces header by which a call takes the place of the other end's dialog of `call`."""
    dialog = node.endpoint._talking(call).dialog
    return {"Replaces": f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}{more}"}


def test_a_call_that_replaces_another_says_which() -> None:
    wire, phone, gateway, theirs, ours = phone_and_gateway()
    new = phone.invite("sip:trunkline@10.0.0.2", OFFER, from_user="ann", headers=replacing(phone, theirs))
    wire.run(0.2)
    offer = gateway.last(CallOffered)
    assert (offer.replaces, "Replaces" in offer.headers) == (ours, False)
    gateway.answer(offer.call, answer_to(offer.offer))
    gateway.hangup(ours, "replaced")
    wire.run(0.2)
    assert phone.last(CallAnswered).call == new
    assert phone.last(CallEnded).call == theirs
    phone.hangup(new)
    settled(wire, phone, gateway)


def test_a_call_that_may_not_replace_another_is_refused() -> None:
    wire, phone, gateway, theirs, ours = phone_and_gateway()
    stranger = wire.node("10.0.0.7")
    for node, sender, more, status in ((stranger, "1", "", 403), (phone, "ann", ";early-only", 486)):
        call = node.invite("sip:8000@10.0.0.2", OFFER, from_user=sender, headers=replacing(phone, theirs, more))
        wire.run(0.2)
        assert node.last(CallFailed) == CallFailed(call, status, node.last(CallFailed).reason)
    assert len(gateway.of(CallOffered)) == 1
    assert gateway.endpoint.calls == (ours,)
    phone.hangup(theirs)
    settled(wire, phone, gateway, stranger)


def test_a_dialog_that_only_rings_here_is_not_replaced() -> None:
    wire, phone, gateway, theirs, _ = phone_and_gateway()
    ringing = phone.invite("sip:8000@10.0.0.2", OFFER, from_user="ann")
    wire.run(0.2)
    gateway.ring(gateway.last(CallOffered).call)
    wire.run(0.2)
    rings = next(m for _, _, _, m in reversed(wire.log) if isinstance(m, Response) and m.status == 180)
    value = f"{rings.call_id};to-tag={rings.to.tag};from-tag={rings.from_.tag}"
    phone.invite("sip:8000@10.0.0.2", OFFER, from_user="ann", headers={"Replaces": value})
    wire.run(0.2)
    assert phone.last(CallFailed).status == 481
    phone.hangup(ringing)
    phone.hangup(theirs)
    settled(wire, phone, gateway)


# --- keys ---------------------------------------------------------------------------------------------------------


def test_keys_go_out_by_info() -> None:
    wire, caller, gateway, theirs, ours = talking()
    gateway.info(ours, "#", 120)
    wire.run(0.1)
    assert caller.last(InfoDigit) == InfoDigit(theirs, "#", 120)
    with pytest.raises(SipError):
        gateway.info(ours, "x")
    caller.hangup(theirs)
    settled(wire, caller, gateway)


def test_info_of_a_package_is_refused_and_a_message_is_taken_without_a_word() -> None:
    wire, caller, gateway, theirs, _ = talking()
    assert in_dialog(caller, theirs, "INFO", ("Info-Package", "conf"), ("Content-Type", "x/y"), body=b"1") == [469]
    assert in_dialog(caller, theirs, "MESSAGE", ("Content-Type", "text/plain"), body=b"hello") == [200]
    assert gateway.endpoint.counters["messages_ignored"] == 1
    caller.hangup(theirs)
    settled(wire, caller, gateway)
