"""A prompt as the engine holds it: once, for all legs that play it."""

from __future__ import annotations

from gateway.core.audio import WIRE_RATE


class Clip:
    """A sound that the engine plays from the caller's own array; freed with its last reference. `rate` in Hz: a leg of
    the other rate converts it as it plays."""

    __slots__ = ("__weakref__", "handle", "rate", "samples")

    def __init__(self, handle: int, samples: int, rate: int = WIRE_RATE) -> None:
        self.handle = handle
        self.samples = samples
        self.rate = rate

    @property
    def seconds(self) -> float:
        return self.samples / self.rate
