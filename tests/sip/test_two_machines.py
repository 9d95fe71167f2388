"""Two endpoints of ours drive each other over a link that loses, doubles and reorders, with whatever users may do:
every call ends once on both sides, both agree whether it was up, nothing is left behind."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import offer_answer, sdp
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
NUMBER = "X-Number"


@dataclass
class Side:
    """A user at one endpoint: keeps offers for a while, acts when told to."""

    node: Node
    wire: Wire
    other: str
    rng: random.Random
    at_once: bool
    answers: bool
    placed: dict[str, str] = field(default_factory=dict)
    offers: dict[str, sdp.SessionDescription | None] = field(default_factory=dict)
    asked: list[OfferChanged] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.node.on_event = self.hear

    def hear(self, event: SipEvent) -> None:
        if isinstance(event, CallOffered):
            self.offers[event.call] = event.offer
            if self.answers:
                self.node.answer(event.call, self.mine(event.offer))
        elif isinstance(event, OfferChanged):
            self.asked.append(event)
            if self.at_once:
                self.decide(True)

    def mine(self, offer: sdp.SessionDescription | None = None, direction: str = "sendrecv") -> sdp.SessionDescription:
        ip, port = self.node.place.ip, 4000 + 2 * self.rng.randint(0, 9)
        if offer is None:
            return offer_answer.offer(ip, port, direction=direction)
        return offer_answer.answer(offer, ip, port)

    def decide(self, yes: bool) -> None:
        while self.asked:
            event = self.asked.pop(0)
            try:
                if yes:
                    self.node.accept_change(event.call, self.mine(event.offer))
                else:
                    self.node.reject_change(event.call, 488)
            except SipError:
                continue  # the call is over, or the change called off

    def do(self, verb: str) -> None:
        """One thing a user may do, to a call the seed chooses; what can't be done now is refused politely."""
        calls = self.node.endpoint.calls
        offered = [call for call in calls if call in self.offers]
        call = self.rng.choice(calls) if calls else ""
        rung = self.rng.choice(offered) if offered else ""
        try:
            if verb in ("invite", "invite late", "invite briefly"):
                self.invite(verb)
            elif verb in ("accept", "refuse"):
                self.decide(verb == "accept")
            elif rung and verb == "ring":
                self.node.ring(rung)
            elif rung and verb == "early media":
                self.node.ring(rung, self.mine(self.offers[rung]))
            elif rung and verb == "answer":
                self.node.answer(rung, self.mine(self.offers[rung]))
            elif rung and verb == "reject":
                self.node.reject(rung, 486, cause=17)
            elif call and verb == "hang up":
                self.node.hangup(call, "enough", cause=16)
            elif call and verb == "hold":
                self.node.change(call, self.mine(direction="sendonly"))
            elif call and verb in ("change", "update"):
                self.node.change(call, self.mine(), update=verb == "update")
        except SipError:
            return

    def invite(self, verb: str) -> None:
        number = str(self.rng.getrandbits(32))
        call = self.node.invite(
            f"sip:8000@{self.other}",
            None if verb == "invite late" else self.mine(),
            headers={NUMBER: number},
            ring_timeout=3.0 if verb == "invite briefly" else None,
        )
        self.placed[number] = call

    @property
    def received(self) -> dict[str, str]:
        return {event.headers[NUMBER]: event.call for event in self.node.of(CallOffered)}

    def ending(self, call: str) -> CallEnded | CallFailed | CallCancelled:
        """The one ending of a call, and nothing after it."""
        about = [event for event in self.node.events if getattr(event, "call", None) == call]
        endings = [event for event in about if isinstance(event, ENDINGS)]
        assert len(endings) == 1, about
        assert about[-1] is endings[0], about
        return endings[0]


VERBS = [
    *["invite", "invite late", "invite briefly", "ring", "early media", "answer", "answer", "reject"],
    *["hang up", "hold", "hold", "change", "change", "update", "update", "accept", "accept", "refuse", "wait"],
]
link = st.tuples(st.sampled_from([0.0, 0.1, 0.35]), st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 0.05, 0.6]))
side = st.fixed_dictionaries(
    {
        "reliable": st.sampled_from(["never", "supported", "required"]),
        "session_expires": st.sampled_from([0, 4, 20, 1800]),
        "min_se": st.sampled_from([2, 8]),
    }
)
pauses = st.sampled_from([0.0, 0.02, 0.3, 3.0, 9.0])
steps = st.lists(st.tuples(pauses, st.booleans(), st.sampled_from(VERBS)), max_size=40)


@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), link, side, side, st.lists(st.booleans(), min_size=4, max_size=4), steps)
def test_every_call_ends_once_and_both_sides_agree(
    seed: int,
    quality: tuple[float, float, float],
    one: dict[str, object],
    two: dict[str, object],
    ways: list[bool],
    plan: list[tuple[float, bool, str]],
) -> None:
    rng, wire = random.Random(seed), Wire(seed)
    wire.fate = fate(rng, *quality)
    trunk = (Trunk("peer", ("10.0.0.0/24",)),)
    sides = []
    for i, config in ((1, one), (2, two)):
        node = wire.node(f"10.0.0.{i}", trunks=trunk, destinations=("*",), **config)
        sides.append(Side(node, wire, f"10.0.0.{3 - i}", rng, *ways[2 * i - 2 : 2 * i]))
    for pause, which, verb in [(0.0, True, "invite"), *plan]:
        sides[which].do(verb)
        wire.run(pause)
    for _ in range(6):  # what still arrives of old calls is ended as well
        for each in sides:
            each.decide(True)
            for call in each.node.endpoint.calls:
                each.node.hangup(call, "the end")
        wire.run(64 * 0.5)
    wire.run(64 * 0.5 * 4)
    for each in sides:
        left_behind(each)
        for caller, callee in (sides, sides[::-1]):
            agree(caller, callee)


def fate(rng: random.Random, loss: float, double: float, jitter: float):
    def arrives(data: bytes, source: object, target: object) -> list[float]:
        if rng.random() < loss:
            return []
        copies = 2 if rng.random() < double else 1
        return [0.01 + (rng.expovariate(1 / jitter) if jitter else 0.0) for _ in range(copies)]

    return arrives


def left_behind(side: Side) -> None:
    """Nothing is: no call, dialog, transaction or alarm, no error of ours."""
    stack = side.node.endpoint._stack
    assert side.node.endpoint.calls == ()
    assert not stack.dialogs
    assert len(stack.transactions) == 0
    assert side.node.endpoint.next_timer() is None
    assert not side.node.endpoint.busy


def agree(caller: Side, callee: Side) -> None:
    """Both say the call was up, or neither. The protocol itself leaves these in doubt: the caller gave up or did not
    like the answer while it was on its way (ACK and BYE: up there, not here); no ACK arrived in time, the callee ended
    the call before the ACK, or a BYE overtook it (up here, not there)."""
    for number, call in caller.placed.items():
        up_here = any(event.call == call for event in caller.node.of(CallAnswered))
        end_here = caller.ending(call)
        taken = callee.received.get(number)
        if taken is None:
            assert not up_here
            continue
        up_there = any(event.call == taken for event in callee.node.of(CallConfirmed))
        end_there = callee.ending(taken)
        if up_there and not up_here:
            assert isinstance(end_here, CallFailed)
            assert end_here.status in (408, 487, 488), end_here
            assert isinstance(end_there, CallEnded)
        elif up_here and not up_there:
            assert isinstance(end_there, CallEnded)
            assert end_there.by_peer or end_there.cause in (16, 102) or end_there.reason == "the end", end_there
        elif not up_here:
            assert isinstance(end_here, CallFailed)
