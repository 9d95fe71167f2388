"""A call's state and the events that move it; `commands` has what comes of them. Plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gateway.calls.destinations import Destination
from gateway.core.ports import Ranked
from gateway.flow.model import Flow
from gateway.flow.state import State as FlowState
from gateway.flow.turn import ActionDone, Listen, Say
from gateway.routing.model import AgentOffer, NobodyThere, Position, WithdrawOffer


class Stage(StrEnum):
    """Where a call stands. Only `ended` is final."""

    ANSWERING = "answering"
    FLOW = "flow"
    WAITING = "waiting"
    BRIDGED = "bridged"
    MESSAGE = "message"
    LEAVING = "leaving"
    ENDED = "ended"


Then = Literal["music", "beep", "message", "hangup"]
"""What waits for the end of what is being said: music on hold, the tone before a message, the message, the end."""


# --- events in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The caller's ACK arrived: both sides agree that the call stands. `recorded`: its recording runs."""

    recorded: bool = True


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The caller hung up, cancelled, or fell silent on the network (`reason`). `told`: what their phone said of it."""

    reason: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The engine heard voice. `muted`: a prompt was muted for it."""

    muted: bool


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """What sounded like voice was none."""


@dataclass(frozen=True, slots=True)
class PartialHeard:
    """Words so far; `voiced_ms` of speech so far. Text may still be empty."""

    text: str
    voiced_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceHeard:
    """A whole turn. Times are monotonic seconds; `asr_score` 0..1."""

    text: str
    ranked: Ranked
    asr_score: float = 1.0
    speech_started: float = 0.0
    speech_ended: float = 0.0
    endpoint_at: float = 0.0
    decoded_at: float = 0.0
    understood_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Unheard:
    reason: Literal["saturated", "failed"]


@dataclass(frozen=True, slots=True)
class KeyPressed:
    digit: str


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The first packet of what `Speak(token)` asked for left the engine at `at` (monotonic seconds)."""

    token: int
    at: float


@dataclass(frozen=True, slots=True)
class PromptDone:
    token: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The engine hears no voice any more; a message ends by it."""


@dataclass(frozen=True, slots=True)
class AgentAnswered:
    agent: str


@dataclass(frozen=True, slots=True)
class AgentFailed:
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class AgentLeft:
    """The agent hung up, or the agent's phone vanished in the middle of the conversation. `told`: what the phone said
    of it."""

    agent: str
    reason: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class AgentRings:
    """The agent's phone says that it rings."""

    agent: str


@dataclass(frozen=True, slots=True)
class HoldChanged:
    """One side put the other on hold, or took it back."""

    by: Literal["caller", "agent"]
    on: bool


@dataclass(frozen=True, slots=True)
class TransferWanted:
    """The caller is to be put through `to` somebody else: agent `by` wants it, or (empty) whoever takes a caller out of
    the queue for an agent. `ask`: by which the agent's phone is told how it goes, empty where nobody waits for that.
    `out_of`: what routing knows agent `to` to talk in until then."""

    by: str
    to: Destination
    ask: str = ""
    out_of: str = ""


@dataclass(frozen=True, slots=True)
class CallerReferred:
    """How it goes that the caller's own side calls somebody else, as ReferCaller asked; `final`: no more follows."""

    status: int
    final: bool


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The agent whom the caller is to talk with from now on is on the line already: they picked the caller up (`by`
    None), or a colleague spoke with them first and leaves now. `ask`, `out_of` as in TransferWanted."""

    agent: str
    by: str | None = None
    ask: str = ""
    out_of: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """The clock reached `Call.deadline`."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The gateway is being stopped: calls end in order."""


CallEvent = (
    Confirmed
    | CallerLeft
    | SpeechStarted
    | SpeechEnded
    | TurnDropped
    | PartialHeard
    | UtteranceHeard
    | Unheard
    | KeyPressed
    | PromptStarted
    | PromptDone
    | AgentAnswered
    | AgentFailed
    | AgentLeft
    | AgentRings
    | HoldChanged
    | TransferWanted
    | CallerReferred
    | TakenOver
    | ActionDone
    | AgentOffer
    | WithdrawOffer
    | Position
    | NobodyThere
    | Tick
    | Shutdown
)


# --- state --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer under way: agent `by` wants the caller to be put through `to`. `ask` as in TransferWanted.
    `there`: the agent's phone is still connected. `back`: it failed, and the agent's phone is called again."""

    by: str
    to: Destination
    ask: str = ""
    there: bool = True
    back: bool = False


@dataclass(frozen=True)
class Call:
    """One caller's call. `speaking`: the token of the newest prompt that is not done, 0 when nothing plays."""

    id: str
    flow: Flow
    flow_state: FlowState
    caller: str
    dialled: str
    language: str
    stage: Stage = Stage.ANSWERING
    token: int = 0
    speaking: int = 0
    say: Say | None = None
    """What the caller hears now, as far as the engine has told."""
    lined_up: tuple[tuple[int, Say], ...] = ()
    """What was queued behind it, by token."""
    muted: bool = False
    listen: Listen | None = None
    sensitive: bool = False
    then: Then | None = None
    queue: str | None = None
    intent: str | None = None
    emergency: bool = False
    """They wait in the emergency lane, and do so again should they come back to the queue."""
    slots: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    last_heard: str = ""
    ringing: str | None = None
    agent: str | None = None
    transfer: Transfer | None = None
    held: Mapping[str, float] = field(default_factory=dict)
    """Who holds the other, "caller" or "agent", and since when."""
    message_from: float | None = None
    deadline: float | None = None
    own_deadline: float | None = None
    """The reducer's own timer (message length, answering), beside the flow's."""
    speech_ended: float | None = None
    """When the caller's last turn ended, until the reply's first packet leaves: the turn's latency."""
    end_reason: str = ""
