"""Symmetric RTP: where a leg's packets come from, and so where its own go."""

from __future__ import annotations

from dataclasses import dataclass

Address = tuple[str, int]

IN_A_ROW = 3
"""Valid packets that make a new source the one."""

LOOSE_NS = 1_000_000_000
"""What comes from where the peer was before it said another address does not count for so long."""

MOVED_NS = 5_000_000_000
"""A latched source silent this long may be replaced."""


@dataclass
class Latch:
    """`to`: where packets go: the signalled address, or the one that was learnt."""

    to: Address | None = None
    signalled: Address | None = None
    former: Address | None = None
    done: Address | None = None
    candidate: tuple[Address, int, int] | None = None
    in_a_row: int = 0

    def signal(self, address: Address) -> None:
        """The far end said where it is; what was learnt is kept where it says the same again."""
        if address != self.signalled:
            self.former = self.done or self.former
            self.to, self.done, self.candidate, self.in_a_row = address, None, None, 0
        self.signalled = address

    def packet(self, source: Address, ssrc: int, seq: int, silent_ns: int) -> tuple[bool, bool]:
        """(whether a packet from `source` is this leg's, whether its address is new)."""
        if source == self.done:
            self.in_a_row = 0
            return True, False
        said = source == self.signalled
        if self.done is not None and silent_ns < MOVED_NS and not said:
            return False, False
        if self.done is None and silent_ns < LOOSE_NS and source == self.former and not said:
            return False, False
        self.in_a_row = self.in_a_row + 1 if self.candidate == (source, ssrc, seq) else 1
        self.candidate = (source, ssrc, (seq + 1) & 0xFFFF)
        if said or self.in_a_row >= IN_A_ROW:
            self.to = self.done = source
            self.in_a_row = 0
            return True, True
        return self.done is None, False  # nothing better is known: it is heard, but not yet answered
