"""Who hears whom. A frame goes once to each that hears its speaker at the moment it is said."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from native.slow.rates import Pcm, Stream, saturate

MOST = 16


@dataclass
class Room:
    """`heard_by`: for each member the handles that hear it; None stands for all."""

    number: int
    heard_by: dict[int, frozenset[int] | None] = field(default_factory=dict)

    def listeners(self, speaker: int) -> list[int]:
        """Those that hear `speaker`."""
        only = self.heard_by[speaker]
        return [k for k in self.heard_by if k != speaker and (only is None or k in only)]


class Rooms:
    """Which leg is in which room, as the thread that commands knows it. A room ends with its last member."""

    def __init__(self) -> None:
        self.open: dict[int, Room] = {}
        self.of: dict[int, int] = {}
        self.last = 0

    def new(self) -> int:
        self.last += 1
        self.open[self.last] = Room(self.last)
        return self.last

    def members(self, room: int | None) -> list[int]:
        return [leg for leg, there in self.of.items() if there == room]

    def enter(self, room: int, leg: int) -> Room:
        """Raises LookupError where there is no such room, or no place in it."""
        if room not in self.open:
            raise LookupError(f"room {room} is not open")
        if len(set(self.members(room)) | {leg}) > MOST:
            raise LookupError(f"a room holds at most {MOST} legs")
        if self.of.get(leg) != room:
            self.leave(leg)
        self.of[leg] = room
        return self.open[room]

    def leave(self, leg: int) -> None:
        room = self.of.pop(leg, None)
        if room is not None and not self.members(room):
            del self.open[room]

    def clear(self) -> None:
        self.open.clear()
        self.of.clear()


@dataclass
class Line:
    """Frames of one speaker on their way to one listener."""

    stream: Stream
    frames: deque[Pcm] = field(default_factory=deque)
    idle: int = 0


class Inbox:
    """What waits for one listener; what was said before a speaker left is still heard."""

    DEEP = 3

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}

    def put(self, speaker: int, frame: Pcm, given: int, wanted: int) -> None:
        """`given`, `wanted`: rates of the speaker and of the listener, Hz."""
        line = self.lines.get(speaker)
        if line is None or (line.stream.given, line.stream.wanted) != (given, wanted):
            line = self.lines[speaker] = Line(Stream(given, wanted))
        line.frames.append(line.stream(frame))
        if len(line.frames) > self.DEEP:
            line.frames.popleft()

    def take(self, samples: int) -> Pcm:
        """One frame of everybody who said something, together. Who is silent for a second is forgotten."""
        said: list[Pcm] = []
        for line in self.lines.values():
            line.idle = 0 if line.frames else line.idle + 1
            said += [line.frames.popleft()] if line.frames else []
        self.lines = {k: line for k, line in self.lines.items() if line.idle < 50}
        return saturate(np.sum(said, axis=0, dtype=np.int64)) if said else np.zeros(samples, np.int16)
