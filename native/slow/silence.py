"""Comfort noise out (RFC 3389): while nothing is said, its level now and then in place of packets."""

from __future__ import annotations

import numpy as np

from native.slow.rates import Pcm

SILENT = 16.0
"""RMS below which a frame is silence: about -60 dBm0."""

HANGOVER, EVERY = 10, 25
"""Frames: of silence before it is sent as such; between two packets of it."""


class Silence:
    def __init__(self) -> None:
        self.frames = 0

    def hear(self, pcm: Pcm) -> bytes | None:
        """What to send for this frame: a payload of comfort noise, nothing (b""), or (None) the frame itself."""
        rms = float(np.sqrt(np.mean(pcm.astype(float) ** 2)))
        self.frames = self.frames + 1 if rms < SILENT else 0
        since = self.frames - HANGOVER
        if since < 0:
            return None
        return bytes([noise_level(rms)]) if since % EVERY == 0 else b""


def noise_level(rms: float) -> int:
    """0 to 127, in dB below the loudest (RFC 3389 section 3.1)."""
    return int(np.clip(round(-20 * np.log10(max(rms, 1e-9) / 32768)), 0, 127))
