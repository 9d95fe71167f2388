"""G.711 in plain numpy, from the tables of the recommendation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


def mu_levels() -> NDArray[np.int64]:
    """Decoder output of the 256 mu-law codes (ITU-T G.711 table 2, 14 bits, left-justified in 16)."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 15) * 2 + 33) * 2.0 ** (code >> 4 & 7) - 33) * 4
    return np.where(code & 0x80, -size, size).astype(np.int64)


def a_levels() -> NDArray[np.int64]:
    """Decoder output of the 256 A-law codes (ITU-T G.711 table 1, 13 bits, left-justified in 16)."""
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = np.where(segment == 0, step * 16 + 8, (step * 16 + 264) * 2.0 ** (segment - 1))
    return np.where(code & 0x80, size, -size).astype(np.int64)


def g711_decode(codes: NDArray[np.uint8], payload: int = 0) -> Pcm:
    return (a_levels() if payload == 8 else mu_levels())[codes].astype(np.int16)


def g711_encode(pcm: Pcm, payload: int = 0) -> NDArray[np.uint8]:
    """By decision values: the cell of a sample's magnitude among those of its sign (negative: one's complement)."""
    value = pcm.astype(np.int64)
    size = np.where(value < 0, ~value, value)
    if payload == 8:
        edges = np.concatenate([np.arange(16, 512, 16), *(np.arange(512, 1024, 32) << s for s in range(6))])[:127]
        cell = np.searchsorted(edges, size, side="right")
        return ((cell | np.where(value < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    bounds = np.concatenate([((np.arange(32, 64, 2) << s) - 33) * 4 for s in range(8)])[1:]
    cell = np.searchsorted(bounds, size, side="right")
    return (~(cell | np.where(value < 0, 0x80, 0)) & 0xFF).astype(np.uint8)
