"""Call progress tones: each country's frequencies and cadence, and rounds that loop without a click."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.media.tones import LEVEL, MAKERS, PROGRESS, RINGING, tone
from native import dtmf

LANGUAGES = ("en-US", "en-GB", "zh-CN", "")
EVERY = [(name, language) for name in PROGRESS for language in LANGUAGES]


def share(wave: np.ndarray, hertz: tuple[int, ...]) -> float:
    """Of a sound's power, how much is at `hertz`, by least squares."""
    t = 2 * np.pi * np.outer(np.arange(len(wave)) / 8000, hertz)
    basis = np.concatenate([np.sin(t), np.cos(t)], 1)
    fit, *_ = np.linalg.lstsq(basis, wave, rcond=None)
    return float(((basis @ fit) ** 2).sum() / (wave**2).sum())


@pytest.mark.parametrize(("name", "language"), EVERY)
def test_tones_have_their_frequencies_cadence_and_level(name: str, language: str) -> None:
    sound, at = tone(name, language).astype(float), 0
    for hertz, seconds in PROGRESS[name][language]:
        part = sound[at : at + round(seconds * 8000)]
        at += len(part)
        if not hertz:
            assert not part.any()
            continue
        inner = part[80:-80]
        assert share(inner, hertz) > 0.999
        assert np.sqrt((inner**2).mean()) == pytest.approx(LEVEL * 32767, rel=0.1)
        for hz in hertz:
            assert share(inner, (hz,)) == pytest.approx(1 / len(hertz), abs=0.05)
    assert at == len(sound)


@pytest.mark.parametrize(("name", "language"), EVERY)
def test_rounds_follow_each_other_without_a_click(name: str, language: str) -> None:
    once = tone(name, language).astype(int)
    steps = np.abs(np.diff(once))
    assert abs(int(once[0]) - int(once[-1])) <= steps.max()


@pytest.mark.parametrize("name", MAKERS)
def test_an_unknown_language_has_the_default(name: str) -> None:
    assert np.array_equal(tone(name, "xx"), tone(name))


def test_every_tone_knows_every_language_of_the_table() -> None:
    assert {tuple(table) for table in PROGRESS.values()} == {LANGUAGES}
    assert RINGING["en-GB"] == ((400, 450), (0.4, 0.2, 0.4, 2.0))


def test_no_tone_is_taken_for_a_key() -> None:
    for name in MAKERS:
        for language in LANGUAGES:
            assert dtmf.Detector().hear(np.tile(tone(name, language), 3)) == []
