"""Resampling against its twin and at telephone grade."""

from __future__ import annotations

import numpy as np
import pytest

from native import kernels
from native.twins import resample as twins


def sinad(signal: np.ndarray, hertz: float, rate: int) -> tuple[float, float]:
    """(signal over everything else in dB, amplitude) of a tone, by least squares."""
    t = 2 * np.pi * hertz * np.arange(len(signal)) / rate
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    fit, *_ = np.linalg.lstsq(basis, signal, rcond=None)
    rest = signal - basis @ fit
    return 10 * np.log10(((basis @ fit) ** 2).mean() / (rest**2).mean()), float(np.hypot(*fit))


@pytest.mark.parametrize("hertz", [300, 1000, 2000, 3000, 3400])
def test_resampling_is_telephone_grade(hertz: int) -> None:
    narrow = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)).astype(np.int16)
    wide = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
    for out, rate in ((kernels.upsample(narrow)[200:], 16000), (kernels.downsample(wide)[200:], 8000)):
        clean, size = sinad(out.astype(float), hertz, rate)
        assert clean >= 60
        assert abs(20 * np.log10(size / 16000)) <= 0.3


def test_downsampling_keeps_the_upper_band_out() -> None:
    for hertz in (4600, 5000, 6000, 7500):
        wide = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
        out = kernels.downsample(wide)[200:].astype(float)
        assert (out**2).mean() <= 1e-6 * 16000**2 / 2


def test_resampling_equals_twin() -> None:
    rng = np.random.default_rng(4)
    for n in (160, 481, 4000):
        pcm = rng.integers(-30000, 30000, n).astype(np.int16)
        assert np.abs(kernels.upsample(pcm).astype(int) - twins.upsample(pcm)).max() <= 1
        assert np.abs(kernels.downsample(pcm).astype(int) - twins.downsample(pcm)).max() <= 1
