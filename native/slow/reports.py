"""RTCP of one leg: its reports, and what the far end says of its stream (RFC 3550 section 6)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from native.twins import rtcp
from native.twins.rtp import Source

SECOND = 1_000_000_000
FIVE_S = 5 * SECOND
COMPENSATION = 1.21828
"""e - 3/2, section 6.3.1."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@dataclass
class Sent:
    """Our own stream, as an SR tells it. `stamp` is the RTP timestamp of now."""

    ssrc: int
    stamp: int
    packets: int
    octets: int


@dataclass
class Remote:
    """What the far end says of our stream; None before it did."""

    fraction: float | None = None
    lost: int | None = None
    jitter: int | None = None
    rtt_ms: float | None = None


def ntp(unix_ns: int) -> int:
    """A time in ns since 1970 as a 64-bit NTP timestamp."""
    return (unix_ns // SECOND + 2_208_988_800) << 32 | (unix_ns % SECOND << 32) // SECOND


class Reports:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cname = "".join(self.random.choices(LETTERS, k=16))
        self.next_at = 0
        self.before = (0, 0)
        self.packets = (0, 0)
        self.heard: tuple[int, int, int] | None = None  # of its last SR: SSRC, middle of the NTP time, when it came
        self.remote = Remote()

    def due(self, now: int) -> bool:
        """Once every 5 s by 0.5 to 1.5, the first after half of that."""
        interval = int(FIVE_S * self.random.uniform(0.5, 1.5) / COMPENSATION)
        if self.next_at == 0:
            self.next_at = now + interval // 2
        if now < self.next_at:
            return False
        self.next_at = now + interval
        return True

    def blocks(self, source: Source, now: int) -> list[rtcp.Block]:
        """One, where anything came since the last report."""
        if source.ssrc is None:
            return []
        expected, received = source.highest - source.first + 1, source.received + source.duplicate
        if received < self.before[1]:
            self.before = (0, 0)
        if received == self.before[1]:
            return []
        fraction, self.before = rtcp.lost_since(expected, received, self.before), (expected, received)
        lsr, dlsr = 0, 0
        if self.heard is not None and self.heard[0] == source.ssrc:
            lsr, dlsr = self.heard[1], (now - self.heard[2]) * 65536 // SECOND
        highest = (source.highest - 65536) % 2**32
        return [rtcp.Block(source.ssrc, fraction, expected - received, highest, int(source.jitter), lsr, dlsr)]

    def write(self, sent: Sent, source: Source, now: int, wall_ntp: int) -> bytes:
        """SR (RR where nothing was sent since the report before the last) and SDES."""
        told = (wall_ntp, sent.stamp, sent.packets, sent.octets) if sent.packets > self.packets[1] else None
        self.packets = (sent.packets, self.packets[0])
        return rtcp.report(sent.ssrc, told, self.blocks(source, now)) + rtcp.name(sent.ssrc, self.cname)

    def read(self, octets: bytes, own_ssrc: int, now: int, wall_ntp: int) -> bool:
        """False for garbage."""
        packets = rtcp.read(octets)
        for packet in packets or []:
            if packet.kind == rtcp.SR and packet.sender is not None:
                self.heard = packet.ssrcs[0], packet.sender[0] >> 16 & 0xFFFFFFFF, now
            for block in packet.blocks:
                if block.ssrc == own_ssrc:
                    self.take(block, wall_ntp)
        return packets is not None

    def take(self, block: rtcp.Block, wall_ntp: int) -> None:
        r = self.remote
        r.fraction, r.lost, r.jitter = block.fraction / 256, block.lost, block.jitter
        if block.lsr:
            trip = ((wall_ntp >> 16) - block.lsr - block.dlsr) % 2**32
            if trip < 60 * 65536:
                r.rtt_ms = trip * 1000 / 65536
