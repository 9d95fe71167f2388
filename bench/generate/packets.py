"""Every packet of a run, prepared ahead: one row of packets for each of a few sources, which many streams share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.generate import codecs, speech

SOURCES = 23
"""Different loops; no factor in common with the 20 sub-ticks, so each millisecond sends a mix."""

HEADER = 12
FIRST_SEQ = 60000  # wraps in the first two minutes
FIRST_STAMP = 2**32 - 400_000
SSRC = 0x42000000


@dataclass(frozen=True)
class Keys:
    """SRTP: the profile's name and key||salt of both ways, as RFC 3711 or RFC 7714 has them."""

    profile: str
    sent: bytes
    heard: bytes


def keys_of(profile: str) -> Keys:
    """Fixed keys for a run: the same audio each time."""
    size = 28 if "GCM" in profile else 30
    return Keys(profile, bytes(range(1, size + 1)), bytes(range(101, 101 + size)))


@dataclass(frozen=True)
class Table:
    """`octets` (sources, ticks, room), `sizes` (sources, ticks), and the loops they carry."""

    octets: NDArray[np.uint8]
    sizes: NDArray[np.uint16]
    loops: tuple[speech.Loop, ...]


def source_of(streams: int, sources: int = SOURCES) -> NDArray[np.int64]:
    """Which source each stream carries."""
    return np.arange(streams) % sources


def loops(dtmf: str = "rfc4733", tone: bool = False, sources: int = SOURCES) -> tuple[speech.Loop, ...]:
    """What the sources carry. `dtmf`: rfc4733, inband or none; `tone`: a steady 440 Hz instead of speech."""
    if tone:
        return (speech.steady(),) * sources
    found = tuple(speech.loop_of(number, dtmf == "inband") for number in range(sources))
    return tuple(one.without_keys() for one in found) if dtmf == "none" else found


def events(keys: tuple[tuple[int, str], ...]) -> dict[int, tuple[int, bytes, bool]]:
    """Frames of a loop that carry a key: frames since the key began, payload, marker (RFC 4733 section 2.3)."""
    found = {}
    for at, digit in keys:
        for k in range(speech.EVENT + speech.ENDS - 1):
            held = min(k + 1, speech.EVENT)
            end = k >= speech.EVENT - 1
            payload = bytes([speech.DIGITS.index(digit), end << 7 | 10]) + (held * speech.FRAME).to_bytes(2, "big")
            found[at + k] = (k, payload, k == 0)
    return found


def build(
    ticks: int,
    codec: str = "PCMU",
    dtmf: str = "rfc4733",
    keys: Keys | None = None,
    tone: bool = False,
    sources: int = SOURCES,
) -> Table:
    """The packets of `ticks` ticks of 20 ms."""
    carried = loops(dtmf, tone, sources)
    clock = codecs.CLOCKS[codec] // 50
    coded = [codecs.encode(codec, loop.pcm) for loop in carried]
    room = HEADER + max(len(p) for payloads in coded for p in payloads)
    octets = np.zeros((sources, ticks, room), np.uint8)
    sizes = np.zeros((sources, ticks), np.uint16)
    tick = np.arange(ticks)
    frame = tick % speech.LOOP
    for number, (loop, payloads) in enumerate(zip(carried, coded, strict=True)):
        pressed = events(loop.keys) if dtmf == "rfc4733" else {}
        data = np.zeros((speech.LOOP, room - HEADER), np.uint8)
        size, kind, back = (np.zeros(speech.LOOP, int) for _ in range(3))
        for k, payload in enumerate(payloads):
            since, payload, marker = pressed.get(k, (0, payload, False))
            data[k, : len(payload)] = np.frombuffer(payload, np.uint8)
            size[k], back[k] = len(payload), since
            kind[k] = (speech.EVENT_PAYLOAD if k in pressed else codecs.PAYLOADS[codec]) | marker << 7
        row = octets[number]
        row[:, 0] = 0x80
        row[:, 1] = kind[frame]
        row[0, 1] |= 0x80
        row[:, 2:4] = numbers(FIRST_SEQ + tick, ">u2")
        row[:, 4:8] = numbers(FIRST_STAMP + (tick - back[frame]) * clock, ">u4")
        row[:, 8:12] = numbers(np.full(ticks, SSRC + number), ">u4")
        row[:, HEADER:] = data[frame]
        sizes[number] = HEADER + size[frame]
    return protected(Table(octets, sizes, carried), keys) if keys else Table(octets, sizes, carried)


def numbers(values: NDArray[np.int64], kind: str) -> NDArray[np.uint8]:
    """Integers as octets in network order, one row each; they wrap."""
    width = np.dtype(kind).itemsize
    return (values % 2 ** (8 * width)).astype(kind).view(np.uint8).reshape(-1, width)


def protected(table: Table, keys: Keys) -> Table:
    """The same packets through libsrtp."""
    sources, ticks, room = table.octets.shape
    octets = np.zeros((sources, ticks, room + 16), np.uint8)
    sizes = np.zeros((sources, ticks), np.uint16)
    for number in range(sources):
        seal = srtp(keys.profile, keys.sent, inbound=False)
        for tick in range(ticks):
            packet = seal.protect(table.octets[number, tick, : table.sizes[number, tick]].tobytes())
            octets[number, tick, : len(packet)] = np.frombuffer(packet, np.uint8)
            sizes[number, tick] = len(packet)
    return Table(octets, sizes, table.loops)


def srtp(profile: str, key: bytes, inbound: bool):  # type: ignore[no-untyped-def]
    """A libsrtp context for any SSRC of one way."""
    from pylibsrtp import Policy, Session

    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=getattr(Policy, "SRTP_PROFILE_" + PROFILES[profile])))


PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": "AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "AES128_CM_SHA1_32",
    "AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
}
