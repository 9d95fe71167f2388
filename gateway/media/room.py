"""Legs that hear each other: two in conversation, a conference of up to sixteen, and a supervisor who listens in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.media.engine import MediaEngine
    from gateway.media.leg import Leg


class Room:
    """`members` in the order they came. A leg is in one room at a time; one that joins elsewhere leaves. Who is heard
    by whom may change at any moment without a frame lost. Every method raises MediaError where the engine refuses."""

    def __init__(self, engine: MediaEngine) -> None:
        self._engine = engine
        self.number = int(engine.do("open_room"))
        self.members: list[Leg] = []

    def join(self, leg: Leg, heard_by: Iterable[Leg] | None = None) -> None:
        """The leg hears everybody, and all of them (None) or those named hear it."""
        listeners = None if heard_by is None else [listener.handle for listener in heard_by]
        if leg.room is not None and leg.room is not self:
            leg.room.leave(leg)
        self._engine.do("join", self.number, leg.handle, listeners)
        leg.room = self
        if leg not in self.members:
            self.members.append(leg)

    def leave(self, leg: Leg) -> None:
        """The others go on."""
        if leg.room is self:
            self._engine.do("leave", leg.handle)
            self.members.remove(leg)
            leg.room = None

    def monitor(self, leg: Leg) -> None:
        """The leg hears everybody and nobody hears it."""
        self.join(leg, ())

    def whisper(self, leg: Leg, to: Leg) -> None:
        """The leg hears everybody and one member alone hears it."""
        self.join(leg, (to,))

    def barge(self, leg: Leg) -> None:
        """The leg is a member like all others."""
        self.join(leg)

    def close(self) -> None:
        """Everybody leaves."""
        for leg in list(self.members):
            self.leave(leg)
