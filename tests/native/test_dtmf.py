"""In-band keys by the limits of ITU-T Q.24 (as AT&T and Bellcore state them), beside spandsp and the numpy twin."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.media import tones
from native import dtmf
from native.twins import dtmf as twin

from . import lines, spandsp

KEYS = twin.KEYS


def one(key: str, ms: float, low: float = -10, high: float = -10, off: tuple[float, float] = (0, 0), at: float = 0):
    """A key as it is pressed: levels in dBm0, relative frequency errors, phase."""
    index, t = KEYS.index(key), 2 * np.pi * np.arange(int(ms * 8)) / 8000
    wave = np.sqrt(2 * twin.mean_square(low)) * np.sin(t * twin.LOW[index // 4] * (1 + off[0]) + at)
    return wave + np.sqrt(2 * twin.mean_square(high)) * np.sin(t * twin.HIGH[index % 4] * (1 + off[1]) + 2 * at)


def pressed(rng: np.random.Generator, keys: str, on: float = 40, pause: float = 40, snr: float | None = None, **how):
    """Keys one after the other through G.711, white noise beside them, where no frame's edge is theirs."""
    parts = [np.zeros(int(rng.integers(400, 600)))]
    for key in keys:
        parts += [one(key, on, at=rng.uniform(0, 6), **how), np.zeros(int(pause * 8))]
    parts.append(np.zeros(480 + int(rng.integers(160))))
    line = np.concatenate(parts)
    if snr is not None:
        power = (np.concatenate(parts[1:-1:2]) ** 2).mean()
        line = line + rng.standard_normal(len(line)) * np.sqrt(power / 10 ** (snr / 10))
    return lines.coded(line)


def ours(pcm: np.ndarray) -> str:
    return "".join(key for key, _ in dtmf.Detector().hear(pcm))


def shares(seed: int, trials: int = 6, hear: Callable[[np.ndarray], str] = ours, **how) -> tuple[float, int]:
    """(share of the keys pressed that were heard, keys heard that were not pressed)."""
    rng, right, extra = np.random.default_rng(seed), 0, 0
    for _ in range(trials):
        keys = "".join(rng.permutation(list(KEYS)))
        found = hear(pressed(rng, keys, **how))
        same = sum(b.size for b in difflib.SequenceMatcher(None, keys, found, autojunk=False).get_matching_blocks())
        right += same
        extra += len(found) - same
    return right / (16 * trials), extra


MUST_HEAR = {
    "40 ms on, 40 ms off": {},
    "9 dB over noise": {"snr": 9},
    "-36 dBm0 and 9 dB over noise": {"low": -36, "high": -36, "snr": 9},
    "0 dBm0": {"low": 0, "high": 0},
    "normal twist of 8 dB": {"low": -10, "high": -18},
    "reverse twist of 4 dB": {"low": -14, "high": -10},
    "reverse twist of 4 dB in noise": {"low": -14, "high": -10, "snr": 9},
    "both 1.5% sharp": {"off": (0.015, 0.015)},
    "both 1.5% flat, in noise": {"off": (-0.015, -0.015), "snr": 9},
    "1.5% apart": {"off": (-0.015, 0.015), "snr": 9},
    "a pause of 25 ms": {"pause": 25},
}

MUST_NOT_HEAR = {
    "23 ms": {"on": 23},
    "23 ms in noise": {"on": 23, "snr": 9},
    "20 ms, loud": {"on": 20, "low": 0, "high": 0},
    "low tone 3.5% sharp": {"off": (0.035, 0)},
    "low tone 3.5% flat": {"off": (-0.035, 0), "snr": 9},
    "high tone 3.5% sharp": {"off": (0, 0.035)},
    "high tone 3.5% flat": {"off": (0, -0.035), "snr": 9},
    "normal twist of 11 dB": {"low": -10, "high": -21},
    "reverse twist of 7 dB": {"low": -17, "high": -10},
    "-55 dBm0": {"low": -55, "high": -55},
}


@pytest.mark.parametrize("name", MUST_HEAR)
def test_keys_within_the_limits_are_heard_once(name: str) -> None:
    share, extra = shares(1, **MUST_HEAR[name])
    assert extra == 0
    assert share == 1


def test_keys_at_two_limits_together_are_nearly_always_heard() -> None:
    share, extra = shares(1, trials=20, low=-10, high=-18, snr=9)
    assert extra == 0
    assert share >= 0.97


@pytest.mark.parametrize("name", MUST_NOT_HEAR)
def test_what_is_beyond_the_limits_is_no_key(name: str) -> None:
    assert shares(2, **MUST_NOT_HEAR[name]) == (0, 0)


def test_a_key_held_is_one_key_and_an_interruption_of_10_ms_none() -> None:
    rng = np.random.default_rng(3)
    for gap in (0, 2, 5, 10):
        for _ in range(20):
            start = np.zeros(400 + int(rng.integers(80)))
            line = np.concatenate([start, one("5", 90), np.zeros(gap * 8), one("5", 70), np.zeros(800)])
            assert ours(lines.coded(line)) == "5"


def test_the_same_key_twice_is_two_keys() -> None:
    assert shares(4)[0] == 1
    rng = np.random.default_rng(4)
    for _ in range(20):
        assert ours(pressed(rng, "5555", snr=9)) == "5555"


@pytest.mark.parametrize("dial", [(350, 440), (425,), (450,), (350, 450)])
@pytest.mark.parametrize("over", [-10, 0, 10])
def test_keys_over_a_dial_tone(dial: tuple[int, ...], over: float) -> None:
    rng = np.random.default_rng(5)
    keys = "".join(rng.permutation(list(KEYS)))
    line = np.concatenate([np.zeros(4000), pressed(rng, keys, low=-20, high=-20)])
    t = 2 * np.pi * np.arange(len(line)) / 8000
    tone = np.sum([np.sin(f * t + 1) for f in dial], axis=0) * np.sqrt(2 * twin.mean_square(over - 20) / len(dial))
    assert ours(lines.coded(line + tone)) == keys


def test_the_digit_held_can_be_read() -> None:
    detector = dtmf.Detector()
    assert detector.digit == ""
    detector.hear(lines.coded(one("#", 100)))
    assert detector.digit == "#"
    detector.hear(np.zeros(480, np.int16))
    assert detector.digit == ""


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_the_size_of_the_pieces_heard_changes_nothing(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    line = pressed(rng, "27A#", snr=20)
    detector, found, at, k = dtmf.Detector(), "", 0, 0
    while at < len(line):
        size = sizes[k % len(sizes)]
        found += "".join(key for key, _ in detector.hear(line[at : at + size]))
        at, k = at + size, k + 1
    assert found == ours(line) == "27A#"


def test_detector_equals_twin() -> None:
    rng = np.random.default_rng(6)
    for how in ({}, {"snr": 9}, {"off": (0.018, -0.02), "snr": 12}, {"on": 30}, {"low": -44, "high": -44}):
        for _ in range(4):
            line = pressed(rng, "".join(rng.permutation(list(KEYS))), **how)
            assert [k for k, _ in dtmf.Detector().hear(line)] == [k for k, _ in twin.keys(line)]


def music(rng: np.random.Generator, seconds: float, overtones: int, fewest: int) -> np.ndarray:
    """Chords of decaying notes with overtones."""
    out, at = np.zeros(int(seconds * 8000)), 0
    while at < len(out):
        size = min(int(rng.uniform(0.12, 0.9) * 8000), len(out) - at)
        t = np.arange(size) / 8000
        envelope = np.minimum(1, t / 0.005) * np.exp(-t * rng.uniform(0.5, 6))
        for note in rng.integers(48, 92, int(rng.integers(fewest, fewest + 4))):
            base = 440 * 2 ** ((note - 69) / 12)
            for k in range(1, overtones + 1):
                if base * k < 3600:
                    wave = np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6))
                    out[at : at + size] += rng.uniform(0.3, 1) * k ** -rng.uniform(0.7, 2) * wave * envelope
        at += size
    return out * 3000


def test_no_key_in_an_hour_of_speech_and_music(speech: list[np.ndarray]) -> None:
    rng = np.random.default_rng(7)
    hold, minutes = np.tile(tones.tone("hold"), 5), 0.0
    spoken = [lines.at_level(pcm, level) for pcm in speech for level in (-20, -10)]
    played = [music(rng, 60, 8, 3) for _ in range(12)] + [music(rng, 60, 5, 2) for _ in range(6)] + [hold]
    noisy = [lines.noise(rng, kind, 60, -20, speech) for kind in lines.NOISES]
    for pcm in spoken + played + noisy:
        assert ours(lines.coded(pcm)) == ""
        minutes += len(pcm) / 8000 / 60
    assert minutes >= 60


@given(st.binary(max_size=4000))
@settings(max_examples=30)
def test_any_bytes_are_heard_without_harm(noise: bytes) -> None:
    pcm = np.frombuffer(noise[: len(noise) // 2 * 2], np.int16)
    assert set(ours(np.array(pcm))) <= set(KEYS)


# --- beside spandsp -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer() -> Callable[[np.ndarray], str]:
    """spandsp's detector, new for each line."""
    if spandsp.library() is None:
        missing = "no spandsp: install Debian's libspandsp2"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return lambda pcm: spandsp.Detector().hear(pcm)


@pytest.mark.parametrize("name", MUST_HEAR)
def test_hears_no_fewer_keys_than_spandsp(name: str, peer: Callable[[np.ndarray], str]) -> None:
    assert shares(8, **MUST_HEAR[name])[0] >= shares(8, hear=peer, **MUST_HEAR[name])[0]


def test_spandsp_hears_every_key_the_generator_makes(peer: Callable[[np.ndarray], str]) -> None:
    maker, parts = dtmf.Generator(), [np.zeros(800, np.int16)]
    for key in KEYS:
        parts += [maker.make(key, 480), maker.make("", 400)]
    line = lines.coded(np.concatenate(parts))
    assert peer(line) == KEYS == ours(line)


# --- generator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(KEYS))
def test_generator_equals_twin_frame_by_frame(key: str) -> None:
    maker = dtmf.Generator()
    out = np.concatenate([maker.make(key, n) for n in (160, 160, 37, 320, 160)])
    assert np.abs(out - twin.made(key, len(out))).max() <= 1


def test_generator_levels_fade_and_silence() -> None:
    maker = dtmf.Generator()
    assert not maker.make("", 160).any()
    tone = maker.make("D", 1600).astype(float)
    assert 10 * np.log10((tone[160:] ** 2).mean() / twin.mean_square(0)) == pytest.approx(-5.88, abs=0.05)
    after = maker.make("", 160)
    assert after[:12].any()
    assert not after[16:].any()
    steps = np.abs(np.diff(np.concatenate([tone, after]).astype(int)))
    assert steps.max() <= np.abs(np.diff(tone.astype(int))).max() + 200
    with pytest.raises(ValueError, match="no key"):
        maker.make("E", 160)
