"""The instruments that prove who heard whom."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from gateway.lab import sounds
from gateway.lab.wire import Sound, decode, encode, level


def test_a_tone_has_its_level_and_only_its_frequency() -> None:
    sound = sounds.tone(1000, 1.0, -20)
    assert level(sound) == pytest.approx(-20, abs=0.2)
    assert sounds.tone_level(sound, 1000) == pytest.approx(-20, abs=0.3)
    assert sounds.tone_level(sound, 1100) < -60
    assert sounds.tones_heard(sounds.tone([440, 1300], 1.0), [440, 1000, 1300]) == {440, 1300}


def test_g711_keeps_tones_apart() -> None:
    heard = decode(encode(sounds.tone(700, 1.0, -15)))
    assert sounds.tones_heard(heard, [350, 700, 1400, 2100]) == {700}


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_noise_has_its_level_and_comes_again_with_its_seed(kind: Literal["white", "pink", "babble"]) -> None:
    sound = sounds.noise(3.0, -30, seed=5, kind=kind)
    assert level(sound) == pytest.approx(-30, abs=0.5)
    assert np.array_equal(sound, sounds.noise(3.0, -30, seed=5, kind=kind))


def test_pink_and_babble_fall_towards_high_frequencies() -> None:
    for kind, less in (("white", 1.0), ("pink", 6.0), ("babble", 12.0)):
        spectrum = np.abs(np.fft.rfft(sounds.noise(8.0, -20, seed=1, kind=kind).astype(float))) ** 2  # type: ignore[arg-type]
        hertz = np.fft.rfftfreq(64000, 1 / 8000)
        low = spectrum[(hertz > 300) & (hertz < 500)].mean()
        high = spectrum[(hertz > 2900) & (hertz < 3100)].mean()
        fall = 10 * np.log10(low / high)
        assert (abs(fall) < 1.0) if kind == "white" else fall > less


def babble(seed: int) -> Sound:
    return sounds.noise(2.0, -22, seed=seed, kind="babble")


def test_lag_finds_a_delayed_and_coded_copy() -> None:
    said = babble(1)
    heard = decode(encode(np.concatenate([np.zeros(1234, np.int16), said // 2, np.zeros(999, np.int16)])))
    seconds, alike = sounds.lag(said, heard)
    assert seconds == pytest.approx(1234 / 8000)
    assert alike > 0.95


def test_likeness_bears_lost_time_but_not_another_voice() -> None:
    said = babble(2)
    slow = np.concatenate([np.concatenate([part, np.zeros(16, np.int16)]) for part in np.split(said, 4)])
    assert sounds.likeness(said, slow) > 0.9
    assert sounds.likeness(said, np.concatenate([babble(3), babble(4)])) < 0.3
    assert sounds.likeness(np.zeros(8000, np.int16), said) == 0.0


def test_voiced_spans_join_over_short_pauses() -> None:
    pause, long = np.zeros(1600, np.int16), np.zeros(4800, np.int16)
    sound = np.concatenate([long, sounds.tone(440, 0.5), pause, sounds.tone(440, 0.5), long, sounds.tone(440, 0.2)])
    spans = sounds.voiced_spans(sound)
    assert spans == [(pytest.approx(0.6, abs=0.03), pytest.approx(1.8, abs=0.03)), pytest.approx((2.4, 2.6), abs=0.03)]
