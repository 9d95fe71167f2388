"""The one file of this package with a socket: runs an Endpoint over UDP on asyncio's loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.core.errors import PortBusy
from gateway.sip.auth import Account
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import SipEvent
from gateway.sip.message import Header
from gateway.sip.sdp import SessionDescription
from gateway.sip.transaction import Place

log = logging.getLogger(__name__)

_BATCH = 64
"""Datagrams read before others get their turn on the loop."""

_IP_RECVERR = 11
_IPV6_RECVERR = 25
_RECEIVE_BUFFER = 4 << 20


class UdpEndpoint:
    """Datagrams in and out, alarms on time, events to `on_event` (called on the loop, never from inside a verb).

    The verbs are those of Endpoint without `now`. ICMP errors end requests to a phone that is gone at once (Linux)."""

    def __init__(self, endpoint: Endpoint, sock: socket.socket) -> None:
        self.endpoint = endpoint
        self.on_event: Callable[[SipEvent], None] = lambda event: None
        self.port: int = sock.getsockname()[1]
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._pumping = False
        self._closing = self._closed = False
        self._idle = asyncio.Event()

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        host: str = "127.0.0.1",
        port: int = 0,
        on_event: Callable[[SipEvent], None] | None = None,
    ) -> UdpEndpoint:
        """Binds `host`:`port` (0: a free one, which the endpoint then advertises). Raises PortBusy."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        try:
            level, option = (41, _IPV6_RECVERR) if family == socket.AF_INET6 else (0, _IP_RECVERR)
            sock.setsockopt(level, option, 1)
        except OSError:
            log.debug("no ICMP errors from this kernel")
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise PortBusy(
                    f"SIP can't listen on UDP {host}:{port}",
                    read=error.strerror,
                    do="choose an address of this machine and a port that this user may take",
                ) from None
            holder = who_holds(port)
            raise PortBusy(
                f"UDP port {port} on {host} is taken" + (f" by {holder}" if holder else ""),
                do="stop that program, or choose another port",
            ) from None
        self = cls(endpoint, sock)
        endpoint.bound(self.port)
        if on_event:
            self.on_event = on_event
        self._loop.add_reader(sock.fileno(), self._readable)
        return self

    # --- the loop -------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                data, source = self._sock.recvfrom(65535)
            except BlockingIOError:
                break
            except OSError:
                self._unreachable()
                continue
            try:
                self.endpoint.receive(data, (source[0], source[1]), time.monotonic())
            except Exception:
                # one datagram must never end the gateway; the endpoint counts it and the log tells where
                self.endpoint.failed()
                log.exception("a datagram could not be handled")
        self._pump()

    def _unreachable(self) -> None:
        """Reads who could not be reached from the socket's error queue."""
        while True:
            try:
                _, _, _, place = self._sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except (OSError, AttributeError):
                return
            if place:
                self.endpoint.unreachable((place[0], place[1]), time.monotonic())

    def _pump(self) -> None:
        """Sends what is to be sent, tells events, and sets the alarm."""
        self._flush()
        if self._pumping:
            return
        self._pumping = True
        try:
            while events := self.endpoint.take_events():
                for event in events:
                    try:
                        self.on_event(event)
                    except Exception:
                        log.exception(
                            "an event could not be handled", extra={"fields": {"event": type(event).__name__}}
                        )
                self._flush()
        finally:
            self._pumping = False
        self._set_alarm()
        if self._closing and not self.endpoint.busy:
            self._idle.set()

    def _after_verb(self) -> None:
        """A verb's datagrams leave now, its events come in a later turn of the loop."""
        self._flush()
        self._set_alarm()
        if not self._pumping:
            self._loop.call_soon(self._pump)

    def _flush(self) -> None:
        for data, place in self.endpoint.take_datagrams():
            self._send(data, place)

    def _send(self, data: bytes, place: Place) -> None:
        for _ in range(2):  # a pending ICMP error of another peer is reported once, on the next call
            try:
                self._sock.sendto(data, place)
                return
            except BlockingIOError:
                log.debug("the send buffer is full")
                return
            except OSError as error:
                self._unreachable()
                failed = error
        log.debug("a datagram could not be sent: %s", failed.strerror)
        self.endpoint.unreachable(place, time.monotonic())

    def _set_alarm(self) -> None:
        at = None if self._closed else self.endpoint.next_timer()
        if self._alarm and (at is None or at != self._alarm_at):
            self._alarm.cancel()
            self._alarm = None
        if at is not None and self._alarm is None:
            self._alarm_at = at
            self._alarm = self._loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.endpoint.tick(time.monotonic())
        self._pump()

    # --- verbs ----------------------------------------------------------------------------------------------------

    def ring(self, call: str, sdp: SessionDescription | None = None, *, status: int | None = None) -> None:
        self.endpoint.ring(call, sdp, status=status, now=time.monotonic())
        self._after_verb()

    def answer(self, call: str, sdp: SessionDescription | None = None) -> None:
        self.endpoint.answer(call, sdp, now=time.monotonic())
        self._after_verb()

    def reject(self, call: str, status: int, reason: str | None = None) -> None:
        self.endpoint.reject(call, status, reason, now=time.monotonic())
        self._after_verb()

    def invite(
        self,
        target: str,
        sdp: SessionDescription,
        *,
        from_user: str = "",
        from_display: str = "",
        headers: Sequence[Header] | Mapping[str, str] = (),
        credentials: Sequence[Account] = (),
    ) -> str:
        handle = self.endpoint.invite(
            target,
            sdp,
            from_user=from_user,
            from_display=from_display,
            headers=headers,
            credentials=credentials,
            now=time.monotonic(),
        )
        self._after_verb()
        return handle

    def hangup(self, call: str, reason: str = "") -> None:
        self.endpoint.hangup(call, reason, now=time.monotonic())
        self._after_verb()

    def change(self, call: str, sdp: SessionDescription) -> None:
        self.endpoint.change(call, sdp, now=time.monotonic())
        self._after_verb()

    def accept_change(self, call: str, sdp: SessionDescription) -> None:
        self.endpoint.accept_change(call, sdp, now=time.monotonic())
        self._after_verb()

    def reject_change(self, call: str, status: int = 488) -> None:
        self.endpoint.reject_change(call, status, now=time.monotonic())
        self._after_verb()

    def register(self, registrar: str, aor: str, account: Account, expires: int = 600) -> str:
        handle = self.endpoint.register(registrar, aor, account, expires, now=time.monotonic())
        self._after_verb()
        return handle

    def unregister(self, registration: str) -> None:
        self.endpoint.unregister(registration, now=time.monotonic())
        self._after_verb()

    def options(self, uri: str) -> str:
        handle = self.endpoint.options(uri, now=time.monotonic())
        self._after_verb()
        return handle

    def drop_contacts(self, aor: str, reason: str) -> None:
        self.endpoint.drop_contacts(aor, reason, now=time.monotonic())
        self._after_verb()

    def drain(self, on: bool = True) -> None:
        self.endpoint.drain(on)

    # --- the end --------------------------------------------------------------------------------------------------

    async def close(self, reason: str = "the gateway is stopping", patience: float = 2.0) -> None:
        """Ends every call and registration in order, waits up to `patience` seconds for the peers' answers, and gives
        the port back."""
        if self._closing:
            return
        self._closing = True
        self.endpoint.close(reason, now=time.monotonic())
        self._pump()
        if self.endpoint.busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience)
        self._closed = True
        self._set_alarm()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


async def resolve(host: str) -> str:
    """An IP address for a host name, by the system's resolver. Raises OSError where there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


def who_holds(port: int) -> str | None:
    """Which process has a UDP port, as `name (pid)`, where /proc tells us; else None."""
    wanted = f":{port:04X}"
    inodes: set[str] = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        inodes |= {row.split()[9] for row in rows if row.split()[1].endswith(wanted)}
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in links for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return None
