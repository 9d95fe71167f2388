"""A link that loses the first of everything: each SIP message has to be said again before it gets through."""

from __future__ import annotations

import asyncio
import re
from typing import cast

_KEY = re.compile(rb"^(?:Call-ID|CSeq):[^\r\n]*", re.M | re.I)
Address = tuple[str, int]


class _Side(asyncio.DatagramProtocol):
    """One socket of the relay; what it hears leaves at the other one."""

    def __init__(self, peer: Address | None) -> None:
        self.peer = peer
        self.other: _Side
        self.transport: asyncio.DatagramTransport
        self.seen: set[bytes] = set()
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: Address) -> None:
        if self.peer is None:
            self.peer = source
        words = data.split(b" ", 2)
        start = words[1] if words[0] == b"SIP/2.0" else words[0]
        key = start + b"".join(_KEY.findall(data))
        if key not in self.seen:
            self.seen.add(key)
            self.lost += 1
        elif self.other.peer:
            self.other.transport.sendto(data, self.other.peer)


class Relay:
    """`near`: the port sipp sends to; `far`: the port the gateway sends to."""

    def __init__(self, near: _Side, far: _Side) -> None:
        self._near, self._far = near, far
        self.near = int(near.transport.get_extra_info("sockname")[1])
        self.far = int(far.transport.get_extra_info("sockname")[1])

    @classmethod
    async def open(cls, gateway: int, sipp: int) -> Relay:
        """Between two UDP ports of the loopback."""
        loop = asyncio.get_running_loop()
        sides = []
        for port in (sipp, gateway):
            side = _Side(("127.0.0.1", port))
            await loop.create_datagram_endpoint(lambda side=side: side, ("127.0.0.1", 0))  # type: ignore[misc]
            sides.append(side)
        sides[0].other, sides[1].other = sides[1], sides[0]
        return cls(*sides)

    @property
    def lost(self) -> tuple[int, int]:
        """Messages lost from sipp and from the gateway."""
        return self._near.lost, self._far.lost

    def close(self) -> None:
        self._near.transport.close()
        self._far.transport.close()
