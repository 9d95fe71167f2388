"""Streams between sample rates: the twins' half-band filter with the end of what came before kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.twins.resample import half_band

Pcm = NDArray[np.int16]

_TAPS = half_band()
_PAST = len(_TAPS)


class Stream:
    """Frames of one rate in, frames of the other out: 8000 to 16000 Hz, 16000 to 8000 Hz, or nothing to do."""

    def __init__(self, given: int, wanted: int) -> None:
        self.given, self.wanted = given, wanted
        self.past = np.zeros(_PAST)

    def __call__(self, pcm: Pcm) -> Pcm:
        if self.given == self.wanted:
            return pcm
        line = pcm.astype(float)
        if self.given < self.wanted:
            line = np.zeros(2 * len(pcm))
            line[::2] = 2.0 * pcm
        whole = np.concatenate([self.past, line])
        self.past = whole[len(whole) - _PAST :]
        out = np.convolve(whole, _TAPS, "valid")
        out = out[: len(line)] if self.given < self.wanted else out[1 : len(line) + 1 : 2]
        return saturate(np.floor(out + 0.5))


def saturate(samples: NDArray[np.float64] | NDArray[np.int64]) -> Pcm:
    return np.clip(samples, -32768, 32767).astype(np.int16)


def resampled(pcm: Pcm, given: int, wanted: int) -> Pcm:
    """A whole piece of sound at another rate."""
    return Stream(given, wanted)(pcm)
