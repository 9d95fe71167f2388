"""SIP over TCP and TLS, and the connections of WebSockets: listening, connecting, finding the way back (RFC 3261
section 18)."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.core.errors import ConfigError
from gateway.sip.certificates import Certificate, Contexts
from gateway.sip.connection import Connection, Wire, make_room
from gateway.sip.connections import Connections
from gateway.sip.framing import Framer
from gateway.sip.message import MessageError, parse
from gateway.sip.place import DEFAULT_PORTS, Place
from gateway.sip.tls import Tls
from gateway.sip.udp import busy
from gateway.sip.uri import ip_of
from gateway.sip.websocket import WebSocket

if TYPE_CHECKING:
    from gateway.sip.config import SipConfig
    from gateway.sip.edge import Hooks

log = logging.getLogger(__name__)

_CHECK_S = 1.0
_BACKLOG = 512
_SILENT_S = 30.0
"""How long a peer that did not answer a connection attempt is taken for silent; requests go elsewhere at once."""
_SILENT_MAX = 1000
_TOLD_S = 1.0
"""At most so often a failed TLS connection is told in the log; the counters know all of them."""


class StreamTransports:
    """Makes the stream transports of one endpoint, which share their connections and certificates. Raises ConfigError
    where the configured certificates can't be used."""

    def __init__(self, hooks: Hooks, config: SipConfig) -> None:
        self._hooks = hooks
        self._config = config
        self._connections: Connections[Connection] = Connections(config.connections)
        self.configured = config.certificate != Certificate()
        self._contexts = Contexts(config.certificate) if self.configured else None

    @property
    def contexts(self) -> Contexts:
        """Made at the first use where nothing was configured: reading the system's authorities takes a while."""
        if self._contexts is None:
            self._contexts = Contexts(self._config.certificate)
        return self._contexts

    @property
    def counts(self) -> Counter[str]:
        """Connections by transport."""
        return Counter(connection.place.transport for connection in self._connections)

    async def listen(self, transport: str, host: str, port: int) -> Streams:
        """Binds `host`:`port` (0: a free one). Raises PortBusy, ConfigError."""
        made = self._make(transport)
        try:
            await made.listen(host, port)
        except BaseException:
            await made.close()
            raise
        return made

    def connects(self, transport: str) -> Streams:
        """A transport that only opens connections: tcp or tls."""
        return self._make(transport)

    def _make(self, transport: str) -> Streams:
        contexts = self.contexts if transport in ("tls", "wss") else None
        limits, origins = self._config.connections.frame, self._config.origins
        wire: Callable[[bool], Wire]
        if transport in ("ws", "wss"):
            wire = lambda opened: WebSocket(limits, origins)  # noqa: E731
        else:
            wire = lambda opened: Framer(lambda: secrets.token_hex(8), limits, opened)  # noqa: E731
        return Streams(transport, self._hooks, self._connections, contexts, wire)


class Streams:
    """One transport: a listening socket, or none (`host` ""), and the connections it opens itself. `contexts` makes it
    TLS; `wire` makes the format of a connection, for one that we open or not."""

    def __init__(
        self,
        transport: str,
        hooks: Hooks,
        connections: Connections[Connection],
        contexts: Contexts | None,
        wire: Callable[[bool], Wire],
    ) -> None:
        self.transport = transport
        self.host = ""
        self.port = 0
        self._hooks = hooks
        self._connections = connections
        self._contexts = contexts
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._own: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[Place, float] = {}
        self._closed = False
        self._told_at = -_TOLD_S
        self._checking = self._loop.call_later(_CHECK_S, self._check)

    async def listen(self, host: str, port: int = 0) -> None:
        """Binds `host`:`port` (0: a free one). Raises PortBusy, ConfigError."""
        if self._contexts and not self._contexts.server:
            raise ConfigError(
                f"SIP over {self.transport.upper()} needs a certificate",
                do="name one, and its key, under sip: tls: in gateway.yaml",
            )
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
            connection = self._towards(back) if back else None
        if connection:
            connection.send(data)
        else:
            self._hooks.unreachable(place)

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

    def _towards(self, place: Place) -> Connection | None:
        """A connection to a peer, begun if need be; None where there can be none. Nobody connects to a browser."""
        connection = self._connections.to(place)
        if connection and connection.open:
            return connection
        silent = self._silent.get(place, 0.0) > self._loop.time()
        if silent or self._closed or self.transport in ("ws", "wss"):
            return None
        if not make_room(self._connections, self._hooks):
            self._hooks.count("connections_refused_total")
            return None
        return self._connect(place)

    def _connect(self, place: Place) -> Connection:
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
            if len(self._silent) >= _SILENT_MAX:
                self._silent.clear()
            self._silent[place._replace(flow=0)] = self._loop.time() + _SILENT_S
            self._unreached(connection, "no answer")
        except OSError as error:
            self._unreached(connection, (error.strerror or str(error)).lower())
        except asyncio.CancelledError:
            connection.abort("the gateway is stopping")
            self._connections.remove(connection)
            self._own.discard(connection)
            raise

    def _unreached(self, connection: Connection, why: str) -> None:
        connection.abort(why)
        self._over(connection, why)

    def _over(self, connection: Connection, why: str) -> None:
        """A connection has ended, or never came to be."""
        self._own.discard(connection)
        place = connection.place
        if connection.trouble and self._loop.time() > self._told_at + _TOLD_S:
            self._told_at = self._loop.time()
            peer = f"{place.transport}:{place.ip}:{place.port}"
            log.info("a TLS connection failed", extra={"fields": {"with": peer, "why": connection.trouble}})
        known = self._connections.to(place) is connection
        self._connections.remove(connection)
        if not known:
            return
        if connection.up:
            self._hooks.disconnected(place)
        elif connection.opened:
            self._hooks.count("connections_failed")
            log.info(
                "no connection", extra={"fields": {"to": f"{place.transport}:{place.ip}:{place.port}", "why": why}}
            )
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
        """Where a response goes whose connection is gone: to the address it came from, at the port that the Via names
        (RFC 3261 18.2.2). A request has no other way."""
        if not data.startswith(b"SIP/2.0 "):
            return None
        try:
            via = parse(data).via
        except MessageError:
            return None
        name = "" if ip_of(via.host) else via.host
        return Place(place.ip, via.port or DEFAULT_PORTS[self.transport], self.transport, 0, name)
