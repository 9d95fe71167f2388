"""G.722 (64 kbit/s) written for reading: section 6 of the recommendation block by block, on Python's integers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

H = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11]
QMF = np.array([tap for pair in zip(H, H[::-1], strict=True) for tap in pair], np.int64)
"""The whole 24-tap filter, symmetrical."""

Q6 = [0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219]
Q6 += [1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919]
NEGATIVE = [63, 62, *range(31, 3, -1)]
POSITIVE = [61, 60, *range(59, 31, -1)]
"""Code of a magnitude by the decision interval it lies in."""

QQ6 = [136, 432, 728, 1040, 1360, 1688, 2032, 2400, 2776, 3168, 3576, 4008, 4464, 4944, 5456, 6000, 6576, 7192, 7856]
QQ6 += [8576, 9360, 10232, 11192, 12280, 13512, 14984, 16704, 19008, 21904, 24808]
QQ4 = [0, 1200, 2584, 4240, 6288, 8968, 12896, 20456]
QQ2 = [1616, 7408]
WL = [-60, -30, 58, 172, 334, 538, 1198, 3042]
WH = [-214, 798]
ILB = [int(v) for v in np.floor(2048 * 2 ** (np.arange(32) / 32) + 0.5)]


def clip(x: int) -> int:
    return max(-32768, min(32767, x))


def sign(x: int) -> int:
    return -1 if x < 0 else 1


@dataclass
class Band:
    """Predictor and scale factor of one sub-band."""

    det: int
    most: int
    shift: int
    nb: int = 0
    s: int = 0
    sz: int = 0
    a: list[int] = field(default_factory=lambda: [0, 0])
    b: list[int] = field(default_factory=lambda: [0] * 6)
    d: list[int] = field(default_factory=lambda: [0] * 6)
    r: list[int] = field(default_factory=lambda: [0, 0])
    p: list[int] = field(default_factory=lambda: [0, 0])

    def follow(self, d: int, weight: int) -> None:
        """The difference `d` was received: scale factor and predictor for the next sample."""
        self.nb = max(0, min(self.most, (self.nb * 127 >> 7) + weight))
        step, power = ILB[self.nb >> 6 & 31], self.shift - (self.nb >> 11)
        self.det = (step >> power if power >= 0 else step << -power) << 2
        r, p = clip(self.s + d), clip(self.sz + d)
        self.adapt_poles(p)
        for k in range(6):
            gain = 0 if d == 0 else 128 * sign(d) * sign(self.d[k])
            self.b[k] = clip((self.b[k] * 32640 >> 15) + gain)
        self.d, self.r, self.p = [d, *self.d[:5]], [r, self.r[0]], [p, self.p[0]]
        poles = clip(sum(a * clip(2 * r) >> 15 for a, r in zip(self.a, self.r, strict=True)))
        self.sz = clip(sum(b * clip(2 * d) >> 15 for b, d in zip(self.b, self.d, strict=True)))
        self.s = clip(poles + self.sz)

    def adapt_poles(self, p: int) -> None:
        first, second = sign(p) * sign(self.p[0]), sign(p) * sign(self.p[1])
        a2 = min(32767, -first * clip(4 * self.a[0])) >> 7
        a2 = max(-12288, min(12288, a2 + 128 * second + (self.a[1] * 32512 >> 15)))
        bound = 15360 - a2
        self.a = [max(-bound, min(bound, 192 * first + (self.a[0] * 32640 >> 15))), a2]


def low_levels() -> list[int]:
    """INVQBL: what the decoder makes of 6 bits; the four codes below 4 never come and count as the smallest."""
    levels = [-QQ6[0]] * 64
    for k in range(30):
        levels[NEGATIVE[k]], levels[POSITIVE[k]] = -QQ6[k], QQ6[k]
    return levels


LOW6 = low_levels()
LOW4 = [0] + [-q for q in QQ4[:0:-1]] + QQ4[:0:-1] + [0]
WEIGHT4 = [WL[0], *WL[:0:-1], *WL[:0:-1], WL[0]]


class Coder:
    """One direction of one stream."""

    def __init__(self) -> None:
        self.low, self.high = Band(32, 18432, 8), Band(8, 22528, 10)
        self.line = np.zeros(22, np.int64)

    def both(self, low: int, high: int) -> None:
        four = low >> 2
        self.low.follow(self.low.det * LOW4[four] >> 15, WEIGHT4[four])
        far = high in (0, 2)
        d = (self.high.det * (QQ2[far] if high >= 2 else -QQ2[far])) >> 15
        self.high.follow(d, WH[far])

    def encode(self, pcm: Pcm) -> NDArray[np.uint8]:
        """int16 at 16 kHz, an even number -> half as many octets."""
        line = np.concatenate([self.line, pcm.astype(np.int64)])
        self.line = line[-22:]
        out = []
        for k in range(0, len(pcm), 2):
            window = line[k : k + 24] * QMF
            even, odd = int(window[::2].sum()), int(window[1::2].sum())
            low = self.quantize_low(even + odd >> 14)
            high = self.quantize_high(odd - even >> 14)
            out.append(high << 6 | low)
            self.both(low, high)
        return np.array(out, np.uint8)

    def quantize_low(self, x: int) -> int:
        e = clip(x - self.low.s)
        interval = sum((~e if e < 0 else e) >= q * self.low.det >> 12 for q in Q6[1:])
        return NEGATIVE[interval] if e < 0 else POSITIVE[interval]

    def quantize_high(self, x: int) -> int:
        e = clip(x - self.high.s)
        far = (~e if e < 0 else e) >= 564 * self.high.det >> 12
        return (0 if far else 1) if e < 0 else (2 if far else 3)

    def decode(self, codes: NDArray[np.uint8]) -> Pcm:
        """Octets -> twice as many int16 at 16 kHz."""
        fresh = []
        for code in codes.tolist():
            low, high = code & 63, code >> 6
            r = self.low.s + (self.low.det * LOW6[low] >> 15)
            upper = self.high.s + (self.high.det * (QQ2[high in (0, 2)] * (1 if high >= 2 else -1)) >> 15)
            self.both(low, high)
            x, y = (max(-16384, min(16383, v)) for v in (r, upper))
            fresh += [x + y, x - y]
        line = np.concatenate([self.line, np.array(fresh, np.int64)])
        self.line = line[-22:]
        out = np.zeros(len(fresh), np.int64)
        for k in range(0, len(fresh), 2):
            window = line[k : k + 24] * QMF
            out[k], out[k + 1] = window[1::2].sum() >> 11, window[::2].sum() >> 11
        return np.clip(out, -32768, 32767).astype(np.int16)
