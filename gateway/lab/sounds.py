"""Tones, noise and comparisons that prove who heard whom. Mono int16 at 8 kHz; levels in dBFS, times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from gateway.core.audio import WIRE_RATE
from gateway.lab.wire import FRAME, Sound, level

VOICED_DBFS = -45.0
"""A frame at or above this counts as voice (or as a prompt), one below it as silence."""


def tone(hertz: float | Sequence[float], seconds: float, dbfs: float = -12.0) -> Sound:
    """Sines of equal power at `hertz`, `dbfs` in all, with 10 ms of fade at both ends."""
    parts = [hertz] if isinstance(hertz, int | float) else list(hertz)
    time = np.arange(round(seconds * WIRE_RATE)) / WIRE_RATE
    wave = sum((np.sin(2 * np.pi * part * time) for part in parts), np.zeros(len(time)))
    fade = np.clip(np.minimum(time, seconds - time) / 0.01, 0, 1)
    return _scaled(wave * fade, dbfs, float(np.sqrt(len(parts) / 2)))


def noise(seconds: float, dbfs: float, seed: int, kind: Literal["white", "pink", "babble"] = "white") -> Sound:
    """Noise of one kind: flat, falling 3 dB an octave, or with speech's spectrum and 3-8 Hz loudness changes."""
    random = np.random.default_rng(seed)
    count = round(seconds * WIRE_RATE)
    spectrum = np.fft.rfft(random.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / WIRE_RATE)
    if kind == "pink":
        spectrum /= np.sqrt(np.maximum(hertz, 20))
    elif kind == "babble":
        spectrum *= (hertz > 150) / (1 + (hertz / 500) ** 1.5)
    wave = np.fft.irfft(spectrum, count)
    if kind == "babble":
        slow = np.fft.rfft(random.standard_normal(count))
        rate = np.fft.rfftfreq(count, 1 / WIRE_RATE)
        slow[(rate < 3) | (rate > 8)] = 0
        loudness = np.fft.irfft(slow, count)
        wave *= np.clip(1 + 0.6 * loudness / (loudness.std() + 1e-12), 0.05, None)
    return _scaled(wave, dbfs, float(np.sqrt(np.mean(wave**2))))


def _scaled(wave: npt.NDArray[np.float64], dbfs: float, rms: float) -> Sound:
    return np.clip(np.round(wave * (10 ** (dbfs / 20) * 32768 / max(rms, 1e-12))), -32768, 32767).astype(np.int16)


def tone_level(sound: Sound, hertz: float) -> float:
    """Level of one frequency over the whole of `sound` in dBFS: Goertzel's single DFT bin, Hann window."""
    if not len(sound):
        return -120.0
    window = np.hanning(len(sound))
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / WIRE_RATE)
    amplitude = 2 * abs(np.sum(sound / 32768 * window * turn)) / np.sum(window)
    return float(20 * np.log10(max(amplitude / np.sqrt(2), 1e-6)))


def tones_heard(sound: Sound, candidates: Sequence[float], dbfs: float = -35.0) -> set[float]:
    """Those of `candidates` that stand at `dbfs` or more in at least a fifth of a second of `sound`."""
    step = WIRE_RATE // 10
    chunks = [sound[at : at + step] for at in range(0, len(sound) - step + 1, step)]
    return {hertz for hertz in candidates if sum(tone_level(chunk, hertz) >= dbfs for chunk in chunks) >= 2}


def lag(reference: Sound, heard: Sound) -> tuple[float, float]:
    """Where `reference` lies in `heard`: (seconds from its start, correlation there from -1 to 1)."""
    if not len(reference) or len(heard) < len(reference):
        return 0.0, 0.0
    a, b = reference.astype(np.float64), heard.astype(np.float64)
    size = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)[: len(b) - len(a) + 1]
    power = np.concatenate(([0.0], np.cumsum(b**2)))
    under = np.sqrt((power[len(a) :] - power[: len(b) - len(a) + 1]) * np.sum(a**2))
    likeness = product / np.maximum(under, 1.0)
    at = int(np.argmax(likeness))
    return at / WIRE_RATE, float(likeness[at])


def likeness(reference: Sound, heard: Sound) -> float:
    """How much of `reference` was heard, 0 to 1, in spite of a clock that drifts: the median of half-second pieces.

    Each voiced piece is looked for in all of `heard`; stretched gaps move pieces but not what is in them.
    """
    step = WIRE_RATE // 2
    pieces = [reference[at : at + step] for at in range(0, len(reference) - step + 1, step)]
    found = [lag(piece, heard)[1] for piece in pieces if level(piece) >= VOICED_DBFS]
    return float(np.median(found)) if found else 0.0


def voiced_spans(sound: Sound, gap: float = 0.3, dbfs: float = VOICED_DBFS) -> list[tuple[float, float]]:
    """Stretches (start, end) with voice in them; pauses shorter than `gap` do not split one."""
    spans: list[tuple[float, float]] = []
    for at in range(0, len(sound) - FRAME + 1, FRAME):
        if level(sound[at : at + FRAME]) < dbfs:
            continue
        start, end = at / WIRE_RATE, (at + FRAME) / WIRE_RATE
        if spans and start - spans[-1][1] < gap:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
