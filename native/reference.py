"""Every kernel again in plain numpy, written for reading. Tests hold the engine's kernels to these."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

# --- G.711 --------------------------------------------------------------------------------------------------------


def mu_levels() -> NDArray[np.int64]:
    """Decoder output of the 256 mu-law codes (ITU-T G.711 table 2, 14 bits, left-justified in 16)."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 15) * 2 + 33) * 2.0 ** (code >> 4 & 7) - 33) * 4
    return np.where(code & 0x80, -size, size).astype(np.int64)


def a_levels() -> NDArray[np.int64]:
    """Decoder output of the 256 A-law codes (ITU-T G.711 table 1, 13 bits, left-justified in 16)."""
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = np.where(segment == 0, step * 16 + 8, (step * 16 + 264) * 2.0 ** (segment - 1))
    return np.where(code & 0x80, size, -size).astype(np.int64)


def g711_decode(codes: NDArray[np.uint8], payload: int = 0) -> Pcm:
    return (a_levels() if payload == 8 else mu_levels())[codes].astype(np.int16)


def g711_encode(pcm: Pcm, payload: int = 0) -> NDArray[np.uint8]:
    """By decision values: the cell of a sample's magnitude among those of its sign (negative: one's complement)."""
    value = pcm.astype(np.int64)
    size = np.where(value < 0, ~value, value)
    if payload == 8:
        edges = np.concatenate([np.arange(16, 512, 16), *(np.arange(512, 1024, 32) << s for s in range(6))])[:127]
        cell = np.searchsorted(edges, size, side="right")
        return ((cell | np.where(value < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    bounds = np.concatenate([((np.arange(32, 64, 2) << s) - 33) * 4 for s in range(8)])[1:]
    cell = np.searchsorted(bounds, size, side="right")
    return (~(cell | np.where(value < 0, 0x80, 0)) & 0xFF).astype(np.uint8)


# --- resampling ---------------------------------------------------------------------------------------------------


def half_band() -> NDArray[np.float64]:
    """The whole 63-tap filter at 16 kHz, unity gain: Kaiser, beta 6.5."""
    n = np.arange(-31, 32)
    h = np.sinc(n / 2) * np.kaiser(63, 6.5)
    h[31] = 0
    h /= 2 * h.sum()
    h[31] = 0.5
    return h


def upsample(pcm: Pcm) -> Pcm:
    wide = np.zeros(2 * len(pcm))
    wide[::2] = pcm
    out = np.concatenate([[0.0], np.convolve(wide, 2 * half_band())])[: len(wide)]
    return np.clip(np.floor(out + 0.5), -32768, 32767).astype(np.int16)


def downsample(pcm: Pcm) -> Pcm:
    even = pcm[: len(pcm) // 2 * 2].astype(float)
    out = np.convolve(even, half_band())[: len(even)][::2]
    return np.clip(np.floor(out + 0.5), -32768, 32767).astype(np.int16)


# --- RTP ----------------------------------------------------------------------------------------------------------


def parse_rtp(packet: bytes) -> tuple[int, bool, int, int, int, int, int] | None:
    """As `kernels.parse_rtp`."""
    if len(packet) < 12 or packet[0] >> 6 != 2 or 192 <= packet[1] <= 223:
        return None
    first, second, seq, stamp, ssrc = struct.unpack("!BBHII", packet[:12])
    at, end = 12 + 4 * (first & 15), len(packet)
    if first & 0x10:
        if at + 4 > end:
            return None
        at += 4 + 4 * struct.unpack("!H", packet[at + 2 : at + 4])[0]
    if at > end:
        return None
    if first & 0x20:
        padding = packet[-1]
        if not 0 < padding <= end - at:
            return None
        end -= padding
    return second & 0x7F, bool(second >> 7), seq, stamp, ssrc, at, end - at


class Source:
    """As `kernels.Source`, with a set in place of a bit mask."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.first = self.highest = self.received = self.duplicate = 0

    def packet(self, seq: int) -> int:
        if not self.seen:
            self.first = self.highest = seq + 65536
            self.seen, self.received = {self.highest}, 1
            return 0
        ahead = (seq - self.highest) & 0xFFFF
        ahead -= 65536 if ahead > 32767 else 0
        if ahead <= -64:
            return 2
        number = self.highest + ahead
        if number in self.seen:
            self.duplicate += 1
            return 2
        self.seen.add(number)
        self.received += 1
        self.highest = max(self.highest, number)
        return 0 if ahead > 0 else 1

    @property
    def lost(self) -> int:
        return max(0, self.highest - self.first + 1 - self.received)


class JitterBuffer:
    """As `kernels.JitterBuffer`, samples in a dictionary."""

    TARGET, SPAN, DEEPEST = 320, 8192, 1600

    def __init__(self) -> None:
        self.running, self.late, self.concealed = False, 0, 0
        self.stray, self.fade, self.play, self.window = 0, 3, 0, 0
        self.least = self.SPAN
        self.held: dict[int, int] = {}
        self.last = np.zeros(160, np.int64)

    def begin(self, stamp: int) -> None:
        self.running, self.stray, self.fade, self.window = True, 0, 3, 0
        self.play, self.least = stamp - self.TARGET, self.SPAN
        self.held.clear()
        self.last[:] = 0

    def put(self, stamp: int, pcm: Pcm) -> bool:
        if not self.running:
            self.begin(stamp)
        slack = stamp - self.play
        if slack + len(pcm) > self.SPAN - 160 or slack < -self.DEEPEST:
            self.stray += 1
            if self.stray < 3:
                self.late += 1
                return False
            self.begin(stamp)
            slack = self.TARGET
        self.stray = 0
        self.least = min(self.least, slack)
        if slack < 0:
            self.late += 1
            if slack < self.TARGET - self.DEEPEST:
                return False
            self.play -= -(slack // 160) * 160
            self.least = 0
        self.held.update({stamp + k: int(v) for k, v in enumerate(pcm)})
        return True

    def take(self, quiet: bool = False) -> Pcm:
        if not self.running:
            return np.zeros(160, np.int16)
        self.window += 1
        if self.window >= 100:
            if self.TARGET + 240 <= self.least < self.SPAN:
                self.play += 160
            self.least, self.window = self.SPAN, 0
        gain = 0 if quiet else max(0, 3 - self.fade)
        made_up = np.trunc(self.last * gain / 3).astype(np.int64)
        wanted = range(self.play, self.play + 160)
        missing = sum(k not in self.held for k in wanted)
        out = np.array([self.held.get(k, made_up[k - self.play]) for k in wanted])
        self.play += 160
        self.held = {k: v for k, v in self.held.items() if k >= self.play}
        self.fade = 0 if missing == 0 else min(3, self.fade + 1)
        self.concealed += missing if gain else 0
        if missing == 0:
            self.last = out
        return out.astype(np.int16)


# --- detection ----------------------------------------------------------------------------------------------------


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
