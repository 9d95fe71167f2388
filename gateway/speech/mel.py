"""Whisper's log-mel spectrogram in numpy.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2: 80 mel bands (Slaney's
scale and area normalisation) of 25 ms windows every 10 ms at 16 kHz, log10, the range cut to 8 below the loudest,
scaled.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

WINDOW, HOP, BANDS, RATE = 400, 160, 80, 16000


@cache
def filters() -> NDArray[np.float32]:
    """(80, 201) weights: 0-8 kHz, linear below 1 kHz and logarithmic above, each band of equal area."""
    mels = np.linspace(0.0, 15.0 + 27.0 * np.log(8.0) / np.log(6.4), BANDS + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))
    bins = np.arange(WINDOW // 2 + 1) * (RATE / WINDOW)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    weights: NDArray[np.float32] = (np.maximum(0.0, np.minimum(rise, fall)) * area[:, None]).astype(np.float32)
    return weights


@cache
def window() -> NDArray[np.float32]:
    """A periodic Hann window of 400 samples."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def log_mel(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """(80, frames) float32 features of 16 kHz `samples` in -1..1, followed by silence up to `frames` * 10 ms."""
    held = samples[: frames * HOP]
    # Frames wholly in the silence after the samples have no energy: only the others need a transform.
    voiced = min(frames, (len(held) + WINDOW // 2) // HOP + 1)
    padded = np.zeros((frames - 1) * HOP + WINDOW if frames > voiced else voiced * HOP + WINDOW, dtype=np.float32)
    half = WINDOW // 2
    padded[half : half + len(held)] = held
    padded[:half] = padded[half + 1 : WINDOW + 1][::-1]  # reflected at the start, as the model was trained
    rows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: voiced * HOP : HOP]
    power = np.abs(np.fft.rfft(rows * window(), axis=1)) ** 2
    bands = np.full((BANDS, frames), 1e-10, dtype=np.float32)
    bands[:, :voiced] = np.maximum(filters() @ power.T.astype(np.float32), 1e-10)
    logs = np.log10(bands)
    return np.asarray((np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0, dtype=np.float32)
