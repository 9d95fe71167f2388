"""A far end for tests: sends and keeps real RTP over UDP on loopback (RFC 3550, RFC 3551 PCMU, RFC 4733)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FRAME = 160
DTMF = 101
KEYS = "0123456789*#ABCD"


def mu_decode(code: bytes) -> NDArray[np.int16]:
    """PCMU bytes as int16 (ITU-T G.711)."""
    u = ~np.frombuffer(code, np.uint8)
    size = (((u & 15).astype(np.int32) << 3) + 132 << (u >> 4 & 7).astype(np.int32)) - 132
    return np.where(u & 0x80, -size, size).astype(np.int16)


ALL = mu_decode(bytes(range(256))).astype(np.int32)
ORDER = np.argsort(ALL, kind="stable")


def mu_encode(pcm: NDArray[np.int16]) -> bytes:
    """int16 as PCMU bytes: the nearest code."""
    values = ALL[ORDER]
    at = np.clip(np.searchsorted(values, pcm), 1, 255)
    nearer = np.where(pcm - values[at - 1] <= values[at] - pcm, at - 1, at)
    return ORDER[nearer].astype(np.uint8).tobytes()


class Peer(asyncio.DatagramProtocol):
    """Bound to loopback; `heard` is everything that came, in order."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._seq, self._stamp = 7, 1600

    @classmethod
    async def open(cls) -> Peer:
        _, peer = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        return peer

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.packets.append(data)

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    @property
    def heard(self) -> NDArray[np.int16]:
        """The sound of the PCMU packets so far, 8 kHz."""
        return mu_decode(b"".join(p[12:] for p in self.packets if p[1] & 0x7F == 0))

    @property
    def keys(self) -> str:
        """Keys that came as RFC 4733 events, each once."""
        stamps: dict[bytes, str] = {}
        for packet in self.packets:
            if packet[1] & 0x7F == DTMF:
                stamps.setdefault(packet[4:8], KEYS[packet[12]])
        return "".join(stamps.values())

    def send(self, port: int, payload: int, body: bytes, stamp: int, mark: bool = False) -> None:
        assert self.transport is not None
        head = struct.pack("!BBHII", 0x80, payload | mark << 7, self._seq & 0xFFFF, stamp & 0xFFFFFFFF, 0xABCD1234)
        self.transport.sendto(head + body, ("127.0.0.1", port))
        self._seq += 1

    async def speak(self, port: int, pcm: NDArray[np.int16]) -> None:
        """Send 8 kHz sound in real time."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for i in range(0, len(pcm) - FRAME + 1, FRAME):
            self.send(port, 0, mu_encode(pcm[i : i + FRAME]), self._stamp)
            self._stamp += FRAME
            await asyncio.sleep(max(start + (i + FRAME) / 8000 - loop.time(), 0))

    def press(self, port: int, key: str, ms: int = 100) -> None:
        """One key: its packets and three ends, at once."""
        stamp = self._stamp
        for step in range(1, ms // 20 + 1):
            self.send(port, DTMF, struct.pack("!BBH", KEYS.index(key), 10, step * FRAME), stamp, mark=step == 1)
        for _ in range(3):
            self.send(port, DTMF, struct.pack("!BBH", KEYS.index(key), 0x80 | 10, ms * 8), stamp)
        self._stamp += ms * 8

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to become so; fails by name when it does not."""
    for _ in range(int(seconds * 100)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not so within {seconds} s")


def tone(hz: float, seconds: float, level: float = 0.2) -> NDArray[np.int16]:
    """A sine, 8 kHz."""
    return (level * 32767 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 8000)) / 8000)).astype(np.int16)


def strength(pcm: NDArray[np.int16], hz: float) -> float:
    """How much of the sound's energy lies within 10 Hz of `hz`, 0..1."""
    x = pcm.astype(np.float64)
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    at = np.fft.rfftfreq(len(x), 1 / 8000)
    return float(power[np.abs(at - hz) < 10].sum() / max(power.sum(), 1e-9))
