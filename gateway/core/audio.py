"""Audio as it crosses package borders: mono signed 16-bit little-endian PCM with its rate."""

from __future__ import annotations

from dataclasses import dataclass

FRAME_MS = 20
"""Length of a Frame in milliseconds: the engine's tick and the packet time offered in SDP."""

WIRE_RATE = 8000
"""Samples a second of a G.711 leg and of prompts as the engine plays them."""

SPEECH_RATE = 16000
"""Samples a second of what recognizers hear and of what synthesizers render."""


@dataclass(frozen=True, slots=True)
class Audio:
    """`pcm`: bytes of mono int16 little-endian samples; `rate`: samples a second."""

    pcm: bytes
    rate: int = SPEECH_RATE

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate
