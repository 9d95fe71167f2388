"""Runs an Endpoint on asyncio's loop: its transports, its alarms, its questions to DNS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.errors import TrunklineError
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import SipEvent
from gateway.sip.place import Place
from gateway.sip.stack import Lookup
from gateway.sip.streams import StreamTransports
from gateway.sip.udp import Udp
from gateway.sip.uri import Uri, hostport
from gateway.sip.verbs import Verbs

log = logging.getLogger(__name__)

_WAITING = 512
_STRANGERS = 8
"""Messages of strangers that may wait, and how many of them are handled before others get their turn."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where messages are taken: a transport by name, an IP address of this machine, a port (0: a free one)."""

    transport: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.transport}://{hostport(self.host, self.port)}"


class Hooks(Protocol):
    """What a transport tells; an Edge is told."""

    def received(self, data: bytes, source: Place) -> None:
        """One whole message."""

    def unreachable(self, place: Place) -> None:
        """Nothing listens there, or no connection can be made."""

    def disconnected(self, place: Place) -> None:
        """A connection that stood has ended."""

    def favours(self, place: Place) -> bool:
        """Whether a peer is known, or trusted by its address; all others are strangers."""

    def settle(self) -> None:
        """All that came in one go was told: what is to be sent is sent, events are told."""

    def count(self, name: str) -> None:
        """One more of something."""


class Transport(Protocol):
    """`host` and `port` are bound. `number` tells sockets of one transport and family apart, from 0 on."""

    transport: str
    host: str
    port: int

    def send(self, data: bytes, place: Place) -> None:
        """Sends one message: never blocks, never raises. Opens a connection where there is none."""

    async def close(self) -> None: ...


class Resolver(Protocol):
    """Finds servers by name (RFC 3263)."""

    async def locate(self, uri: Uri) -> Sequence[Place]:
        """Where requests for `uri` go, best first; nothing where there is no such name."""


class Edge(Verbs):
    """Messages in and out, alarms on time, events to `on_event` (called on the loop, never from inside a verb).
    `on_message`, where set, sees each message with its peer and whether it was sent."""

    def __init__(self, endpoint: Endpoint, resolver: Resolver | None = None) -> None:
        self.endpoint = endpoint
        self.on_event: Callable[[SipEvent], None] = lambda event: None
        self.on_message: Callable[[bytes, Place, bool], None] | None = None
        self.ports: dict[str, int] = {}
        self._resolver = resolver
        self._transports: dict[tuple[str, bool, int], Transport] = {}
        self._streams = StreamTransports(self, endpoint.config)
        self._loop = asyncio.get_running_loop()
        self._strangers: deque[tuple[bytes, Place]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._pumping = self._pump_due = False
        self._closing = self._closed = False
        self._idle = asyncio.Event()

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        listen: Sequence[Listen] = (Listen("udp", "127.0.0.1"),),
        on_event: Callable[[SipEvent], None] | None = None,
        resolver: Resolver | None = None,
    ) -> Edge:
        """Listens everywhere it is told to; the endpoint then advertises what was bound. Raises PortBusy, and
        ConfigError where certificates can't be used."""
        self = cls(endpoint, resolver)
        if on_event:
            self.on_event = on_event
        try:
            for each in listen:
                await self._open(each)
        except BaseException:
            await self._shut()
            raise
        return self

    async def _open(self, listen: Listen) -> None:
        family = ":" in listen.host
        number = sum(1 for name, v6, _ in self._transports if (name, v6) == (listen.transport, family))
        transport: Transport
        if listen.transport == "udp":
            transport = await Udp.open(listen.host, listen.port, self, number)
        else:
            transport = await self._streams.listen(listen.transport, listen.host, listen.port)
        self._transports[listen.transport, family, number] = transport
        self.ports.setdefault(listen.transport, transport.port)
        self.endpoint.bound(listen.transport, transport.port)

    @property
    def port(self) -> int:
        """The first port that was bound."""
        return next(iter(self.ports.values()))

    @property
    def listening(self) -> list[Listen]:
        """Every socket that takes messages, with the port that was bound."""
        return [Listen(each.transport, each.host, each.port) for each in self._transports.values() if each.host]

    @property
    def connections(self) -> Mapping[str, int]:
        """How many connections there are, by transport."""
        return self._streams.counts

    def certificate_trouble(self, now: float) -> list[str]:
        """What a person should know about the certificates shown. `now` in seconds since 1970."""
        return self._streams.contexts.trouble(now) if self._streams.configured else []

    def days_left(self, now: float) -> Mapping[str, float]:
        """Until each certificate shown expires, by file. `now` in seconds since 1970."""
        shown = self._streams.contexts.shown if self._streams.configured else ()
        return {str(one.file): one.days_left(now) for one in shown}

    # --- what transports tell -------------------------------------------------------------------------------------

    def received(self, data: bytes, source: Place) -> None:
        """Handles it at once, or after those of phones and trunks that came with it where a stranger sent it."""
        now = time.monotonic()
        if not self.endpoint.hears(data, source, now):
            return
        if self.endpoint.favours(source, now):
            self._handle(data, source)
        elif len(self._strangers) < _WAITING:
            self._strangers.append((data, source))
        else:
            self.endpoint.count("dropped_strangers")

    def _handle(self, data: bytes, source: Place) -> None:
        if self.on_message:
            self.on_message(data, source, False)
        self._tell(self.endpoint.handle, data, source)

    def _tell(self, what: Callable[..., None], *told: object) -> None:
        """Tells the endpoint, and the time with it. Nothing that it can't handle may end the gateway or the alarms of
        other calls: it is counted, and the log tells where."""
        try:
            what(*told, time.monotonic())
        except Exception:
            self.endpoint.count("internal_errors")
            log.exception("what came to the SIP endpoint could not be handled", extra={"fields": {"by": what.__name__}})

    def unreachable(self, place: Place) -> None:
        self._tell(self.endpoint.unreachable, place)

    def favours(self, place: Place) -> bool:
        return self.endpoint.favours(place, time.monotonic())

    def disconnected(self, place: Place) -> None:
        self._tell(self.endpoint.disconnected, place)

    def count(self, name: str) -> None:
        self.endpoint.count(name)

    def settle(self) -> None:
        for _ in range(0 if self._pumping else min(len(self._strangers), _STRANGERS)):
            self._handle(*self._strangers.popleft())
        self._flush()
        self._set_alarm()
        if not self._pumping and not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    # --- the loop -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Sends what is to be sent, tells events, and sets the alarm."""
        self._pump_due = False
        self._flush()
        if self._strangers and not self._pumping:
            self._loop.call_soon(self.settle)
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

    def _flush(self) -> None:
        while messages := self.endpoint.take_messages():
            for data, place in messages:
                self._send(data, place)
        for lookup in self.endpoint.take_lookups():
            task = self._loop.create_task(self._locate(lookup))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send(self, data: bytes, place: Place) -> None:
        if self.on_message:
            self.on_message(data, place, True)
        family = ":" in place.ip
        key = place.transport, family, place.flow if place.transport == "udp" else 0
        transport = self._transports.get(key) or self._transports.get((place.transport, family, 0))
        if transport is None and place.transport in ("tcp", "tls"):
            transport = self._transports[key] = self._streams.connects(place.transport)
        if transport is None:
            self.endpoint.count("no_transport")
            self.unreachable(place)
        else:
            transport.send(data, place)

    async def _locate(self, lookup: Lookup) -> None:
        places: Sequence[Place] = ()
        if self._resolver:
            try:
                places = await self._resolver.locate(lookup.uri)
            except (OSError, TrunklineError) as error:
                log.warning("a name can't be looked up", extra={"fields": {"error": str(error)}})
        self._tell(self.endpoint.located, lookup.number, places)
        self._pump()

    def _set_alarm(self) -> None:
        at = None if self._closed else self.endpoint.next_timer()
        if self._alarm and (self._closed or (at is not None and at < self._alarm_at)):
            self._alarm.cancel()
            self._alarm = None
        if at is not None and self._alarm is None:  # one that rings too early looks again
            self._alarm_at = at
            self._alarm = self._loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._tell(self.endpoint.tick)
        self._pump()

    # --- the end --------------------------------------------------------------------------------------------------

    async def close(self, reason: str = "the gateway is stopping", patience: float = 2.0) -> None:
        """Ends every call and registration in order, waits up to `patience` seconds for the peers' answers, and gives
        the ports back."""
        if self._closing:
            return
        self._closing = True
        self.endpoint.close(reason, now=time.monotonic())
        self._pump()
        if self.endpoint.busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience)
        await self._shut()

    async def _shut(self) -> None:
        self._closed = True
        self._set_alarm()
        for task in self._tasks:
            task.cancel()
        for transport in self._transports.values():
            await transport.close()
