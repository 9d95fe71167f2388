"""Kernels timed from C, and the peers they are measured beside."""

from __future__ import annotations

import numpy as np
import pytest

from bench import kernel_peers, kernels
from native import timing

PCM = (6000 * np.sin(np.arange(9600) / 5) + np.random.default_rng(1).normal(0, 500, 9600)).astype(np.int16)


@pytest.mark.parametrize("kernel", timing.kernels())
def test_every_kernel_is_timed(kernel: str) -> None:
    try:
        nanoseconds = timing.time_kernel(kernel, PCM, 2)
    except RuntimeError as problem:
        pytest.skip(f"{kernel}: {problem}")
    assert 0 < nanoseconds < 20e6


def test_what_cannot_be_timed_is_refused() -> None:
    with pytest.raises(KeyError, match="no such"):
        timing.time_kernel("no such", PCM, 1)
    with pytest.raises(ValueError, match="whole frame"):
        timing.time_kernel("G.711 mu-law encode", PCM[:100], 1)
    with pytest.raises(ValueError, match="as much played"):
        timing.time_kernel("speech detector, prompt playing", PCM, 1, PCM[:100])


def test_every_row_of_the_benchmark_runs_here_and_beside_its_peers() -> None:
    rates = {rate: np.tile(PCM, rate // 1600) for rate in (8000, 16000, 48000)}
    rows = kernel_peers.rows(rates)
    assert {row.kernel for row in rows} <= set(timing.kernels())
    for row in rows:
        for peer in row.peers.values():
            for call in (peer.whole, peer.frame):
                if call:
                    call()
        if row.frame:
            row.frame()
    installed = {name for name, text in kernel_peers.versions().items() if "not installed" not in text}
    assert {name for row in rows for name in row.peers} <= installed


def test_instructions_are_counted_or_it_is_told_why_not() -> None:
    counter = kernels.Instructions()
    before = counter()
    sum(range(1000))
    assert counter() > before if not counter.why else counter() == 0
