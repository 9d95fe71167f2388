"""The echo search against its twin."""

from __future__ import annotations

import numpy as np
import pytest

from native import kernels
from native.twins import echo as twins


@pytest.mark.parametrize("delay", [160, 777, 1600, 2560])
def test_echo_search_equals_twin_and_finds_the_delay(delay: int) -> None:
    rng = np.random.default_rng(delay)
    played = np.clip(np.cumsum(rng.normal(0, 900, 8000)) % 9000 - 4500, -32768, 32767).astype(np.int16)
    heard = np.concatenate([np.zeros(delay, np.int16), (played // 4)[:-delay]])
    lag, share = kernels.echo_share(heard, played)
    assert (lag, share) == pytest.approx(twins.echo_share(heard, played), abs=0.02)
    assert lag == delay
    assert share > 0.95
    stranger = rng.normal(0, 2000, 8000).astype(np.int16)
    assert kernels.echo_share(stranger, played)[1] < 0.3
