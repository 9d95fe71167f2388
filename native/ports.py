"""Pairs of UDP sockets: RTP on an even port, RTCP on the one above it (RFC 3550 section 11)."""

from __future__ import annotations

import errno
import socket

ATTEMPTS = 64


def pair(ip: str, port: int = 0) -> tuple[socket.socket, socket.socket | None, int]:
    """Sockets bound to `port` and `port` + 1, and the port; where `port` is 0, an even one the system chose.

    The second is None where a given port's neighbour is taken: RTCP then needs the port of RTP. Raises OSError where
    the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    for _ in range(ATTEMPTS):
        rtp = bound(family, ip, port)
        found = rtp.getsockname()[1]
        if not port:  # bound by number: a socket whose port the system chose loses it when it is disconnected
            rtp.close()
            found -= found % 2
            try:
                rtp = bound(family, ip, found)
            except OSError:
                continue
        try:
            return rtp, bound(family, ip, found + 1), found
        except OSError:
            if port:
                return rtp, None, found
            rtp.close()
    raise OSError(errno.EADDRINUSE, "no even port is free")


def bound(family: int, ip: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((ip, port))
    except OSError:
        sock.close()
        raise
    return sock
