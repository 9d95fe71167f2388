"""Keys heard as tones: windows of 20 ms every 10 ms, judged as the DTMF twin judges them."""

from __future__ import annotations

import numpy as np

from native.slow.rates import Pcm
from native.twins.dtmf import HIGH, KEYS, LOW, WINDOW, mean_square, sums, tones_hold

HOP = 80
AGREE = 2
"""Windows in a row that make a key."""

GONE = 3
"""Windows in a row without it that end it."""


class InbandKeys:
    def __init__(self) -> None:
        self.part = np.zeros(0)
        self.held = self.last = -1
        self.same = self.without = 0

    def hear(self, pcm: Pcm) -> list[str]:
        """The keys that begin in these samples, 8 kHz."""
        line = np.concatenate([self.part, pcm.astype(float)])
        found = []
        while len(line) >= WINDOW:
            key = self.step(self.key_of(line[:WINDOW]))
            found += [] if key is None else [key]
            line = line[HOP:]
        self.part = line
        return found

    def step(self, key: int) -> str | None:
        self.same = self.same + 1 if key == self.last else 1
        self.last = key
        self.without = 0 if key == self.held else self.without + 1
        if self.held >= 0 and self.without >= GONE:
            self.held = -1
        if key < 0 or key == self.held or self.same < AGREE:
            return None
        self.held, self.without = key, 0
        return KEYS[key]

    def key_of(self, window: np.ndarray) -> int:
        """Index of the key whose tones this is, or -1."""
        low, high = (np.abs(sums(window[None], hertz))[0] * np.sqrt(2) / WINDOW for hertz in (LOW, HIGH))
        row, col = int(low.argmax()), int(high.argmax())
        power = low[row] ** 2 + high[col] ** 2
        if power < mean_square(-42) or power < 0.6 * np.mean(window**2):
            return -1
        key = 4 * row + col
        return key if tones_hold(window, key, [LOW[row], HIGH[col]]) else -1
