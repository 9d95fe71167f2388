"""The codecs of the reference engine, each direction an object with one method, and the table of their names."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from native import codec as kernel
from native import foreign
from native.slow.rates import Pcm
from native.twins import g711

LONGEST = 1920
"""Samples of the longest packet: 120 ms at 16 kHz."""


class Coder(Protocol):
    """Both directions of one stream."""

    def decode(self, data: bytes) -> Pcm | None:
        """The packet's samples, or None where it can't be read."""

    def missing(self, samples: int) -> Pcm | None:
        """What the codec itself makes of a lost packet; None where that is the jitter buffer's work."""

    def encode(self, pcm: Pcm) -> bytes: ...


class Plain:
    """A codec without state: two functions."""

    def __init__(self, decode: Callable[[bytes], Pcm], encode: Callable[[Pcm], bytes]) -> None:
        self._decode, self._encode = decode, encode

    def decode(self, data: bytes) -> Pcm | None:
        return self._decode(data)

    def missing(self, samples: int) -> Pcm | None:
        return None

    def encode(self, pcm: Pcm) -> bytes:
        return self._encode(pcm)


def _g711(payload: int) -> Coder:
    return Plain(
        lambda data: g711.g711_decode(np.frombuffer(data, np.uint8), payload),
        lambda pcm: g711.g711_encode(pcm, payload).tobytes(),
    )


def _l16() -> Coder:
    """RFC 3551 section 4.5.11: network byte order. Half a sample at the end is left out."""
    return Plain(
        lambda data: np.frombuffer(data[: len(data) & ~1], ">i2").astype(np.int16),
        lambda pcm: pcm.astype(">i2").tobytes(),
    )


def _loaded(file: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(file)
    except OSError:
        return None


@cache
def _libopus() -> ctypes.CDLL:
    library = next(filter(None, map(_loaded, foreign.opus_files())))
    library.opus_decoder_create.restype = library.opus_encoder_create.restype = ctypes.c_void_p
    library.opus_decode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.opus_encode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int32,
    ]
    library.opus_decoder_destroy.argtypes = library.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
    return library


class Opus:
    """RFC 6716 and RFC 7587, mono at 16 kHz."""

    RATE, VOIP = 16000, 2048

    def __init__(self) -> None:
        self.library, problem = _libopus(), ctypes.c_int()
        self.decoder = self.library.opus_decoder_create(self.RATE, 1, ctypes.byref(problem))
        self.encoder = self.library.opus_encoder_create(self.RATE, 1, self.VOIP, ctypes.byref(problem))

    def __del__(self) -> None:
        self.library.opus_decoder_destroy(self.decoder)
        self.library.opus_encoder_destroy(self.encoder)

    def decode(self, data: bytes | None, samples: int = LONGEST) -> Pcm | None:
        pcm: NDArray[np.int16] = np.zeros(samples, np.int16)
        n = self.library.opus_decode(self.decoder, data, len(data or b""), pcm.ctypes.data, samples, 0)
        return pcm[:n] if n >= 0 else None

    def missing(self, samples: int) -> Pcm | None:
        return self.decode(None, samples)

    def encode(self, pcm: Pcm) -> bytes:
        out = ctypes.create_string_buffer(1276)
        whole = np.ascontiguousarray(pcm)
        n = self.library.opus_encode(self.encoder, whole.ctypes.data, len(whole), out, len(out))
        return out.raw[: max(n, 0)]


class G722:
    """ITU-T G.722 at 64 kbit/s, by the kernel, which its own tests hold to the twin: the twin's sample by sample takes
    6 ms for 20 ms of both directions, too long for a few legs in real time."""

    def __init__(self) -> None:
        self.decoder, self.encoder = kernel.Decoder("G722"), kernel.Encoder("G722")

    def decode(self, data: bytes) -> Pcm | None:
        return np.asarray(self.decoder.decode(np.frombuffer(data, np.uint8))) if data else None

    def missing(self, samples: int) -> Pcm | None:
        return None

    def encode(self, pcm: Pcm) -> bytes:
        return bytes(self.encoder.encode(np.ascontiguousarray(pcm)))


@dataclass(frozen=True)
class Codec:
    """`clock`: of its RTP timestamps, Hz (RFC 3551: G.722's is 8000). `rate`: of its samples. `ordered`: it has state,
    so packets must be decoded in their order."""

    name: str
    clock: int
    rate: int
    make: Callable[[], Coder]
    ordered: bool = False


CODECS = {
    c.name: c
    for c in (
        Codec("PCMU", 8000, 8000, lambda: _g711(0)),
        Codec("PCMA", 8000, 8000, lambda: _g711(8)),
        Codec("G722", 8000, 16000, G722, ordered=True),
        Codec("L16/8000", 8000, 8000, _l16),
        Codec("L16/16000", 16000, 16000, _l16),
        Codec("opus", 48000, 16000, Opus, ordered=True),
    )
}

DEFAULT = {0: "PCMU", 8: "PCMA", 9: "G722"}


def agreed_codecs(names: Mapping[int, str]) -> dict[int, Codec]:
    """Codecs by payload type. Raises LookupError for one that is not in the table, or whose library is missing."""
    for name in names.values():
        if name not in CODECS:
            raise LookupError(f"codec {name!r} is none of {', '.join(CODECS)}")
        problem = kernel.available()[name]
        if problem:
            raise LookupError(problem)
    return {payload: CODECS[name] for payload, name in names.items()}
