"""Keys on their way out: RFC 4733 events, or tones where the far end did not negotiate them."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGITS = "0123456789*#ABCD"
QUEUED = 64
GAP = 3
"""Ticks of silence after a key: 60 ms."""

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
ROWS = "123A456B789C*0#D"
PEAK = 5800
"""Of each of the two tones: -12 dBm0 (ITU-T Q.23 leaves the level to the administrations)."""


@dataclass
class KeyPacket:
    payload: bytes
    stamp: int
    marker: bool


class KeysOut:
    """Digits that wait, and the one being sent. All times are in units of an 8 kHz clock."""

    def __init__(self) -> None:
        self.queue: deque[tuple[int, int]] = deque()
        self.sent = self.ends = self.gap = self.stamp = 0

    def add(self, codes: list[int], length: int) -> None:
        for code in codes:
            if len(self.queue) < QUEUED:
                self.queue.append((code, length))

    def packet(self, stamp: int, step: int) -> KeyPacket | None:
        """The event packet of this tick (RFC 4733 section 2.5.1). `stamp`, `step`: the leg's RTP clock, 20 ms of it."""
        if self.gap:
            self.gap -= 1
            return None
        if not self.queue:
            return None
        code, length = self.queue[0][0], self.queue[0][1] * step // 160
        marker = self.sent == 0
        if marker:
            self.stamp = stamp
        if self.ends == 0:
            self.sent += step
        end = self.sent >= length
        body = struct.pack("!BBH", code, 0x80 * end | 10, min(length if end else self.sent, 0xFFFF))
        if end:
            self.ends += 1
            if self.ends == 3:
                self.next()
        return KeyPacket(body, self.stamp, marker)

    def tone(self, rate: int) -> NDArray[np.float64] | None:
        """The key's tones of this tick, 20 ms at `rate`; None when no key is being sent."""
        if self.gap:
            self.gap -= 1
            return None
        if not self.queue:
            return None
        code, length = self.queue[0]
        at = np.arange(rate // 50) + self.sent * rate // 8000
        place = ROWS.index(DIGITS[code])
        wave = sum(PEAK * np.sin(2 * np.pi * hz * at / rate) for hz in (LOW[place // 4], HIGH[place % 4]))
        wave = np.where(at < length * rate // 8000, wave, 0.0)
        self.sent += 160
        if self.sent >= length:
            self.next()
        return np.asarray(wave)

    def next(self) -> None:
        self.queue.popleft()
        self.sent = self.ends = 0
        self.gap = GAP
