"""Sounds made by arithmetic, 8 kHz: ringing tones by country, the beep before a message, music for those who wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE

Pcm = NDArray[np.int16]

LEVEL = 0.1
"""RMS of every sound while it sounds: -20 dBFS, as prompts are."""

RINGING: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "en-US": ((440, 480), (2.0, 4.0)),
    "en-GB": ((400, 450), (0.4, 0.2, 0.4, 2.0)),
    "zh-CN": ((450,), (1.0, 4.0)),
    "": ((425,), (1.0, 4.0)),
}
"""Ringing tone by language: frequencies in Hz, seconds on and off in turn (ITU-T E.180 Suppl. 2; the last: ETSI)."""

BEEP_HZ, BEEP_S = 1000, 0.4

CHORDS = ((60, 64, 67, 71, 76), (57, 64, 67, 72, 76), (65, 69, 72, 76, 79), (62, 67, 71, 74, 79))
"""C major 7, A minor 7, F major 7, G, as MIDI notes."""

CHORD_S = 6.0


def _sine(hz: float, seconds: float) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * WIRE_RATE)) / WIRE_RATE)


def _edges(wave: NDArray[np.float64], seconds: float = 0.01) -> NDArray[np.float64]:
    fade = np.linspace(0, 1, round(seconds * WIRE_RATE))
    wave[: len(fade)] *= fade
    wave[len(wave) - len(fade) :] *= fade[::-1]
    return wave


def _pcm(wave: NDArray[np.float64]) -> Pcm:
    sounding = wave[np.abs(wave) > 1e-6]
    scaled = wave * (LEVEL / np.sqrt((sounding**2).mean()))
    return np.asarray((np.clip(scaled, -0.89, 0.89) * 32767).round(), dtype=np.int16)


def ringback(language: str = "") -> Pcm:
    """One round of a country's ringing tone, to be looped."""
    hertz, cadence = RINGING.get(language, RINGING[""])
    parts = [
        _edges(sum((_sine(hz, seconds) for hz in hertz), np.zeros(round(seconds * WIRE_RATE))))
        if i % 2 == 0
        else np.zeros(round(seconds * WIRE_RATE))
        for i, seconds in enumerate(cadence)
    ]
    return _pcm(np.concatenate(parts))


def beep(language: str = "") -> Pcm:
    """The tone after which a message is spoken."""
    return _pcm(_edges(_sine(BEEP_HZ, BEEP_S)))


def hold_music(language: str = "") -> Pcm:
    """Soft chords that flow into each other, 24 s, to be looped without a seam."""
    total = round(len(CHORDS) * CHORD_S * WIRE_RATE)
    music = np.zeros(total)
    long = CHORD_S * 1.5
    swell = np.sin(np.linspace(0, np.pi, round(long * WIRE_RATE))) ** 2
    for i, chord in enumerate(CHORDS):
        sound = np.zeros(len(swell))
        for voice, note in enumerate(chord):
            hz = 440 * 2 ** ((note - 69) / 12)
            sway = 1 + 0.25 * _sine(0.35 + 0.1 * voice, long)
            for overtone, loudness in ((1, 1.0), (2, 0.35), (3, 0.12)):
                sound += loudness * sway * _sine(hz * overtone + 0.4 * (overtone - 1), long)
        at = (np.arange(len(sound)) + round(i * CHORD_S * WIRE_RATE)) % total
        music[at] += sound * swell
    return _pcm(music)


MAKERS: dict[str, Callable[[str], Pcm]] = {"hold": hold_music, "ringback": ringback, "beep": beep}


@cache
def tone(name: str, language: str = "") -> Pcm:
    """A sound by name: hold, ringback or beep."""
    return MAKERS[name](language)
