"""Speech brought to the rate of a leg, by the engine's own kernels."""

from __future__ import annotations

import numpy as np
from native.kernels import downsample, upsample
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE, Audio

Pcm = NDArray[np.int16]

_DELAY = 16
"""Samples at 8 kHz by which the kernel's half-band filter is late."""


def to_wire(audio: Audio) -> Pcm:
    """`audio` (16 or 8 kHz) as an 8 kHz int16 array, in time with it."""
    pcm = np.frombuffer(audio.pcm, "<i2").astype(np.int16)
    if audio.rate == WIRE_RATE:
        return pcm
    late = np.concatenate([pcm, np.zeros(2 * _DELAY + len(pcm) % 2, np.int16)])
    return np.asarray(downsample(late)[_DELAY:], dtype=np.int16)


def at_rate(audio: Audio, rate: int) -> Pcm:
    """`audio` (16 or 8 kHz) as an int16 array of 8 or 16 kHz, in time with it."""
    if rate == WIRE_RATE:
        return to_wire(audio)
    pcm = np.frombuffer(audio.pcm, "<i2").astype(np.int16)
    if audio.rate == rate:
        return pcm
    late = np.concatenate([pcm, np.zeros(_DELAY, np.int16)])
    return np.asarray(upsample(late)[2 * _DELAY :], dtype=np.int16)
