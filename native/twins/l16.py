"""L16 in plain numpy (RFC 3551 4.5.11): 16-bit samples in network byte order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def l16_encode(pcm: Pcm) -> bytes:
    return pcm.astype(">i2").tobytes()


def l16_decode(data: bytes) -> Pcm:
    """Raises ValueError for an odd number of octets."""
    return np.frombuffer(data, ">i2").astype(np.int16)
