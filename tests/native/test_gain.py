"""Automatic gain: quiet callers become louder, nothing clips, pauses stay as they are; the level meter."""

from __future__ import annotations

import numpy as np
import pytest

from native import gain
from native.twins import gain as twin

from . import lines

FRAME = 160


def dbm0(pcm: np.ndarray) -> float:
    return float(10 * np.log10((pcm.astype(float) ** 2).mean() / twin.FULL))


def frames(pcm: np.ndarray) -> list[np.ndarray]:
    return list(np.clip(np.round(pcm), -32768, 32767).astype(np.int16)[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME))


def spoken(speech: list[np.ndarray], seconds: float, level: float) -> tuple[list[np.ndarray], list[bool]]:
    """Frames of talk with pauses at `level` dBm0, and which of them are speech."""
    pcm = lines.talk(np.random.default_rng(1), speech, seconds, level - 6.15)  # a full-scale sine is at -3.01 dBFS
    cut = frames(pcm)
    loudest = max((f.astype(float) ** 2).mean() for f in cut)
    return cut, [(f.astype(float) ** 2).mean() > loudest / 3000 for f in cut]


def active(cut: list[np.ndarray], flags: list[bool], start: int) -> float:
    """Level of the frames that are speech, those within 13 dB of the loudest, dBm0."""
    powers = [(f.astype(float) ** 2).mean() for f, s in zip(cut[start:], flags[start:], strict=True) if s]
    return 10 * np.log10(np.mean([p for p in powers if p > max(powers) / 100]) / twin.FULL)


@pytest.mark.parametrize("level", [-40, -34, -28, -20, -10])
def test_quiet_callers_become_louder_by_at_most_15_db(speech: list[np.ndarray], level: float) -> None:
    cut, flags = spoken(speech, 30, level)
    auto = gain.AutoGain()
    out = [auto.hear(f, s) for f, s in zip(cut, flags, strict=True)]
    before, after = active(cut, flags, 750), active(out, flags, 750)
    assert -0.1 <= after - before <= 15.1
    assert after == pytest.approx(max(before, min(-20, before + 15)), abs=2)


def test_gain_is_slow_and_moves_only_while_somebody_speaks(speech: list[np.ndarray]) -> None:
    cut, flags = spoken(speech, 12, -36)
    auto, gains = gain.AutoGain(), []
    for f, s in zip(cut, flags, strict=True):
        auto.hear(f, s)
        gains.append(auto.gain_db)
    steps = np.diff([0.0, *gains])
    assert steps.max() <= 0.13
    assert not steps[~np.array(flags)].any()
    noise = np.random.default_rng(2).normal(0, 60, (500, FRAME)).astype(np.int16)
    for f in noise:
        auto.hear(f, False)
    assert auto.gain_db == pytest.approx(gains[-1])


def test_noise_alone_is_never_made_louder() -> None:
    auto = gain.AutoGain()
    for f in np.random.default_rng(3).normal(0, 80, (200, FRAME)).astype(np.int16):
        assert np.array_equal(auto.hear(f, False), f)


def test_a_shout_after_whispers_is_limited_and_not_clipped(speech: list[np.ndarray]) -> None:
    cut, flags = spoken(speech, 10, -38)
    auto = gain.AutoGain()
    for f, s in zip(cut, flags, strict=True):
        auto.hear(f, s)
    assert auto.gain_db > 10
    t = 2 * np.pi * 437 * np.arange(FRAME * 20) / 8000
    out = np.concatenate([auto.hear(f, True) for f in frames(28000 * np.sin(t))]).astype(float)
    assert 27500 <= np.abs(out).max() <= 29205
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    rest = out - basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
    assert (rest**2).mean() <= 1e-3 * (out**2).mean()


def test_full_scale_passes_as_it_came() -> None:
    rng = np.random.default_rng(4)
    auto = gain.AutoGain()
    for _ in range(20):
        f = rng.choice(np.array([-32768, 32767], np.int16), FRAME)
        assert np.array_equal(auto.hear(f, True), f)


def test_gain_equals_twin(speech: list[np.ndarray]) -> None:
    cut, flags = spoken(speech, 10, -32)
    cut += frames(30000 * np.sin(np.arange(3200) / 3))
    flags += [True] * 20
    ours, other = gain.AutoGain(), twin.AutoGain()
    for f, s in zip(cut, flags, strict=True):
        assert np.abs(ours.hear(f, s).astype(int) - other.hear(f, s)).max() <= 1
        assert ours.level_dbm0 == pytest.approx(other.level_dbm0, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("level", [-40, -20, -6])
def test_the_level_meter_reads_dbm0_and_decays(rate: int, level: float) -> None:
    n = rate // 50
    tone = np.sqrt(2 * twin.FULL) * 10 ** (level / 20) * np.sin(2 * np.pi * 1000 * np.arange(n * 50) / rate)
    meter = gain.AutoGain()
    for k in range(50):
        meter.listen(np.round(tone[k * n : (k + 1) * n]).astype(np.int16), True)
    assert meter.level_dbm0 == pytest.approx(level, abs=0.1)
    for _ in range(50):
        meter.listen(np.zeros(n, np.int16), False)
    assert meter.level_dbm0 == pytest.approx(max(-70, level - 10), abs=0.2)
