"""Resampling against its twin and at telephone grade."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import kernels, resample
from native.twins import resample as twins

TWINS = {
    (8000, 16000): twins.upsample,
    (16000, 8000): twins.downsample,
    (16000, 48000): twins.triple,
    (48000, 16000): twins.third,
}


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


@pytest.mark.parametrize("hertz", [300, 1000, 3400, 5000, 6000, 7000])
def test_wideband_to_48_khz_and_back_holds_to_7_khz(hertz: int) -> None:
    low = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
    high = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(48000) / 48000)).astype(np.int16)
    for out, rate in (
        (resample.Stream(16000, 48000)(low)[300:], 48000),
        (resample.Stream(48000, 16000)(high)[300:], 16000),
    ):
        clean, size = sinad(out.astype(float), hertz, rate)
        assert clean >= 60
        assert abs(20 * np.log10(size / 16000)) <= 0.3


def test_from_48_khz_keeps_the_upper_band_out() -> None:
    for hertz in (9000, 12000, 15000, 23000):
        high = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(48000) / 48000)).astype(np.int16)
        assert (resample.Stream(48000, 16000)(high)[300:].astype(float) ** 2).mean() <= 1e-6 * 16000**2 / 2


@pytest.mark.parametrize("level", [-40, -20])
def test_quiet_tones_lose_nothing_but_their_rounding(level: float) -> None:
    size = 32767 * 10 ** (level / 20)
    narrow = np.round(size * np.sin(2 * np.pi * 1000.5 * np.arange(16000) / 8000)).astype(np.int16)
    clean, heard = sinad(kernels.upsample(narrow)[200:].astype(float), 1000.5, 16000)
    ideal, _ = sinad(narrow.astype(float), 1000.5, 8000)
    assert clean >= ideal - 3
    assert heard == pytest.approx(size, rel=0.01)


def test_the_loudest_square_wave_saturates_as_the_twin_does() -> None:
    for period in (3, 16, 50):
        loud = np.where(np.arange(4800) // period % 2, 32767, -32768).astype(np.int16)
        for rates, other in TWINS.items():
            out = resample.Stream(*rates)(loud)
            assert np.abs(out.astype(int) - other(loud)).max() <= 1
            assert period == 3 or (out.max(), out.min()) == (32767, -32768)


@pytest.mark.parametrize("rates", TWINS)
@given(sizes=st.lists(st.integers(0, 300), max_size=12))
def test_pieces_of_any_size_make_one_stream(rates: tuple[int, int], sizes: list[int]) -> None:
    group = max(1, rates[0] // rates[1])
    pcm = np.random.default_rng(len(sizes)).integers(-20000, 20000, sum(sizes) * group).astype(np.int16)
    stream, whole, at = resample.Stream(*rates), resample.Stream(*rates)(pcm), 0
    parts = []
    for size in sizes:
        parts.append(stream(pcm[at : at + size * group]))
        at += size * group
    assert np.array_equal(np.concatenate([*parts, np.zeros(0, np.int16)]), whole)


def test_the_filter_for_avx2_and_the_one_for_every_machine_agree() -> None:
    pcm = np.random.default_rng(9).integers(-32768, 32767, 4800).astype(np.int16)
    before, outs = resample.use_wide(False), []
    for wide in (False, True):
        resample.use_wide(wide)
        outs.append([resample.Stream(*rates)(pcm) for rates in TWINS])
    resample.use_wide(before)
    for plain, broad in zip(*outs, strict=True):
        assert np.array_equal(plain, broad)


def test_other_rates_and_broken_groups_are_refused() -> None:
    assert len(resample.Stream(16000, 48000)(np.zeros(160_000, np.int16))) == 480_000
    with pytest.raises(ValueError, match="8000 <-> 16000"):
        resample.Stream(8000, 48000)
    with pytest.raises(ValueError, match="multiple of 3"):
        resample.Stream(48000, 16000)(np.zeros(100, np.int16))


def test_downsampling_keeps_the_upper_band_out() -> None:
    for hertz in (4600, 5000, 6000, 7500):
        wide = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
        out = kernels.downsample(wide)[200:].astype(float)
        assert (out**2).mean() <= 1e-6 * 16000**2 / 2


def test_resampling_equals_twin() -> None:
    rng = np.random.default_rng(4)
    for n in (160, 480, 482, 4002):
        pcm = rng.integers(-30000, 30000, n).astype(np.int16)
        assert np.abs(kernels.upsample(pcm).astype(int) - twins.upsample(pcm)).max() <= 1
        assert np.abs(kernels.downsample(pcm).astype(int) - twins.downsample(pcm)).max() <= 1
        pcm = pcm[: n // 6 * 6]
        for rates, other in TWINS.items():
            assert np.abs(resample.Stream(*rates)(pcm).astype(int) - other(pcm)).max() <= 1
