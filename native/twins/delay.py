"""Relative delays of packets and the playout delay they ask for, in numpy."""

from __future__ import annotations

import numpy as np

BINS, FORGET, PERCENTILE, HEAVIEST, PRIOR = 78, 0.995, 0.98, 1e6, 4


class Delay:
    """Times in samples at `rate`; `target` is the delay that is enough."""

    def __init__(self, rate: int) -> None:
        self.rate, self.unit = rate, rate // 200
        self.known, self.base, self.count, self.last = False, 0, 0, 0
        self.weight, self.share = 1.0, np.zeros(BINS)
        self.share[1] = self.total = PRIOR
        self.level, self.target = 1, 3 * self.unit

    def rebase(self, transit: int, t: int) -> None:
        """`transit` is the fastest from now on."""
        self.known = True
        self.least = self.before = self.base = transit
        self.since = self.last = t
        self.count = 0

    def follow(self, transit: int, t: int) -> None:
        """The fastest transit of two windows of 2 s (and 50 packets) each."""
        if not self.known or t - self.last > 4 * self.rate:
            self.rebase(transit, t)
        elif self.count >= 50 and t - self.since >= 2 * self.rate:
            self.before, self.least, self.since, self.count = self.least, transit, t, 0
            self.raise_base(min(self.before, transit))
        elif transit < self.least:
            self.least = transit
            self.base = min(self.base, transit)
        self.last = t
        self.count += 1

    def raise_base(self, base: int) -> None:
        """The fastest packets are slower now: delays measured from them are less, by whole bins."""
        bins, self.base = (base - self.base) // self.unit, base
        if bins > 0:
            bins = min(bins, BINS - 1)
            near = 0.0
            for share in self.share[: bins + 1]:
                near += share
            self.share = np.concatenate([[near], self.share[bins + 1 :], np.zeros(bins)])
            self.settle()

    def settle(self) -> None:
        """The bin with the percentile."""
        reached = np.cumsum(self.share) >= PERCENTILE * self.total
        self.level = int(np.argmax(reached)) if reached.any() else BINS - 1
        self.target = (self.level + 2) * self.unit

    def packet(self, s: int, t: int, late: bool) -> None:
        """A packet with timestamp s came at t; it counts for the time since the one before it, 20 ms at most."""
        tick = 4 * self.unit
        apart = min(max(t - self.last, tick // 8), tick)
        self.follow(t - s, t)
        bin_ = min((t - s - self.base) // self.unit, BINS - 1)
        self.weight /= FORGET
        weight = self.weight * apart / tick * (2 if late else 1)
        self.share[bin_] += weight
        self.total += weight
        if self.weight > HEAVIEST:
            self.share /= self.weight
            self.total /= self.weight
            self.weight = 1.0
        if bin_ > self.level or self.count % 8 == 0:
            self.settle()
