"""Live calls on a wire where copies of messages arrive damaged: nothing raises, nothing is left behind."""

from __future__ import annotations

import contextlib
import random

import pytest

from gateway.core.errors import SipError
from gateway.sip import offer_answer
from gateway.sip.config import Account
from gateway.sip.events import CallOffered, OfferChanged
from tests.sip.test_calls import OFFER, talking
from tests.sip.wire import Node, Wire

PIECES = (
    b'\r\n,",<,>,;,:,%,%zz,\r\n\r\n,\xff,\0,=,@,sip:,*,-1,99999999999, ,\t,[,],\r\n ,m=,a=rtpmap:,c=IN IP4 '
    b",Contact: *\r\n,Require: x\r\n,;tag=,;lr,Record-Route: x\r\n,v=0\r\n"
).split(b",")


def damage(data: bytes, rng: random.Random) -> bytes:
    """A few insertions, deletions, repetitions, changed bytes or swapped lines."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at, kind = rng.randrange(len(made) + 1), rng.random()
        if kind < 0.4:
            made[at:at] = rng.choice(PIECES)
        elif kind < 0.6:
            del made[at : at + rng.randrange(1, 12)]
        elif kind < 0.75:
            other = rng.randrange(len(made) + 1)
            made[at:at] = made[other : other + rng.randrange(40)]
        elif kind < 0.9 and at < len(made):
            made[at] = rng.randrange(256)
        else:
            lines = bytes(made).split(b"\r\n")
            lines[rng.randrange(len(lines))] = rng.choice(lines)
            made = bytearray(b"\r\n".join(lines))
    return bytes(made)


def respond(node: Node) -> None:
    """Answers what the last offers ask for."""
    for event in (*node.of(OfferChanged)[-1:], *node.of(CallOffered)[-1:]):
        mine = offer_answer.answer(event.offer, "10.0.0.2", 6000) if event.offer else OFFER
        with contextlib.suppress(SipError):
            (node.accept_change if isinstance(event, OfferChanged) else node.answer)(event.call, mine)


def a_call_in_bad_weather(rng: random.Random) -> int:
    wire, caller, gateway, theirs, ours = talking()
    sent = 0

    def fate(data: bytes, source: object, target: tuple[str, int]) -> list[float]:
        nonlocal sent
        if rng.random() < 0.6 and target in wire.nodes:
            sent += 1
            wire.nodes[target].endpoint.receive(damage(data, rng), source, wire.now)
            for event in wire.nodes[target].endpoint.take_events():
                repr(event).encode()
                wire.nodes[target].events.append(event)
        return [0.01]

    wire.fate = fate
    caller.change(theirs, offer_answer.offer("10.0.0.1", 4002))
    caller.invite("sip:8000@10.0.0.2", OFFER)
    registration = caller.register("sip:10.0.0.2", "sip:ann@10.0.0.2", Account("ann", "x"))
    for _ in range(5):
        wire.run(1)
        respond(caller)
        respond(gateway)
    caller.unregister(registration)
    leave(wire, caller, gateway)
    assert ours not in gateway.endpoint.calls
    return sent


def leave(wire: Wire, *nodes: Node) -> None:
    for _ in range(3):
        for node in nodes:
            for call in node.endpoint.calls:
                node.hangup(call)
        wire.run(70)
    for node in nodes:
        assert node.endpoint.calls == ()
        assert not node.endpoint.busy
        assert len(node.endpoint._stack.transactions) == 0


@pytest.mark.parametrize("seed", range(8))
def test_damaged_messages_neither_raise_nor_leave_anything_behind(seed: int) -> None:
    rng = random.Random(seed)
    assert sum(a_call_in_bad_weather(rng) for _ in range(10)) > 50
