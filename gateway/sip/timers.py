"""Alarms on a clock that is handed in: a heap of moments and what to do then."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Alarm:
    """One alarm; `cancel` makes it never ring."""

    __slots__ = ("at", "ring")

    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        self.ring = None


class Timers:
    """`at` sets an alarm for a moment in monotonic seconds; `fire` rings those that are due, in order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = count()

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        alarm = Alarm(when, ring)
        heapq.heappush(self._heap, (when, next(self._order), alarm))
        return alarm

    def next(self) -> float | None:
        """When the next alarm rings, or None."""
        while self._heap and self._heap[0][2].ring is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> None:
        while (when := self.next()) is not None and when <= now:
            alarm = heapq.heappop(self._heap)[2]
            ring, alarm.ring = alarm.ring, None
            if ring:
                ring()

    def __len__(self) -> int:
        """Alarms that will ring."""
        return sum(1 for _, _, alarm in self._heap if alarm.ring)
