"""Sounds made by arithmetic, 8 kHz: call progress tones by country, the beep before a message, music on hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import WIRE_RATE

Pcm = NDArray[np.int16]

LEVEL = 0.1
"""RMS of every sound while it sounds: -20 dBFS, as prompts are."""

Cadence = tuple[tuple[tuple[int, ...], float], ...]
"""One round of a tone: frequencies in Hz sounding together (none: silence), for so many seconds, in turn."""


def _on_off(hertz: tuple[int, ...], *seconds: float) -> Cadence:
    """The same frequencies on and off in turn."""
    return tuple((() if k % 2 else hertz, length) for k, length in enumerate(seconds))


INFORMATION: Cadence = (((950,), 0.33), ((1400,), 0.33), ((1800,), 0.33), ((), 1.0))
"""Special information tone: three rising tones and a second of silence (ITU-T E.180)."""

PROGRESS: dict[str, dict[str, Cadence]] = {
    "dial": {
        "en-US": _on_off((350, 440), 1.0),
        "en-GB": _on_off((350, 440), 1.0),
        "zh-CN": _on_off((450,), 1.0),
        "": _on_off((425,), 1.0),
    },
    "ringback": {
        "en-US": _on_off((440, 480), 2.0, 4.0),
        "en-GB": _on_off((400, 450), 0.4, 0.2, 0.4, 2.0),
        "zh-CN": _on_off((450,), 1.0, 4.0),
        "": _on_off((425,), 1.0, 4.0),
    },
    "busy": {
        "en-US": _on_off((480, 620), 0.5, 0.5),
        "en-GB": _on_off((400,), 0.375, 0.375),
        "zh-CN": _on_off((450,), 0.35, 0.35),
        "": _on_off((425,), 0.5, 0.5),
    },
    "congestion": {
        "en-US": _on_off((480, 620), 0.25, 0.25),
        "en-GB": _on_off((400,), 0.4, 0.35, 0.225, 0.525),
        "zh-CN": _on_off((450,), 0.7, 0.7),
        "": _on_off((425,), 0.2, 0.2),
    },
    "information": {
        "en-US": INFORMATION,
        "en-GB": INFORMATION,
        "zh-CN": _on_off((450,), 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4, 0.4),
        "": INFORMATION,
    },
    "waiting": {
        "en-US": _on_off((440,), 0.3, 9.7),
        "en-GB": _on_off((400,), 0.1, 4.0),
        "zh-CN": _on_off((450,), 0.4, 4.0),
        "": _on_off((425,), 0.2, 0.2, 0.2, 9.0),
    },
}
"""What an exchange says, by name and language: dial, ringing, busy, congestion, special information, call waiting.

From ITU-T E.180 Supplement 2; "" is what most of Europe uses. Each is one round, to be looped.
"""

RINGING = {
    language: (cadence[0][0], tuple(seconds for _, seconds in cadence))
    for language, cadence in PROGRESS["ringback"].items()
}
"""Ringing tone by language: its frequencies, and seconds on and off in turn."""

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


def progress(name: str, language: str = "") -> Pcm:
    """One round of a tone of PROGRESS, to be looped; a language that is not there gets the default.

    Raises KeyError for a name that is not there.
    """
    table = PROGRESS[name]
    cadence = table.get(language, table[""])
    if len(cadence) == 1:
        return _pcm(_sound(*cadence[0]))
    return _pcm(np.concatenate([_edges(_sound(*part)) if part[0] else _sound(*part) for part in cadence]))


def _sound(hertz: tuple[int, ...], seconds: float) -> NDArray[np.float64]:
    return sum((_sine(hz, seconds) for hz in hertz), np.zeros(round(seconds * WIRE_RATE)))


def ringback(language: str = "") -> Pcm:
    """One round of a country's ringing tone, to be looped."""
    return progress("ringback", language)


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


MAKERS: dict[str, Callable[[str], Pcm]] = {
    "hold": hold_music,
    "beep": beep,
    **{name: partial(progress, name) for name in PROGRESS},
}


@cache
def tone(name: str, language: str = "") -> Pcm:
    """A sound by name: one of MAKERS."""
    return MAKERS[name](language)
