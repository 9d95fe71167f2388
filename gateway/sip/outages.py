"""Places that lately failed: tried last for a while, so that the next request need not wait for them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gateway.sip.place import Place

HELD_S = 60.0
LONGEST_S = 600.0
REMEMBERED = 1024
"""How long a place is passed over, at most where it asks for longer itself (Retry-After), and how many are kept."""

_Key = tuple[str, int, str]


class Outages:
    """Pure: `now` in monotonic seconds is handed in. A place that fails is never given up for good: where there is no
    other it is tried all the same."""

    def __init__(self) -> None:
        self._until: OrderedDict[_Key, float] = OrderedDict()

    def failed(self, place: Place, now: float, retry_after: float | None = None) -> None:
        """It did not answer, could not be reached, or said 503, with Retry-After (seconds) or without."""
        key = place[:3]
        self._until[key] = now + (HELD_S if retry_after is None else min(max(retry_after, 1.0), LONGEST_S))
        self._until.move_to_end(key)
        while len(self._until) > REMEMBERED:
            self._until.popitem(last=False)

    def answered(self, place: Place) -> None:
        """It is there again."""
        if self._until:
            self._until.pop(place[:3], None)

    def down(self, place: Place, now: float) -> bool:
        """Whether it is passed over now."""
        until = self._until.get(place[:3])
        return until is not None and until > now

    def split(self, places: Iterable[Place], now: float) -> tuple[list[Place], list[Place]]:
        """Those to try first, and those that failed of late, each in the order they came."""
        up: list[Place] = []
        down: list[Place] = []
        for place in places:
            (down if self.down(place, now) else up).append(place)
        return up, down

    def __len__(self) -> int:
        return len(self._until)
