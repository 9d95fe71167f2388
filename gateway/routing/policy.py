"""The routing policy: `step(state, event, now) -> (state, decisions)`. Pure; `now` is monotonic seconds.

An event is applied first, then what is over (ring time, wrap-up, being set aside), then every waiting call is looked at
in order: emergency lane, priority, arrival. An answer is thus taken even when it arrives together with the end of the
ring time. Events about calls, agents or offers that are no longer there change nothing, so that races between phones
and this policy are harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.routing import agents
from gateway.routing.model import (
    AgentDown,
    AgentOffer,
    AgentUp,
    CallFinished,
    CallLeft,
    CallQueued,
    Decision,
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
from gateway.routing.state import Seat, State, Waiting, place

ASIDE_S = 30.0
"""Seconds an agent who did not take an offer is left in peace, unless their phone registers again before."""

LEARN = 0.2
"""Weight of the newest conversation in the mean handling time that expected waits are made from."""


def start(queues: Iterable[Queue]) -> State:
    """The state before anybody signed in or called."""
    return State({q.id: q for q in queues})


def reload(state: State, queues: Iterable[Queue]) -> State:
    """The state with a reloaded flow's queues. Queues that are gone stay for the calls that wait in them."""
    return replace(state, queues={**state.queues, **{q.id: q for q in queues}})


def step(state: State, event: RoutingEvent, now: float) -> tuple[State, list[Decision]]:
    """Apply one event at `now`; the new state's `deadline` says when a Tick is wanted at the latest."""
    floor = _Floor(state, now)
    floor.apply(event)
    floor.expire()
    floor.dispatch()
    floor.give_up()
    floor.announce()
    return floor.state(), floor.decisions


@dataclass(slots=True, init=False)
class _Floor:
    """A working copy of the state during one step."""

    before: State
    now: float
    seats: dict[str, Seat]
    waiting: dict[str, Waiting]
    handling: dict[str, float]
    arrivals: int
    decisions: list[Decision]

    def __init__(self, state: State, now: float) -> None:
        self.before, self.now, self.arrivals = state, now, state.arrivals
        self.seats, self.waiting, self.handling = dict(state.seats), dict(state.waiting), dict(state.handling)
        self.decisions = []

    def state(self) -> State:
        times = [s.until for s in self.seats.values() if s.until is not None]
        times += [w.announce_at for w in self.waiting.values() if w.announce_at is not None]
        times += [self._patience_ends(w) for w in self.waiting.values() if w.agent is None]
        return self._view(min(times, default=None))

    def _view(self, deadline: float | None = None) -> State:
        return State(self.before.queues, self.seats, self.waiting, self.handling, self.arrivals, deadline)

    # --- events ---------------------------------------------------------------------------------------------------

    def apply(self, event: RoutingEvent) -> None:
        match event:
            case CallQueued():
                self._queued(event)
            case CallLeft(call):
                self._left(call, "the caller left")
            case AgentUp(agent):
                seat = self.seats.get(agent.id) or Seat(agent, self.now, self.now)
                self.seats[agent.id] = replace(seat, agent=agent, leaving=None)
                if seat.doing == "aside":
                    self._idle(agent.id)
            case AgentDown(agent, reason):
                self._down(agent, reason)
            case OfferAnswered(call, agent):
                self._answered(call, agent)
            case Engaged(call, agent, queue, out_of):
                self._engaged(call, agent, queue, out_of)
            case OfferFailed(call, agent, reason):
                if self._rings(call, agent):
                    self._put_aside(call, agent)
            case CallFinished(call, agent):
                self._finished(call, agent)
            case Tick():
                pass

    def _queued(self, event: CallQueued) -> None:
        """A new caller, or one who moves to another queue and keeps the time waited, or one whom an agent passes on."""
        old = self.waiting.get(event.call)
        if old is not None and old.call == event:
            return
        if event.only and event.out_of:
            self._finished(event.out_of, event.only)
        self._left(event.call, "the caller moves to another queue")
        number = old.number if old else self.arrivals
        self.arrivals += 0 if old else 1
        news = self.now if event.only is None else None
        self.waiting[event.call] = Waiting(event, old.since if old else self.now, number, announce_at=news)

    def _left(self, call: str, why: str) -> None:
        waiting = self.waiting.get(call)
        if waiting is not None:
            self._withdraw(waiting, why)
            del self.waiting[call]
        for seat in list(self.seats.values()):
            if seat.doing == "talking" and seat.call == call:
                self._finished(call, seat.agent.id)

    def _down(self, agent: str, reason: str) -> None:
        seat = self.seats.get(agent)
        if seat is None:
            return
        if seat.doing == "talking":
            self.seats[agent] = replace(seat, leaving=reason)
            return
        if seat.doing == "ringing" and seat.call in self.waiting:
            self._withdraw(self.waiting[seat.call], f"{seat.agent.name} is gone: {reason}")
        del self.seats[agent]

    def _answered(self, call: str, agent: str) -> None:
        """An answer is a fact: it counts even after the offer was taken back, where both are still without another."""
        seat, waiting = self.seats.get(agent), self.waiting.get(call)
        if seat is not None and (seat.doing, seat.call) == ("talking", call):
            return
        if seat is None or waiting is None or seat.doing == "talking":
            self.decisions.append(WithdrawOffer(call, agent, "the answer came after the offer was taken back"))
            return
        self._talks(call, seat, f"{seat.agent.name} answered another offer first")

    def _engaged(self, call: str, agent: str, queue: str | None, out_of: str) -> None:
        """A conversation that no offer led to is a fact as well, unless the agent is in another one."""
        seat = self.seats.get(agent)
        talks = seat.call if seat and seat.doing == "talking" else None
        if seat is None or talks not in (None, call, out_of):
            why = "the agent is not signed in" if seat is None else f"{seat.agent.name} talks with somebody else"
            self.decisions.append(WithdrawOffer(call, agent, why))
        elif talks != call:
            self._talks(call, seat, f"{seat.agent.name} took the call", queue)

    def _talks(self, call: str, seat: Seat, why: str, queue: str | None = None) -> None:
        """From now on this agent, and nobody else, talks in this call; phones that rang for it or for them stop."""
        agent, waiting = seat.agent.id, self.waiting.get(call)
        for other in (waiting, self.waiting.get(seat.call or "")):
            if other is not None and not self._rings(call, agent):
                self._withdraw(other, why)
        before = [s for s in self.seats.values() if (s.doing, s.call) == ("talking", call)]
        queue = waiting.call.queue if waiting else next((s.queue for s in before), queue)
        self.waiting.pop(call, None)
        for other_seat in before:
            self._finished(call, other_seat.agent.id)
        self.seats[agent] = Seat(seat.agent, seat.idle_since, self.now, "talking", call, queue, leaving=seat.leaving)

    def _finished(self, call: str, agent: str) -> None:
        seat = self.seats.get(agent)
        if seat is None or (seat.doing, seat.call) != ("talking", call):
            return
        queue = self.before.queues.get(seat.queue or "")
        wrap_up = queue.wrap_up_s if queue else 0.0
        if queue is not None:
            spent = self.now - seat.since + wrap_up
            self.handling[queue.id] = (1 - LEARN) * self.handling.get(queue.id, spent) + LEARN * spent
        if seat.leaving is not None:
            del self.seats[agent]
        elif wrap_up > 0:
            self.seats[agent] = replace(seat, doing="wrap_up", call=None, since=self.now, until=self.now + wrap_up)
        else:
            self._idle(agent, None if queue else seat.idle_since)

    # --- agents ---------------------------------------------------------------------------------------------------

    def _rings(self, call: str, agent: str) -> bool:
        return call in self.waiting and self.waiting[call].agent == agent

    def _idle(self, agent: str, idle_since: float | None = None) -> None:
        since = self.now if idle_since is None else idle_since
        self.seats[agent] = Seat(self.seats[agent].agent, since, self.now)

    def _withdraw(self, waiting: Waiting, why: str) -> None:
        """Stop ringing for this call, through no fault of the agent; the call keeps its place."""
        if waiting.agent is None:
            return
        self.decisions.append(WithdrawOffer(waiting.call.call, waiting.agent, why))
        self.waiting[waiting.call.call] = replace(waiting, agent=None)
        self._idle(waiting.agent, self.seats[waiting.agent].idle_since)

    def _put_aside(self, call: str, agent: str) -> None:
        """The agent did not take the offer: the call goes to the next one, the agent is left in peace."""
        waiting = self.waiting[call]
        tries = {**waiting.tries, agent: waiting.tries.get(agent, 0) + 1}
        self.waiting[call] = replace(waiting, agent=None, tries=tries)
        seat = Seat(self.seats[agent].agent, self.now, self.now, "aside", until=self.now + ASIDE_S)
        self.seats[agent] = seat

    def expire(self) -> None:
        """End ring times, wrap-ups and times aside that are over."""
        for agent, seat in list(self.seats.items()):
            if seat.until is None or seat.until > self.now:
                continue
            if seat.doing == "ringing" and seat.call is not None:
                why = f"{seat.agent.name} did not answer in {self.now - seat.since:.0f} s"
                self.decisions.append(WithdrawOffer(seat.call, agent, why))
                self._put_aside(seat.call, agent)
            else:
                self._idle(agent)

    def _queue(self, waiting: Waiting) -> Queue:
        return self.before.queues.get(waiting.call.queue) or Queue(waiting.call.queue)

    def _patience_ends(self, waiting: Waiting) -> float:
        return waiting.since + self._queue(waiting).max_wait_s

    # --- calls ----------------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Give every waiting call, in order, an agent, or say that nobody can ever take it."""
        reachable: dict[tuple[str, str, bool], bool] = {}
        idle = sum(s.doing == "idle" for s in self.seats.values())
        for waiting in sorted(self.waiting.values(), key=lambda w: place(w, self.before.queues)):
            call, waiting = waiting.call, self.waiting[waiting.call.call]
            if waiting.agent is not None:
                continue
            queue = self.before.queues.get(call.queue) or Queue(call.queue)
            known = queue.id in self.before.queues or call.emergency
            kind = (call.queue, call.language, call.emergency)
            if call.only is None and kind not in reachable:
                reachable[kind] = known and bool(agents.able(call, queue, self.seats.values()))
            if call.only is not None:
                self._put_through(waiting, queue)
                idle = sum(s.doing == "idle" for s in self.seats.values())
            elif not reachable[kind]:
                self._nobody(call, queue, known)
            elif not idle and not call.emergency:
                continue
            elif (choice := agents.choose(waiting, queue, self._view(), self.now)) is not None:
                self._offer(waiting, queue, choice)
                idle = sum(s.doing == "idle" for s in self.seats.values())

    def _put_through(self, waiting: Waiting, queue: Queue) -> None:
        """A caller meant for one agent: their phone rings now and once, or the caller goes back."""
        call = waiting.call
        choice = None if waiting.tries else agents.choose(waiting, queue, self._view(), self.now)
        if choice is not None:
            self._offer(waiting, queue, choice)
            return
        seat = self.seats.get(call.only or "")
        why = "did not answer" if waiting.tries else (agents.occupied(seat, self.now) if seat else "is not signed in")
        name = seat.agent.name if seat else call.only
        candidates = agents.look(call, queue, self.seats.values(), self.now)
        self.decisions.append(NobodyThere(call.call, call.queue, f"{name} {why}", candidates))
        del self.waiting[call.call]

    def _nobody(self, call: CallQueued, queue: Queue, known: bool) -> None:
        candidates = agents.look(call, queue, self.seats.values(), self.now) if known else ()
        if not known:
            why = f"there is no queue {queue.id}"
        elif not candidates:
            why = "no agent is signed in"
        else:
            why = f"none of the {len(candidates)} agents signed in can take a {call.language} call of queue {queue.id}"
        self.decisions.append(NobodyThere(call.call, call.queue, why, candidates))
        del self.waiting[call.call]

    def _offer(self, waiting: Waiting, queue: Queue, choice: agents.Choice) -> None:
        call, agent, seat = waiting.call.call, choice.seat.agent.id, choice.seat
        if seat.doing == "ringing" and seat.call is not None:
            self._withdraw(self.waiting[seat.call], f"an emergency takes {seat.agent.name}")
        until = self.now + max(queue.ring_s, 1.0)
        self.seats[agent] = replace(
            seat, doing="ringing", since=self.now, call=call, queue=queue.id, until=until, leaving=None
        )
        first_news = waiting.announce_at if waiting.announce_at != self.now else self._next_news(queue)
        self.waiting[call] = replace(waiting, agent=agent, announce_at=first_news)
        self.decisions.append(AgentOffer(call, agent, queue.id, until, choice.why, choice.candidates))

    def give_up(self) -> None:
        """Callers who waited their queue's longest, and whom nobody could take even now, leave a message."""
        for call, waiting in list(self.waiting.items()):
            if waiting.agent is None and self._patience_ends(waiting) <= self.now:
                why = f"waited {self.now - waiting.since:.0f} s and nobody became free"
                candidates = agents.look(waiting.call, self._queue(waiting), self.seats.values(), self.now)
                self.decisions.append(NobodyThere(call, waiting.call.queue, why, candidates))
                del self.waiting[call]

    # --- what callers are told ------------------------------------------------------------------------------------

    def _next_news(self, queue: Queue) -> float | None:
        return self.now + max(queue.announce_s, 1.0) if queue.announce_s > 0 else None

    def announce(self) -> None:
        """Tell callers whose time has come their place in the queue."""
        for call, waiting in list(self.waiting.items()):
            if waiting.announce_at is None or waiting.announce_at > self.now:
                continue
            queue = self._queue(waiting)
            self.waiting[call] = replace(waiting, announce_at=self._next_news(queue))
            self.decisions.append(self._position(waiting, queue))

    def _position(self, waiting: Waiting, queue: Queue) -> Position:
        """Place among the calls of the same queue; wait expected from the mean handling time and the agents there."""
        queues, mine = self.before.queues, place(waiting, self.before.queues)
        same = [w for w in self.waiting.values() if w.call.queue == queue.id]
        position = 1 + sum(place(w, queues) < mine for w in same)
        able = agents.able(waiting.call, queue, self.seats.values())
        mean = self.handling.get(queue.id)
        wait = mean * position / len(able) if mean is not None and able else None
        why = agents.waits_for(able, self.now)
        return Position(waiting.call.call, position, wait, why)
