"""The search for the prompt's own echo in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native.twins.detect import high_pass

Pcm = NDArray[np.int16]


def echo_share(heard: Pcm, played: Pcm) -> tuple[int, float]:
    """As `kernels.echo_share`: every delay up to 450 ms, one after the other."""
    at = len(heard) // 80 * 80
    window = high_pass(heard[:at])[-480:]
    window = (window - 0.9 * np.concatenate([[0.0], window[:-1]]))[::2]
    window[0] = high_pass(heard[:at])[-480]
    line = high_pass(played[: len(played) // 160 * 160])
    line = np.concatenate([np.zeros(4608), line - 0.9 * np.concatenate([[0.0], line[:-1]])])
    best, lag = 0.0, 0
    for delay in range(3600):
        start = 4608 + at - 480 - delay
        piece = line[start : start + 480 : 2]
        if start < 0 or len(piece) < 240:
            continue
        total = float(window @ piece)
        share = total * total / ((window @ window + 1) * (piece @ piece + 1000)) if total > 0 else 0.0
        if share > best:
            best, lag = share, delay
    return lag, best
