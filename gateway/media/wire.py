"""Speech (16 kHz) brought to the wire's rate (8 kHz)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE, Audio

Pcm = NDArray[np.int16]

_N = np.arange(-31, 32)
_HALF_BAND = np.sinc(_N / 2) * np.kaiser(63, 8.0) / 2


def to_wire(audio: Audio) -> Pcm:
    """`audio` as an 8 kHz int16 array. A 63-tap Kaiser half-band filter, as the engine's own."""
    pcm = np.frombuffer(audio.pcm, "<i2")
    if audio.rate == WIRE_RATE:
        return pcm.astype(np.int16)
    low = np.convolve(pcm.astype(np.float64), _HALF_BAND, mode="same")[::2]
    return np.clip(low.round(), -32768, 32767).astype(np.int16)
