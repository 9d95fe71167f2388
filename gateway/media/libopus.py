"""Opus (RFC 6716) through the libopus that `native.foreign` finds, for recordings. The bit rate is constant: a packet's
size tells nothing of what was said, and any packet can take another's place."""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import ModelMissing

FRAMES_A_SECOND = 50
"""Packets hold 20 ms."""

_VOIP = 2048
_SET_BITRATE, _SET_VBR, _SET_COMPLEXITY, _GET_LOOKAHEAD, _RESET = 4002, 4006, 4010, 4027, 4028
_ROOM = 1276


@functools.cache
def missing() -> str:
    """An empty string where Opus can be used, else why not and what to do."""
    return _foreign().find("opus")[1]  # type: ignore[no-any-return]


def _foreign() -> Any:
    """The table of C functions; who asks for recordings in another format does not need it."""
    return importlib.import_module("native.foreign")


@functools.cache
def _functions() -> dict[str, Callable[..., Any]]:
    foreign = _foreign()
    found, why = foreign.find("opus")
    if not found:
        raise ModelMissing("Opus can't be used.", read=why)
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = foreign.OPUS_SIGNATURES
    return {name: ctypes.CFUNCTYPE(result, *arguments)(found[name]) for name, (result, arguments) in signatures.items()}


class _State:
    """Memory of an encoder or a decoder, and libopus."""

    def __init__(self, kind: str, channels: int) -> None:
        self.call = _functions()
        self.memory = ctypes.create_string_buffer(self.call[f"opus_{kind}_get_size"](channels))


class Encoder(_State):
    """int16 at `rate` Hz to packets of `octets` each. `lookahead`: samples by which the decoded sound is late.
    Raises ModelMissing without libopus."""

    def __init__(self, rate: int, channels: int, octets: int, complexity: int) -> None:
        super().__init__("encoder", channels)
        self.octets = octets
        self._samples = rate // FRAMES_A_SECOND
        self._out = ctypes.create_string_buffer(_ROOM)
        lookahead = ctypes.c_int32()
        control = self.call["opus_encoder_ctl"]
        settings = ((_SET_BITRATE, octets * 8 * FRAMES_A_SECOND), (_SET_VBR, 0), (_SET_COMPLEXITY, complexity))
        refused = self.call["opus_encoder_init"](self.memory, rate, channels, _VOIP)
        for what, value in settings:
            refused = refused or control(self.memory, what, ctypes.c_int32(value))
        if refused or control(self.memory, _GET_LOOKAHEAD, ctypes.byref(lookahead)):
            raise ModelMissing("libopus refuses the recording's format.", read=f"{rate} Hz, {channels} channels")
        self.lookahead = lookahead.value

    def packet(self, pcm: bytes) -> bytes:
        """20 ms of interleaved int16."""
        size = self.call["opus_encode"](self.memory, pcm, self._samples, self._out, _ROOM)
        if size != self.octets:
            raise ValueError(f"libopus made {size} octets instead of {self.octets}")
        return self._out.raw[:size]

    def reset(self) -> None:
        """Forget what was said."""
        self.call["opus_encoder_ctl"](self.memory, _RESET)


class Decoder(_State):
    """Packets of up to 120 ms to int16 (n, channels) at `rate` Hz. Raises ModelMissing without libopus."""

    def __init__(self, rate: int, channels: int) -> None:
        super().__init__("decoder", channels)
        self._pcm = np.zeros((rate * 120 // 1000, channels), np.int16)
        if self.call["opus_decoder_init"](self.memory, rate, channels):
            raise ModelMissing("libopus refuses the recording's format.", read=f"{rate} Hz, {channels} channels")

    def sound(self, packet: bytes) -> NDArray[np.int16]:
        """Raises ValueError where the packet is damaged."""
        size = self.call["opus_decode"](
            self.memory, packet, len(packet), self._pcm.ctypes.data_as(ctypes.c_void_p), len(self._pcm), 0
        )
        if size < 0:
            raise ValueError(f"libopus refuses a packet: {size}")
        return self._pcm[:size].copy()
