"""The commands that come of a call's events: what its driver has the engine, SIP, the routing and the record do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.flow.turn import Listen, RunAction, Say
from gateway.routing.model import AgentOffer, RoutingEvent


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
class ReferCaller:
    """Ask the caller's own side to call `uri` without us in between; CallerReferred tells how it goes."""

    uri: str


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
    | ReferCaller
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
