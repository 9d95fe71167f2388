"""Ports: what a back end must offer. One contract test suite runs over every implementation, fakes included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.core.audio import Audio


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recognizer believes was said. `score` is 0..1 (1 is sure); `text` as people write it, may be empty."""

    text: str
    score: float = 0.0
    final: bool = False


class RecognizerStream(Protocol):
    """One utterance being decoded. Audio is 16 kHz mono int16 little-endian bytes of any length."""

    def feed(self, pcm: bytes) -> None: ...

    def partial(self) -> Hypothesis | None:
        """The part of the words that is not expected to change any more, or None when there is nothing new."""
        ...

    def final(self) -> Hypothesis:
        """Ends the utterance."""
        ...


class Recognizer(Protocol):
    """Lives in a worker process. `languages` are BCP 47 tags such as en-US and zh-CN."""

    name: str
    languages: Sequence[str]

    def start(self, language: str, hints: Sequence[str] = ()) -> RecognizerStream: ...


class Synthesizer(Protocol):
    """Turns text into speech. Raises ModelMissing with a sentence that says what to do."""

    name: str
    live: bool
    """True where rendering is fast enough to speak a slot's value while the caller waits."""

    def voice(self, language: str) -> str | None:
        """The voice's name for a language, part of the prompt cache's key; None where it can't speak it."""
        ...

    def render(self, text: str, language: str) -> Audio:
        """16 kHz speech. Blocks; call it from a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Ranked:
    """Intents for a sentence, best first. `scores`: (intent, probability 0..1) pairs."""

    scores: tuple[tuple[str, float], ...] = field(default=())

    @property
    def best(self) -> tuple[str, float]:
        return self.scores[0] if self.scores else ("-", 0.0)

    @property
    def runner_up(self) -> tuple[str, float]:
        return self.scores[1] if len(self.scores) > 1 else ("-", 0.0)
