"""Who sits where in a room and who hears whom, as the commanding thread knows it. The engine gets masks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SEATS = 16
"""Members a room may have."""


@dataclass
class Seating:
    """`seats`: leg by seat, None where it is free; `heard_by`: the legs that hear a member, where not all do;
    `links`: where a leg is on another thread, the address of its way to the room."""

    seats: list[int | None] = field(default_factory=lambda: [None] * SEATS)
    heard_by: dict[int, frozenset[int]] = field(default_factory=dict)
    links: dict[int, int] = field(default_factory=dict)

    @property
    def legs(self) -> list[int]:
        return [leg for leg in self.seats if leg is not None]

    @property
    def full(self) -> bool:
        return None not in self.seats

    def seat(self, leg: int, heard_by: Iterable[int] | None) -> int:
        """The seat of a leg, a free one where it has none yet. Raises ValueError where the room is full."""
        if leg not in self.seats:
            if None not in self.seats:
                raise ValueError(f"the room has {SEATS} members already")
            self.seats[self.seats.index(None)] = leg
        self.heard_by.pop(leg, None)
        if heard_by is not None:
            self.heard_by[leg] = frozenset(heard_by)
        return self.seats.index(leg)

    def stand(self, leg: int) -> int:
        """The seat that is free now."""
        at = self.seats.index(leg)
        self.seats[at] = None
        self.heard_by.pop(leg, None)
        return at

    def masks(self) -> list[int]:
        """For each seat, which seats it hears: bit k for seat k, never its own."""
        found = [0] * SEATS
        for k, speaker in enumerate(self.seats):
            if speaker is None:
                continue
            allowed = self.heard_by.get(speaker)
            for j, listener in enumerate(self.seats):
                if j != k and listener is not None and (allowed is None or listener in allowed):
                    found[j] |= 1 << k
        return found
