"""Mixes of a room against their numpy twin, and against what must hold for any room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import mix
from native.twins import mix as twin


@settings(max_examples=60)
@given(st.integers(0, 16), st.sampled_from([0, 1, 7, 8, 160, 320, 333]), st.integers(0, 2**32 - 1))
def test_mix_equals_twin(members: int, samples: int, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(-32768, 32768, (members, samples)).astype(np.int16)
    assert np.array_equal(mix.mix(frames), twin.mix(frames))
    assert np.array_equal(mix.mix_others(frames), twin.mix_others(frames))


@pytest.mark.parametrize("value", [-32768, 32767])
def test_sixteen_loudest_members_saturate_and_never_wrap(value: int) -> None:
    frames = np.full((16, 160), value, np.int16)
    assert (mix.mix(frames) == value).all()
    assert (mix.mix_others(frames) == value).all()


def test_nobody_hears_himself_even_in_a_mix_that_saturates() -> None:
    frames = np.zeros((3, 160), np.int16)
    frames[0], frames[1], frames[2] = 32767, 32767, -30000
    heard = mix.mix_others(frames)
    assert (heard[0] == 2767).all()
    assert (heard[1] == 2767).all()
    assert (heard[2] == 32767).all()


def test_the_order_of_the_members_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    frames = rng.integers(-32768, 32768, (16, 160)).astype(np.int16)
    assert np.array_equal(mix.mix(frames), mix.mix(np.ascontiguousarray(frames[rng.permutation(16)])))
