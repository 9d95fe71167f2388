"""The routing policy, case by case, through `step` alone. Time is a number."""

from __future__ import annotations

import copy

import pytest

from gateway.routing.model import (
    Agent,
    AgentDown,
    AgentOffer,
    AgentUp,
    CallFinished,
    CallLeft,
    CallQueued,
    Decision,
    NobodyThere,
    OfferAnswered,
    OfferFailed,
    Position,
    Queue,
    RoutingEvent,
    Tick,
    WithdrawOffer,
)
from gateway.routing.policy import ASIDE_S, reload, start, step

QUEUES = (
    Queue("general"),
    Queue("cards", {"cards": 2}, ring_s=15, announce_s=30, wrap_up_s=10, max_wait_s=3600),
    Queue("fraud", {"senior": 3}, priority=100, ring_s=10),
)


def agent(name: str, queues: tuple[str, ...] = (), **skills: int) -> Agent:
    return Agent(name, name.title(), f"sip:{name}@example", {"en": 3, **skills}, queues)


class Room:
    """Runs the policy and keeps what it decided last."""

    def __init__(self, *agents: Agent, queues: tuple[Queue, ...] = QUEUES) -> None:
        self.state = start(queues)
        self.now = 0.0
        for one in agents:
            self.do(AgentUp(one))
            self.now += 1.0

    def do(self, event: RoutingEvent, at: float | None = None) -> list[Decision]:
        self.now = self.now if at is None else at
        before = copy.deepcopy(self.state)
        old = self.state
        self.state, decisions = step(self.state, event, self.now)
        assert old == before, "a step changed the state it was given"
        return decisions

    def queue(self, call: str, queue: str = "cards", *, language: str = "en-US", **more: object) -> list[Decision]:
        return self.do(CallQueued(call, queue, language, **more))  # type: ignore[arg-type]

    def tick(self) -> list[Decision]:
        """The clock reaches the deadline."""
        assert self.state.deadline is not None
        return self.do(Tick(), self.state.deadline)


def offers(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(d.call, d.agent) for d in decisions if isinstance(d, AgentOffer)]


def rejected(decision: Decision) -> dict[str, str | None]:
    assert isinstance(decision, AgentOffer | NobodyThere)
    return {c.agent: c.rejected for c in decision.candidates}


# --- who is chosen --------------------------------------------------------------------------------------------------


def test_the_longest_idle_agent_with_the_skills_and_the_language_is_rung() -> None:
    room = Room(agent("anna", cards=1), agent("bo", cards=2), agent("chen", cards=5), agent("dee", zh=4, en=0, cards=5))
    room.now = 60.0
    (offer,) = room.queue("c1")
    assert offers([offer]) == [("c1", "bo")]
    assert isinstance(offer, AgentOffer)
    assert offer.until == 75.0
    assert room.state.deadline == 75.0
    assert offer.why == "Bo serves queue cards, speaks en-US, has cards 2, is the longest idle of 2 free (59 s)"
    assert rejected(offer) == {
        "anna": "has cards 1, the queue needs 2",
        "bo": None,
        "chen": "idle for 58 s, Bo for 59 s",
        "dee": "does not speak en-US",
    }


@pytest.mark.parametrize(
    ("skills", "language", "can"),
    [({"en": 1}, "en-US", True), ({"en-US": 1}, "en-US", True), ({"en-GB": 5}, "en-US", False), ({}, "zh-CN", False)],
)
def test_a_language_is_a_skill_and_its_short_tag_covers_the_long_one(
    skills: dict[str, int], language: str, can: bool
) -> None:
    room = Room(Agent("a", "A", "sip:a", skills))
    assert bool(offers(room.queue("c", "general", language=language))) is can


def test_an_agent_bound_to_queues_serves_no_other() -> None:
    room = Room(agent("anna", ("loans",), cards=5))
    (nobody,) = room.queue("c1")
    assert isinstance(nobody, NobodyThere)
    assert rejected(nobody) == {"anna": "does not serve queue cards"}


@pytest.mark.parametrize(
    ("bound", "can"), [("cards", True), ("bank.cards", True), ("shop.cards", False), ("bank", False)]
)
def test_a_queue_of_a_flow_may_be_named_without_the_flow(bound: str, can: bool) -> None:
    room = Room(agent("anna", (bound,)), queues=(Queue("bank.cards"),))
    assert bool(offers(room.queue("c1", "bank.cards"))) is can


def test_priority_of_call_and_queue_then_arrival_decide_who_is_first() -> None:
    room = Room(agent("anna", cards=2, senior=3))
    room.queue("talking", "general")
    room.do(OfferAnswered("talking", "anna"))
    for call, queue, priority in [("c1", "general", 0), ("c2", "general", 5), ("c3", "general", 5), ("c4", "fraud", 0)]:
        room.queue(call, queue, priority=priority)
    order = []
    current = "talking"
    for _ in range(4):
        ((current, _agent),) = offers(room.do(CallFinished(current, "anna")))
        order.append(current)
        room.do(OfferAnswered(current, "anna"))
    assert order == ["c4", "c2", "c3", "c1"]


def test_a_call_for_which_nobody_is_free_does_not_hold_up_the_next() -> None:
    room = Room(agent("anna", cards=2), agent("bo"))
    room.queue("c1")
    assert isinstance(room.queue("c2")[0], Position)
    assert offers(room.queue("c3", "general")) == [("c3", "bo")]


# --- nobody there ---------------------------------------------------------------------------------------------------


def test_without_an_agent_who_could_take_it_the_caller_is_told_at_once() -> None:
    room = Room()
    (nobody,) = room.queue("c1")
    assert isinstance(nobody, NobodyThere)
    assert nobody.why == "no agent is signed in"
    assert room.state.waiting == {}
    assert room.state.deadline is None


def test_a_queue_that_does_not_exist_has_nobody() -> None:
    (nobody,) = Room(agent("anna")).queue("c1", "cardz")
    assert isinstance(nobody, NobodyThere)
    assert "no queue cardz" in nobody.why


def test_when_the_last_able_agent_signs_out_those_who_wait_are_told() -> None:
    room = Room(agent("anna", cards=2), agent("bo"))
    room.queue("c1")
    room.queue("c2")
    decisions = room.do(AgentDown("anna"))
    assert decisions[0] == WithdrawOffer("c1", "anna", "Anna is gone: signed out")
    assert sorted(d.call for d in decisions[1:] if isinstance(d, NobodyThere)) == ["c1", "c2"]
    assert "none of the 1 agents signed in can take a en-US call of queue cards" in str(decisions[1])


def test_an_agent_who_is_only_busy_is_worth_waiting_for() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.do(OfferAnswered("c1", "anna"))
    (told,) = room.queue("c2")
    assert told == Position("c2", 1, None, "waits for the only one able: Anna is talking")


def test_an_agent_who_leaves_while_talking_ends_the_call_but_takes_no_other() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.do(OfferAnswered("c1", "anna"))
    assert room.do(AgentDown("anna", "registration expired")) == []
    (nobody,) = room.queue("c2")
    assert rejected(nobody) == {"anna": "registration expired"}
    assert room.do(CallFinished("c1", "anna")) == []
    assert room.state.seats == {}


def test_an_agent_who_comes_back_while_talking_stays() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1", "general")
    room.do(OfferAnswered("c1", "anna"))
    room.do(AgentDown("anna"))
    room.do(AgentUp(agent("anna", cards=2)))
    room.do(CallFinished("c1", "anna"))
    assert offers(room.queue("c2")) == [("c2", "anna")]


# --- ringing --------------------------------------------------------------------------------------------------------


def test_no_answer_in_time_goes_to_the_next_agent_and_the_first_is_left_in_peace() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    assert offers(room.queue("c1")) == [("c1", "anna")]
    withdrawn, offer = room.tick()
    assert withdrawn == WithdrawOffer("c1", "anna", "Anna did not answer in 15 s")
    assert offers([offer]) == [("c1", "bo")]
    assert rejected(offer)["anna"] == f"did not take the last call, set aside for {ASIDE_S:.0f} s more"
    (position,) = room.queue("c2")
    assert isinstance(position, Position)


@pytest.mark.parametrize("reason", ["486 Busy Here", "603 Decline", "408 Request Timeout"])
def test_a_phone_that_refuses_sends_the_call_to_the_next_agent_at_once(reason: str) -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    room.queue("c1")
    assert offers(room.do(OfferFailed("c1", "anna", reason), room.now + 1)) == [("c1", "bo")]


def test_the_one_who_failed_is_tried_again_only_after_the_others() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2), agent("chen", cards=2))
    rung = [offers(room.queue("c1"))[0][1]]
    for at in range(100, 1000, 100):  # everybody is out of the time aside again
        decisions = room.do(OfferFailed("c1", rung[-1], "486 Busy Here"), float(at))
        rung += [a for _, a in offers(decisions)]
    assert rung[:3] == ["anna", "bo", "chen"]
    assert all(set(rung[n : n + 3]) == {"anna", "bo", "chen"} for n in range(0, 9, 3))


def test_of_two_who_become_free_at_once_the_one_not_yet_tried_is_rung() -> None:
    room = Room(agent("zoe", cards=2), agent("anna", cards=2))
    room.queue("c0")
    room.do(OfferAnswered("c0", "zoe"))
    assert offers(room.queue("c1")) == [("c1", "anna")]
    room.do(OfferFailed("c1", "anna", "busy"), 100)
    room.do(CallFinished("c0", "zoe"), 125)
    (offer,) = (d for d in room.do(Tick(), 140) if isinstance(d, AgentOffer))  # the timer was late: both are free
    assert (offer.call, offer.agent) == ("c1", "zoe")
    assert rejected(offer)["anna"] == "was already rung for this call"


def test_other_events_do_not_shorten_the_ring_time() -> None:
    room = Room(agent("anna", cards=2), agent("bo"))
    room.queue("c1")
    until = room.state.deadline
    assert until is not None
    assert room.do(AgentDown("bo"), until - 0.01) == []
    assert room.do(AgentUp(agent("bo")), until - 0.001) == []
    assert [type(d) for d in room.do(Tick(), until)] == [WithdrawOffer]


def test_the_only_agent_is_tried_again_when_the_time_aside_is_over() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    failed_at = room.now + 2
    assert offers(room.do(OfferFailed("c1", "anna", "busy"), failed_at)) == []
    while not (decisions := offers(room.tick())):
        pass
    assert decisions == [("c1", "anna")]
    assert room.now == failed_at + ASIDE_S


def test_a_phone_that_registers_again_ends_the_time_aside() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.do(OfferFailed("c1", "anna", "unreachable"))
    assert offers(room.do(AgentUp(agent("anna", cards=2)))) == [("c1", "anna")]


def test_an_answer_at_the_very_end_of_the_ring_time_counts() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    until = room.state.deadline
    assert until is not None
    assert room.do(OfferAnswered("c1", "anna"), until) == []
    assert room.state.seats["anna"].doing == "talking"


def test_an_answer_after_the_offer_was_taken_back_counts_while_both_are_free() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.tick()
    assert room.do(OfferAnswered("c1", "anna")) == []
    assert room.state.seats["anna"].call == "c1"
    assert room.state.waiting == {}


def test_an_answer_after_another_was_rung_takes_that_offer_back() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    room.queue("c1")
    room.tick()
    (withdrawn,) = room.do(OfferAnswered("c1", "anna"))
    assert isinstance(withdrawn, WithdrawOffer)
    assert withdrawn.agent == "bo"
    assert room.state.seats["bo"].doing == "idle"


def test_an_answer_for_a_call_that_is_gone_is_withdrawn() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.do(CallLeft("c1"))
    (withdrawn,) = room.do(OfferAnswered("c1", "anna"))
    assert withdrawn == WithdrawOffer("c1", "anna", "the answer came after the offer was taken back")
    assert room.state.seats["anna"].doing == "idle"


def test_a_caller_who_leaves_frees_the_agent_who_keeps_the_idle_time() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    room.queue("c1")
    assert room.do(CallLeft("c1"), room.now + 5) == [WithdrawOffer("c1", "anna", "the caller left")]
    assert offers(room.queue("c2")) == [("c2", "anna")]


def test_an_agent_who_vanishes_while_ringing_loses_the_offer_to_the_next() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    room.queue("c1")
    withdrawn, offer = room.do(AgentDown("anna", "registration expired"))
    assert withdrawn == WithdrawOffer("c1", "anna", "Anna is gone: registration expired")
    assert offers([offer]) == [("c1", "bo")]


# --- after the call -------------------------------------------------------------------------------------------------


def test_wrap_up_is_respected_and_then_the_next_caller_comes() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.do(OfferAnswered("c1", "anna"), 10)
    room.do(CallFinished("c1", "anna"), 70)
    (told,) = room.queue("c2")
    assert isinstance(told, Position)
    assert told.why == "waits for the only one able: Anna wraps up for 10 s more"
    assert offers(room.tick()) == [("c2", "anna")]
    assert room.now == 80


def test_a_call_passed_on_by_an_agent_waits_again_elsewhere() -> None:
    room = Room(agent("anna", cards=2), agent("bo"))
    room.queue("c1")
    room.do(OfferAnswered("c1", "anna"))
    assert offers(room.queue("c1", "general")) == [("c1", "bo")]
    assert room.state.seats["anna"].doing == "wrap_up"


def test_a_caller_who_moves_to_another_queue_keeps_the_time_waited() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("busy")
    room.queue("c1", "general")
    room.queue("c2")
    room.queue("c1")
    assert list(room.state.waiting) == ["busy", "c2", "c1"]
    assert offers(room.do(CallLeft("busy"))) == [("c1", "anna")]


# --- emergency lane -------------------------------------------------------------------------------------------------


def test_an_emergency_goes_before_every_priority() -> None:
    room = Room(agent("anna", senior=3, cards=2))
    room.queue("talking", "general")
    room.do(OfferAnswered("talking", "anna"))
    room.queue("vip", "fraud", priority=10_000)
    room.queue("help", "fraud", emergency=True)
    assert offers(room.do(CallFinished("talking", "anna"))) == [("help", "anna")]


def test_an_emergency_takes_the_able_agent_who_is_being_rung_or_wraps_up() -> None:
    room = Room(agent("anna", senior=3, cards=2), agent("bo"))
    room.queue("c1")
    withdrawn, offer = room.queue("help", "fraud", emergency=True)
    assert withdrawn == WithdrawOffer("c1", "anna", "an emergency takes Anna")
    assert offers([offer]) == [("help", "anna")]
    assert room.state.waiting["c1"].tries == {}
    room.do(OfferAnswered("help", "anna"))
    room.do(CallFinished("help", "anna"))
    room.do(OfferAnswered("c1", "anna"))
    room.do(CallFinished("c1", "anna"))
    assert room.state.seats["anna"].doing == "wrap_up"
    (offer,) = room.queue("help2", "fraud", emergency=True)
    assert offers([offer]) == [("help2", "anna")]
    assert "although Anna wraps up for 10 s more, an emergency comes first" in offer.why  # type: ignore[union-attr]


def test_an_emergency_rings_wider_when_nobody_able_is_free() -> None:
    room = Room(agent("anna", senior=3), agent("bo"), Agent("chen", "Chen", "sip:c", {"zh": 5}))
    room.queue("c1", "general")
    room.do(OfferAnswered("c1", "anna"))
    (first,) = room.queue("help1", "fraud", emergency=True)
    assert offers([first]) == [("help1", "bo")]
    assert "nobody with the skills of queue fraud is free, so anyone who speaks en-US is rung" in first.why  # type: ignore[union-attr]
    (second,) = room.queue("help2", "fraud", emergency=True)
    assert offers([second]) == [("help2", "chen")]
    assert "anyone signed in is rung" in second.why  # type: ignore[union-attr]
    assert rejected(second)["bo"] == "has no skill senior"


def test_an_emergency_interrupts_no_conversation_and_no_other_emergency() -> None:
    room = Room(agent("anna", senior=3))
    room.queue("help1", "fraud", emergency=True)
    (told,) = room.queue("help2", "fraud", emergency=True)
    assert isinstance(told, Position)
    room.do(OfferAnswered("help1", "anna"))
    assert room.state.waiting["help2"].agent is None


def test_an_emergency_without_anyone_signed_in_is_told_so() -> None:
    (nobody,) = Room().queue("help", "fraud", emergency=True)
    assert isinstance(nobody, NobodyThere)


def test_an_emergency_of_a_queue_nobody_configured_still_reaches_a_human() -> None:
    assert offers(Room(agent("bo")).queue("help", "frauds", emergency=True)) == [("help", "bo")]


# --- what callers are told ------------------------------------------------------------------------------------------


def test_position_and_expected_wait_are_announced_in_time() -> None:
    room = Room(agent("anna", cards=2), agent("bo", cards=2))
    room.queue("c0")
    room.do(OfferAnswered("c0", "anna"), 10)
    room.do(CallFinished("c0", "anna"), 100)  # 90 s and 10 s of wrap-up
    room.now = 200
    room.tick()
    room.now = 300
    for call in ("c1", "c2"):
        room.queue(call)
        room.do(OfferAnswered(call, room.state.waiting[call].agent or ""))
    assert [d.wait_s for d in room.queue("c3") if isinstance(d, Position)] == [50.0]
    assert [(d.position, d.wait_s) for d in room.queue("c4") if isinstance(d, Position)] == [(2, 100.0)]
    assert room.state.deadline == 330
    assert [(d.call, d.position) for d in room.tick() if isinstance(d, Position)] == [("c3", 1), ("c4", 2)]


def test_who_is_rung_for_at_once_hears_no_position_until_the_next_round() -> None:
    room = Room(agent("anna", cards=2))
    assert [type(d) for d in room.queue("c1")] == [AgentOffer]
    assert room.state.waiting["c1"].announce_at == room.now + 30


def test_a_queue_without_announcements_tells_the_place_once() -> None:
    room = Room(agent("anna"), queues=(Queue("general", announce_s=0),))
    room.queue("c1", "general")
    assert [type(d) for d in room.queue("c2", "general")] == [Position]
    assert room.state.waiting["c2"].announce_at is None


# --- what comes late or twice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        CallLeft("x"),
        AgentDown("x"),
        OfferFailed("x", "anna", "busy"),
        OfferFailed("c1", "x", "busy"),
        CallFinished("c1", "anna"),
        CallFinished("x", "x"),
        Tick(),
    ],
)
def test_events_about_what_is_not_there_change_nothing(event: RoutingEvent) -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    before = room.state
    assert room.do(event) == []
    assert room.state == before


def test_the_same_call_queued_twice_waits_once() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    before = room.state
    assert room.queue("c1") == []
    assert room.state == before


def test_a_reloaded_flow_brings_new_queues_and_keeps_those_in_use() -> None:
    room = Room(agent("anna", cards=2))
    room.queue("c1")
    room.state = reload(room.state, [Queue("loans"), Queue("cards", {"cards": 5})])
    assert set(room.state.queues) == {"general", "cards", "fraud", "loans"}
    assert isinstance(room.queue("c2")[0], NobodyThere)
    assert offers(room.do(CallLeft("c1"))) == []
    assert offers(room.queue("c3", "loans")) == [("c3", "anna")]


def test_a_caller_nobody_becomes_free_for_leaves_a_message_instead_of_waiting_for_ever() -> None:
    queue = Queue("general", ring_s=10, max_wait_s=60)
    state = start([queue])
    state, _ = step(state, AgentUp(Agent("anna", "Anna", "sip:anna@x", {"en-US": 5})), 0.0)
    state, offered = step(state, CallQueued("a", "general", "en-US"), 1.0)
    assert isinstance(offered[0], AgentOffer)
    state, _ = step(state, OfferAnswered("a", "anna"), 2.0)
    state, _ = step(state, CallQueued("b", "general", "en-US"), 3.0)
    now, decisions = 3.0, []
    while not any(isinstance(d, NobodyThere) for d in decisions):
        assert state.deadline is not None
        now = state.deadline
        assert now < 70
        state, decisions = step(state, Tick(), now)
    assert now == 63.0
    assert "b" not in state.waiting
