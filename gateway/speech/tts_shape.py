"""What every synthesizer does to its sound: one rate, one level, tight ends, pieces joined without clicks.

All arrays are mono float64 in -1..1 unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import SPEECH_RATE, Audio

Wave = NDArray[np.float64]

LEVEL_DBFS = -20.0
"""RMS of the voiced part of every prompt, near the active speech level networks plan for (ITU-T P.56)."""

PEAK = 0.89
"""No sample goes beyond -1 dBFS."""

_HALF_TAPS = 16


@lru_cache(maxsize=8)
def _phases(up: int, down: int) -> NDArray[np.float64]:
    """Kaiser-windowed sinc, one row a phase: shape (up, 2 * _HALF_TAPS)."""
    cutoff = 0.94 * min(1.0, up / down)
    phase = np.arange(up)[:, None] / up
    tap = np.arange(-_HALF_TAPS + 1, _HALF_TAPS + 1)[None, :]
    at = tap - phase
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (at / _HALF_TAPS) ** 2, 0, None))) / np.i0(8.0)
    rows = cutoff * np.sinc(cutoff * at) * window
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def resample(wave: Wave, rate: int, to: int = SPEECH_RATE) -> Wave:
    """`wave` at `rate` samples a second brought to `to`; length is len * to / rate, rounded up."""
    if rate == to or not len(wave):
        return wave
    up, down = to // gcd(rate, to), rate // gcd(rate, to)
    bank = _phases(up, down)
    count = -(-len(wave) * up // down)
    at = np.arange(count) * down
    padded = np.pad(wave, (_HALF_TAPS - 1, _HALF_TAPS + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF_TAPS)
    return np.asarray(np.einsum("nt,nt->n", windows[at // up], bank[at % up]))


def trim(wave: Wave, rate: int = SPEECH_RATE, keep_ms: int = 20) -> Wave:
    """Without the silence at both ends, but for `keep_ms` of it; edges are faded over 5 ms."""
    frame = rate // 100
    whole = len(wave) // frame
    if not whole:
        return wave
    rms = np.sqrt((wave[: whole * frame].reshape(whole, frame) ** 2).mean(axis=1))
    loud = np.flatnonzero(rms > max(float(rms.max()) * 0.006, 1e-4))
    if not len(loud):
        return wave
    cut = wave[max(loud[0] - 1, 0) * frame : min(loud[-1] + 2, whole) * frame].copy()
    fade = min(rate // 200, len(cut) // 2)
    cut[:fade] *= np.linspace(0, 1, fade)
    cut[len(cut) - fade :] *= np.linspace(1, 0, fade)
    quiet = np.zeros(rate * keep_ms // 1000)
    return np.concatenate([quiet, cut, quiet])


def level(wave: Wave) -> Wave:
    """The voiced part at LEVEL_DBFS RMS; a sound with high peaks stays softer so that no sample passes PEAK."""
    top = float(np.abs(wave).max()) if len(wave) else 0.0
    if not top:
        return wave
    voiced = wave[np.abs(wave) > top * 0.05]
    rms = float(np.sqrt((voiced**2).mean()))
    return wave * min(10 ** (LEVEL_DBFS / 20) / rms, PEAK / top)


def join(pieces: Sequence[Wave], gaps_ms: Sequence[int], rate: int = SPEECH_RATE) -> Wave:
    """Pieces one after another. `gaps_ms[i]` is the silence after piece i; a negative gap overlaps it with the next
    in an equal-power crossfade of that length."""
    out = np.asarray(pieces[0], dtype=np.float64) if pieces else np.zeros(0)
    for piece, gap in zip(pieces[1:], gaps_ms, strict=False):
        if gap >= 0:
            out = np.concatenate([out, np.zeros(rate * gap // 1000), piece])
            continue
        lap = min(rate * -gap // 1000, len(out), len(piece))
        turn = np.linspace(0, np.pi / 2, lap)
        mixed = out[len(out) - lap :] * np.cos(turn) + piece[:lap] * np.sin(turn)
        out = np.concatenate([out[: len(out) - lap], mixed, piece[lap:]])
    return out


def from_pcm(pcm: bytes) -> Wave:
    """int16 little-endian mono bytes as a float wave."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64) / 32768


def to_audio(wave: Wave, rate: int = SPEECH_RATE) -> Audio:
    """A float wave as Audio."""
    return Audio((np.clip(wave, -1, 1) * 32767).round().astype("<i2").tobytes(), rate)


def finish(wave: Wave, rate: int) -> Audio:
    """What a synthesizer gives back: trimmed, 16 kHz, at prompt level."""
    return to_audio(level(trim(resample(wave, rate))))
