"""Twenty thousand damaged messages at an endpoint with calls up: answers, silence, counters, and the calls live on."""

from __future__ import annotations

import contextlib
import logging
import random
import re

import pytest

from gateway.core.errors import SipError
from gateway.sip import offer_answer
from gateway.sip.config import Account, Trunk
from gateway.sip.events import CallOffered, ChangeAnswered, OfferChanged
from gateway.sip.guard import Defence, Rate
from gateway.sip.place import Place
from tests.sip.trash import Side, Talk, request, trash
from tests.sip.wire import Node, Wire

OFFER = offer_answer.offer("10.0.0.1", 4000)
PLENTY = Rate(1e6, 1_000_000)
OPEN = Defence(requests=PLENTY, registers=PLENTY, invites=PLENTY, strangers=PLENTY)
"""No rates: every message is read."""

ROUNDS, EACH = 200, 25
SOURCES = (
    Place("10.0.0.9", 5060),  # a trunk
    Place("10.0.0.9", 40_001, "tcp", 7),
    Place("203.0.113.7", 5060),  # strangers
    Place("203.0.113.8", 40_002, "wss", 9),
)
COUNTERS = re.compile(
    r"(received_([A-Z]+|other|[1-6]xx)|sent_[A-Z]+|refused_[3-6]\d\d|auth_[a-z]+|dropped_[a-z_]+|[a-z_]+|\d{3})"
)


def gateway() -> tuple[Wire, Node, list[Node], list[str]]:
    """A gateway and two callers whose calls stand, apart from all that will come."""
    wire = Wire(5)
    node = wire.node(
        "10.0.0.2",
        domain="example.test",
        trunks=(Trunk("pbx", ("10.0.0.0/24",)),),
        accounts=(Account("ann", "right"),),
        destinations=("8000",),
        ports={"tcp": 5060, "wss": 443},
        defence=OPEN,
    )
    callers = [wire.node(f"10.0.0.{n}", user=f"caller{n}") for n in (20, 21)]
    standing = []
    for caller in callers:
        caller.invite("sip:8000@10.0.0.2", OFFER)
        wire.run(0.1)
        standing.append(node.last(CallOffered).call)
        node.answer(standing[-1], offer_answer.answer(node.last(CallOffered).offer, "10.0.0.2", 6000))
        wire.run(0.1)
    return wire, node, callers, standing


class Storm:
    """Trash at a gateway whose own calls and answers go on."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.wire, self.node, self.callers, self.standing = gateway()
        self.number = 0

    def round(self) -> None:
        rng, node = self.rng, self.node
        heard = [
            data for place in SOURCES for data in self.wire.raw.get(place, ())[-20:] if not data.startswith(b"SIP/")
        ]
        talks = [
            Talk(call_id, theirs, ours)
            for call_id, ours, theirs in list(node.endpoint._stack.dialogs)
            if call_id not in self.own
        ][-30:]
        for _ in range(EACH):
            source = rng.choice(SOURCES)
            side = Side(source.ip, source.port, "10.0.0.2:5060", source.transport.upper())
            self.number += 1
            node.receive(trash(rng, side, talks, heard, self.number), source)
        if len(talks) < 5:
            side = Side(SOURCES[0].ip, SOURCES[0].port, "10.0.0.2:5060")
            node.receive(request("INVITE", side, Talk(f"good{self.number}"), self.number), SOURCES[0])
        self._act()
        self.wire.run(rng.choice((0.01, 0.01, 0.5, 5.0)))
        for events in node.events:
            repr(events).encode()
        node.events.clear()

    @property
    def own(self) -> set[str]:
        """Call-IDs of the calls that stand."""
        return {call_id for caller in self.callers for call_id, _, _ in caller.endpoint._stack.dialogs}

    def _act(self) -> None:
        """The gateway answers, changes, calls out and hangs up as one that is used."""
        rng, node = self.rng, self.node
        for event in (*node.of(OfferChanged)[-3:], *node.of(CallOffered)[-3:]):
            mine = offer_answer.answer(event.offer, "10.0.0.2", 6000) if event.offer else OFFER
            with contextlib.suppress(SipError):
                verb = node.accept_change if isinstance(event, OfferChanged) else rng.choice((node.answer, node.ring))
                verb(event.call, mine)
        others = [call for call in node.endpoint.calls if call not in self.standing]
        for call in rng.sample(others, min(2, len(others))):
            with contextlib.suppress(SipError):
                rng.choice((lambda: node.change(call, OFFER), lambda: node.hangup(call), lambda: None))()  # noqa: B023
        if rng.random() < 0.3:
            node.invite("sip:x@10.0.0.9", OFFER)
        if rng.random() < 0.1:
            node.disconnected(rng.choice(SOURCES[1::2]))


@pytest.mark.parametrize("seed", range(4))
def test_twenty_thousand_damaged_messages_end_no_call_and_leave_nothing_behind(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    storm = Storm(seed)
    wire, node = storm.wire, storm.node
    for _ in range(ROUNDS):
        storm.round()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    counters = node.endpoint.counters
    assert sum(count for name, count in counters.items() if name.startswith("received_")) > ROUNDS * EACH / 3
    assert all(COUNTERS.fullmatch(name) for name in counters), counters
    assert len(counters) < 120
    assert {*storm.standing} <= {*node.endpoint.calls}
    for caller, call in zip(storm.callers, storm.standing, strict=True):
        caller.on_event = _accepting(caller)
        node.change(call, offer_answer.offer("10.0.0.2", 6002))
        wire.run(0.1)
        assert node.of(ChangeAnswered)
        node.events.clear()
    for _ in range(3):
        for each in (node, *storm.callers):
            for call in each.endpoint.calls:
                each.hangup(call)
        wire.run(70)
    wire.run(4000)  # registrations and subscriptions run out
    stack = node.endpoint._stack
    assert node.endpoint.calls == ()
    assert (len(stack.transactions), len(stack.dialogs), node.endpoint.busy) == (0, 0, False)


def _accepting(caller: Node):
    def accept(event: object) -> None:
        if isinstance(event, OfferChanged) and event.offer:
            caller.accept_change(event.call, offer_answer.answer(event.offer, "10.0.0.1", 4000))

    return accept
