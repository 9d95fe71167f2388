"""Loss concealment and time stretching against their twins and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import conceal, stretch
from native.twins import conceal as twin
from native.twins import stretch as twin_stretch

RATES = [8000, 16000]


def voiced(hertz: float, rate: int, n: int, size: float = 6000, seed: int = 1) -> np.ndarray:
    """Harmonics that fall by 6 dB an octave, and a little noise: a vowel's pitch without its mouth."""
    rng, t = np.random.default_rng(seed), np.arange(n) / rate
    tone = sum(np.sin(2 * np.pi * hertz * k * t + k) / k for k in range(1, int(3400 / hertz)))
    return np.round(size * tone / np.abs(tone).max() + rng.normal(0, 20, n)).astype(np.int16)


def rough(pcm: np.ndarray) -> float:
    """The largest second difference: a click stands out of it."""
    return float(np.abs(np.diff(pcm.astype(float), 2)).max())


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(RATES),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["noise", "voice", "loud", "silence", "faint"]),
    st.lists(st.integers(1, 700), min_size=1, max_size=8),
    st.integers(1, 400),
)
def test_concealment_equals_twin(rate: int, seed: int, kind: str, pieces: list[int], after: int) -> None:
    rng, n = np.random.default_rng(seed), rate // 800 * 39
    past = {
        "noise": rng.integers(-9000, 9000, n),
        "voice": voiced(float(rng.uniform(70, 380)), rate, n, seed=seed),
        "loud": rng.choice([-32768, 32767], n),
        "silence": np.zeros(n),
        "faint": rng.integers(-3, 4, n),
    }[kind].astype(np.int16)
    ours, theirs = conceal.Concealment(rate), twin.Concealment(rate)
    ours.begin(past)
    theirs.begin(past)
    assert ours.pitch == theirs.pitch
    for piece in pieces:
        assert np.abs(ours.make(piece).astype(int) - theirs.make(piece)).max() <= 1
    pcm = rng.integers(-9000, 9000, after).astype(np.int16)
    assert np.abs(ours.join(pcm).astype(int) - theirs.join(pcm)).max() <= 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hertz", [80, 110, 160, 220, 310])
def test_a_vowel_goes_on_at_its_pitch_and_fades(rate: int, hertz: float) -> None:
    ms = rate // 1000
    pcm = voiced(hertz, rate, rate)
    ours = conceal.Concealment(rate)
    ours.begin(pcm[: 600 * ms])
    periods = ours.pitch * hertz / rate
    assert periods == pytest.approx(round(periods), abs=0.06)
    assert 2.5 * ms <= ours.pitch <= 15 * ms
    made = ours.make(70 * ms)
    assert rough(np.concatenate([pcm[: 600 * ms], made])) <= 1.25 * rough(pcm)
    told = pcm[600 * ms : 670 * ms]  # what was lost
    assert np.corrcoef(made[: 10 * ms], told[: 10 * ms])[0, 1] > 0.9
    pieces = [slice(k * ms, (k + 10) * ms) for k in range(0, 70, 10)]
    level = [float(made[p].astype(float).std() / told[p].astype(float).std()) for p in pieces]
    assert level == pytest.approx([1, 0.9, 0.7, 0.5, 0.3, 0.1, 0], abs=0.1)
    assert not made[60 * ms :].any()


@pytest.mark.parametrize("rate", RATES)
def test_audio_begins_again_without_a_click(rate: int) -> None:
    ms = rate // 1000
    pcm = voiced(140, rate, rate)
    for lost in (10, 20, 33, 40, 60, 100):
        ours = conceal.Concealment(rate)
        ours.begin(pcm[: 500 * ms])
        made = ours.make(lost * ms)
        after = ours.join(pcm[(500 + lost) * ms :])
        whole = np.concatenate([pcm[: 500 * ms], made, after])
        assert rough(whole) <= 1.3 * rough(pcm)
        changed = np.flatnonzero(after != pcm[(500 + lost) * ms :])
        assert changed.max() < 10 * ms


def test_concealment_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="390"):
        conceal.Concealment(8000).begin(np.zeros(389, np.int16))
    with pytest.raises(ValueError, match="8000 or 16000"):
        conceal.Concealment(11025)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_stretching_equals_twin(rate: int, seed: int, longer: bool, noise: bool) -> None:
    rng = np.random.default_rng(seed)
    pcm = voiced(float(rng.uniform(70, 380)), rate, rate // 10, seed=seed)
    if noise:
        pcm = rng.integers(-32768, 32767, rate // 10).astype(np.int16)
    ours = stretch.stretch(pcm, rate // 50, rate // 50, longer, rate)
    theirs = twin_stretch.stretch(pcm, rate // 50, rate // 50, longer, rate)
    assert np.abs(ours[0].astype(int) - theirs[0]).max() <= 1
    assert ours[1:] == theirs[1:]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("longer", [False, True])
@pytest.mark.parametrize("hertz", [90, 150, 240])
def test_a_pitch_period_more_or_less_is_not_heard(rate: int, longer: bool, hertz: float) -> None:
    pcm, frame, at = voiced(hertz, rate, rate), rate // 50, rate // 4
    out, lag, likeness = stretch.stretch(pcm, at, frame, longer, rate)
    assert lag * hertz / rate == pytest.approx(round(lag * hertz / rate), abs=0.06)
    assert likeness > 0.98
    whole = np.concatenate([pcm[:at], out, pcm[at + frame + (-lag if longer else lag) :]])
    assert len(whole) == len(pcm) + (lag if longer else -lag)
    assert rough(whole) <= 1.1 * rough(pcm)
