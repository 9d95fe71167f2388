"""What the benchmarks make of numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest

from bench import figures


def test_a_rates_interval_is_wilsons() -> None:
    assert figures.wilson(0, 0) == (0.0, 1.0)
    low, high = figures.wilson(10, 20)
    assert (round(low, 3), round(high, 3)) == (0.299, 0.701)
    assert figures.wilson(20, 20)[1] == pytest.approx(1.0)


def test_a_percentile_needs_enough_values() -> None:
    few = figures.spread(np.arange(999.0))
    assert few["p50"] == 499.0
    assert few["p99"] is None
    enough = figures.spread(np.arange(1000.0))
    assert enough["p99"] == pytest.approx(989.0, abs=0.1)
    assert enough["p99.9"] is None


def test_buckets_tell_their_upper_edge() -> None:
    histogram = np.zeros(501, np.int64)
    histogram[0], histogram[7] = 9_995, 5
    found = figures.spread_of(histogram)
    assert found == {"n": 10_000, "p50": 0.1, "p99": 0.1, "p99.9": 0.1, "worst": 0.8}


def test_a_slope_has_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(200.0)
    found = figures.slope(x.tolist(), (3 + 0.5 * x + rng.standard_normal(200)).tolist())
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.02


def test_a_process_cpu_clock_moves_when_it_works() -> None:
    before = figures.cpu_seconds([os.getpid()])
    while figures.cpu_seconds([os.getpid()]) == before:
        sum(range(10_000))
    assert figures.resident_kb(os.getpid()) > 1000
    assert figures.stolen_seconds() >= 0


def test_cells_are_short() -> None:
    assert figures.shown(None) == "-"
    assert figures.shown(1234567) == "1,234,567"
    assert figures.shown(figures.rate(20, 20)).startswith("20/20 [83.9-100.0")
