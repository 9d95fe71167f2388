"""The intake in plain Python: packets in a dictionary, decoded by the codecs of `native.codec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

HELD, LARGEST, ROOM = 16, 1500, 1920


class IntakeQueue:
    """As `native.intake.IntakeQueue`. `decoder` makes a codec's decoder (`decode`, `missing`) by name."""

    def __init__(self, decoder: Callable[[str], Any]) -> None:
        self.make, self.decoder, self.codec = decoder, None, ""
        self.garbage = self.recovered = 0
        self.restart()

    def restart(self) -> None:
        self.held: dict[int, tuple[int, str, bytes, bool]] = {}
        self.following: int | None = None
        self.due: int | None = None
        self.span = 0

    def reset(self) -> None:
        self.decoder, self.codec = None, ""
        self.restart()

    def put(self, seq: int, stamp: int, codec: str, data: bytes = b"", marker: bool = False) -> bool:
        if len(data) > LARGEST or (codec and not data):
            return False
        if self.following is None:
            self.following = seq
        if seq < self.following or seq in self.held:
            return False
        if seq - self.following >= HELD:
            self.held = {k: v for k, v in self.held.items() if k > seq - HELD}
            self.following = min(self.held, default=seq)
        self.held[seq] = (stamp, codec, data, marker)
        return True

    def fill(self) -> tuple[int, bool, Pcm] | None:
        """The gap before the oldest packet, as far as the codec makes it up."""
        assert self.following is not None
        seq = min(self.held)
        stamp, codec, data, _ = self.held[seq]
        lost, self.following = seq - self.following, seq
        if self.due is None or not codec or codec != self.codec or stamp <= self.due:
            return None
        samples = min(stamp - self.due, lost * self.span)
        made = self.decoder.missing(samples if samples <= ROOM else self.span, data)
        self.recovered += len(made)
        return (stamp - len(made), False, made) if len(made) else None

    def next(self, force: bool = False) -> tuple[int, bool, Pcm] | None:
        while self.held:
            if self.following not in self.held:
                if not force:
                    return None
                if (made := self.fill()) is not None:
                    return made
            assert self.following is not None
            stamp, codec, data, marker = self.held.pop(self.following)
            self.following += 1
            if not codec:
                continue
            if codec != self.codec:
                self.decoder, self.codec = self.make(codec), codec
            try:
                pcm = self.decoder.decode(data)
            except ValueError:
                self.garbage += 1
                continue
            self.span, self.due = len(pcm), stamp + len(pcm)
            return stamp, marker, pcm
        return None
