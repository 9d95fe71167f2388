"""Recognizes recordings as a call would hear them: through 8 kHz G.711 and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gateway.core.audio import SPEECH_RATE, WIRE_RATE
from gateway.core.errors import ConfigError
from gateway.core.ports import Hypothesis
from gateway.lab import wire
from gateway.speech.ears import Ears
from gateway.speech.tts_shape import resample


def over_the_wire(path: Path) -> bytes:
    """A mono 8 or 16 kHz WAV as 16 kHz int16 bytes after G.711 u-law at 8 kHz. Raises MediaError."""
    narrow = wire.decode(wire.encode(wire.read_wav(path)))
    wide = resample(narrow.astype(np.float64), WIRE_RATE, SPEECH_RATE)
    return np.clip(wide.round(), -32768, 32767).astype("<i2").tobytes()


def transcribe(paths: Sequence[Path], language: str, hints: tuple[str, ...] = ()) -> Iterator[tuple[Path, Hypothesis]]:
    """Each recording with what was recognized. `hints`: words to expect, as a call's recognizer is given its flow's.

    Raises MediaError, ModelMissing, ConfigError.
    """
    sounds = [(path, over_the_wire(path)) for path in paths]
    with asyncio.Runner() as runner:
        ears = Ears(workers=1)
        runner.run(ears.start())
        try:
            if language not in ears.languages:
                raise ConfigError(
                    "the recognizer does not know this language", read=language, expected=", ".join(ears.languages)
                )
            for path, pcm in sounds:
                yield path, runner.run(ears.transcribe(pcm, language, hints))
        finally:
            runner.run(ears.close())
