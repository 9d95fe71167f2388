"""Comfort noise (RFC 3389): against its twin, and from the sender's background to the receiver's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import comfort
from native.twins import comfort as twin


def background(colour: float, rms: float, n: int = 32000, seed: int = 3) -> np.ndarray:
    """White noise through one pole at `colour`."""
    white, x = np.random.default_rng(seed).normal(0, 1, n), np.zeros(n)
    for k in range(1, n):
        x[k] = colour * x[k - 1] + white[k]
    return np.round(x * rms / x.std()).astype(np.int16)


def bands(pcm: np.ndarray) -> np.ndarray:
    """Power of eight bands, dB."""
    power = np.abs(np.fft.rfft(pcm[: len(pcm) // 512 * 512].reshape(-1, 512) * np.hanning(512), axis=1)) ** 2
    return 10 * np.log10(power[:, 1:257].mean(axis=0).reshape(8, 32).mean(axis=1))


@pytest.mark.parametrize("rms", [6, 40, 300, 2500])
@pytest.mark.parametrize("colour", [-0.7, 0.0, 0.6, 0.9])
def test_what_is_heard_is_what_was_measured(colour: float, rms: float) -> None:
    pcm, meter = background(colour, rms), comfort.ComfortMeter()
    for frame in pcm[: 50 * 160].reshape(-1, 160):
        payload = meter.measure(frame)
    assert len(payload) == 11
    assert payload[0] & 0x80 == 0
    assert payload[0] == pytest.approx(-20 * np.log10(rms / 32768), abs=1)
    noise = comfort.ComfortNoise(payload).make(32000)
    assert 20 * np.log10(noise.astype(float).std() / pcm.astype(float).std()) == pytest.approx(0, abs=2)
    assert np.abs(bands(noise) - bands(pcm)).max() < 2.5


def test_a_payload_of_one_octet_is_white_noise_of_that_level() -> None:
    noise = comfort.ComfortNoise(b"\x32").make(32000)
    assert 20 * np.log10(noise.astype(float).std() / 32768) == pytest.approx(-50, abs=0.3)
    assert np.ptp(bands(noise)) < 1.5


def test_silence_is_one_octet_and_back_again() -> None:
    meter = comfort.ComfortMeter()
    assert meter.measure(np.zeros(160, np.int16)) == b"\x7f"
    assert not comfort.ComfortNoise(b"\x7f").make(320).any()


def test_a_new_level_comes_smoothly_and_room_is_kept() -> None:
    noise = comfort.ComfortNoise(b"\x46")
    noise.set(b"\x28")  # 30 dB more
    levels = [float(noise.make(160).astype(float).std()) for _ in range(30)]
    steps = np.diff(20 * np.log10(levels[3:]))
    assert steps.max() < 4
    assert 20 * np.log10(np.mean(levels[-5:]) / 32768) == pytest.approx(-40, abs=1)
    meter = comfort.ComfortMeter()
    assert [len(meter.measure(background(0.5, 50, 160), room)) for room in (1, 2, 6, 11)] == [1, 2, 6, 11]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_noise_equals_twin_for_any_payload(payloads: list[bytes], seed: int) -> None:
    ours, theirs = comfort.ComfortNoise(payloads[0], seed), twin.ComfortNoise(payloads[0], seed)
    for payload in payloads:
        ours.set(payload)
        theirs.set(payload)
        made, told = ours.make(160).astype(int), theirs.make(160).astype(int)
        assert np.abs(made - told).max() <= 1 + np.abs(told).max() // 1000


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-0.95, 0.95),
    st.floats(0, 30000),
    st.sampled_from([160, 320, 1920]),
    st.integers(1, 11),
)
def test_measuring_equals_twin(seed: int, colour: float, rms: float, n: int, room: int) -> None:
    ours, theirs = comfort.ComfortMeter(), twin.ComfortMeter()
    noise = np.clip(background(colour, 1000, 3 * n, seed) * (rms / 1000), -32768, 32767).astype(np.int16)
    for frame in noise.reshape(3, n):
        made, told = ours.measure(frame, room), theirs.measure(frame, room)
        assert len(made) == len(told)
        assert all(abs(a - b) <= 1 for a, b in zip(made, told, strict=True))


def test_it_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="at least one octet"):
        comfort.ComfortNoise(b"")
    with pytest.raises(ValueError, match="160"):
        comfort.ComfortMeter().measure(np.zeros(10, np.int16))
