"""A phone for tests: a real UDP socket that speaks RTP in step with the engine's packets."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

import native
from native import kernels

SILENCE = np.zeros(160, np.int16)


@dataclass
class Packet:
    """One RTP packet as it was received; `at` in CLOCK_MONOTONIC nanoseconds."""

    payload: int
    marker: bool
    seq: int
    stamp: int
    ssrc: int
    data: bytes
    at: int

    @classmethod
    def read(cls, octets: bytes) -> Packet:
        parsed = kernels.parse_rtp(octets)
        assert parsed is not None
        payload, marker, seq, stamp, ssrc, at, size = parsed
        return cls(payload, marker, seq, stamp, ssrc, octets[at : at + size], time.monotonic_ns())

    def pcm(self) -> np.ndarray:
        return kernels.g711_decode(np.frombuffer(self.data, np.uint8), self.payload)


class Phone:
    """Opens a leg of `engine` and is the far end of it."""

    def __init__(self, engine: native.Engine, payload: int = 0, signal: bool = True, ssrc: int = 0xBEEF) -> None:
        self.engine, self.payload, self.ssrc = engine, payload, ssrc
        self.leg, self.port = engine.open_leg("127.0.0.1")
        self.socket = self.bind()
        self.seq, self.stamp = 65000, 2**32 - 4000
        self.got: list[Packet] = []
        if signal:
            engine.set_remote(self.leg, "127.0.0.1", self.socket.getsockname()[1], payload, 101)

    def bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        return sock

    def packet(self, data: bytes, payload: int | None = None, marker: bool = False) -> bytes:
        """The next packet; takes its sequence number and 160 samples of time."""
        payload = self.payload if payload is None else payload
        head = struct.pack("!BBHII", 0x80, 0x80 * marker | payload, self.seq, self.stamp, self.ssrc)
        self.seq, self.stamp = (self.seq + 1) & 0xFFFF, (self.stamp + 160) % 2**32
        return head + data

    def audio(self, pcm: np.ndarray) -> bytes:
        return self.packet(kernels.g711_encode(np.ascontiguousarray(pcm, np.int16), self.payload).tobytes())

    def send(self, octets: bytes) -> None:
        self.socket.sendto(octets, ("127.0.0.1", self.port))

    def receive(self) -> Packet:
        self.got.append(Packet.read(self.socket.recv(2048)))
        return self.got[-1]

    def talk(self, pcm: np.ndarray) -> list[Packet]:
        """Says `pcm` (whole frames), one frame for each packet that arrives."""
        received = []
        for frame in pcm.reshape(-1, 160):
            received.append(self.receive())
            self.send(self.audio(frame))
        return received

    def hear(self, frames: int) -> np.ndarray:
        """Says silence; gives what was heard, (frames, 160)."""
        return np.stack([p.pcm() for p in self.talk(np.zeros(frames * 160, np.int16))])

    def close(self) -> None:
        self.socket.close()


def wait_for(
    engine: native.Engine, kinds: Iterable[int], until: Callable[[], bool] = lambda: False
) -> list[tuple[int, ...]]:
    """Events up to and with the first of one of `kinds`; fails after 5 s."""
    seen: list[tuple[int, ...]] = []
    end = time.monotonic() + 5
    while time.monotonic() < end:
        seen += engine.events()
        if any(e[0] in kinds for e in seen) or until():
            return seen
        time.sleep(0.005)
    raise AssertionError(f"none of {set(kinds)} in {seen}")


def tone(hertz: float, frames: int, size: float = 8000) -> np.ndarray:
    return np.round(size * np.sin(2 * np.pi * hertz * np.arange(frames * 160) / 8000)).astype(np.int16)


def pitch_of(pcm: np.ndarray, rate: int = 8000) -> float:
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)), 4 * len(pcm)))
    return float(np.argmax(spectrum) * rate / (4 * len(pcm)))
