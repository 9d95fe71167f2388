"""Comfort noise (RFC 3389) in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

ORDER, MODEL, FULL, STEP = 10, 20, 32768.0, 258 / 32768


class ComfortMeter:
    """As `native.comfort.ComfortMeter`."""

    def __init__(self) -> None:
        self.lags: NDArray[np.float64] | None = None

    def measure(self, pcm: Pcm, room: int = 1 + ORDER) -> bytes:
        x = pcm.astype(float)
        fresh = np.array([x[lag:] @ x[: len(x) - lag] for lag in range(ORDER + 1)]) / len(x)
        self.lags = fresh if self.lags is None else self.lags + 0.25 * (fresh - self.lags)
        level = int(np.rint(min(127, -10 * np.log10(self.lags[0] / FULL**2 + 1e-13))))
        if level == 127:
            return bytes([level])
        index = np.clip(np.rint(reflect(self.lags) / STEP) + 127, 0, 254)
        return bytes([level, *index.astype(int)])[:room]


def reflect(lags: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflection coefficients of the autocorrelation by Levinson-Durbin, a little white noise added."""
    a, error, found = np.array([1.0]), lags[0] * 1.0001 + 1e-6, []
    for m in range(1, len(lags)):
        k = -(a @ lags[m:0:-1]) / error
        found.append(k)
        a = np.append(a, 0)
        a = a + k * a[::-1]
        error *= 1 - k * k
    return np.array(found)


class ComfortNoise:
    """As `native.comfort.ComfortNoise`."""

    def __init__(self, payload: bytes | None = None, seed: int = 0) -> None:
        self.random, self.known = seed, False
        if payload is not None:
            self.set(payload)

    def set(self, payload: bytes) -> None:
        codes = [127 if code == 255 else code for code in payload[1 : 1 + MODEL]]
        exact = STEP * (np.array(codes, float) - 127)
        self.reflection = exact.astype(np.float32)
        level = FULL * 10 ** (-(payload[0] & 127) / 20)
        self.wanted = np.float32(level * np.sqrt(np.prod(1 - exact**2)))
        if not self.known:
            self.known, self.gain = True, self.wanted
            self.state = np.zeros(MODEL + 1, np.float32)

    def make(self, n: int) -> Pcm:
        self.gain += (self.wanted - self.gain) * np.float32(0.25)
        scale = self.gain * np.float32(1.7320508 / 2147483648.0)
        out = np.zeros(n, np.float32)
        for at in range(n):
            self.random = (self.random * 1664525 + 1013904223) % 2**32
            f = np.float32(self.random - (self.random >> 31 << 32)) * scale
            for m in reversed(range(len(self.reflection))):
                back = self.state[m]
                f = f - self.reflection[m] * back
                self.state[m + 1] = back + self.reflection[m] * f
            self.state[0] = out[at] = f
        return np.rint(np.clip(out, -32768, 32767)).astype(np.int16)
