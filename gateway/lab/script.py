"""What a scripted caller does, step by step, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.errors import TrunklineError, nearest


@dataclass(frozen=True, slots=True)
class Listen:
    """Until a prompt was heard and then `silence` seconds without voice; at most `timeout` seconds in all."""

    silence: float = 0.7
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Amid:
    """Until a prompt has been going for `seconds`: what comes next interrupts it."""

    seconds: float = 1.0
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Speak:
    """Say a WAV to its end."""

    wav: Path


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys by RFC 4733."""

    digits: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stay:
    """Until the other side hangs up, at most `seconds`."""

    seconds: float = 60.0


Step = Listen | Amid | Speak | Press | Wait | Stay

WRITTEN: dict[str, Callable[[str], Step]] = {
    "listen": lambda text: Listen(float(text)) if text else Listen(),
    "amid": lambda text: Amid(float(text)) if text else Amid(),
    "say": lambda text: Speak(Path(text)),
    "keys": Press,
    "wait": lambda text: Wait(float(text)),
    "stay": lambda text: Stay(float(text)) if text else Stay(),
}


def step(text: str) -> Step:
    """A step as written: `listen`, `listen:1.2`, `amid:1`, `say:FILE.wav`, `keys:1234`, `wait:2`, `stay`.

    Raises TrunklineError with what was read and expected.
    """
    word, _, rest = text.partition(":")
    expected = "one of " + ", ".join(WRITTEN)
    if word not in WRITTEN:
        raise TrunklineError("A caller's step is not known", read=text, expected=expected, near=nearest(word, WRITTEN))
    try:
        return WRITTEN[word](rest)
    except ValueError:
        raise TrunklineError("A caller's step needs a number of seconds", read=text, expected=f"{word}:1.5") from None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing said or pressed and the answer to it; seconds from the answer of the call, spans in milliseconds.

    `reply_ms`: from the last voiced sample (or last key packet) to the first voiced packet heard after it. `stop_ms`: a
    prompt was interrupted; from the first voiced packet (or key packet) to the prompt's first silent packet.
    """

    what: str
    started: float | None = None
    ended: float | None = None
    reply_ms: float | None = None
    stop_ms: float | None = None


@dataclass
class Outcome:
    """One call from the caller's side. `status` is the final SIP status, 0 where none came; `ended_by`: caller, peer or
    nobody; times in seconds, `rtp` counts packets."""

    uri: str
    status: int = 0
    reason: str = ""
    setup_ms: float | None = None
    seconds: float = 0.0
    ended_by: str = "nobody"
    exchanges: list[Exchange] = field(default_factory=list)
    rtp: dict[str, int] = field(default_factory=dict)
    keys_heard: str = ""
    level_dbfs: float = -120.0
    recording: str | None = None

    @property
    def answered(self) -> bool:
        return 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """Plain values, numbers rounded to what they mean."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
