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
        self.ssrc: int | None = None
        self.first, self.highest, self.received, self.duplicate = 0, -1, 0, 0
        self.stamp, self.transit, self.jitter = 0, 0, 0.0
        self.bad, self.restarts = -1, 0

    def begin(self, seq: int, stamp: int, ssrc: int, arrival: int) -> None:
        self.ssrc, self.stamp, self.transit, self.jitter = ssrc, stamp, arrival - stamp, 0.0
        self.first = self.highest = seq + 65536
        self.seen, self.received, self.duplicate, self.bad = {self.highest}, 1, 0, -1

    def packet(self, seq: int, stamp: int = 0, ssrc: int = 0, arrival: int = 0) -> int:
        """0 new, 1 behind the newest, 2 duplicate or too old. `arrival` counts in units of the RTP clock."""
        if self.ssrc != ssrc:
            self.begin(seq, stamp, ssrc, arrival)
            return 0
        ahead = nearest(seq, self.highest, 16) - self.highest
        if ahead <= -64 or ahead > 3000:  # far off: two in a row are a sender that began anew
            if seq == self.bad:
                self.begin(seq, stamp, ssrc, arrival)
                self.restarts += 1
                return 0
            self.bad = (seq + 1) & 0xFFFF
            return 2
        number = self.highest + ahead
        if number in self.seen:
            self.duplicate += 1
            return 2
        self.seen = {k for k in self.seen if k > number - 1000} | {number}
        self.received += 1
        if ahead < 0:
            return 1
        self.bad = -1
        self.highest = number
        self.stamp = nearest(stamp, self.stamp, 32)
        before, self.transit = self.transit, arrival - self.stamp
        self.jitter += (abs(self.transit - before) - self.jitter) / 16
        return 0

    @property
    def lost(self) -> int:
        """Expected less received (RFC 3550 appendix A.3), never negative."""
        return max(0, self.highest - self.first + 1 - self.received)


def nearest(value: int, known: int, bits: int) -> int:
    """The number nearest to `known` whose lowest `bits` bits are those of `value`."""
    size = 1 << bits
    ahead = (value - known) % size
    return known + ahead - (size if ahead >= size // 2 else 0)


class KeyReader:
    """As `kernels.KeyReader`: RFC 4733 events; a key is told once, by its first packet."""

    def __init__(self) -> None:
        self.known = self.ended = False
        self.stamp = self.duration = self.event = 0

    def packet(self, stamp: int, payload: bytes) -> int:
        """The event code where a key begins, -1 where nothing new is told, -2 for what can't be read."""
        if len(payload) < 4:
            return -2
        event, second, duration = struct.unpack("!BBH", payload[:4])
        if event > 15:
            return -1
        ended, since = bool(second & 0x80), (stamp - self.stamp) % 2**32
        if self.known and since == 0:
            self.duration, self.ended = max(self.duration, duration), self.ended or ended
            return -1
        if self.known and since > 2**32 - 80000:
            return -1  # an older key's packet, reordered
        goes_on = not self.ended and event == self.event and self.duration >= 0xF000 and since <= 0xFFFF + 800
        again = self.known and goes_on
        self.known, self.stamp, self.event, self.duration, self.ended = True, stamp, event, duration, ended
        return -1 if again else event
