"""Who can take a call, who is free for it, who is chosen, and why the others are not: in words a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.routing.model import Agent, CallQueued, Candidate, Queue
from gateway.routing.state import Seat, State, Waiting

ABLE = 0
"""The agent serves the queue, has its skills and speaks the caller's language."""
SPEAKS = 1
"""The agent only speaks the language: rung for an emergency that nobody able is free for."""
ANYONE = 2
"""The agent is signed in: rung for an emergency when nobody who speaks the language is free either."""

DISTURBANCE = {"idle": 0, "wrap_up": 1, "ringing": 2, "aside": 3}
"""What an emergency may interrupt, least disturbing first. Nobody is ever taken out of a conversation."""

RINGS = {
    SPEAKS: "an emergency: nobody with the skills of queue {queue} is free, so anyone who speaks {language} is rung",
    ANYONE: "an emergency: nobody who speaks {language} is free, so anyone signed in is rung",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent chosen for a call, the sentence that says why, and everybody who was looked at."""

    seat: Seat
    why: str
    candidates: tuple[Candidate, ...]


def speaks(agent: Agent, language: str) -> bool:
    """True where the agent has the language's tag, or its primary tag (RFC 5646: `zh` covers `zh-CN`), as a skill."""
    return agent.skills.get(language, 0) > 0 or agent.skills.get(language.split("-")[0], 0) > 0


def unfit(agent: Agent, call: CallQueued, queue: Queue) -> str | None:
    """Why this agent can never take this call, or None when they can."""
    if call.only is not None:
        return None if agent.id == call.only else f"the caller is put through to {call.only}"
    if agent.queues and not {queue.id, queue.id.rpartition(".")[2]} & set(agent.queues):
        return f"does not serve queue {queue.id}"
    if not speaks(agent, call.language):
        return f"does not speak {call.language}"
    for skill, level in queue.skills.items():
        have = agent.skills.get(skill, 0)
        if have < level:
            return f"has {skill} {have}, the queue needs {level}" if have else f"has no skill {skill}"
    return None


def ring_of(agent: Agent, call: CallQueued, queue: Queue) -> int | None:
    """ABLE, or for an emergency SPEAKS or ANYONE; None where the agent can't take the call."""
    if unfit(agent, call, queue) is None:
        return ABLE
    if not call.emergency or call.only is not None:
        return None
    return SPEAKS if speaks(agent, call.language) else ANYONE


def able(call: CallQueued, queue: Queue, seats: Iterable[Seat]) -> list[Seat]:
    """Those signed in who could take the call, whatever they do now."""
    return [s for s in seats if s.leaving is None and ring_of(s.agent, call, queue) is not None]


def occupied(seat: Seat, now: float) -> str | None:
    """What keeps the agent from taking a call, or None when they are idle."""
    left = max(0.0, (seat.until or now) - now)
    return {
        "idle": None,
        "ringing": "is being rung for another call",
        "talking": "is talking",
        "wrap_up": f"wraps up for {left:.0f} s more",
        "aside": f"did not take the last call, set aside for {left:.0f} s more",
    }[seat.doing]


def disturbance(seat: Seat, call: CallQueued, state_waiting: Mapping[str, Waiting]) -> int | None:
    """0 where the agent is idle; more where an emergency, or a caller who is put through to them, may interrupt what
    they do; None where nothing may."""
    if seat.doing == "idle":
        return 0
    if call.only is not None:
        return None if seat.doing in ("talking", "ringing") else DISTURBANCE[seat.doing]
    if not call.emergency or seat.doing == "talking":
        return None
    other = state_waiting.get(seat.call or "")
    if seat.doing == "ringing" and (other is None or other.call.emergency):
        return None
    return DISTURBANCE[seat.doing]


def _key(seat: Seat, waiting: Waiting, queue: Queue, others: Mapping[str, Waiting]) -> tuple[float, ...] | None:
    """Sort key of an agent for a call, or None where they can't be rung: tried least often for this call, then best
    fitting, then least disturbed, then longest idle."""
    ring = ring_of(seat.agent, waiting.call, queue)
    cost = disturbance(seat, waiting.call, others)
    if ring is None or cost is None:
        return None
    return (waiting.tries.get(seat.agent.id, 0), ring, cost, seat.idle_since)


def choose(waiting: Waiting, queue: Queue, state: State, now: float) -> Choice | None:
    """The agent to ring for this call, or None when nobody can be rung now."""
    keyed = [(key, s) for s in state.seats.values() if (key := _key(s, waiting, queue, state.waiting)) is not None]
    if not keyed:
        return None
    key, seat = min(keyed, key=lambda pair: (pair[0], pair[1].agent.id))
    return Choice(
        seat, _why(seat, key, waiting, queue, len(keyed), now), _compared(seat, key, waiting, queue, state, now)
    )


def look(call: CallQueued, queue: Queue, seats: Iterable[Seat], now: float) -> tuple[Candidate, ...]:
    """Every agent signed in and why they are not rung for this call now."""
    return tuple(
        Candidate(s.agent.id, _idle(s, now), s.leaving or unfit(s.agent, call, queue) or occupied(s, now))
        for s in seats
    )


def waits_for(seats: Sequence[Seat], now: float) -> str:
    """One sentence: what the agents who could take the call are doing."""
    doing = ", ".join(f"{s.agent.name} {occupied(s, now) or 'is free'}" for s in seats)
    return f"waits for one of {len(seats)}: {doing}" if len(seats) > 1 else f"waits for the only one able: {doing}"


def _idle(seat: Seat, now: float) -> float:
    return round(now - seat.idle_since, 3) if seat.doing == "idle" else 0.0


def _why(seat: Seat, key: tuple[float, ...], waiting: Waiting, queue: Queue, free: int, now: float) -> str:
    call, agent = waiting.call, seat.agent
    tries, ring, cost, _ = key
    if call.only is not None:
        parts = [f"the caller is put through to {agent.name}"]
    elif ring == ABLE:
        has = [f"has {skill} {agent.skills[skill]}" for skill in queue.skills]
        parts = [f"{agent.name} serves queue {queue.id}", f"speaks {call.language}", *has]
    else:
        parts = [f"{agent.name} is rung for {RINGS[int(ring)].format(queue=queue.id, language=call.language)}"]
    if cost and call.only is not None:
        parts.append(f"who {occupied(seat, now)}")
    elif cost:
        parts.append(f"although {agent.name} {occupied(seat, now)}, an emergency comes first")
    elif free == 1:
        parts.append("is the only one free")
    else:
        parts.append(f"is the longest idle of {free} free ({_idle(seat, now):.0f} s)")
    if tries:
        parts.append(f"is tried again (time {tries + 1:.0f}) as nobody else is left")
    return ", ".join(parts)


def _compared(
    chosen: Seat, best: tuple[float, ...], waiting: Waiting, queue: Queue, state: State, now: float
) -> tuple[Candidate, ...]:
    def rejected(seat: Seat) -> str | None:
        if seat.agent.id == chosen.agent.id:
            return None
        key = _key(seat, waiting, queue, state.waiting)
        if key is None or key[2] > best[2]:
            return seat.leaving or unfit(seat.agent, waiting.call, queue) or occupied(seat, now)
        if key[0] > best[0]:
            return "was already rung for this call"
        if key[1] > best[1]:
            return unfit(seat.agent, waiting.call, queue)
        return f"idle for {now - seat.idle_since:.0f} s, {chosen.agent.name} for {now - chosen.idle_since:.0f} s"

    return tuple(Candidate(s.agent.id, _idle(s, now), rejected(s)) for s in state.seats.values())
