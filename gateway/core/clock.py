"""Time as a value. Pure code takes a `Moment`; only the edge owns a `Clock`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant: `mono` in seconds on a clock that never jumps (for durations), `utc` for people and records."""

    mono: float
    utc: datetime

    def plus(self, seconds: float) -> Moment:
        """The instant `seconds` later."""
        return Moment(self.mono + seconds, self.utc + timedelta(seconds=seconds))


class Clock(Protocol):
    """Where the edge gets its Moments from."""

    def now(self) -> Moment: ...


class SystemClock:
    """CLOCK_MONOTONIC beside UTC."""

    def now(self) -> Moment:
        return Moment(time.monotonic(), datetime.now(UTC))


class FakeClock:
    """A clock that stands still until `advance` is called; for tests and simulation."""

    def __init__(self, mono: float = 1000.0, utc: datetime = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)) -> None:
        self.moment = Moment(mono, utc)

    def now(self) -> Moment:
        return self.moment

    def advance(self, seconds: float) -> Moment:
        """Move on by `seconds` and give the new Moment."""
        self.moment = self.moment.plus(seconds)
        return self.moment
