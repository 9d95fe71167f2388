"""Where a caller's turn begins and ends, from the probability of speech in each window of 32 ms. Pure: time is counted
in samples.

A turn starts with enough voiced windows close together; sound in which none starts is a false alarm. It ends after
`silence_ms` of silence, or at `max_ms`, or shortly after `enough()` said that everything expected was heard. Early in
the silence `Peeked` lets the recognizer begin on what may be the whole turn; `Resumed` says that the caller went on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

RATE = 16000
WINDOW = 512
WINDOW_MS = 32


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations in milliseconds, rounded up to windows. `speech`, `silence`: probabilities at which a window counts as
    voiced and, once it did, as silent (hysteresis).

    `start_ms` of voiced windows within `start_within_ms` start a turn; `patience_ms` of sound without one is a false
    alarm.
    """

    silence_ms: int = 600
    max_ms: int = 12000
    start_ms: int = 96
    start_within_ms: int = 192
    patience_ms: int = 1000
    peek_ms: int = 224
    enough_ms: int = 160
    speech: float = 0.5
    silence: float = 0.35


@dataclass(frozen=True, slots=True)
class Started:
    """The caller speaks, since sample `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """What opened the gate was not speech."""

    at: int


@dataclass(frozen=True, slots=True)
class Peeked:
    """The turn may be over: its speech ended at sample `ended`; `at` samples were seen."""

    at: int
    ended: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The caller went on after a Peeked."""

    at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over: speech from sample `started` to `ended`, decided at sample `at`."""

    at: int
    started: int
    ended: int
    why: Literal["silence", "enough", "too long"]


Event = Started | Dropped | Peeked | Resumed | Ended


class Endpoint:
    """One turn. After Dropped or Ended it is `over` and gives no more events."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.over = False
        self.voiced = 0
        """Windows of speech so far."""
        self._count = 0
        self._voice = False
        self._recent: deque[bool] = deque(maxlen=windows(rules.start_within_ms))
        self._started: int | None = None
        self._last_voiced = 0
        self._peeked = False
        self._enough = False

    @property
    def started(self) -> bool:
        return self._started is not None

    @property
    def voiced_ms(self) -> int:
        return self.voiced * WINDOW_MS

    def enough(self) -> None:
        """Everything expected (such as eight digits) was heard: the next short silence ends the turn."""
        self._enough = True

    def silent_since(self, sample: int) -> None:
        """What decided that windows are voiced noticed late that they were not, from `sample` on."""
        if not self.started or self.over:
            return
        last = max(sample // WINDOW, (self._started or 0) // WINDOW + 1)
        if last < self._last_voiced:
            self.voiced -= min(self._last_voiced - last, self.voiced - 1)
            self._last_voiced = last
        self._voice = False

    def step(self, probability: float) -> list[Event]:
        """Take the next window's probability of speech; what it leads to, in order."""
        if self.over:
            return []
        self._count += 1
        self._voice = probability >= (self.rules.silence if self._voice else self.rules.speech)
        if self._voice:
            self.voiced += 1
            self._last_voiced = self._count
        return self._in_turn() if self.started else self._before()

    def _before(self) -> list[Event]:
        self._recent.append(self._voice)
        if sum(self._recent) >= windows(self.rules.start_ms):
            first = self._count - len(self._recent) + self._recent.index(True)
            self._started = first * WINDOW
            return [Started(self._started)]
        if not self._voice and self._count - self._last_voiced >= windows(self.rules.patience_ms):
            self.over = True
            return [Dropped(self._count * WINDOW)]
        return []

    def _in_turn(self) -> list[Event]:
        rules, now = self.rules, self._count * WINDOW
        events: list[Event] = []
        silent = self._count - self._last_voiced
        if self._voice and self._peeked:
            self._peeked = False
            events.append(Resumed(now))
        if silent and silent >= windows(rules.silence_ms):
            events.append(self._end("silence"))
        elif silent and self._enough and silent >= windows(rules.enough_ms):
            events.append(self._end("enough"))
        elif now - (self._started or 0) >= rules.max_ms * RATE // 1000:
            events.append(self._end("too long"))
        elif not self._peeked and silent and silent >= windows(rules.peek_ms):
            self._peeked = True
            events.append(Peeked(now, self._last_voiced * WINDOW))
        return events

    def _end(self, why: Literal["silence", "enough", "too long"]) -> Ended:
        self.over = True
        return Ended(self._count * WINDOW, self._started or 0, self._last_voiced * WINDOW, why)


def windows(ms: int) -> int:
    """Windows that last `ms` milliseconds at least."""
    return max(1, -(-ms // WINDOW_MS))
