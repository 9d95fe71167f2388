"""A leg's sockets: RTP on an even port, RTCP on the next one."""

from __future__ import annotations

import errno
import socket

ATTEMPTS = 64


def bind(ip: str, port: int) -> socket.socket:
    """A UDP socket that never blocks. Raises OSError where the port is taken or the address is not ours."""
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((ip, port))
    except OSError:
        sock.close()
        raise
    return sock


def pair(ip: str, port: int) -> tuple[socket.socket, socket.socket]:
    """RTP on `port` and RTCP on the next; 0: a free even port and the next."""
    for _ in range(ATTEMPTS):
        rtp = bind(ip, port)
        bound = int(rtp.getsockname()[1])
        if port == 0 and bound % 2:
            rtp.close()
            continue
        try:
            return rtp, bind(ip, bound + 1)
        except OSError:
            rtp.close()
            if port:
                raise
    raise OSError(errno.EADDRINUSE, "no even port with a free one behind it")


def plain(ip: str) -> str:
    """The usual text of an address. Raises OSError for what is none."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, ip))
