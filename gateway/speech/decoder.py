"""A recognizer as its worker process serves it: jobs name an utterance's shared memory and how much of it is
written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gateway.core.audio import SPEECH_RATE
from gateway.core.ports import Hypothesis, Recognizer, RecognizerStream
from gateway.speech import recognizers
from gateway.speech.pcm import PcmReader

KEPT = 64
"""Utterances held at most; one forgotten too early is only decoded from its beginning again."""


@dataclass(frozen=True, slots=True)
class Job:
    """Decode `samples` (16 kHz) of the utterance. `kind`: final; peek (a final that may be thrown away); partial."""

    utterance: int
    block: str
    samples: int
    language: str
    hints: tuple[str, ...] = ()
    kind: Literal["final", "peek", "partial"] = "final"


@dataclass(slots=True)
class Held:
    """An utterance half way. `fed`: samples its stream has had."""

    reader: PcmReader
    stream: RecognizerStream
    fed: int = 0


class Decoder:
    """Runs in the worker. After its final a stream is over; so it is after a peek when the recognizer is incremental,
    and more of the same utterance then starts a new one from the beginning. Others decode what they hold and can go
    on."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        self.incremental = bool(getattr(recognizer, "incremental", False))
        self._held: OrderedDict[int, Held] = OrderedDict()

    def about(self) -> dict[str, Any]:
        """name, languages, and whether the recognizer is incremental (its final costs next to nothing)."""
        return {
            "name": self.recognizer.name,
            "languages": tuple(self.recognizer.languages),
            "incremental": self.incremental,
        }

    def decode(self, job: Job, forget: Iterable[int] = ()) -> Hypothesis | None:
        """The job's hypothesis; None for a partial with nothing new."""
        for utterance in forget:
            self._drop(utterance)
        held = self._held.get(job.utterance)
        if held is None or held.fed > job.samples:
            self._drop(job.utterance)
            held = Held(PcmReader(job.block), self.recognizer.start(job.language, job.hints))
            self._held[job.utterance] = held
            if len(self._held) > KEPT:
                self._drop(next(iter(self._held)))
        held.stream.feed(held.reader.read(held.fed, job.samples))
        held.fed = job.samples
        if job.kind == "partial":
            return held.stream.partial()
        try:
            return held.stream.final()
        finally:
            if job.kind == "final" or self.incremental:
                self._drop(job.utterance)

    def once(self, pcm: bytes, language: str, hints: tuple[str, ...] = ()) -> Hypothesis:
        """Decode one whole recording (16 kHz int16)."""
        stream = self.recognizer.start(language, hints)
        for start in range(0, len(pcm), SPEECH_RATE):
            stream.feed(pcm[start : start + SPEECH_RATE])
        return stream.final()

    def _drop(self, utterance: int) -> None:
        if held := self._held.pop(utterance, None):
            held.reader.close()


def create(name: str, options: dict[str, Any]) -> Decoder:
    """What a recognizer's worker process serves."""
    return Decoder(recognizers.create(name, options))
