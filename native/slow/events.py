"""What goes up to Python: events, and sound in bounded rings."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

SPEECH_STARTED, SPEECH_ENDED, KEY, PROMPT_STARTED, PROMPT_MUTED, PROMPT_DONE = 1, 2, 3, 4, 5, 6
RTP_LATCHED, RTP_LOST, RTP_BACK, RING_FULL = 7, 8, 9, 10
FULL_EVENTS, FULL_UP, FULL_TAP = 0, 1, 2

Event = tuple[int, int, int, int, int]


class Events:
    """At most `size` events wait. What does not fit is counted, and RING_FULL is the next that does."""

    def __init__(self, size: int = 8192) -> None:
        self.size, self.refused, self.times_full = size, 0, 0
        self.full = False
        self.waiting: deque[Event] = deque()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def post(self, kind: int, leg: int, at: int, a: int = 0, b: int = 0) -> None:
        if self.full and len(self.waiting) < self.size:
            self.waiting.append((RING_FULL, leg, at, FULL_EVENTS, self.refused))
            self.full = False
        if len(self.waiting) < self.size:
            self.waiting.append((kind, leg, at, a, b))
            os.eventfd_write(self.fd, 1)
            return
        self.times_full += not self.full
        self.full = True
        self.refused += 1

    def drain(self) -> list[Event]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        return [self.waiting.popleft() for _ in range(len(self.waiting))]


class Ring:
    """At most `size` samples (or pairs of them) wait."""

    def __init__(self, size: int, shape: tuple[int, ...] = ()) -> None:
        self.size, self.refused = size, 0
        self.full = False
        self.held: NDArray[np.int16] = np.zeros((0, *shape), np.int16)
        self.lock = threading.Lock()

    def put(self, pcm: NDArray[np.int16]) -> bool:
        """All of it or nothing."""
        with self.lock:
            if len(self.held) + len(pcm) > self.size:
                self.refused += len(pcm)
                return False
            self.held = np.concatenate([self.held, pcm])
            return True

    def fill(self, pcm: NDArray[np.int16]) -> int:
        """As much of it as fits; gives how many samples that were."""
        with self.lock:
            n = min(len(pcm), self.size - len(self.held))
            self.refused += len(pcm) - n
            self.held = np.concatenate([self.held, pcm[:n]])
            return n

    def take(self, n: int) -> NDArray[np.int16]:
        with self.lock:
            out, self.held = self.held[:n], self.held[n:]
            return out

    def drop(self) -> None:
        with self.lock:
            self.held = self.held[:0]
