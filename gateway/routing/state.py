"""What the routing policy knows: queues, agents signed in, callers who wait. Frozen; `step` makes the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.routing.model import Agent, CallQueued, Queue

Doing = Literal["idle", "ringing", "talking", "wrap_up", "aside"]
"""What an agent does. `aside`: did not take the last offer, and is left in peace for a while."""


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent who is signed in. `idle_since` (monotonic seconds) orders the longest idle first and survives an offer
    that failed through no fault of theirs. `until`: when ringing, wrap-up or being aside ends. `since`: when `doing`
    began. `leaving`: why the phone went away in the middle of a conversation, which goes on until it is finished."""

    agent: Agent
    idle_since: float
    since: float
    doing: Doing = "idle"
    call: str | None = None
    queue: str | None = None
    until: float | None = None
    leaving: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A caller in a queue. `number` is the order of arrival, `tries` how often each agent was rung for this call in
    vain, `agent` who is being rung now, `announce_at` when the position is told next (None: never again)."""

    call: CallQueued
    since: float
    number: int
    tries: Mapping[str, int] = field(default_factory=dict)
    agent: str | None = None
    announce_at: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """`handling`: mean seconds of a conversation and its wrap-up in each queue, once known. `deadline`: monotonic
    seconds at which `step` wants a Tick, or None."""

    queues: Mapping[str, Queue]
    seats: Mapping[str, Seat] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    handling: Mapping[str, float] = field(default_factory=dict)
    arrivals: int = 0
    deadline: float | None = None


def place(waiting: Waiting, queues: Mapping[str, Queue]) -> tuple[bool, int, int]:
    """Sort key of a waiting call: the emergency lane, then priority of call and queue together, then arrival."""
    queue = queues.get(waiting.call.queue)
    return (not waiting.call.emergency, -waiting.call.priority - (queue.priority if queue else 0), waiting.number)
