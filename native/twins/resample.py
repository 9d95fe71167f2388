"""Between 8, 16 and 48 kHz in plain numpy: whole filters on streams with zeros put in, or samples left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def rounded(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Taps to 14 bits below 1."""
    return np.asarray(np.round(taps * 2**14) / 2**14)


def half_band() -> NDArray[np.float64]:
    """The whole 63-tap filter at 16 kHz, unity gain: Kaiser, beta 6.5."""
    n = np.arange(-31, 32)
    h = np.sinc(n / 2) * np.kaiser(63, 6.5)
    h[31] = 0
    h = rounded(h / h.sum())
    h[[30, 32]] += (1 - h.sum()) / 2
    h /= 2
    h[31] = 0.5
    return h


def third_band(gain: int) -> NDArray[np.float64]:
    """The whole 96-tap filter at 48 kHz, cut-off 8 kHz, with a gain: Kaiser, beta 6.2."""
    h = np.sinc((np.arange(96) - 47.5) / 3) * np.kaiser(96, 6.2)
    return rounded(gain * h / h.sum())


def saturated(wave: NDArray[np.float64]) -> Pcm:
    return np.clip(np.floor(wave + 0.5), -32768, 32767).astype(np.int16)


def upsample(pcm: Pcm) -> Pcm:
    wide = np.zeros(2 * len(pcm))
    wide[::2] = pcm
    return saturated(np.concatenate([[0.0], np.convolve(wide, 2 * half_band())])[: len(wide)])


def downsample(pcm: Pcm) -> Pcm:
    even = pcm[: len(pcm) // 2 * 2].astype(float)
    return saturated(np.convolve(even, half_band())[: len(even)][::2])


def triple(pcm: Pcm) -> Pcm:
    wide = np.zeros(3 * len(pcm))
    wide[::3] = pcm
    return saturated(np.convolve(wide, third_band(3))[: len(wide)])


def third(pcm: Pcm) -> Pcm:
    whole = pcm[: len(pcm) // 3 * 3].astype(float)
    return saturated(np.convolve(whole, third_band(2) / 2)[: len(whole)][2::3])
