"""SIP over UDP: one socket on asyncio's loop (RFC 3261 section 18)."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.errors import PortBusy
from gateway.sip.place import Place

if TYPE_CHECKING:
    from gateway.sip.edge import Hooks

log = logging.getLogger(__name__)

_BATCH = 512
_TURN_S = 0.004
"""Datagrams read, and seconds spent on them, before others get their turn on the loop."""

_RCVBUFFORCE = 33

_WORDS = 4
_SHOWN = 80
"""Words and characters that are shown of another program's command."""

_IP_RECVERR = 11
_IPV6_RECVERR = 25
_RECEIVE_BUFFER = 4 << 20


class Udp:
    """ICMP errors end requests to a phone that is gone at once (Linux)."""

    transport = "udp"

    def __init__(self, sock: socket.socket, hooks: Hooks, number: int) -> None:
        self.host: str = sock.getsockname()[0]
        self.port: int = sock.getsockname()[1]
        self._sock = sock
        self._hooks = hooks
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    async def open(cls, host: str, port: int, hooks: Hooks, number: int = 0) -> Udp:
        """Binds `host`:`port` (0: a free one). Raises PortBusy."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        _enlarge(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            level, option = (41, _IPV6_RECVERR) if family == socket.AF_INET6 else (0, _IP_RECVERR)
            sock.setsockopt(level, option, 1)
        except OSError:
            log.debug("no ICMP errors from this kernel")
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise busy("UDP", host, port, error) from None
        return cls(sock, hooks, number)

    def _readable(self) -> None:
        until = time.monotonic() + _TURN_S
        for _ in range(_BATCH):
            try:
                data, source = self._sock.recvfrom(65535)
            except BlockingIOError:
                break
            except OSError:
                self._unreachable()
                continue
            self._hooks.received(data, Place(source[0], source[1], "udp", self._number))
            if time.monotonic() > until:
                break
        self._hooks.settle()

    def _unreachable(self) -> None:
        """Reads who could not be reached from the socket's error queue."""
        while True:
            try:
                _, _, _, place = self._sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except (OSError, AttributeError):
                return
            if place:
                self._hooks.unreachable(Place(place[0], place[1], "udp", self._number))

    def send(self, data: bytes, place: Place) -> None:
        for _ in range(2):  # a pending ICMP error of another peer is reported once, on the next call
            try:
                self._sock.sendto(data, place[:2])
                return
            except BlockingIOError:
                self._hooks.count("send_buffer_full")
                return
            except OSError as error:
                self._unreachable()
                failed = error
        log.debug("a datagram could not be sent: %s", failed.strerror)
        self._hooks.unreachable(place)

    async def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


def _enlarge(sock: socket.socket) -> int:
    """Asks for a large receive buffer, gives the octets it has."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:  # for the administrator alone; else as much as net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel counts twice (socket(7))


def receive_buffer() -> tuple[int, int]:
    """Octets of the receive buffer that this user gets for SIP over UDP, and those that are wanted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return _enlarge(sock), _RECEIVE_BUFFER


def busy(protocol: str, host: str, port: int, error: OSError) -> PortBusy:
    """Why a socket can't be bound, in words."""
    if error.errno != errno.EADDRINUSE:
        return PortBusy(
            f"SIP can't listen on {protocol} {host}:{port}",
            read=error.strerror,
            do="choose an address of this machine and a port that this user may take",
        )
    holder = who_holds(port, protocol.lower())
    return PortBusy(
        f"{protocol} port {port} on {host} is taken" + (f" by {holder}" if holder else ""),
        do="stop that program, or choose another port",
    )


def who_holds(port: int, protocol: str = "udp") -> str | None:
    """Which process has a port, as `command (process pid)`, where /proc tells us; else None. `protocol`: udp or tcp."""
    wanted = f":{port:04X}"
    inodes: set[str] = set()
    for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        inodes |= {row.split()[9] for row in rows if row.split()[1].endswith(wanted)}
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in links for fd in (process / "fd").iterdir()):
                return f"{_command(process)} (process {process.name})"
        except OSError:
            continue
    return None


def _command(process: Path) -> str:
    """How a process was started, by its folder in /proc: the program and its first words. Raises OSError."""
    words = (process / "cmdline").read_bytes().rstrip(b"\0").decode("utf-8", "replace").split("\0")
    if not words[0]:
        return (process / "comm").read_text().strip()
    text = " ".join((words[0].rpartition("/")[2], *words[1:_WORDS]))
    return "".join(c if c.isprintable() else "?" for c in text)[:_SHOWN]
