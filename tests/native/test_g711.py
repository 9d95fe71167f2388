"""G.711 against its twin and against the points the recommendation gives."""

from __future__ import annotations

import numpy as np
import pytest

from native import kernels
from native.twins import g711 as twins

ALL = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize("payload", [0, 8])
def test_g711_equals_twin_for_every_sample_and_code(payload: int) -> None:
    codes = np.arange(256).astype(np.uint8)
    assert np.array_equal(kernels.g711_encode(ALL, payload), twins.g711_encode(ALL, payload))
    assert np.array_equal(kernels.g711_decode(codes, payload), twins.g711_decode(codes, payload))


@pytest.mark.parametrize(("payload", "silence", "loudest"), [(0, 0xFF, 32124), (8, 0xD5, 32256)])
def test_g711_known_points_and_round_trip(payload: int, silence: int, loudest: int) -> None:
    codes = np.arange(256).astype(np.uint8)
    back = kernels.g711_encode(kernels.g711_decode(codes, payload), payload)
    assert set(codes[back != codes]) <= {0x7F}  # mu-law has two zeros
    assert kernels.g711_encode(np.zeros(1, np.int16), payload)[0] == silence
    assert kernels.g711_decode(codes, payload).max() == loudest
