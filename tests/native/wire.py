"""A phone for tests: a real UDP socket that speaks RTP in step with the engine's packets."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import native
from native import codec as codecs
from native import kernels

SILENCE = np.zeros(160, np.int16)
STATIC = {0: "PCMU", 8: "PCMA", 9: "G722"}


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
    """Opens a leg of `engine` and is the far end of it; `agreed` goes to `set_remote`.

    `codec`: a name of native.codec where `payload` is not a static type; what is said and heard has its `rate`.
    """

    def __init__(
        self,
        engine: native.Engine,
        payload: int = 0,
        signal: bool = True,
        ssrc: int = 0xBEEF,
        *,
        codec: str = "",
        ip: str = "127.0.0.1",
        dtmf: int = 101,
        near: int | None = None,
        **agreed: Any,
    ) -> None:
        self.engine, self.payload, self.ssrc, self.ip = engine, payload, ssrc, ip
        self.name = codec or STATIC[payload]
        self.seal = self.unseal = self.seal_control = self.unseal_control = bytes
        self.use(payload, self.name)
        self.leg, self.port = engine.open_leg(ip) if near is None else engine.open_leg(ip, 0, near)
        self.socket = self.bind()
        self.seq, self.stamp = 65000, 2**32 - 4000
        self.said_at = 0.0
        self.got: list[Packet] = []
        if codec:
            agreed["codecs"] = {**STATIC, payload: codec}
        if signal:
            engine.set_remote(self.leg, ip, self.address[1], payload, dtmf, **agreed)

    def use(self, payload: int, name: str) -> None:
        """Says what follows by this codec."""
        self.payload = payload
        self.encoder, self.decoder = codecs.Encoder(name), codecs.Decoder(name)
        self.rate, self.frame, self.step = self.encoder.rate, self.encoder.rate // 50, self.encoder.clock // 50

    @property
    def address(self) -> tuple[str, int]:
        return self.socket.getsockname()[:2]

    def bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self.ip else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((self.ip, 0))
        sock.settimeout(5)
        return sock

    def packet(self, data: bytes, payload: int | None = None, marker: bool = False) -> bytes:
        """The next packet; takes its sequence number and 20 ms of time."""
        payload = self.payload if payload is None else payload
        head = struct.pack("!BBHII", 0x80, 0x80 * marker | payload, self.seq, self.stamp, self.ssrc)
        self.seq, self.stamp = (self.seq + 1) & 0xFFFF, (self.stamp + self.step) % 2**32
        return self.seal(head + data)

    def audio(self, pcm: np.ndarray) -> bytes:
        return self.packet(self.encoder.encode(np.ascontiguousarray(pcm, np.int16)))

    def send(self, octets: bytes) -> None:
        self.said_at = time.monotonic()
        self.socket.sendto(octets, (self.ip, self.port))

    def receive(self) -> Packet:
        self.got.append(Packet.read(self.unseal(self.socket.recv(2048))))
        return self.got[-1]

    def catch_up(self) -> None:
        """Forgets what waits in the socket; its own clock went on meanwhile."""
        pause = int((time.monotonic() - self.said_at) / 0.02) if self.said_at else 0
        self.stamp = (self.stamp + pause * self.step) % 2**32
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(2048):
                pass
        self.socket.settimeout(5)

    def pcm(self, packet: Packet) -> np.ndarray:
        """A packet's sound, at `rate`; silence for what is none."""
        if packet.payload != self.payload:
            return np.zeros(self.frame, np.int16)
        return np.asarray(self.decoder.decode(np.frombuffer(packet.data, np.uint8)))

    def talk(self, pcm: np.ndarray) -> list[Packet]:
        """Says `pcm` (whole frames), one frame for each packet that arrives."""
        received = []
        for frame in pcm.reshape(-1, self.frame):
            received.append(self.receive())
            self.send(self.audio(frame))
        return received

    def hear(self, frames: int) -> np.ndarray:
        """Says silence; gives what was heard, (frames, 20 ms)."""
        return np.stack([self.pcm(p) for p in self.talk(np.zeros(frames * self.frame, np.int16))])

    def close(self) -> None:
        self.socket.close()


def converse(phones: Sequence[Phone], said: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Everybody says something at the same time, in whole frames; gives what each heard, (frames, 20 ms)."""
    for phone in phones:
        phone.catch_up()
    heard: list[list[np.ndarray]] = [[] for _ in phones]
    frames = [pcm.reshape(-1, phone.frame) for phone, pcm in zip(phones, said, strict=True)]
    for k in range(len(frames[0])):
        for phone, mine, words in zip(phones, heard, frames, strict=True):
            mine.append(phone.pcm(phone.receive()))
            phone.send(phone.audio(words[k]))
    return [np.stack(h) for h in heard]


def tones_in(pcm: np.ndarray, candidates: Iterable[float], rate: int = 8000, least: float = 400) -> set[float]:
    """Those of the `candidates` (Hz) that are heard with an amplitude of `least` or more."""
    x = pcm.reshape(-1) * np.hanning(pcm.size)
    at = np.arange(pcm.size) / rate
    return {hz for hz in candidates if 4 * abs(np.exp(-2j * np.pi * hz * at) @ x) / pcm.size >= least}


def follows(heard: np.ndarray, said: np.ndarray) -> tuple[int, int]:
    """Asserts that `heard` (frames of 20 ms) is `said` without a frame lost, doubled or altered, from the first that is
    heard on. Gives the first frame's place in both."""
    first = int(np.flatnonzero(np.abs(heard.astype(int)).max(axis=1) > 0)[0])
    begin = next(k for k, frame in enumerate(said) if np.array_equal(frame, heard[first]))
    wrong = [k for k in range(first, len(heard)) if not np.array_equal(heard[k], said[begin + k - first])]
    assert not wrong, f"frames {wrong[:5]} of {len(heard)} are not what was said"
    return first, begin


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


def tone(hertz: float, frames: int, size: float = 8000, rate: int = 8000) -> np.ndarray:
    return np.round(size * np.sin(2 * np.pi * hertz * np.arange(frames * rate // 50) / rate)).astype(np.int16)


def pitch_of(pcm: np.ndarray, rate: int = 8000) -> float:
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)), 4 * len(pcm)))
    return float(np.argmax(spectrum) * rate / (4 * len(pcm)))
