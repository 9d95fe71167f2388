"""What of a leg's sound goes up to Python: an utterance from its beginning on, and a recording."""

from __future__ import annotations

from collections import deque

import numpy as np

from native.slow.events import Ring
from native.slow.rates import Pcm, Stream

PREROLL = 20
"""Frames kept for the start of an utterance: 400 ms."""

UP_SAMPLES, TAP_PAIRS = 131072, 131072


class Gate:
    """Armed by `listen`, opened by speech; then every frame goes up at 16 kHz."""

    def __init__(self, rate: int) -> None:
        self.ring = Ring(UP_SAMPLES)
        self.armed = self.flowing = False
        self.past: deque[Pcm] = deque(maxlen=PREROLL)
        self.at_rate(rate)

    def at_rate(self, rate: int) -> None:
        self.rate, self.stream = rate, Stream(rate, 16000)
        self.past.extend([np.zeros(rate // 50, np.int16)] * PREROLL)

    def listen(self, on: bool) -> None:
        """Arms it, or closes it; frames already in the ring belong to the past."""
        self.armed, self.flowing, self.ring.full = on, False, False
        self.ring.drop()

    def open(self) -> bool:
        """Somebody speaks: what came before goes first. False where the ring is full."""
        if not self.armed or self.flowing:
            return True
        self.flowing, self.stream = True, Stream(self.rate, 16000)
        return all([self.ring.put(self.stream(frame)) for frame in self.past])

    def hear(self, frame: Pcm) -> bool:
        self.past.append(frame)
        return not self.flowing or self.ring.put(self.stream(frame))


class Tap:
    """What is heard (left) and said (right), 20 ms a tick."""

    def __init__(self, rate: int) -> None:
        self.ring = Ring(TAP_PAIRS, (2,))
        self.on = self.masked = False
        self.at_rate(rate, 8000)

    def at_rate(self, given: int, wanted: int) -> None:
        """`given`: of the leg; `wanted`: of the recording, Hz."""
        self.rate, self.left, self.right = wanted, Stream(given, wanted), Stream(given, wanted)

    def record(self, heard: Pcm, said: Pcm) -> bool:
        """False where the ring is full."""
        if not self.on:
            return True
        both = np.stack([self.left(heard), self.right(said)], 1)
        return self.ring.put(np.zeros_like(both) if self.masked else both)
