"""The jitter buffer with its samples in a dictionary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


class JitterBuffer:
    """As `native.jitter.JitterBuffer`, samples in a dictionary."""

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
