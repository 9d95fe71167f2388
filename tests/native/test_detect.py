"""What speech detection measures, against its twin."""

from __future__ import annotations

import numpy as np
import pytest

from native import kernels
from native.twins import detect as twins


def test_high_pass_equals_twin() -> None:
    pcm = np.random.default_rng(3).integers(-20000, 20000, 2000).astype(np.int16)
    assert np.allclose(kernels.high_pass(pcm), twins.high_pass(pcm), atol=2)


def test_periodicity_equals_twin_and_tells_voice_from_noise() -> None:
    rng = np.random.default_rng(5)
    pulses = np.zeros(320)
    pulses[::70] = 8000
    voice = np.convolve(pulses, 0.9 ** np.arange(60) * np.cos(0.5 * np.arange(60)))[:320].astype(np.float32)
    noise = rng.normal(0, 1000, 320).astype(np.float32)
    rumble = np.cumsum(rng.normal(0, 300, 320)).astype(np.float32)
    for x in (voice, noise, rumble - rumble.mean()):
        assert kernels.periodicity(x) == pytest.approx(twins.periodicity(x), abs=0.02)
    assert kernels.periodicity(voice) > 0.6 > 0.4 > kernels.periodicity(noise)
    with pytest.raises(ValueError, match="160"):
        kernels.periodicity(np.zeros(10, np.float32))
