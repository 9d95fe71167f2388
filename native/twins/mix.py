"""`native.mix` in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def mix(frames: Pcm) -> Pcm:
    return np.clip(frames.sum(axis=0, dtype=np.int64), -32768, 32767).astype(np.int16)


def mix_others(frames: Pcm) -> Pcm:
    return np.clip(frames.sum(axis=0, dtype=np.int64) - frames, -32768, 32767).astype(np.int16)
