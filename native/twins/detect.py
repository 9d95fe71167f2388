"""What speech detection measures, in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def high_pass(pcm: Pcm) -> NDArray[np.float64]:
    """Second-order Butterworth at 200 Hz for 8 kHz, by its difference equation."""
    b, a = 0.8948577, (1.7786318, -0.8007991)
    x = np.concatenate([[0.0, 0.0], pcm.astype(float)])
    y = np.zeros(len(x))
    for n in range(2, len(x)):
        y[n] = b * (x[n] - 2 * x[n - 1] + x[n - 2]) + a[0] * y[n - 1] + a[1] * y[n - 2]
    return y[2:]


def periodicity(x: NDArray[np.float32]) -> float:
    """Residual of an order-8 linear prediction (normal equations), smoothed, then normalized autocorrelation."""
    order, x = 8, x.astype(np.float64)
    r = np.array([x[k:] @ x[: len(x) - k] for k in range(order + 1)])
    r[0] = r[0] * 1.001 + 1
    toeplitz = r[np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
    a = np.linalg.solve(toeplitz, -r[1:])
    e = x.copy()
    for j in range(1, order + 1):
        e[order:] += a[j - 1] * x[order - j : len(x) - j]
    e[:order] = 0
    e[2:] = e[2:] + 2 * e[1:-1] + e[:-2]
    best = 0.0
    for lag in range(20, 111):
        head, tail = e[: len(e) - lag], e[lag:]
        best = max(best, float(head @ tail) / np.sqrt((head @ head + 1) * (tail @ tail + 1)))
    return best
