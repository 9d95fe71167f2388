"""SIP over TCP and TLS, and the connections of WebSockets: listening, connecting, finding the way back (RFC 3261 section 18)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.sip import grammar
from gateway.sip.certificates import Contexts
from gateway.sip.connection import Connection, Wire
from gateway.sip.connections import Connections
from gateway.sip.framing import Framer
from gateway.sip.message import MessageError, parse
from gateway.sip.place import DEFAULT_PORTS, Place
from gateway.sip.tls import Tls
from gateway.sip.udp import busy
from gateway.sip.uri import ip_of

if TYPE_CHECKING:
    from gateway.sip.edge import Hooks

log = logging.getLogger(__name__)

_CHECK_S = 1.0
_BACKLOG = 512


class Streams:
    """One transport: a listening socket, or none (`host` ""), and the connections it opens itself. `contexts` makes it TLS;
    `wire` makes the format on the wire (SIP's own framing where none is given); connections to others are opened where
    `connects`. `connections` is shared by all transports of an endpoint."""

    def __init__(
        self,
        transport: str,
        hooks: Hooks,
        connections: Connections[Connection],
        *,
        contexts: Contexts | None = None,
        wire: Callable[[bool], Wire] | None = None,
        connects: bool = True,
    ) -> None:
        self.transport = transport
        self.host = ""
        self.port = 0
        self._hooks = hooks
        self._connections = connections
        self._contexts = contexts
        self._wire = wire or (lambda opened: Framer(lambda: secrets.token_hex(8), connections.limits.frame, opened))
        self._connects = connects
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._own: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._checking = self._loop.call_later(_CHECK_S, self._check)

    async def listen(self, host: str, port: int = 0) -> None:
        """Binds `host`:`port` (0: a free one). Raises PortBusy."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise busy("TCP", host, port, error) from None
        self._server = await self._loop.create_server(self._accepted, sock=sock, backlog=_BACKLOG)
        self.host, self.port = sock.getsockname()[:2]

    def send(self, data: bytes, place: Place) -> None:
        """One message: over its connection, else over a new one. Never blocks, never raises."""
        connection = self._connections.to(place)
        if connection is None or not connection.open:
            back = self._way_back(data, place) if place.flow else place
            if back is None or not self._connects or self._closed:
                self._hooks.unreachable(place)
                return
            connection = self._connections.to(back)
            if connection is None or not connection.open:
                connection = self._connect(back)
        if connection:
            connection.send(data)

    async def close(self) -> None:
        """Gives the port back and ends the connections; what they had to say is said."""
        self._closed = True
        self._checking.cancel()
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._own):
            connection.close("the gateway is stopping")
        for _ in range(20):
            if not self._own:
                return
            await asyncio.sleep(0.01)
        for connection in list(self._own):
            connection.abort("the gateway is stopping")
        await asyncio.sleep(0)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _accepted(self) -> Connection:
        place = Place("", 0, self.transport, self._connections.number())
        tls = None
        if self._contexts and self._contexts.server:
            tls = Tls(self._contexts.server, server=True)
        return self._new(place, tls, False)

    def _new(self, place: Place, tls: Tls | None, opened: bool) -> Connection:
        made = Connection(self._hooks, self._connections, self._wire(opened), tls, place, opened, self._over)
        self._own.add(made)
        return made

    def _connect(self, place: Place) -> Connection | None:
        refused = self._connections.refuses(place.ip)
        if refused:
            self._hooks.count(refused)
            self._hooks.unreachable(place)
            return None
        tls = None
        if self._contexts:
            tls = Tls(self._contexts.client, server=False, name=place.name or place.ip)
        place = place._replace(flow=self._connections.number())
        connection = self._new(place, tls, True)
        self._connections.add(connection)
        task = self._loop.create_task(self._reach(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return connection

    async def _reach(self, connection: Connection) -> None:
        place = connection.place
        local = None if self.host in ("", "0.0.0.0", "::") else (self.host, 0)
        try:
            async with asyncio.timeout(self._connections.limits.connect):
                await self._loop.create_connection(lambda: connection, place.ip, place.port, local_addr=local)
        except TimeoutError:
            self._unreached(connection, "no answer")
        except OSError as error:
            self._unreached(connection, (error.strerror or str(error)).lower())
        except asyncio.CancelledError:
            connection.abort("the gateway is stopping")
            self._connections.remove(connection)
            raise

    def _unreached(self, connection: Connection, why: str) -> None:
        connection.abort(why)
        self._over(connection, why)

    def _over(self, connection: Connection, why: str) -> None:
        """A connection has ended, or never came to be."""
        self._own.discard(connection)
        place = connection.place
        known = self._connections.to(place) is connection
        self._connections.remove(connection)
        if not known:
            return
        if connection.up:
            self._hooks.disconnected(place)
        elif connection.opened:
            self._hooks.count("connections_failed")
            log.info("no connection", extra={"fields": {"to": f"{place.transport}:{place.ip}:{place.port}", "why": why}})
            self._hooks.unreachable(place._replace(flow=0))
        self._hooks.settle()

    def _check(self) -> None:
        now = self._loop.time()
        for connection in list(self._own):
            connection.check(now)
        if self._contexts:
            self._contexts.refresh(now)
        self._checking = self._loop.call_later(_CHECK_S, self._check)

    def _way_back(self, data: bytes, place: Place) -> Place | None:
        """Where a response goes whose connection is gone: to the Via's `received`, at the port the peer listens on (RFC 3261
        18.2.2). A request has no other way."""
        if not data.startswith(b"SIP/2.0 "):
            return None
        try:
            via = parse(data).via
        except MessageError:
            return None
        ip = grammar.find(via.params, "received") or ip_of(via.host)
        name = "" if ip_of(via.host) else via.host
        return Place(ip or place.ip, via.port or DEFAULT_PORTS[self.transport], self.transport, 0, name)
