"""Speech or not: level over the noise floor, the WebRTC VAD, periodicity; and not where it is the prompt's own echo."""

from __future__ import annotations

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from native.slow.rates import Pcm
from native.twins.detect import high_pass, periodicity

STEP, VIEW = 80, 320
RECENT, REACH, KEEP = 480, 3600, 4160
QUIET = 220.0
"""Mean square: -66.7 dBFS, below which nothing is speech."""

GATE, CLEAR, PERIODIC = 4.0, 20.0, 0.40
SAME = 0.30
"""Share of the power heard that one delay of what was played must explain for an echo."""

VOICE, CONSONANT, MURMUR, PAUSE, ENOUGH, CALM = 4, 2, 8, 2, 10, 20
STARVED_NS = 250_000_000
START, END = 1, 2

_IMPULSE = high_pass(np.concatenate([[16384], np.zeros(159)]).astype(np.int16)) / 16384


class HighPass:
    """200 Hz, by the first 20 ms of the filter's impulse response: what follows is below -90 dB."""

    def __init__(self) -> None:
        self.past = np.zeros(len(_IMPULSE))

    def __call__(self, pcm: Pcm) -> NDArray[np.float64]:
        whole = np.concatenate([self.past, pcm])
        self.past = whole[-len(_IMPULSE) :]
        return np.convolve(whole, _IMPULSE)[len(_IMPULSE) : len(whole)]


class Floor:
    """The noise floor: the least of the smoothed level over 400 ms; falls at once, rises window by window."""

    def __init__(self) -> None:
        self.level = self.smooth = QUIET
        self.ambient = QUIET / 4
        self.least, self.steps = 1e12, 0

    def hear(self, level: float, speaking: bool) -> None:
        self.smooth += 0.25 * (level - self.smooth)
        self.least = min(self.least, self.smooth)
        self.level = min(self.level, max(self.least, QUIET / 4))
        self.steps += 1
        if self.steps == 40:
            self.level += 0.7 * (self.least - self.level)
            self.least, self.steps = 1e12, 0
        if level > self.ambient:
            self.ambient *= 1.007 if speaking else 1.074
        elif self.ambient > QUIET / 4:
            self.ambient *= 0.97


class Ears:
    """Steps of 10 ms at 8 kHz that are voice add up to speech that starts and ends."""

    def __init__(self, mode: int) -> None:
        self.webrtc = webrtcvad.Vad(mode)
        self.filter, self.played_filter, self.floor = HighPass(), HighPass(), Floor()
        self.view = np.zeros(RECENT)
        self.line = np.zeros(KEEP)
        self.loud_until = self.played_samples = 0
        self.part = np.zeros(0, np.int16)
        self.speaking = self.voiced = False
        self.level = 0.0
        self.score, self.since_voiced, self.first_at, self.fed_at = 0, CALM, 0, 0
        self.voiced_steps = self.voiced_total = self.denied = 0

    @property
    def stands_out(self) -> bool:
        """Whether what came last is speech, or 13 dB above the line's noise."""
        return self.speaking or self.level > CLEAR * self.floor.level

    def played(self, pcm: Pcm) -> None:
        """What was just sent, after coding, at 8 kHz."""
        self.played_samples += len(pcm)
        if np.abs(pcm.astype(int)).max() > 64:
            self.loud_until = self.played_samples + REACH + RECENT
        if self.played_samples <= self.loud_until:
            self.line = np.concatenate([self.line[len(pcm) :], self.played_filter(pcm)])

    def hear(self, pcm: Pcm, arrival: int) -> int:
        """Samples as they arrive, 8 kHz. Gives START, END or 0."""
        self.fed_at = arrival
        waiting = np.concatenate([self.part, pcm])
        whole = len(waiting) // STEP * STEP
        self.part = waiting[whole:]
        told = [self.step(step, arrival) for step in waiting[:whole].reshape(-1, STEP)]
        return next((t for t in reversed(told) if t), 0)

    def idle(self, now: int) -> int:
        """Ends speech whose packets stopped coming."""
        if self.speaking and now - self.fed_at > STARVED_NS:
            self.rest()
            return END
        return 0

    def rest(self) -> None:
        """Speech under way counts as over; what goes on will be a new start."""
        self.speaking = self.voiced = False
        self.score, self.since_voiced = 0, CALM

    def step(self, pcm: Pcm, arrival: int) -> int:
        kind = self.judge(pcm)
        if kind == 0:
            return self.silence()
        self.since_voiced = 0
        self.voiced_total += 1
        self.voiced_steps += 1
        if self.speaking:
            return 0
        if kind == 1:
            self.score += CONSONANT if self.score < MURMUR else 0
            return 0
        if not self.voiced:
            self.voiced, self.first_at, self.voiced_steps = True, arrival, 1
        self.score += VOICE
        if self.score < ENOUGH:
            return 0
        if self.played_samples < self.loud_until and self.echo():
            self.denied += 1
            self.score = MURMUR
            return 0
        self.speaking = True
        return START

    def silence(self) -> int:
        self.since_voiced += 1
        self.score = max(0, self.score - PAUSE)
        self.voiced = self.voiced and self.score > 0
        if self.speaking and self.since_voiced >= CALM:
            self.rest()
            return END
        return 0

    def judge(self, pcm: Pcm) -> int:
        """0 no speech, 1 like a consonant, 2 voiced. Costs more the likelier it is speech."""
        clean = self.filter(pcm)
        self.view = np.concatenate([self.view[STEP:], clean])
        level = self.level = float(np.mean(clean**2))
        stands_out = self.speaking or level > 4 * self.floor.ambient
        loud = level >= QUIET and level >= GATE * self.floor.level
        self.floor.hear(level, self.speaking)
        if not (loud and stands_out):
            return 0
        if not self.webrtc.is_speech(np.clip(clean, -32768, 32767).astype("<i2").tobytes(), 8000):
            return 0
        if self.speaking:
            return 1
        if periodicity(self.view[-VIEW:].astype(np.float32)) > PERIODIC:
            return 2
        return 1 if level > CLEAR * self.floor.level else 0

    def echo(self) -> bool:
        """Whether one delay of what was played explains what was heard in the last 60 ms."""
        window, line = emphasized(self.view), emphasized(self.line)
        power = np.convolve(line**2, np.ones(RECENT), "valid") + 1000
        total = np.correlate(line, window, "valid")
        share = np.where(total > 0, total, 0.0) ** 2 / (power * (window @ window + 1))
        return bool(share.max() > SAME)


def emphasized(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper band lifted (1 - 0.9 z^-1), so that a correlation is of the fine structure."""
    return x - 0.9 * np.concatenate([[0.0], x[:-1]])
