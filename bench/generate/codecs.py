"""Codecs of the generator: G.711 from the standard's formula, the others through PyAV, so that none is the engine's."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.02
PAYLOADS = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 111}
CLOCKS = {"PCMU": 8000, "PCMA": 8000, "G722": 8000, "opus": 48000}
"""RTP clock; G.722 counts at 8 kHz though it is sampled at 16 (RFC 3551 section 4.5.2)."""

Pcm = NDArray[np.int16]
Octets = NDArray[np.uint8]


@cache
def g711_values(name: str) -> NDArray[np.int16]:
    """The 256 values of ITU-T G.711's mu-law or A-law."""
    code = np.arange(256)
    if name == "PCMU":
        code = ~code & 0xFF
        value = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
        return np.where(code & 0x80, -value, value).astype(np.int16)
    code = code ^ 0x55
    mantissa, exponent = (code & 15) << 4, code >> 4 & 7
    value = np.where(exponent == 0, mantissa + 8, mantissa + 264 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value).astype(np.int16)


@cache
def g711_codes(name: str) -> Octets:
    """For each int16 (as uint16) the code of the nearest value."""
    values = g711_values(name).astype(int)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    pcm = np.arange(65536).astype(np.uint16).view(np.int16).astype(int)
    at = np.clip(np.searchsorted(ranked, pcm), 1, 255)
    at -= pcm - ranked[at - 1] < ranked[at] - pcm
    return order[at].astype(np.uint8)


def encode(name: str, pcm: Pcm) -> list[bytes]:
    """8 kHz samples as 20 ms payloads, going round: coders that remember begin as if the loop had just ended."""
    if name in ("PCMU", "PCMA"):
        codes = g711_codes(name)[pcm.view(np.uint16)]
        return [frame.tobytes() for frame in codes.reshape(-1, 160)]
    import av

    wide = resampled(pcm, {"G722": 16000, "opus": 48000}[name])
    coder: Any = av.CodecContext.create({"G722": "g722", "opus": "libopus"}[name], "w")
    coder.sample_rate = len(wide) * 8000 // len(pcm)
    coder.layout, coder.format = "mono", "s16"
    if name == "opus":
        coder.options = {"application": "voip", "frame_duration": "20"}
        coder.bit_rate = 24000
    size = int(coder.sample_rate * FRAME_S)
    found: list[bytes] = []
    for part in wide.reshape(-1, size):
        frame = av.AudioFrame.from_ndarray(part[None, :], format="s16", layout="mono")
        frame.sample_rate = coder.sample_rate
        found += [bytes(packet) for packet in coder.encode(frame)]
    found += [bytes(packet) for packet in coder.encode(None)]
    return found[: len(pcm) // 160]


def decode(name: str, payloads: list[bytes]) -> Pcm:
    """Back to 8 kHz, 160 samples a payload."""
    if name in ("PCMU", "PCMA"):
        return g711_values(name)[np.frombuffer(b"".join(payloads), np.uint8)]
    import av

    coder: Any = av.CodecContext.create({"G722": "g722", "opus": "libopus"}[name], "r")
    coder.sample_rate = {"G722": 16000, "opus": 48000}[name]
    coder.layout = "mono"
    if name == "opus":
        coder.format = "s16"
    parts = [frame.to_ndarray() for payload in payloads for frame in coder.decode(av.Packet(payload))]
    pcm = np.concatenate([part.reshape(-1) for part in parts])
    if pcm.dtype.kind == "f":
        pcm = np.clip(np.round(pcm * 32768), -32768, 32767).astype(np.int16)
    return resampled(pcm, 8000, coder.sample_rate)


def resampled(pcm: Pcm, rate: int, source: int = 8000) -> Pcm:
    """By the spectrum of the whole, which goes round: for preparing, never for timing."""
    if rate == source:
        return pcm
    n = len(pcm) * rate // source
    bins = np.fft.rfft(pcm.astype(float))
    spectrum = np.zeros(n // 2 + 1, complex)
    kept = min(len(bins), len(spectrum))
    spectrum[:kept] = bins[:kept]
    return np.clip(np.round(np.fft.irfft(spectrum, n) * n / len(pcm)), -32768, 32767).astype(np.int16)
