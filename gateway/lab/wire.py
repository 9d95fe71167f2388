"""RTP and G.711 in plain Python: the measuring side of the lab, kept independent of the engine that it measures.

Sound is mono int16 at 8 kHz in numpy arrays; times are CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import struct
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gateway.core.audio import FRAME_MS, WIRE_RATE
from gateway.core.errors import MediaError

Sound = npt.NDArray[np.int16]
FRAME = WIRE_RATE * FRAME_MS // 1000
"""Samples in one 20 ms packet."""

PCMU, PCMA = 0, 8
KEYS = "0123456789*#ABCD"
HEADER = struct.Struct("!BBHII")


# --- G.711 (ITU-T G.711; tables built from its segment formulas) --------------------------------------------------


def _ulaw_table() -> Sound:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.asarray(np.where(code & 0x80, -size, size), np.int16)


def _alaw_table() -> Sound:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = code >> 4 & 7
    size = ((code & 0x0F) << 4) + 8 + np.where(segment > 0, 0x100, 0) << np.maximum(segment - 1, 0)
    return np.asarray(np.where(code & 0x80, size, -size), np.int16)


def _nearest_code(table: Sound) -> npt.NDArray[np.uint8]:
    order = np.argsort(table, kind="stable")
    values = table[order].astype(np.int32)
    middle = (values[1:] + values[:-1] + 1) // 2
    samples = np.arange(-32768, 32768)
    return order[np.searchsorted(middle, samples, side="right")].astype(np.uint8)


DECODE = {PCMU: _ulaw_table(), PCMA: _alaw_table()}
ENCODE = {payload: _nearest_code(table) for payload, table in DECODE.items()}


def encode(sound: Sound, payload: int = PCMU) -> bytes:
    """G.711 octets of `sound`, one a sample."""
    return ENCODE[payload][sound.astype(np.int32) + 32768].tobytes()


def decode(octets: bytes, payload: int = PCMU) -> Sound:
    """The samples that G.711 `octets` stand for."""
    return DECODE[payload][np.frombuffer(octets, np.uint8)]


# --- RTP (RFC 3550 section 5.1) and key events (RFC 4733 section 2.3) ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it arrived at `at`."""

    at: float
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(datagram: bytes, at: float) -> Packet | None:
    """The packet in `datagram`, or None where it is not RTP version 2."""
    if len(datagram) < HEADER.size or datagram[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(datagram)
    start = HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(datagram) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
    end = len(datagram) - (datagram[-1] if first & 0x20 else 0)
    if start > end:
        return None
    return Packet(at, second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, datagram[start:end])


def pack(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool = False) -> bytes:
    """One RTP packet, counters taken modulo their width."""
    head = HEADER.pack(0x80, payload_type | 0x80 * marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc & 0xFFFFFFFF)
    return head + payload


def key_event(digit: str, samples: int, end: bool, volume: int = 10) -> bytes:
    """The telephone-event payload of a key held for `samples` so far; `volume` is in -dBm0."""
    return struct.pack("!BBH", KEYS.index(digit), volume | 0x80 * end, samples)


# --- what was heard -----------------------------------------------------------------------------------------------


@dataclass
class Track:
    """Every packet that came in on one leg, laid on one time line."""

    packets: list[Packet] = field(default_factory=list)
    garbage: int = 0

    def take(self, datagram: bytes, at: float) -> Packet | None:
        """Keep what arrived at `at`; gives the packet, or None where it was no RTP."""
        packet = parse(datagram, at)
        if packet is None:
            self.garbage += 1
        else:
            self.packets.append(packet)
        return packet

    @property
    def speech(self) -> list[Packet]:
        """The packets that carry G.711, in the order they came."""
        return [packet for packet in self.packets if packet.payload_type in DECODE]

    @property
    def keys(self) -> str:
        """Keys pressed, one for each RFC 4733 event (all packets of one event share its timestamp)."""
        seen: dict[tuple[int, int], str] = {}
        for packet in self.packets:
            if packet.payload_type >= 96 and len(packet.payload) >= 4 and packet.payload[0] < len(KEYS):
                seen.setdefault((packet.ssrc, packet.timestamp), KEYS[packet.payload[0]])
        return "".join(seen.values())

    @property
    def lost(self) -> int:
        """Packets that never came, counted from sequence numbers stream by stream."""
        streams: dict[int, list[int]] = {}
        for packet in self.packets:
            ahead = streams.setdefault(packet.ssrc, [packet.sequence, packet.sequence, 0])
            step = (packet.sequence - ahead[1] + 0x8000 & 0xFFFF) - 0x8000
            ahead[1] += max(step, 0)
            ahead[2] += 1
        return sum(max(0, last - first + 1 - count) for first, last, count in streams.values())

    def sound(self, start: float | None = None) -> Sound:
        """What was heard from `start` (default: the first packet) on; nothing received is silence.

        A stream is placed by its first packet's arrival and then by RTP timestamps; where these leave the arrival by
        more than a quarter of a second the stream is placed anew.
        """
        speech = self.speech
        if not speech:
            return np.zeros(0, np.int16)
        zero = speech[0].at if start is None else start
        placed: list[tuple[int, Sound]] = []
        anchors: dict[int, tuple[int, int]] = {}
        for packet in speech:
            arrived = round((packet.at - zero) * WIRE_RATE)
            position, timestamp = anchors.get(packet.ssrc, (arrived, packet.timestamp))
            where = position + (packet.timestamp - timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if abs(where - arrived) > WIRE_RATE // 4:
                where = arrived
            anchors[packet.ssrc] = (where, packet.timestamp)
            placed.append((where, decode(packet.payload, packet.payload_type)))
        sound = np.zeros(max(0, *(where + len(part) for where, part in placed)), np.int16)
        for where, part in placed:
            kept = part[max(0, -where) :]
            sound[max(0, where) : max(0, where) + len(kept)] = kept
        return sound


# --- levels and files ---------------------------------------------------------------------------------------------


def level(sound: Sound) -> float:
    """Root mean square in dBFS; silence is -120."""
    if not len(sound):
        return -120.0
    power = float(np.mean(np.square(sound.astype(np.float64) / 32768)))
    return 10 * float(np.log10(max(power, 1e-12)))


def read_wav(path: str | Path) -> Sound:
    """A mono 16-bit WAV at 8 or 16 kHz, brought to 8 kHz. Raises MediaError for anything else."""
    wanted = "a mono 16-bit WAV at 8000 or 16000 samples a second"
    try:
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            octets = file.readframes(file.getnframes())
            sound = np.frombuffer(octets[: len(octets) // 2 * 2], "<i2")
    except FileNotFoundError:
        raise MediaError(f"There is no file {path}", expected=wanted) from None
    except (wave.Error, EOFError, ValueError) as why:
        raise MediaError(f"{path} can't be played", read=str(why), expected=wanted) from None
    except OSError as why:
        raise MediaError(f"{path} can't be read", read=why.strerror, expected=wanted) from None
    if shape not in ((1, 2, 8000), (1, 2, 16000)):
        read = f"{shape[0]} channels of {8 * shape[1]} bits at {shape[2]}"
        raise MediaError(
            f"{path} can't be played", read=read, expected=wanted, do=f"sox {path} -r 8000 -c 1 -b 16 OUT.wav"
        )
    return sound.astype(np.int16) if shape[2] == WIRE_RATE else halve(sound)


def halve(sound: Sound) -> Sound:
    """16 kHz to 8 kHz through a 129-tap windowed sinc (3.4 kHz within 0.1 dB, images below -70 dB)."""
    taps = np.arange(-64, 65)
    fir = np.sinc(taps * 0.464) * np.kaiser(129, 7.5)
    smooth = np.convolve(sound.astype(np.float64), fir / fir.sum(), mode="same")
    return np.clip(np.round(smooth[::2]), -32768, 32767).astype(np.int16)


def write_wav(path: str | Path, sound: Sound, rate: int = WIRE_RATE) -> None:
    """Write `sound` (samples, or samples by channels) as 16-bit WAV; folders are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if sound.ndim == 1 else sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.astype("<i2").tobytes())
