"""What goes into the routing policy and what comes out of it: `step(state, event, now) -> (state, decisions)`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Agent:
    """A human. `skills`: skill or language tag -> level 1..5; a tag such as `zh` covers `zh-CN`.
    `queues`: the only queues they serve, as `flow.queue` or `queue` of every flow; empty: all they have skills for.
    `aor`: the SIP address their phone registers."""

    id: str
    name: str
    aor: str
    skills: dict[str, int] = field(default_factory=dict)
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """`skills`: levels an agent must have. `priority`: added for each call in it. `ring_s`: how long one phone rings.
    `announce_s`: seconds between position announcements. `wrap_up_s`: seconds an agent has after a call. `max_wait_s`:
    after so long the caller is not kept waiting but leaves a message to be called back."""

    id: str
    skills: dict[str, int] = field(default_factory=dict)
    priority: int = 0
    ring_s: float = 15.0
    announce_s: float = 30.0
    wrap_up_s: float = 0.0
    max_wait_s: float = 180.0


@dataclass(frozen=True, slots=True)
class CallQueued:
    """A caller waits for a human. `priority` comes from intent and tier; `emergency` goes before everything. `only`:
    the one agent the caller is put through to, whatever their skills; where they can't be rung, NobodyThere says so
    at once. `out_of`: the call that this agent talks in until then; nobody else is offered the agent in between."""

    call: str
    queue: str
    language: str
    intent: str | None = None
    priority: int = 0
    emergency: bool = False
    only: str | None = None
    out_of: str = ""


@dataclass(frozen=True, slots=True)
class CallLeft:
    """The caller hung up, or left a message, or was otherwise taken out of the queue."""

    call: str


@dataclass(frozen=True, slots=True)
class AgentUp:
    """The agent's phone is registered and the agent takes calls."""

    agent: Agent


@dataclass(frozen=True, slots=True)
class AgentDown:
    """The agent's registration ended, or the agent paused."""

    agent: str
    reason: str = "signed out"


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    call: str
    agent: str


@dataclass(frozen=True, slots=True)
class Engaged:
    """The agent talks in this call although it was not offered to them: they picked a waiting caller up, a colleague
    put the caller through, or they call a colleague. Where they talk in another call, WithdrawOffer says so. `queue`:
    whose wrap-up it has, where the call neither waits nor is talked in. `out_of`: the call that the agent may talk in
    until then; nobody is offered the agent in between."""

    call: str
    agent: str
    queue: str | None = None
    out_of: str = ""


@dataclass(frozen=True, slots=True)
class OfferFailed:
    """The agent's phone was busy, declined, unreachable or did not answer in time."""

    call: str
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The conversation between this caller and this agent is over."""

    call: str
    agent: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The clock reached `State.deadline`."""


RoutingEvent = CallQueued | CallLeft | AgentUp | AgentDown | OfferAnswered | Engaged | OfferFailed | CallFinished | Tick


@dataclass(frozen=True, slots=True)
class Candidate:
    """One agent as seen when a decision was made. `rejected` is None for the chosen one, else why not."""

    agent: str
    score: float
    rejected: str | None


@dataclass(frozen=True, slots=True)
class AgentOffer:
    """Ring this agent for this call until `until` (monotonic seconds). `why` is one sentence, `candidates` are all
    agents looked at."""

    call: str
    agent: str
    queue: str
    until: float
    why: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class WithdrawOffer:
    """Stop ringing this agent (ring time is over, the caller left, or an emergency took the agent). It is also the
    reply to an answer that came too late and to an Engaged that can't be: that leg is hung up."""

    call: str
    agent: str
    why: str


@dataclass(frozen=True, slots=True)
class Position:
    """Tell the caller: `position` counts from 1; `wait_s` is the expected wait or None when nothing is known.
    `why` is one sentence on what the call waits for."""

    call: str
    position: int
    wait_s: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class NobodyThere:
    """No agent who could take this call is signed in: tell the caller and take a message."""

    call: str
    queue: str
    why: str
    candidates: tuple[Candidate, ...] = ()


Decision = AgentOffer | WithdrawOffer | Position | NobodyThere
