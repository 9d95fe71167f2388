"""Telephone lines for tests and benchmarks: speech, noises and echoes at chosen levels, 8 kHz, seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from native import kernels

RATE = 8000


def coded(pcm: np.ndarray, payload: int = 0) -> np.ndarray:
    """What is left of `pcm` (float or int, int16 range) after G.711."""
    whole = np.clip(np.round(pcm), -32768, 32767).astype(np.int16)
    return kernels.g711_decode(kernels.g711_encode(whole, payload), payload)


def at_level(pcm: np.ndarray, dbfs: float) -> np.ndarray:
    """`pcm` scaled so that its speaking parts are at `dbfs` RMS (full scale is 32768)."""
    loud = pcm[np.abs(pcm.astype(int)) > 300].astype(float)
    size = np.sqrt((loud**2).mean()) if len(loud) else 1.0
    return pcm * (32768 * 10 ** (dbfs / 20) / size)


def talk(rng: np.random.Generator, speech: Sequence[np.ndarray], seconds: float, dbfs: float) -> np.ndarray:
    """Sentences one after the other with pauses of 0.1-0.6 s."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE:
        parts += [at_level(speech[rng.integers(len(speech))], dbfs), np.zeros(int(rng.uniform(0.1, 0.6) * RATE))]
    return np.concatenate(parts)[: int(seconds * RATE)]


def echo(played: np.ndarray, db: float, delay_ms: float) -> np.ndarray:
    """`played` again, `delay_ms` later and `db` softer."""
    late = int(delay_ms * RATE / 1000)
    return np.concatenate([np.zeros(late), played[: len(played) - late] * 10 ** (db / 20)])


def hum(rng: np.random.Generator, n: int) -> np.ndarray:
    """50 or 60 Hz with its harmonics."""
    base = rng.choice([50, 60])
    t = np.arange(n) / RATE
    tones = [np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) / k**0.7 for k in range(1, 10)]
    return np.sum(tones, axis=0) + 0.02 * rng.standard_normal(n)


def keyboard(rng: np.random.Generator, n: int) -> np.ndarray:
    """Clicks of 3-15 ms, two to fifteen a second."""
    out, at = 0.02 * rng.standard_normal(n), 0
    while at < n - 200:
        size = int(rng.integers(24, 120))
        out[at : at + size] += 6 * rng.standard_normal(size) * np.exp(-np.arange(size) / rng.uniform(8, 40))
        at += int(rng.uniform(0.06, 0.5) * RATE)
    return out


def coloured(rng: np.random.Generator, n: int, slope: float) -> np.ndarray:
    """Noise whose amplitude falls with frequency to the power `slope`: 0 white, 0.5 pink, 1 brown."""
    bins = np.fft.rfft(rng.standard_normal(n))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20)
    return np.fft.irfft(bins * hertz**-slope, n)


NOISES = ("white", "pink", "brown", "hum", "keyboard", "babble")


def noise(rng: np.random.Generator, kind: str, seconds: float, dbfs: float, speech: Sequence[np.ndarray]) -> np.ndarray:
    """One of NOISES at `dbfs` RMS. Babble is eight people."""
    n = int(seconds * RATE)
    if kind == "hum":
        out = hum(rng, n)
    elif kind == "keyboard":
        out = keyboard(rng, n)
    elif kind == "babble":
        out = np.sum([talk(rng, speech, seconds, -20) for _ in range(8)], axis=0)
    else:
        out = coloured(rng, n, {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind])
    return out * (32768 * 10 ** (dbfs / 20) / np.sqrt((out**2).mean()))


def steps(rng: np.random.Generator, pcm: np.ndarray, every_s: float = 2.0, range_db: float = 20.0) -> np.ndarray:
    """The level jumps every `every_s`, by up to `range_db` altogether."""
    size = int(every_s * RATE)
    gains = 10 ** (rng.uniform(-range_db, 0, len(pcm) // size + 1) / 20)
    return pcm * np.repeat(gains, size)[: len(pcm)]


def onset(pcm: np.ndarray) -> int:
    """First sample of the first voiced frame of 20 ms: periodic, and within 25 dB of the loudest."""
    frames = len(pcm) // 160
    level = np.array([(pcm[k * 160 : k * 160 + 160].astype(float) ** 2).mean() for k in range(frames)])
    for k in range(2, frames - 3):
        view = pcm[k * 160 - 80 : k * 160 + 240].astype(np.float32)
        if level[k] > level.max() * 10**-2.5 and kernels.periodicity(view) > 0.5:
            return k * 160
    return 0
