"""Prompts a leg plays: items follow each other without a gap; a token is one `play`, begun once and ended once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from native.slow.rates import Pcm, resampled

LISTED = 64


@dataclass
class Prompt:
    """Held by reference: all legs play the same samples."""

    pcm: Pcm
    rate: int
    users: int = 0
    freed: bool = False  # for those who would play it
    doomed: bool = False  # for the loop: it goes with its last user
    _other: Pcm | None = field(default=None, repr=False)

    @property
    def gone(self) -> bool:
        return self.doomed and self.users == 0

    def at_rate(self, rate: int) -> Pcm:
        if rate == self.rate:
            return self.pcm
        if self._other is None:
            self._other = resampled(self.pcm, self.rate, rate)
        return self._other


@dataclass(frozen=True)
class Manner:
    """How a token is played."""

    loop: bool = False
    barge_in: bool = False
    keys_stop: bool = False
    over: bool = False


@dataclass
class Turn:
    """One token and its prompts."""

    token: int
    prompts: list[Prompt]
    manner: Manner


class Playout:
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.item = self.at = self.muted_frames = 0
        self.announced = self.muted = False
        self.begun: list[int] = []
        self.ended: list[int] = []

    @property
    def now(self) -> Turn | None:
        return self.turns[0] if self.turns else None

    def add(self, turn: Turn) -> bool:
        """False where the list has no room."""
        if sum(len(t.prompts) for t in self.turns) + len(turn.prompts) > LISTED:
            return False
        for prompt in turn.prompts:
            prompt.users += 1
        self.turns.append(turn)
        return True

    def end(self) -> None:
        """The token that plays is over."""
        turn = self.turns.pop(0)
        for prompt in turn.prompts:
            prompt.users -= 1
        self.ended.append(turn.token)
        self.item = self.at = 0
        self.announced = False

    def clear(self) -> None:
        while self.turns:
            self.end()
        self.muted = False

    def stop_by_key(self) -> None:
        """Tokens at the head of the list that a key stops end."""
        while self.turns and self.turns[0].manner.keys_stop:
            self.end()
        self.muted = self.muted and bool(self.turns)

    def take(self, rate: int) -> Pcm | None:
        """The next 20 ms, with silence after the list's end. None when there is nothing to play, or it is muted."""
        if not self.turns:
            return None
        if self.muted:
            self.muted_frames += 1
            return None
        wanted = rate // 50
        parts: list[Pcm] = []
        while sum(map(len, parts)) < wanted and self.turns:
            parts.append(self.piece(wanted - sum(map(len, parts)), rate))
        out = np.zeros(wanted, np.int16)
        played = np.concatenate(parts)
        out[: len(played)] = played
        return out

    def piece(self, room: int, rate: int) -> Pcm:
        turn = self.turns[0]
        if not self.announced:
            self.announced = True
            self.begun.append(turn.token)
        pcm = turn.prompts[self.item].at_rate(rate)
        part = pcm[self.at : self.at + room]
        self.at += len(part)
        if self.at >= len(pcm):
            self.at = 0
            self.item += 1
        if self.item == len(turn.prompts):
            if turn.manner.loop and len(self.turns) == 1:
                self.item = 0
            else:
                self.end()
        return part
