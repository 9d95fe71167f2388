"""A call's state, the events that move it and the commands that come of them. Plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gateway.calls.destinations import Destination
from gateway.core.ports import Ranked
from gateway.flow.model import Flow
from gateway.flow.state import State as FlowState
from gateway.flow.turn import ActionDone, Listen, RunAction, Say
from gateway.routing.model import AgentOffer, NobodyThere, Position, RoutingEvent, WithdrawOffer


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
    the queue for an agent. `ask`: by which the agent's phone is told how it goes, empty where nobody waits for that."""

    by: str
    to: Destination
    ask: str = ""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The agent whom the caller is to talk with from now on is on the line already: they picked the caller up (`by`
    None), or a colleague spoke with them first and leaves now. `ask` as in TransferWanted."""

    agent: str
    by: str | None = None
    ask: str = ""


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
    | TakenOver
    | ActionDone
    | AgentOffer
    | WithdrawOffer
    | Position
    | NobodyThere
    | Tick
    | Shutdown
)


# --- commands out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speak:
    """Play `say` on the caller's leg; PromptStarted and PromptDone carry the token."""

    say: Say
    token: int


@dataclass(frozen=True, slots=True)
class StopPrompt:
    """The prompt was interrupted for good."""


@dataclass(frozen=True, slots=True)
class ResumePrompt:
    """A false alarm: the prompt goes on where it was muted."""


@dataclass(frozen=True, slots=True)
class PlayMusic:
    """Music on hold until the next Speak, Bridge or the end."""


@dataclass(frozen=True, slots=True)
class PlayBeep:
    token: int


@dataclass(frozen=True, slots=True)
class Hear:
    """Arm the recognizer with `listen`, or disarm it with None."""

    listen: Listen | None


@dataclass(frozen=True, slots=True)
class Route:
    """Hand an event to the routing policy."""

    event: RoutingEvent


@dataclass(frozen=True, slots=True)
class RingAgent:
    """Call the agent's phone; `about` becomes headers the phone can show."""

    offer: AgentOffer
    about: dict[str, str]


@dataclass(frozen=True, slots=True)
class StopRinging:
    agent: str
    why: str


@dataclass(frozen=True, slots=True)
class Bridge:
    agent: str


@dataclass(frozen=True, slots=True)
class Part:
    """Caller and agent do not hear each other until the next Bridge."""


@dataclass(frozen=True, slots=True)
class StepAside:
    """The agent's phone stays connected but talks with nobody: the caller may come back to it."""


@dataclass(frozen=True, slots=True)
class StepBack:
    """The phone that stepped aside is the agent's phone again."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The phone that is on the line already becomes the agent's phone; the one before it is let go with `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class TurnAway:
    """The phone that is on the line already came too late: it is hung up."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallOutside:
    """Call a number outside for the agent `by`; AgentRings, AgentAnswered and AgentFailed name the number."""

    number: str
    by: str
    about: dict[str, str]


@dataclass(frozen=True, slots=True)
class LetGo:
    """The phone that stepped aside is hung up."""

    reason: str


@dataclass(frozen=True, slots=True)
class TellTransfer:
    """How a transfer goes, for the phone that asked: 100 it is tried, 180 rings, 200 done, from 300 on failed."""

    ask: str
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HangUpAgent:
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class HangUpCaller:
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """Silence in the recording for a sensitive value (mask), or a message's edges within it."""

    what: Literal["mask", "unmask", "message_start", "message_end"]


@dataclass(frozen=True, slots=True)
class Blank:
    """A sensitive value stood in a sentence nobody asked it for: silence it in the recording (monotonic seconds)."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Act:
    """Run an action of the flow; ActionDone answers."""

    action: RunAction


@dataclass(frozen=True, slots=True)
class Write:
    """One line of the call record."""

    kind: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Measure:
    """Write down how good the caller's sound was."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: close recording and record."""

    reason: str


CallCommand = (
    Speak
    | StopPrompt
    | ResumePrompt
    | PlayMusic
    | PlayBeep
    | Hear
    | Route
    | RingAgent
    | StopRinging
    | Bridge
    | Part
    | StepAside
    | StepBack
    | TakeOver
    | TurnAway
    | CallOutside
    | LetGo
    | TellTransfer
    | HangUpAgent
    | HangUpCaller
    | Record
    | Blank
    | Act
    | Write
    | Measure
    | Finish
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
