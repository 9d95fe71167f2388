"""A jitter buffer of a fixed 40 ms, more after a late packet, its samples in a dictionary."""

from __future__ import annotations

import numpy as np

from native.slow.rates import Pcm

FADE = 3
"""Frames in which made-up sound falls silent: 60 ms."""

STRAYS = 3
"""Packets in a row far outside the buffer that begin it anew."""


class Buffer:
    def __init__(self, rate: int) -> None:
        self.frame = rate // 50
        self.target, self.span, self.deepest = 2 * self.frame, 50 * self.frame, 10 * self.frame
        self.random = np.random.default_rng(rate)
        self.late = self.concealed = self.noise_frames = self.stretched = self.dropped = 0
        self.target_ms = self.delay_ms = 40
        self.reset()

    def reset(self) -> None:
        """Another stream begins; counters stay."""
        self.running, self.stray, self.faded, self.play, self.noise_rms = False, 0, FADE, 0, 0.0
        self.held: dict[int, int] = {}
        self.last = np.zeros(self.frame, np.int64)

    def begin(self, stamp: int) -> None:
        self.reset()
        self.running, self.play = True, stamp - self.target

    def put(self, stamp: int, pcm: Pcm, marker: bool, now: int) -> bool:
        if not self.running:
            self.begin(stamp)
        self.noise_rms = 0.0
        slack = stamp - self.play
        if not -self.deepest <= slack <= self.span - len(pcm):
            self.stray += 1
            if self.stray < STRAYS:
                self.late += 1
                return False
            self.begin(stamp)
            slack = self.target
        self.stray = 0
        if slack < 0:
            self.late += 1
            self.play -= -(slack // self.frame) * self.frame
        self.held.update({stamp + k: int(v) for k, v in enumerate(pcm)})
        return True

    def noise(self, stamp: int, payload: bytes, now: int) -> None:
        """Its level alone is used (RFC 3389 section 3.1)."""
        if payload:
            self.noise_rms = 32768 * 10 ** (-(payload[0] & 127) / 20)

    @property
    def short(self) -> int:
        """Samples missing of the next frame."""
        return sum(k not in self.held for k in range(self.play, self.play + self.frame)) if self.running else 0

    def take(self, quiet: bool, now: int) -> Pcm:
        if not self.running:
            return np.zeros(self.frame, np.int16)
        missing, made_up = self.short, np.trunc(self.last * (0 if quiet else FADE - self.faded) / FADE)
        if missing and self.noise_rms:
            made_up = np.round(self.random.normal(0, self.noise_rms, self.frame))
            self.noise_frames += 1
        elif missing and made_up.any():
            self.concealed += missing
        out = np.array([self.held.pop(self.play + k, int(made_up[k])) for k in range(self.frame)])
        self.play += self.frame
        self.faded = min(FADE, self.faded + 1) if missing else 0
        self.last = self.last if missing else out
        return np.clip(out, -32768, 32767).astype(np.int16)
