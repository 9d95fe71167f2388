"""What the media engine tells about a leg. `at` is in seconds on the monotonic clock (time.monotonic)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CALM_S = 0.2
"""Silence after which the engine says that speech ended."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak `at` (arrival of the first voiced frame); noticed at `detected`. `muted`: a prompt with
    barge-in was silenced by it."""

    at: float
    muted: bool
    detected: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The engine's VAD heard nothing voiced for CALM_S, after `voiced_ms` of voice."""

    at: float
    voiced_ms: int


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A DTMF key, at the start of its RFC 4733 event. `masked`: it must not reach logs or recordings."""

    digit: str
    at: float
    masked: bool = False


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The first packet of what was played under `token` left."""

    token: int
    at: float


@dataclass(frozen=True, slots=True)
class PromptMuted:
    """Speech silenced the prompt; `Leg.resume` goes on where it was, `Leg.stop` ends it."""

    token: int
    at: float


@dataclass(frozen=True, slots=True)
class PromptDone:
    """Played to its end, or `interrupted` by a key, stop or a new play."""

    token: int
    interrupted: bool
    at: float


@dataclass(frozen=True, slots=True)
class Latched:
    """Packets come from an address that is now the leg's far end (symmetric RTP)."""

    at: float


@dataclass(frozen=True, slots=True)
class RtpLost:
    """No packet came for 5 s."""

    at: float


@dataclass(frozen=True, slots=True)
class RtpBack:
    """Packets come again."""

    at: float


@dataclass(frozen=True, slots=True)
class RingFull:
    """Audio was lost because it was not read in time; `ring` is the engine's number for which."""

    ring: int
    at: float


MediaEvent = (
    SpeechStarted
    | SpeechEnded
    | KeyPressed
    | PromptStarted
    | PromptMuted
    | PromptDone
    | Latched
    | RtpLost
    | RtpBack
    | RingFull
)

MADE: dict[str, Callable[[float, int, int], MediaEvent]] = {
    "SPEECH_STARTED": lambda at, a, b: SpeechStarted(at, bool(a), at + b / 1e6),
    "SPEECH_ENDED": lambda at, a, b: SpeechEnded(at, a),
    "KEY": lambda at, a, b: KeyPressed(chr(a), at, bool(b)),
    "PROMPT_STARTED": lambda at, a, b: PromptStarted(a, at),
    "PROMPT_MUTED": lambda at, a, b: PromptMuted(a, at),
    "PROMPT_DONE": lambda at, a, b: PromptDone(a, bool(b), at),
    "RTP_LATCHED": lambda at, a, b: Latched(at),
    "RTP_LOST": lambda at, a, b: RtpLost(at),
    "RTP_BACK": lambda at, a, b: RtpBack(at),
    "RING_FULL": lambda at, a, b: RingFull(a, at),
}
"""The engine's event kinds by the name of their constant; each takes the time and the event's two numbers."""
