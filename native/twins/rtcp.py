"""RTCP (RFC 3550 section 6) by `struct`: compound packets taken apart and put together."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = range(200, 208)


@dataclass
class Block:
    """A report block: fraction in 256ths, lost signed, the rest as on the wire."""

    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    lsr: int
    dlsr: int


@dataclass
class Packet:
    """One packet of a compound. `sender` holds NTP (64 bits), RTP timestamp, packets and octets of an SR."""

    kind: int
    ssrcs: list[int]
    sender: tuple[int, int, int, int] | None = None
    blocks: list[Block] = field(default_factory=list)
    cname: str = ""


def block(octets: bytes) -> Block:
    ssrc, fraction, lost, highest, jitter, lsr, dlsr = struct.unpack("!IB3sIIII", octets)
    return Block(ssrc, fraction, int.from_bytes(lost, "big", signed=True), highest, jitter, lsr, dlsr)


def slices(octets: bytes) -> list[tuple[int, int, bytes]] | None:
    """(type, count, body without header and padding) of each packet, or None for lengths that can't be."""
    found = []
    if not octets:
        return None
    while octets:
        if len(octets) < 4 or octets[0] >> 6 != 2 or not 192 <= octets[1] <= 223:
            return None
        first, kind, words = struct.unpack("!BBH", octets[:4])
        packet, octets = octets[: 4 + 4 * words], octets[4 + 4 * words :]
        if len(packet) != 4 + 4 * words:
            return None
        body = packet[4:]
        if first & 0x20:
            padding = packet[-1]
            if octets or padding == 0 or padding % 4 or padding > len(body):
                return None
            body = body[: len(body) - padding]
        found.append((kind, first & 31, body))
    return found


def packet(kind: int, count: int, body: bytes) -> Packet | None:
    """One packet read, or None when what it counts is not there."""
    if kind in (SR, RR):
        at = 24 if kind == SR else 4
        if len(body) < at + 24 * count:
            return None
        sender = struct.unpack("!QIII", body[4:24]) if kind == SR else None
        blocks = [block(body[at + 24 * k : at + 24 * k + 24]) for k in range(count)]
        return Packet(kind, [int.from_bytes(body[:4], "big")], sender, blocks)
    if kind == SDES:
        name = body[6 : 6 + body[5]].decode("latin-1") if count and len(body) > 6 and body[4] == 1 else ""
        return Packet(kind, [], cname=name) if len(body) >= 8 * count else None
    if kind == BYE:
        return Packet(kind, list(struct.unpack(f"!{count}I", body[: 4 * count]))) if len(body) >= 4 * count else None
    least = {APP: 8, RTPFB: 8, PSFB: 8, XR: 4}.get(kind, 0)
    return Packet(kind, []) if len(body) >= least else None


def read(octets: bytes) -> list[Packet] | None:
    """A compound packet (or one of RFC 5506), or None for garbage."""
    parts = slices(octets)
    if parts is None:
        return None
    packets = [packet(*part) for part in parts]
    return None if None in packets else [p for p in packets if p is not None]


def wrap(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def report(ssrc: int, sender: tuple[int, int, int, int] | None, blocks: list[Block]) -> bytes:
    """An SR, or an RR where `sender` is None."""
    body = struct.pack("!I", ssrc) + (struct.pack("!QIII", *sender) if sender else b"")
    for b in blocks:
        lost = (b.lost & 0xFFFFFF).to_bytes(3, "big")
        body += struct.pack("!IB3sIIII", b.ssrc, b.fraction, lost, b.highest, b.jitter, b.lsr, b.dlsr)
    return wrap(SR if sender else RR, len(blocks), body)


def name(ssrc: int, cname: str) -> bytes:
    """An SDES packet of one CNAME."""
    body = struct.pack("!IBB", ssrc, 1, len(cname)) + cname.encode("latin-1") + b"\0"
    return wrap(SDES, 1, body + bytes(-len(body) % 4))


def lost_since(expected: int, received: int, before: tuple[int, int]) -> int:
    """256ths lost of what was expected since `before` (expected, received), appendix A.3."""
    due = expected - before[0]
    lost = due - (received - before[1])
    return 0 if due <= 0 or lost <= 0 else min(255, int(Fraction(lost * 256, due)))
