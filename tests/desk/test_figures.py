"""Figures kept elsewhere, as a scrape reads them."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from gateway.desk.figures import Sent


def late(**buckets: int) -> NDArray[np.int64]:
    """Packets by lateness in steps of 0.1 ms; b3=5 is five packets in the fourth."""
    found = np.zeros(500, np.int64)
    for name, count in buckets.items():
        found[int(name[1:])] = count
    return found


def test_packets_are_summed_up_and_percentiles_are_of_the_newest() -> None:
    fresh = deque([late(b0=98, b9=2), late(), late(b0=60, b49=40), late(), late()])
    sent = Sent(fresh.popleft)
    assert sent.counts() == {"all": 100.0, "within 0.1 ms": 98.0, "within 1 ms": 100.0, "within 5 ms": 100.0}
    assert sent.lateness_ms() == {"p50": 0.1, "p99": 1.0}
    assert sent.lateness_ms() == {"p50": 0.1, "p99": 5.0}, "the second hundred alone"
    assert sent.lateness_ms() == {}, "nothing was sent since"
    assert sent.counts()["all"] == 200.0
