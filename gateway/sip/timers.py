"""Alarms on a clock that is handed in: a heap of moments and what to do then."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

_SLACK = 64
"""Cancelled alarms that may stay in the heap whatever its size."""


class Alarm:
    """One alarm; `cancel` makes it never ring."""

    __slots__ = ("_timers", "at", "ring")

    def __init__(self, timers: Timers, at: float, ring: Callable[[], None]) -> None:
        self._timers = timers
        self.at = at
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        if self.ring is not None:
            self.ring = None
            self._timers.cancelled()


class Timers:
    """`at` sets an alarm for a moment in monotonic seconds; `fire` rings those that are due, in order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = count()
        self._dead = 0

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        alarm = Alarm(self, when, ring)
        heapq.heappush(self._heap, (when, next(self._order), alarm))
        return alarm

    def next(self) -> float | None:
        """When the next alarm rings, or None."""
        while self._heap and self._heap[0][2].ring is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> None:
        while (when := self.next()) is not None and when <= now:
            alarm = heapq.heappop(self._heap)[2]
            ring, alarm.ring = alarm.ring, None
            if ring:
                ring()

    def cancelled(self) -> None:
        """An alarm of ours was cancelled. The heap is built anew where such make up the better half of it, so that
        alarms set far ahead and cancelled soon never pile up."""
        self._dead += 1
        if self._dead > _SLACK and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].ring is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def __len__(self) -> int:
        """Alarms that will ring."""
        return len(self._heap) - self._dead
