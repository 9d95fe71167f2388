"""One connection on asyncio's loop: bytes to messages through TLS and a wire format, and back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from gateway.sip.connections import Connections
from gateway.sip.framing import Fault, Framed, Signal
from gateway.sip.place import Place
from gateway.sip.tls import Tls

if TYPE_CHECKING:
    from gateway.sip.edge import Hooks

_READ = bytearray(32768)
"""What one turn reads of one connection, so that a peer in full flood leaves the others their turns. All connections of
a process share it: what arrives is copied before anybody else reads."""
_VIEW = memoryview(_READ)

_LINGER_S = 5.0
"""How long a peer may take to read our last words."""


class Wire(Protocol):
    """How messages stand on a connection: Framer for TCP and TLS, WebSocket for those."""

    """`ready`: messages can pass; `over`: none will any more; `pings`: we keep it alive."""

    output: bytes
    over: bool
    ready: bool
    pings: bool

    def feed(self, data: bytes, now: float) -> list[Framed]: ...

    def late(self, now: float) -> Fault | None: ...

    def wrap(self, message: bytes) -> bytes: ...

    def ping(self) -> None:
        """Puts a keep-alive into `output`."""

    def leave(self) -> None:
        """Puts a goodbye into `output`."""


class Connection(asyncio.BufferedProtocol):
    """`opened`: by us, to `place`; else `place` is known once it is made. `ended` is told that it is over, and whether
    it had ever carried anything."""

    def __init__(
        self,
        hooks: Hooks,
        connections: Connections[Connection],
        wire: Wire,
        tls: Tls | None,
        place: Place,
        opened: bool,
        ended: Callable[[Connection, str], None],
    ) -> None:
        self.place = place
        self.opened = opened
        self.up = False
        """Whether messages can pass: connected, and every handshake done."""
        self.trouble = ""
        """What was wrong with TLS."""
        self._hooks = hooks
        self._connections = connections
        self._limits = connections.limits
        self._wire = wire
        self._tls = tls
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._waits = 0
        self._closing: float | None = None
        self._why = ""
        self._born = self._heard = self._loop.time()
        self._spoken = False
        self._vouched = opened
        self._answers_pings = not opened
        self._ping_at = self._next_ping(self._born)
        self._pong_by: float | None = None

    # --- what the loop tells --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._closing is not None or not (
            self.opened or self._admitted()
        ):  # given up while it connected, or too many
            self.abort("too many connections")
            return
        _alive(transport.get_extra_info("socket"))
        self._flush()
        if self._tls is None:
            self._rise()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing is not None:
            return
        data = bytes(_VIEW[:nbytes])
        self._heard = now = self._loop.time()
        if self._tls:
            data = self._tls.receive(data)
            if self._tls.ready:
                self._rise()
        if data:
            self._take(data, now)
        self._hooks.settle()  # before an end that stands behind good messages, so that they are answered
        self._flush()
        if self._tls and self._tls.over:
            if self._tls.trouble:
                self._hooks.count("tls_failed")
                self.trouble = self._tls.trouble
            self.close(self._tls.trouble)
        elif self._wire.over:
            self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is None:
            self._closing = self._loop.time()
        self._why = self._why or (str(exc).lower() if exc else "the peer closed it")
        self._ended(self, self._why)

    # --- what the transport does ----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """One message; kept for the time it takes to connect."""
        if self._closing is not None:
            return
        if self.up:
            self._write(self._wire.wrap(data))
            return
        self._waiting.append(data)
        self._waits += len(data)
        if self._waits > self._limits.unread:
            self._hooks.count("connections_crowded")
            self.abort("too much waits for the connection")

    def check(self, now: float) -> None:
        """Ends what takes too long and keeps alive what we opened; called about every second."""
        if self._closing is not None:
            if now - self._closing > _LINGER_S and self._transport:
                self._transport.abort()
            return
        fault = self._wire.late(now)
        if fault:
            self._fault(fault)
            self._flush()
            self.close(fault.what)
        elif not self.up:
            if self._transport and now - self._born > self._limits.handshake:
                self._end("connections_slow_handshake", "the handshake took too long")
        elif not (self._spoken or self._wire.pings) and now - self._born > self._limits.first:
            self._end("connections_silent", "no message came")
        elif now - self._heard > self._patience():
            self._end("connections_idle", "it was idle")
        elif self._wire.pings:
            self._keep_alive(now)

    def close(self, why: str = "") -> None:
        """Writes what is to be written and ends it."""
        if self._closing is not None:
            return
        self._closing, self._why = self._loop.time(), why
        if self.up:
            self._wire.leave()
            self._flush()
        if self._tls:
            self._tls.close()
            self._flush()
        if self._transport:
            self._transport.close()

    def abort(self, why: str) -> None:
        """Ends it at once."""
        if self._closing is None:
            self._closing, self._why = self._loop.time(), why
        if self._transport:
            self._transport.abort()

    @property
    def open(self) -> bool:
        """Whether it takes messages, or will once it stands."""
        return self._closing is None

    # --- inside ---------------------------------------------------------------------------------------------------

    def _admitted(self) -> bool:
        assert self._transport
        peer = self._transport.get_extra_info("peername")
        if not peer:
            return False
        place = Place(peer[0], peer[1], self.place.transport, self.place.flow)
        known = self._hooks.favours(place)
        refused = None if known else self._connections.refuses(place.ip, self._born)
        if not (refused or make_room(self._connections, self._hooks)):
            refused = "connections_refused_total"
        if refused:
            self._hooks.count(refused)
            return False
        self.place = place
        self._connections.add(self)
        return True

    def _patience(self) -> float:
        """Seconds without a word: whoever once was known stays so for as long as the connection stands."""
        self._vouched = self._vouched or self._hooks.favours(self.place)
        return self._limits.idle if self._vouched else min(self._limits.stranger, self._limits.idle)

    def _rise(self) -> None:
        if self.up or not self._wire.ready:
            return
        self.up = True
        waiting, self._waiting, self._waits = self._waiting, [], 0
        for data in waiting:
            self._write(self._wire.wrap(data))

    def _take(self, data: bytes, now: float) -> None:
        for framed in self._wire.feed(data, now):
            if isinstance(framed, bytes):
                self._spoken = True
                self._hooks.received(framed, self.place)
            elif isinstance(framed, Signal):
                self._hooks.count(framed.value)
                if framed is Signal.PONG:
                    self._answers_pings, self._pong_by = True, None
            else:
                self._fault(framed)
        self._rise()

    def _fault(self, fault: Fault) -> None:
        self._hooks.count(fault.counter)
        self._why = fault.what

    def _flush(self) -> None:
        """Writes what the wire format and TLS have to say of themselves."""
        if self._wire.output:
            output, self._wire.output = self._wire.output, b""
            self._write(output)
        elif self._tls:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        if self._tls:
            if data:
                self._tls.send(data)
            data = self._tls.output
        if not data or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limits.unread:
            self._hooks.count("connections_not_reading")
            self.abort("the peer does not read")

    def _keep_alive(self, now: float) -> None:
        if self._pong_by is not None and now > self._pong_by:
            self._pong_by = None
            # a peer that never answered may not know RFC 5626; the kernel finds out whether it lives
            if self._answers_pings:
                self._end("connections_without_pong", "keep-alives are no longer answered")
                return
        if now >= self._ping_at:
            self._ping_at = self._next_ping(now)
            self._pong_by = now + self._limits.pong
            self._hooks.count("keepalive_sent")
            self._wire.ping()
            self._flush()

    def _next_ping(self, now: float) -> float:
        longest = self._limits.ping if self.opened else self._limits.web_ping
        return now + longest * random.uniform(0.8, 1.0)

    def _end(self, counter: str, why: str) -> None:
        self._hooks.count(counter)
        self.close(why)


def make_room(connections: Connections[Connection], hooks: Hooks) -> bool:
    """Sees that one more connection may be made, by ending the oldest that a stranger made where all are taken; False
    where there is none."""
    if not connections.full:
        return True
    stranger = connections.stranger(lambda connection: hooks.favours(connection.place))
    if stranger is None:
        return False
    hooks.count("connections_displaced")
    stranger.abort("another one needs its place")
    connections.remove(stranger)
    return True


def _alive(sock: socket.socket | None) -> None:
    """Lets the kernel find out about peers that vanished without a word: half a minute for what is not acknowledged,
    two minutes for silence."""
    if sock is None:
        return
    options = {"TCP_USER_TIMEOUT": 30_000, "TCP_KEEPIDLE": 75, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 3}
    with contextlib.suppress(OSError):  # it may be gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
