"""What the engine's benchmarks play and say: recorded human speech at 8 kHz from the asterisk sounds."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

SOUNDS = Path("/usr/share/asterisk/sounds/en")


def human_speech() -> list[np.ndarray]:
    """Prompts of a second or longer, int16 at 8 kHz."""
    found = []
    for file in sorted(SOUNDS.glob("*.wav")):
        if file.stat().st_size > 16044:
            with wave.open(str(file)) as sound:
                found.append(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
    if len(found) < 100:
        raise SystemExit(f"no human speech at {SOUNDS}: install asterisk-core-sounds-en-wav")
    return found


def prompt_of(speech: list[np.ndarray], seconds: float) -> np.ndarray:
    """Speech without a silent packet: sentences one after the other over a little noise, int16 at 8 kHz."""
    rng = np.random.default_rng(1)
    whole = np.concatenate(speech)[: int(seconds * 8000)].astype(int)
    return np.clip(whole + rng.choice([-24, 24], len(whole)), -32768, 32767).astype(np.int16)
