"""The telephone in numpy, for benchmarks: G.711 (ITU-T G.711) both ways and 8 <-> 16 kHz by a windowed sinc."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


@cache
def lowpass() -> NDArray[np.float64]:
    """A 127-tap half-band filter (3.6 kHz at 16 kHz, Kaiser)."""
    steps = np.arange(-63, 64)
    taps = np.sinc(steps * 0.45) * np.kaiser(127, 8.0)
    return np.asarray(taps / taps.sum())


def rounded(signal: NDArray[np.float64]) -> Samples:
    return np.clip(np.rint(signal), -32768, 32767).astype(np.int16)


def down(wide: Samples) -> Samples:
    """16 kHz to 8 kHz."""
    return rounded(np.convolve(wide.astype(float), lowpass(), "same")[::2])


def up(narrow: Samples) -> Samples:
    """8 kHz to 16 kHz."""
    spread = np.zeros(2 * len(narrow))
    spread[::2] = 2.0 * narrow
    return rounded(np.convolve(spread, lowpass(), "same"))


def ulaw(narrow: Samples) -> Samples:
    """Through mu-law and back (ITU-T G.711 table 2): 8 kHz in and out."""
    sound = np.clip(narrow.astype(np.int64), -32635, 32635)
    size = np.abs(sound) + 132
    exponent = np.floor(np.log2(size)).astype(np.int64) - 7
    mantissa = (size >> (exponent + 3)) & 15
    value = (((mantissa << 3) + 132) << exponent) - 132
    return np.where(sound < 0, -value, value).astype(np.int16)


def heard(path: Path) -> Samples:
    """A WAV file (mono int16 at 8 or 16 kHz) as a call brings it to the recognizer: 16 kHz after 8 kHz mu-law."""
    with wave.open(str(path)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    if rate not in (8000, 16000):
        raise ValueError(f"{path}: {rate} Hz, expected 8000 or 16000")
    return up(ulaw(down(pcm) if rate == 16000 else pcm))
