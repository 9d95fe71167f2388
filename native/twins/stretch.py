"""Time stretching by pitch periods in numpy (WSOLA)."""

from __future__ import annotations

import numpy as np

from native.twins.conceal import Pcm, best_lag, blend, rising


def stretch_find(pcm: Pcm, at: int, rate: int, step: int, most: int) -> tuple[int, np.float32]:
    """(lag, likeness) at which `pcm[at:]` resembles itself in 10 ms, later (step 1) or earlier (-1)."""
    return best_lag(pcm[at : at + rate // 100], pcm, at, step, rate // 400, most)


def stretch_make(pcm: Pcm, at: int, rate: int, lag: int, n: int) -> Pcm:
    """n samples that begin as `pcm[at:]` and go on as `pcm[at + lag:]`."""
    overlap = rate // 100
    out = pcm[at + lag : at + lag + n].copy()
    out[:overlap] = blend(pcm[at : at + overlap], out[:overlap], rising(overlap))
    return out


def stretch(pcm: Pcm, at: int, n: int, longer: bool, rate: int = 8000) -> tuple[Pcm, int, np.float32]:
    """As `native.stretch.stretch`."""
    step = -1 if longer else 1
    lag, likeness = stretch_find(pcm, at, rate, step, 3 * rate // 200)
    return stretch_make(pcm, at, rate, step * lag, n), lag, likeness
