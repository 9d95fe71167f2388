"""`native.gain` in numpy, one sample's gain after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

FULL = 32768**2 / 2 * 10**-0.314


class AutoGain:
    """As `native.gain.AutoGain`."""

    def __init__(self) -> None:
        self.level_dbm0, self.voice, self.wanted, self.now, self.held = -70.0, 0.0, 1.0, 1.0, 1.0
        self.heard = 0

    def learn(self, power: float) -> None:
        if power > 0.05 * self.voice:
            self.heard = min(200, self.heard + 1)
            self.voice += (power - self.voice) / self.heard
        else:
            self.voice *= 0.999
        wanted = np.sqrt(0.01 * FULL / self.voice) if self.voice else self.wanted
        self.wanted = float(np.clip(wanted, 1, 10**0.75))

    def hear(self, pcm: Pcm, speech: bool) -> Pcm:
        before = self.now * self.held
        power = float((pcm.astype(float) ** 2).mean())
        if speech:
            level = 10 * np.log10(power / FULL) if power else -70.0
            self.level_dbm0 += (0.5 if level > self.level_dbm0 else 0.1) * (level - self.level_dbm0)
            self.learn(power)
            self.now = min(self.wanted, self.now * 1.0139) if self.now < self.wanted else self.now
            self.now = max(self.wanted, self.now * 0.955) if self.now > self.wanted else self.now
        else:
            self.level_dbm0 -= 0.2
        self.level_dbm0 = max(-70.0, self.level_dbm0)
        if self.now <= 1.0001 and before <= 1.0001:
            self.held = 1.0
            return pcm.copy()
        peak = int(np.abs(pcm.astype(int)).max())
        limit = max(1.0, 29204 / peak) if peak else 10**0.75
        self.held = min(1.0, self.held * 1.06)
        if self.now * self.held > limit:
            self.held = limit / self.now
        ramp = np.linspace(min(before, limit), self.now * self.held, len(pcm) + 1)[1:]
        return np.floor(pcm * ramp + 0.5).astype(np.int16)
