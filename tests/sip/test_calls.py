"""Calls between two endpoints of ours over a wire of values."""

from __future__ import annotations

from gateway.sip import sdp
from gateway.sip.events import (
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallOffered,
    CallProgress,
)
from tests.sip.wire import pair

OFFER = sdp.offer("10.0.0.1", 4000)


def answer_to(offer: sdp.SessionDescription, ip: str = "10.0.0.2", port: int = 6000) -> sdp.SessionDescription:
    return sdp.answer(offer, ip, port)


def test_a_call_is_offered_rung_answered_confirmed_and_ended_by_the_caller() -> None:
    wire, caller, gateway = pair()
    call = caller.invite(
        "sip:8000@10.0.0.2", OFFER, from_user="1001", from_display='Ann "A"', headers={"X-Why": "a\r\nb"}
    )
    wire.run(0.1)
    offered = gateway.last(CallOffered)
    assert (offered.caller, offered.display, offered.dialled, offered.trunk) == ("1001", 'Ann "A"', "8000", "pbx")
    assert offered.headers["X-Why"] == "a b"
    gateway.ring(offered.call)
    wire.run(0.1)
    assert caller.last(CallProgress).status == 180
    gateway.answer(offered.call, answer_to(offered.offer))
    wire.run(0.1)
    answered = caller.last(CallAnswered)
    assert (answered.call, answered.media.ip, answered.media.port, answered.media.payload) == (
        call,
        "10.0.0.2",
        6000,
        0,
    )
    assert answered.media.dtmf_payload == 101
    assert gateway.last(CallConfirmed).answer is None
    caller.hangup(call, "done")
    wire.run(1)
    assert gateway.last(CallEnded).by_peer
    assert gateway.last(CallEnded).reason == "done"
    assert caller.last(CallEnded).by_peer is False
    assert wire.starts() == ["INVITE", "100 INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]
    wire.run(40)
    assert not caller.endpoint.busy
    assert not gateway.endpoint.busy
    assert caller.endpoint.next_timer() is None
    assert gateway.endpoint.next_timer() is None
