"""RTP headers and receiver statistics (RFC 3550) in plain Python."""

from __future__ import annotations

import struct


def parse_rtp(packet: bytes) -> tuple[int, bool, int, int, int, int, int] | None:
    """As `kernels.parse_rtp`."""
    if len(packet) < 12 or packet[0] >> 6 != 2 or 192 <= packet[1] <= 223:
        return None
    first, second, seq, stamp, ssrc = struct.unpack("!BBHII", packet[:12])
    at, end = 12 + 4 * (first & 15), len(packet)
    if first & 0x10:
        if at + 4 > end:
            return None
        at += 4 + 4 * struct.unpack("!H", packet[at + 2 : at + 4])[0]
    if at > end:
        return None
    if first & 0x20:
        padding = packet[-1]
        if not 0 < padding <= end - at:
            return None
        end -= padding
    return second & 0x7F, bool(second >> 7), seq, stamp, ssrc, at, end - at


class Source:
    """As `kernels.Source`, with a set in place of a bit mask."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.first = self.highest = self.received = self.duplicate = 0

    def packet(self, seq: int) -> int:
        if not self.seen:
            self.first = self.highest = seq + 65536
            self.seen, self.received = {self.highest}, 1
            return 0
        ahead = (seq - self.highest) & 0xFFFF
        ahead -= 65536 if ahead > 32767 else 0
        if ahead <= -64:
            return 2
        number = self.highest + ahead
        if number in self.seen:
            self.duplicate += 1
            return 2
        self.seen.add(number)
        self.received += 1
        self.highest = max(self.highest, number)
        return 0 if ahead > 0 else 1

    @property
    def lost(self) -> int:
        return max(0, self.highest - self.first + 1 - self.received)
