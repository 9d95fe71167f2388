"""What must hold whatever happens in whatever order: callers, agents, phones and clocks at random.

The model below keeps its own books from decisions and events alone, and has its own idea of who can take a call.
"""

from __future__ import annotations

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.routing.model import (
    Agent,
    AgentDown,
    AgentOffer,
    AgentUp,
    CallFinished,
    CallLeft,
    CallQueued,
    Engaged,
    NobodyThere,
    OfferAnswered,
    OfferFailed,
    Position,
    Queue,
    RoutingEvent,
    Tick,
    WithdrawOffer,
)
from gateway.routing.policy import start, step

QUEUES = {
    q.id: q
    for q in (
        Queue("general", ring_s=12, announce_s=20),
        Queue("cards", {"cards": 2}, priority=5, wrap_up_s=7, announce_s=0),
        Queue("fraud", {"senior": 1, "cards": 1}, priority=50, ring_s=8),
    )
}
AGENTS = (
    Agent("anna", "Anna", "a", {"en": 5, "cards": 3, "senior": 2}),
    Agent("bo", "Bo", "b", {"en-US": 2}),
    Agent("chen", "Chen", "c", {"zh": 5, "en": 1, "cards": 2}),
    Agent("dee", "Dee", "d", {"zh-CN": 3, "cards": 1}, ("general", "fraud")),
)
CALLS = tuple(f"c{n}" for n in range(8))

AGENTS_BY_NAME = {a.id: a for a in AGENTS}

names = st.sampled_from([a.id for a in AGENTS])
calls = st.sampled_from(CALLS)
queued = st.builds(
    CallQueued,
    calls,
    st.sampled_from([*QUEUES, "nowhere"]),
    st.sampled_from(["en-US", "zh-CN"]),
    st.none(),
    st.integers(0, 2),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, None, None, "anna", "dee", "nobody"]),
)


def able(agent: Agent, call: CallQueued) -> bool:
    if call.only:
        return agent.id == call.only
    if call.emergency:
        return True
    queue = QUEUES.get(call.queue)
    if queue is None or (agent.queues and queue.id not in agent.queues):
        return False
    tongue = max(agent.skills.get(call.language, 0), agent.skills.get(call.language[:2], 0))
    return tongue > 0 and all(agent.skills.get(s, 0) >= n for s, n in queue.skills.items())


class Floor(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = start(QUEUES.values())
        self.now = 1000.0
        self.since: dict[str, float] = {}
        self.waiting: dict[str, CallQueued] = {}
        self.order: list[str] = []
        self.rings: dict[str, str] = {}  # agent -> call
        self.until: dict[str, float] = {}  # agent -> end of the ring time
        self.talks: dict[str, str] = {}  # agent -> call
        self.up: dict[str, Agent] = {}
        self.tried: set[str] = set()  # calls for one agent whose phone rang
        self.busy: set[str] = set()  # agents who rang or talked when the step began

    # --- the books ------------------------------------------------------------------------------------------------

    def run(self, event: RoutingEvent) -> None:
        before, frozen = self.state, copy.deepcopy(self.state)
        self.busy = {*self.rings, *self.talks}
        self.state, decisions = step(self.state, event, self.now)
        assert before == frozen, "the state given was changed"
        self.before_event(event)
        for decision in decisions:
            self.book(decision)
        self.check_order(decisions)

    def before_event(self, event: RoutingEvent) -> None:
        match event:
            case CallQueued(call, only=only, out_of=out_of):
                self.talks = {a: c for a, c in self.talks.items() if c != call and (a, c) != (only, out_of)}
                if call not in self.waiting:
                    self.since[call] = self.now
                self.tried.discard(call)
                self.waiting[call] = event
                if call not in self.order:
                    self.order.append(call)
            case CallLeft(call):
                self.waiting.pop(call, None)
                self.talks = {a: c for a, c in self.talks.items() if c != call}
            case AgentUp(agent):
                self.up[agent.id] = agent
            case AgentDown(agent):
                self.up.pop(agent, None)
            case OfferAnswered(call, agent):
                known = agent in self.state.seats
                if call in self.waiting and known and agent not in self.talks:
                    self.waiting.pop(call)
                    self.talks[agent] = call
                    if self.rings.get(agent) == call:
                        self.stop(agent)
            case Engaged(call, agent, out_of=out_of):
                if agent in self.state.seats and self.talks.get(agent) in (None, call, out_of):
                    self.waiting.pop(call, None)
                    self.talks = {a: c for a, c in self.talks.items() if c != call}
                    self.talks[agent] = call
                    if self.rings.get(agent) == call:
                        self.stop(agent)
            case OfferFailed(call, agent):
                if self.rings.get(agent) == call:
                    self.stop(agent)
            case CallFinished(call, agent):
                if self.talks.get(agent) == call:
                    del self.talks[agent]

    def stop(self, agent: str) -> None:
        del self.rings[agent]
        del self.until[agent]

    def book(self, decision: object) -> None:
        match decision:
            case AgentOffer(call=call, agent=agent, until=until, why=why, candidates=candidates):
                assert agent not in self.rings, "an agent offered two calls"
                assert agent not in self.talks, "an agent offered a call in a conversation"
                assert call not in self.rings.values(), "a call offered to two agents"
                assert call in self.waiting, "a call offered that does not wait"
                assert able(self.up[agent], self.waiting[call]), "an agent offered a call beyond their skills"
                assert until > self.now
                assert why
                assert [c.agent for c in candidates if c.rejected is None] == [agent]
                assert {c.agent for c in candidates} == set(self.state.seats)
                self.rings[agent], self.until[agent] = call, until
                if self.waiting[call].only:
                    assert call not in self.tried, "a caller put through to one agent rings twice"
                    self.tried.add(call)
            case WithdrawOffer(call=call, agent=agent, why=why):
                assert why
                if self.rings.get(agent) == call:
                    assert "did not answer" not in why or self.now >= self.until[agent], "rung too short"
                    self.stop(agent)
                else:
                    refused = ("after the offer was taken back", "is not signed in", "talks with somebody else")
                    assert any(words in why for words in refused)
            case NobodyThere(call=call, why=why, candidates=candidates):
                one = self.waiting.pop(call)
                assert why
                assert call not in self.rings.values()
                if one.only:
                    there = one.only in self.up and one.only not in {*self.busy, *self.rings, *self.talks}
                    assert not there or call in self.tried, "not put through to one who is free"
                elif "waited" in why:
                    assert self.now - self.since[call] >= Queue("any").max_wait_s, "given up too soon"
                else:
                    assert not any(able(a, one) for a in self.up.values()), "given up although one is signed in"
                assert all(c.rejected for c in candidates)
            case Position(call=call, position=position, wait_s=wait):
                same = [c for c, w in self.waiting.items() if w.queue == self.waiting[call].queue]
                assert not self.waiting[call].only
                assert 1 <= position <= len(same)
                assert wait is None or wait >= 0
            case _:
                raise AssertionError(decision)

    def place(self, call: str) -> tuple[bool, int, int]:
        one = self.waiting[call]
        queue = QUEUES.get(one.queue)
        return (not one.emergency, -one.priority - (queue.priority if queue else 0), self.order.index(call))

    def check_order(self, decisions: list[object]) -> None:
        """Nobody was passed over: no call that waits on without an agent stood before one that was given an agent
        who could have taken it."""
        given = {d.call: d.agent for d in decisions if isinstance(d, AgentOffer)}
        for call, agent in given.items():
            if self.rings.get(agent) != call or self.waiting[call].only:
                continue  # one who is put through may end a wrap-up that nobody else may
            for other in self.waiting:
                if other in self.rings.values() or self.place(other) > self.place(call):
                    continue
                assert not able(self.up[agent], self.waiting[other]), f"{other} was passed over for {call}"

    # --- what may happen ------------------------------------------------------------------------------------------

    @initialize(agents=st.sets(names))
    def the_day_begins(self, agents: set[str]) -> None:
        for agent in sorted(agents):
            self.run(AgentUp(AGENTS_BY_NAME[agent]))

    @rule(events=st.lists(queued, min_size=1, max_size=6))
    def calls_come(self, events: list[CallQueued]) -> None:
        for event in events:
            if event.call not in self.waiting:
                self.order = [c for c in self.order if c != event.call]
            self.run(event)

    @rule(call=calls)
    def call_leaves(self, call: str) -> None:
        self.run(CallLeft(call))

    @rule(agent=st.sampled_from(AGENTS))
    def agent_signs_in(self, agent: Agent) -> None:
        self.run(AgentUp(agent))

    @rule(agent=names)
    def agent_signs_out(self, agent: str) -> None:
        self.run(AgentDown(agent))

    @precondition(lambda self: self.rings)
    @rule(data=st.data())
    def phone_is_answered(self, data: st.DataObject) -> None:
        agent = data.draw(st.sampled_from(sorted(self.rings)))
        self.run(OfferAnswered(self.rings[agent], agent))
        assert self.state.seats[agent].doing == "talking"

    @precondition(lambda self: self.rings)
    @rule(data=st.data())
    def phone_refuses(self, data: st.DataObject) -> None:
        agent = data.draw(st.sampled_from(sorted(self.rings)))
        self.run(OfferFailed(self.rings[agent], agent, "486 Busy Here"))

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def conversation_ends(self, data: st.DataObject) -> None:
        agent = data.draw(st.sampled_from(sorted(self.talks)))
        self.run(CallFinished(self.talks[agent], agent))

    @rule(call=calls, agent=names, what=st.sampled_from([OfferAnswered, CallFinished]))
    def late_event(self, call: str, agent: str, what: type) -> None:
        self.run(what(call, agent))

    @rule(call=calls, agent=names)
    def agent_takes_a_call(self, call: str, agent: str) -> None:
        """A pick-up, an attended transfer, a call to a colleague."""
        free = agent in self.up and agent not in self.talks
        self.run(Engaged(call, agent))
        assert not free or self.talks[agent] == call

    @precondition(lambda self: self.talks)
    @rule(data=st.data(), call=calls)
    def agent_goes_from_one_call_to_another(self, data: st.DataObject, call: str) -> None:
        agent = data.draw(st.sampled_from(sorted(self.talks)))
        self.run(Engaged(call, agent, out_of=self.talks[agent]))
        assert self.talks[agent] == call
        assert agent not in self.rings

    @precondition(lambda self: self.talks)
    @rule(data=st.data(), call=calls)
    def caller_goes_to_an_agent_who_talks(self, data: st.DataObject, call: str) -> None:
        agent = data.draw(st.sampled_from(sorted(self.talks)))
        if call not in self.waiting:
            self.order = [c for c in self.order if c != call]
        self.run(CallQueued(call, "general", "en-US", only=agent, out_of=self.talks[agent]))

    @rule(call=calls, agent=names)
    def late_failure(self, call: str, agent: str) -> None:
        self.run(OfferFailed(call, agent, "408 Request Timeout"))

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 40.0]))
    def time_passes_unnoticed(self, seconds: float) -> None:
        """The timer is late: events come after the deadline but before the Tick."""
        self.now += seconds

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(1000):
            if self.state.deadline is None or self.state.deadline > until:
                break
            self.now = max(self.now, self.state.deadline)
            self.run(Tick())
            assert self.state.deadline is None or self.state.deadline > self.now, "the clock would spin"
        else:
            raise AssertionError("deadlines never end")
        self.now = max(self.now, until)

    # --- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        seats = self.state.seats.values()
        assert set(self.state.waiting) == set(self.waiting), "a call was lost or kept"
        assert {s.agent.id: s.call for s in seats if s.doing == "ringing"} == self.rings
        assert {s.agent.id: s.call for s in seats if s.doing == "talking"} == self.talks
        assert {w.agent: c for c, w in self.state.waiting.items() if w.agent} == self.rings
        assert {s.agent.id for s in seats if s.leaving is None} == set(self.up)
        assert len(set(self.talks.values())) == len(self.talks), "a caller talks with two agents"
        assert not set(self.talks.values()) & set(self.waiting), "a caller talks and waits"

    @invariant()
    def what_rings_has_a_deadline(self) -> None:
        for agent, until in self.until.items():
            assert self.state.deadline is not None
            assert self.state.deadline <= until, f"{agent} could ring for ever"

    @invariant()
    def nobody_waits_while_an_able_agent_is_idle(self) -> None:
        for call, one in self.waiting.items():
            if call in self.rings.values():
                continue
            assert not one.only, f"{call} waits for {one.only}, whose phone does not ring"
            idle = [s.agent.id for s in self.state.seats.values() if s.doing == "idle"]
            assert not any(able(self.up[a], one) for a in idle), f"{call} waits although {idle} are idle"
            assert any(able(a, one) for a in self.up.values()), f"{call} waits for nobody"


Floor.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestFloor = Floor.TestCase
