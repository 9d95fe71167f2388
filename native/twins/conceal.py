"""Loss concealment in numpy, after ITU-T G.711 Appendix I."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Real = NDArray[np.float32]

TOP = 2047
"""Samples are scaled to this before they are correlated."""


def best_lag(here: Pcm, line: Pcm, at: int, step: int, least: int, most: int) -> tuple[int, np.float32]:
    """(lag, likeness): the lag of least..most for which `line[at + step * lag :]` is most like `here`."""
    window = len(here)
    low, high = (at - most, at - least + window) if step < 0 else (at + least, at + most + window)
    loudest = max(np.abs(here.astype(int)).max(), np.abs(line[low:high].astype(int)).max())
    shift = max(0, int(loudest).bit_length() - TOP.bit_length())
    a, b = here.astype(int) >> shift, line.astype(int) >> shift
    best, top, likeness = least, -1.0, np.float32(0)
    for lag in range(least, most + 1):
        other = b[at + step * lag : at + step * lag + window]
        product, size = int(a @ other), int(other @ other)
        score = float(product) * product / (size + 1) if product > 0 else 0.0
        if score > top:
            root = np.sqrt(np.float32(a @ a) * np.float32(size) + np.float32(1))
            best, top, likeness = lag, score, np.float32(product) / root
    return best, likeness


def rising(n: int) -> Real:
    """n weights between 0 and 1."""
    return np.arange(1, n + 1).astype(np.float32) * np.float32(1 / (n + 1))


def blend(a: NDArray[np.generic], b: NDArray[np.generic], weight: Real) -> Pcm:
    """a goes over to b."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    return np.rint(x + (y - x) * weight).astype(np.int16)


class Concealment:
    """As `native.conceal.Concealment`."""

    def __init__(self, rate: int = 8000) -> None:
        self.rate, self.unit, self.past = rate, rate // 100, rate // 800 * 39
        self.lost = 0

    def begin(self, past: Pcm) -> None:
        self.line, window = np.array(past[-self.past :]), self.rate // 160
        end = self.past - window
        self.pitch, _ = best_lag(self.line[end:], self.line, end, -1, self.rate // 400, 3 * self.rate // 200)
        self.quarter, self.periods, self.at, self.lost = self.pitch // 4, 1, 0, 0
        self.tail = self.line[-self.quarter :].copy()
        self.edge = np.float32(int(self.line[-1]) - int(self.line[-1 - self.pitch]))
        self.close_loop()

    def close_loop(self) -> None:
        """The end of the line leads over to the first sample that is repeated."""
        end = self.past - self.quarter
        before = self.line[end - self.periods * self.pitch :][: self.quarter]
        self.line[end:] = blend(self.tail, before.copy(), rising(self.quarter))

    def repeat(self, n: int) -> Pcm:
        length = self.periods * self.pitch
        out = self.line[self.past - length :][(self.at + np.arange(n)) % length]
        self.at = (self.at + n) % length
        return out

    def lengthen(self, n: int) -> Pcm:
        """One more period is repeated, overlapping with what would have come."""
        at, overlap = self.at, min(self.quarter, n)
        old = self.repeat(overlap)
        self.at, self.periods = at % self.pitch, self.periods + 1
        self.close_loop()
        out = self.repeat(n)
        out[:overlap] = blend(old, out[:overlap], rising(overlap))
        return out

    def fade(self, out: Pcm) -> Pcm:
        """The step at the first edge decays over a quarter period; from 10 ms on a fifth is lost every 10 ms."""
        when = self.lost + np.arange(len(out))
        x = out.astype(np.float32)
        left = np.maximum(self.quarter - when, 0).astype(np.float32)
        x += self.edge * left * np.float32(1 / (self.quarter + 1))
        late = when >= self.unit
        gain = np.float32(1) - (when - self.unit).astype(np.float32) * np.float32(0.2 / self.unit)
        x[late] *= np.maximum(gain[late], 0)
        return np.rint(np.clip(x, -32768, 32767)).astype(np.int16)

    def make(self, n: int) -> Pcm:
        pieces = []
        while n and self.lost < 6 * self.unit:
            step = min(n, self.unit - self.lost % self.unit)
            grows = self.lost in (self.unit, 2 * self.unit)
            pieces.append(self.fade(self.lengthen(step) if grows else self.repeat(step)))
            self.lost += step
            n -= step
        return np.concatenate([*pieces, np.zeros(n, np.int16)])

    def join(self, pcm: Pcm) -> Pcm:
        overlap = self.quarter + (self.lost - 1) // self.unit * (self.rate // 250)
        overlap = min(overlap, self.unit, len(pcm))
        return np.concatenate([blend(self.make(overlap), pcm[:overlap], rising(overlap)), pcm[overlap:]])
