"""What the streams carry: ten seconds of a telephone line, 40% of it speech, keys pressed between the sentences.

A Loop goes round for as long as a run lasts. Human speech is Asterisk's English prompts (Debian,
asterisk-core-sounds-en-wav), each piece two seconds without a pause of 0.3 s, at -20 dBFS; the rest is noise at -66.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOUNDS = Path("/usr/share/asterisk/sounds/en")
MISSING = f"no human speech at {SOUNDS}: apt-get install asterisk-core-sounds-en-wav"
RATE = 8000
FRAME = 160
LOOP = 500  # frames: 10 s
SPURT = 100  # frames: 2 s
SPURTS = (25, 300)  # where the two begin
KEYS = (160, 185, 440)  # where the keys begin: three in a loop, in pauses
STEP = 22  # frames by which each loop is turned against the last, so that streams do not speak all at once
EVENT = 5  # frames a key is held: 100 ms
ENDS = 3  # times its last packet is sent (RFC 4733 section 2.5.1.4)
EVENT_PAYLOAD = 101
LOUD = -20.0  # dBFS
NOISE = -66.0
DIGITS = "0123456789*#ABCD"
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz, ITU-T Q.23
LAYOUT = ("123A", "456B", "789C", "*0#D")

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Loop:
    """`pcm`: int16 at 8 kHz, LOOP frames; `keys`: at which frame what is pressed; `spurts`: where speech begins."""

    pcm: Pcm
    keys: tuple[tuple[int, str], ...] = ()
    spurts: tuple[int, ...] = ()

    @property
    def digits(self) -> str:
        """The keys in their order."""
        return "".join(digit for _, digit in self.keys)

    def without_keys(self) -> Loop:
        return Loop(self.pcm, (), self.spurts)


def loudness(pcm: NDArray[np.generic]) -> NDArray[np.float64]:
    """RMS of each whole frame, dBFS; -100 at least."""
    frames = pcm[: len(pcm) // FRAME * FRAME].astype(float).reshape(-1, FRAME)
    return 10 * np.log10(np.maximum((frames**2).mean(axis=1) / 32768**2, 1e-10))


def piece(pcm: Pcm) -> NDArray[np.float64] | None:
    """Two seconds that begin with voice and hold no pause of 0.3 s, at LOUD; None where the clip has none."""
    level = loudness(pcm)
    if len(level) == 0:
        return None
    voiced = level > level.max() - 25
    start = int(np.argmax(voiced))
    part = voiced[start : start + SPURT]
    if len(part) < SPURT:
        return None
    quiet = np.diff(np.flatnonzero(np.concatenate([part, [True]])))
    if quiet.max() > 15:
        return None
    said = pcm[start * FRAME : (start + SPURT) * FRAME].astype(float)
    active = said.reshape(-1, FRAME)[part]
    return said * (32768 * 10 ** (LOUD / 20) / np.sqrt((active**2).mean()))


@cache
def pieces() -> tuple[NDArray[np.float64], ...]:
    """All that the package's prompts give, in order of their names. Raises FileNotFoundError without the package."""
    found = []
    for file in sorted(SOUNDS.glob("*.wav")):
        with wave.open(str(file)) as sound:
            cut = piece(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
        if cut is not None:
            found.append(cut)
    if len(found) < 20:
        raise FileNotFoundError(MISSING)
    return tuple(found)


def tones(digit: str, frames: int, dbfs: float = -13.0) -> NDArray[np.float64]:
    """A key in band, both tones at `dbfs`."""
    row = next(at for at, line in enumerate(LAYOUT) if digit in line)
    t = np.arange(frames * FRAME) / RATE
    size = 32768 * 10 ** (dbfs / 20) * np.sqrt(2)
    return size * (np.sin(2 * np.pi * ROWS[row] * t) + np.sin(2 * np.pi * COLUMNS[LAYOUT[row].index(digit)] * t)) / 2


def loop_of(number: int, inband: bool = False) -> Loop:
    """The loop with this number; each has its own sentences, keys and noise. `inband`: the keys sound in `pcm`."""
    rng = np.random.default_rng(1000 + number)
    said = pieces()
    pcm = rng.standard_normal(LOOP * FRAME) * 32768 * 10 ** (NOISE / 20)
    chosen = rng.choice(len(said), len(SPURTS), replace=False)
    for at, index in zip(SPURTS, chosen, strict=True):
        pcm[at * FRAME : (at + SPURT) * FRAME] += said[index]
    digits = "".join(rng.choice(list(DIGITS[:12]), len(KEYS)))
    if inband:
        for at, digit in zip(KEYS, digits, strict=True):
            pcm[at * FRAME : (at + EVENT) * FRAME] += tones(digit, EVENT)
    turned = number * STEP % LOOP
    if any(at <= turned < at + EVENT + ENDS for at in KEYS):
        turned += EVENT + ENDS  # no key lies across the seam
    keys = sorted(((at - turned) % LOOP, digit) for at, digit in zip(KEYS, digits, strict=True))
    spurts = sorted((at - turned) % LOOP for at in SPURTS)
    whole = np.clip(np.round(np.roll(pcm, -turned * FRAME)), -32768, 32767).astype(np.int16)
    return Loop(whole, tuple(keys), tuple(spurts))


def steady(hertz: float = 440.0, dbfs: float = -15.0) -> Loop:
    """A tone that goes round without a seam and no keys."""
    t = np.arange(LOOP * FRAME) / RATE
    size = 32768 * 10 ** (dbfs / 20) * np.sqrt(2)
    return Loop(np.round(size * np.sin(2 * np.pi * hertz * t)).astype(np.int16))
