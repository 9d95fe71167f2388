"""Between 8 and 16 kHz in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def half_band() -> NDArray[np.float64]:
    """The whole 63-tap filter at 16 kHz, unity gain: Kaiser, beta 6.5."""
    n = np.arange(-31, 32)
    h = np.sinc(n / 2) * np.kaiser(63, 6.5)
    h[31] = 0
    h /= 2 * h.sum()
    h[31] = 0.5
    return h


def upsample(pcm: Pcm) -> Pcm:
    wide = np.zeros(2 * len(pcm))
    wide[::2] = pcm
    out = np.concatenate([[0.0], np.convolve(wide, 2 * half_band())])[: len(wide)]
    return np.clip(np.floor(out + 0.5), -32768, 32767).astype(np.int16)


def downsample(pcm: Pcm) -> Pcm:
    even = pcm[: len(pcm) // 2 * 2].astype(float)
    out = np.convolve(even, half_band())[: len(even)][::2]
    return np.clip(np.floor(out + 0.5), -32768, 32767).astype(np.int16)
