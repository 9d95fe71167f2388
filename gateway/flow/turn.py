"""What goes into the interpreter and what comes out of it: events, commands, and the words they share.

The interpreter is `step(flow, state, event, now) -> (state, commands)`. A live call, the simulator, tests and replay
all run that one function; each carries the commands out in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gateway.core.ports import Ranked

# --- what is said -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Words fixed when the flow was written; their audio is rendered when the flow is loaded."""

    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """A slot's or queue's value spoken in the middle of a prompt.

    `kind`: digits (one by one), number, amount (`value` decimal with two places), date (ISO), ordinal, text.
    `currency` is for amounts: dollars or yuan.
    """

    kind: Literal["digits", "number", "amount", "date", "ordinal", "text"]
    value: str
    currency: str = ""


Segment = Text | Value


# --- events in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The call was answered. `language` is the tag chosen by the number dialled, or None for the flow's first;
    `recorded`: a recording runs, so the notice that says so is true."""

    language: str | None = None
    caller: str = ""
    dialled: str = ""
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class PromptDone:
    """Everything said so far was heard to its end, or was interrupted for good."""

    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The caller started to speak: silence is not counted until Heard, Unheard or SpeechDropped."""


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """It was no speech after all, or had no words: silence counts again."""


@dataclass(frozen=True, slots=True)
class PartialHeard:
    """Words recognized while the caller still speaks. Only emergency phrases act on these."""

    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """One utterance. `ranked` are the intents the model gave for `text`; `score` is the recognizer's own 0..1."""

    text: str
    ranked: Ranked = field(default_factory=Ranked)
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Unheard:
    """Speech came but could not be recognized. `reason`: saturated (the pool is full) or failed (a worker died)."""

    reason: Literal["saturated", "failed"]


@dataclass(frozen=True, slots=True)
class Key:
    """One DTMF key: 0-9, *, #, A-D."""

    digit: str


@dataclass(frozen=True, slots=True)
class ActionDone:
    """An action ended. `result`: values it returned, spoken by prompts as {name}; `error`: None when it went well."""

    action: str
    result: dict[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """The clock reached `State.deadline`."""


FlowEvent = (
    Started | PromptDone | SpeechBegan | SpeechDropped | PartialHeard | Heard | Unheard | Key | ActionDone | Tick
)


# --- commands out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Speak the segments in `language`. A new Say replaces one that still plays unless `queue` is set.

    `barge_in`: whether speech stops it; `keys_stop`: whether a key stops it; `min_units`: words (English) or
    characters (Mandarin) that must be recognized before an interruption is final. `prompt` names it in records.
    `sensitive`: a sensitive value is spoken, so that the words must not stand in records.
    """

    prompt: str
    segments: tuple[Segment, ...]
    language: str
    barge_in: bool = True
    keys_stop: bool = True
    min_units: int = 1
    queue: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """Hear the caller from now on (also while a prompt plays, when it may be interrupted).

    `expect`: menu, yesno, digits, amount, date. `silence_ms`: how long the caller must be silent to end a turn;
    `max_ms`: longest turn; `length`: expected number of digits (0 is unknown), at which a turn ends at once;
    `hints`: words expected, for the recognizer; `sensitive`: words and keys must not reach logs or recordings.
    """

    language: str
    expect: Literal["menu", "yesno", "digits", "amount", "date"] = "menu"
    silence_ms: int = 600
    max_ms: int = 12000
    length: int = 0
    hints: tuple[str, ...] = ()
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class StopListening:
    """Speech is no longer of interest; keys still are."""


@dataclass(frozen=True, slots=True)
class RunAction:
    """Run an action of the flow (HTTP or a table) with slot values; answer with ActionDone."""

    action: str
    slots: dict[str, str]


@dataclass(frozen=True, slots=True)
class Enqueue:
    """The flow is over for this caller: a human takes it. `emergency` jumps every queue."""

    queue: str
    intent: str | None
    slots: dict[str, str]
    reason: str
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Record a message from the caller (after what is being said), then hang up."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call after what is being said."""

    reason: str


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """A sensitive value is asked for: recording stops, keys are masked."""


@dataclass(frozen=True, slots=True)
class ResumeRecording:
    """The sensitive value was taken."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the call's record; `data` is plain JSON with the values of sensitive slots already masked.

    Kinds: entered, matched, confirmed, rejected, filled, no_input, no_match, language, emergency, action, escalated.
    """

    kind: str
    data: dict[str, object]


FlowCommand = (
    Say | Listen | StopListening | RunAction | Enqueue | TakeMessage | HangUp | PauseRecording | ResumeRecording | Note
)
