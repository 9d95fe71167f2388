"""Two endpoints over a link that loses, doubles and reorders: every call ends, both sides agree, nothing is left."""

from __future__ import annotations

import random

import pytest

from gateway.core.errors import SipError
from gateway.sip import offer_answer
from gateway.sip.config import Trunk
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    OfferChanged,
    SipEvent,
)
from tests.sip.wire import Node, Wire

ENDINGS = (CallEnded, CallFailed, CallCancelled)


class User:
    """Does what a user might, at moments a seed chooses, on either side."""

    def __init__(self, wire: Wire, node: Node, rng: random.Random) -> None:
        self.wire, self.node, self.rng = wire, node, rng
        self.plans: list[tuple[float, str, str]] = []
        node.on_event = self.hear

    def hear(self, event: SipEvent) -> None:
        mine = offer_answer.offer(self.node.place[0], 4000)
        if isinstance(event, CallOffered):
            assert event.offer
            if self.rng.random() < 0.1:
                self.node.reject(event.call, 486)
                return
            self.node.ring(event.call)
            self.plan(event.call, "answer", 3)
        elif isinstance(event, OfferChanged):
            if event.offer is None or self.rng.random() < 0.1:
                self.node.reject_change(event.call)
            else:
                self.node.accept_change(event.call, offer_answer.answer(event.offer, self.node.place[0], 4000))
        elif isinstance(event, (CallAnswered, CallConfirmed)):
            if self.rng.random() < 0.5:
                self.plan(event.call, "change", 5)
            self.plan(event.call, "hangup", 20)
        assert mine

    def plan(self, call: str, what: str, within: float) -> None:
        self.plans.append((self.wire.now + self.rng.uniform(0, within), call, what))

    def act(self) -> None:
        due = [p for p in self.plans if p[0] <= self.wire.now]
        self.plans = [p for p in self.plans if p[0] > self.wire.now]
        for _, call, what in due:
            if call not in self.node.endpoint.calls:
                continue
            try:
                if what == "answer":
                    offer = next(e.offer for e in self.node.of(CallOffered) if e.call == call)
                    self.node.answer(call, offer_answer.answer(offer, self.node.place[0], 4000))
                    self.plan(call, "hangup", 40)
                elif what == "change":
                    self.node.change(call, offer_answer.offer(self.node.place[0], 4000 + 2 * self.rng.randint(0, 9)))
                else:
                    self.node.hangup(call, "enough")
            except SipError:
                continue


@pytest.mark.parametrize("seed", range(12))
def test_every_call_ends_on_both_sides_whatever_the_link_does(seed: int) -> None:
    rng = random.Random(seed)
    wire = Wire(seed)
    loss, double = (0.1, 0.05) if seed % 2 else (0.35, 0.2)

    def fate(data: bytes, source: object, target: object) -> list[float]:
        if rng.random() < loss:
            return []
        copies = 2 if rng.random() < double else 1
        return [rng.expovariate(1 / 0.05) for _ in range(copies)]

    wire.fate = fate
    trunk = (Trunk("peer", ("10.0.0.0/24",)),)
    nodes = [wire.node(f"10.0.0.{i}", trunks=trunk, destinations=("*",)) for i in (1, 2)]
    users = [User(wire, node, rng) for node in nodes]
    placed: list[tuple[Node, str]] = []
    for step in range(240):
        if step < 120 and rng.random() < 0.4:
            at = rng.randint(0, 1)
            call = nodes[at].invite(f"sip:8000@10.0.0.{2 - at}", offer_answer.offer(nodes[at].place[0], 4000))
            placed.append((nodes[at], call))
            if rng.random() < 0.3:
                users[at].plan(call, "hangup", 4)
        for user in users:
            user.act()
        wire.run(0.25)
    for _ in range(1200):
        for user in users:
            user.act()
        wire.run(0.25)
        if not any(user.plans for user in users) and not any(node.endpoint.calls for node in nodes):
            break
    wire.run(200)
    assert len(placed) > 20
    for node in nodes:
        assert node.endpoint.calls == ()
        assert not node.endpoint.busy
        assert len(node.endpoint._stack.transactions) == 0
        assert node.endpoint.next_timer() is None
        begun = [e.call for e in node.of(CallOffered)] + [call for at, call in placed if at is node]
        ended = [e.call for e in node.events if isinstance(e, ENDINGS)]
        assert sorted(begun) == sorted(ended)
        for call in begun:
            ending = next(i for i, e in enumerate(node.events) if isinstance(e, ENDINGS) and e.call == call)
            assert not any(getattr(e, "call", None) == call for e in node.events[ending + 1 :])
    assert any(node.of(CallAnswered) for node in nodes)
    assert any(node.of(CallConfirmed) for node in nodes)
