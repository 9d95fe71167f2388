"""RTCP of a leg on its sockets: sealed where RTP is, on a port of its own or on that of RTP (RFC 5761)."""

from __future__ import annotations

import contextlib
import socket
import time

from native.slow.latch import Address
from native.slow.reports import Reports, Sent, ntp
from native.slow.sender import Sender
from native.twins.rtp import Source

BURST = 32


class Control:
    def __init__(self, sock: socket.socket, sender: Sender) -> None:
        self.socket, self.sender = sock, sender
        self.reports = Reports(sender.ssrc)
        self.garbage = 0

    @property
    def mixed(self) -> bool:
        """Whether RTCP shares the port of RTP."""
        return self.sender.agreed is not None and self.sender.agreed.rtcp_port == 0

    def receive(self, now: int) -> None:
        for _ in range(BURST):
            try:
                octets, source = self.socket.recvfrom(2048)
            except OSError:
                break
            self.take(octets, source[:2], now)

    def take(self, octets: bytes, source: Address, now: int) -> None:
        """A report, of the far end alone."""
        secrets, far = self.sender.secrets, self.sender.latch.to
        if secrets is not None:
            octets = secrets.open(octets, control=True) or b""
        if far is not None and source[0] == far[0]:
            self.garbage += not self.reports.read(octets, self.sender.ssrc, now, ntp(time.time_ns()))

    def tick(self, source: Source, now: int) -> None:
        """Sends the report that is due, to where the far end wants it."""
        s = self.sender
        if s.agreed is None or s.agreed.rtcp_port == -1 or s.latch.to is None or not self.reports.due(now):
            return
        sent = Sent(s.ssrc, s.stamp, s.packets, s.octets)
        octets = self.reports.write(sent, source, now, ntp(time.time_ns()))
        ip, port = s.latch.to
        sock = s.socket if self.mixed else self.socket
        to = port + 1 if s.agreed.rtcp_port is None else s.agreed.rtcp_port or port
        with contextlib.suppress(OSError):
            sock.sendto(s.secrets.seal(octets, control=True) if s.secrets else octets, (ip, to))
