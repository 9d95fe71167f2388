"""Figures that other parts keep, shown among the metrics: what the media engine, the recognizers and SIP count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gateway.media.engine import MediaEngine
from gateway.observe.metrics import Metrics
from gateway.sip.edge import Edge
from gateway.sip.trunkbook import TrunkState
from gateway.speech.pool import Load

WITHIN = (1, 10, 50)
"""Steps of 0.1 ms by which sent packets are counted."""

LOAD = ("waiting", "busy", "restarts", "dropped", "saturated", "failed")


def watch(metrics: Metrics, media: MediaEngine, ears: Callable[[], Load], sip: Edge) -> None:
    """Have each scrape read these anew."""
    sent = Sent(media.lateness)
    metrics.watch("rtp_sent", "RTP packets sent, by how late they left.", sent.counts)
    metrics.watch("rtp_lateness_ms", "How late RTP packets left since the last scrape.", sent.lateness_ms, kind="gauge")
    metrics.watch("media", "The media engine's totals.", lambda: _floats(media.counters()))
    metrics.watch(
        "media_threads", "Media threads, by how they use sockets.", lambda: _floats(Counter(media.io)), kind="gauge"
    )
    metrics.watch("recognizers", "The recognizer pool.", lambda: _floats(_load(ears())), kind="gauge")
    metrics.watch("sip", "SIP messages and what became of them.", lambda: _floats(sip.endpoint.counters))
    metrics.watch("sip_connections", "SIP's connections by transport.", lambda: _floats(sip.connections), kind="gauge")
    left = "Days until a certificate expires, by file."
    metrics.watch("certificate_days", left, lambda: sip.days_left(time.time()), kind="gauge")


def watch_trunks(metrics: Metrics, trunks: Mapping[str, TrunkState]) -> None:
    """The same for trunks."""
    metrics.watch(
        "trunk_up",
        "Trunks: 1 up, 0 down.",
        lambda: {name: float(state.up) for name, state in trunks.items()},
        kind="gauge",
    )
    metrics.watch(
        "trunk_calls_in",
        "Calls that came by each trunk and last.",
        lambda: {name: float(state.calls_in) for name, state in trunks.items()},
        kind="gauge",
    )
    metrics.watch(
        "trunk_calls_out",
        "Calls that went out by each trunk and last.",
        lambda: {name: float(state.calls_out) for name, state in trunks.items()},
        kind="gauge",
    )


def _load(load: Load) -> dict[str, int]:
    return {name: getattr(load, name) for name in LOAD}


def _floats(counts: Mapping[str, int]) -> dict[str, float]:
    return {name: float(value) for name, value in counts.items()}


class Sent:
    """Sums up what the engine gives since it was last asked: packets sent by lateness in steps of 0.1 ms."""

    def __init__(self, fresh: Callable[[], NDArray[np.int64]]) -> None:
        self._fresh = fresh
        self._all = np.zeros(0, np.int64)
        self._newest = np.zeros(0, np.int64)

    def _take(self) -> None:
        fresh = self._fresh()
        self._all = fresh + self._all if len(self._all) else fresh
        self._newest = fresh + self._newest if len(self._newest) else fresh

    def counts(self) -> dict[str, float]:
        """All packets so far, and those within some milliseconds."""
        self._take()
        return {"all": float(self._all.sum()), **{f"within {n / 10:g} ms": float(self._all[:n].sum()) for n in WITHIN}}

    def lateness_ms(self) -> dict[str, float]:
        """The 50th and 99th percentile since this was last asked; nothing where nothing was sent."""
        self._take()
        newest, self._newest = self._newest, np.zeros(0, np.int64)
        if not newest.sum():
            return {}
        share = np.cumsum(newest) / newest.sum()
        return {f"p{p}": (int(np.searchsorted(share, p / 100)) + 1) / 10 for p in (50, 99)}
