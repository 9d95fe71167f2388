"""The E-model against ITU-T G.107's own parameters and against points others published."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import quality
from native.twins import quality as twin

PCMU, G722, OPUS = 1, 3, 6


def test_the_defaults_of_g107_give_its_published_rating() -> None:
    ratio = 15 - 1.5 * (twin.SLR + twin.noise())
    assert ratio == pytest.approx(94.77, abs=0.005)  # Ro
    assert twin.simultaneous(ratio) == pytest.approx(1.41, abs=0.005)  # Is
    assert quality.rating(PCMU, 0) == pytest.approx(93.2, abs=0.01)
    assert quality.mos(PCMU, 0) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(("delay", "rating", "score"), [(0, 93.2, 4.41), (150, 93.0, 4.41), (400, 69.1, 3.56)])
def test_delay_alone(delay: float, rating: float, score: float) -> None:
    assert quality.rating(PCMU, 0, 1, delay) == pytest.approx(rating, abs=0.1)
    assert quality.mos(PCMU, 0, 1, delay) == pytest.approx(score, abs=0.01)


def test_g711_falls_below_70_at_400_ms() -> None:
    """Without echo or loss 400 ms is what G.711 bears for R = 70 (Janssen et al., Telektronikk 2001, table 3)."""
    assert quality.rating(PCMU, 0, 1, 380) > 70 > quality.rating(PCMU, 0, 1, 405)


@pytest.mark.parametrize(
    ("loss", "impairment"),
    [(1, 3.64), (2, 7.01), (3, 10.14), (5, 15.78), (10, 27.07), (20, 42.13)],
)
def test_random_loss_of_g711_with_concealment(loss: float, impairment: float) -> None:
    """95 Ppl / (Ppl + 25.1) by hand."""
    assert 93.2 - quality.rating(PCMU, loss) == pytest.approx(impairment, abs=0.02)


def test_loss_in_bursts_is_worse_and_nothing_leaves_the_scale() -> None:
    assert quality.mos(PCMU, 5, 4) < quality.mos(PCMU, 5, 2) < quality.mos(PCMU, 5, 1)
    assert quality.mos(PCMU, 100, 50, 2000) == 1
    assert quality.mos(PCMU, float("nan"), float("nan"), float("nan")) >= 1
    assert quality.mos(99, 1) == quality.mos(PCMU, 1)
    assert quality.mos(OPUS, 5) < quality.mos(G722, 5)


@given(st.lists(st.booleans(), max_size=200))
def test_burst_ratio_equals_twin(lost: list[bool]) -> None:
    runs = sum(gone and not before for before, gone in itertools.pairwise([False, *lost]))
    assert quality.burst_ratio(len(lost), sum(lost), runs) == pytest.approx(twin.burst_ratio(lost))


def test_random_loss_has_a_burst_ratio_of_one_and_pairs_have_two() -> None:
    rng = np.random.default_rng(6)
    alone = rng.random(200_000) < 0.05
    starts = rng.random(200_000) < 0.02
    pairs = starts | np.roll(starts, 1)
    for lost, ratio in ((alone, 1.0), (pairs, 1.96)):
        runs = int((lost & ~np.roll(lost, 1)).sum())
        assert quality.burst_ratio(len(lost), int(lost.sum()), runs) == pytest.approx(ratio, abs=0.03)


@given(
    st.integers(0, 6),
    st.floats(-5, 120, width=32),
    st.floats(0, 20, width=32),
    st.floats(0, 3000, width=32),
)
def test_rating_equals_twin(codec: int, loss: float, burst: float, delay: float) -> None:
    assert quality.rating(codec, loss, burst, delay) == pytest.approx(twin.rating(codec, loss, burst, delay), abs=0.01)
    score = quality.mos(codec, loss, burst, delay)
    assert score == pytest.approx(twin.mos(codec, loss, burst, delay), abs=0.001)
    assert 1 <= score <= 4.5
