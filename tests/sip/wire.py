"""Endpoints joined by a wire made of values: no socket, no clock. Time moves when a test says so."""

from __future__ import annotations

import random
from collections.abc import Callable

from gateway.sip.config import SipConfig, Trunk
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import SipEvent
from gateway.sip.message import MessageError, Request, Response, parse
from gateway.sip.place import Place


class Node:
    """An endpoint at an address, and every event it told."""

    def __init__(self, wire: Wire, endpoint: Endpoint, place: Place) -> None:
        self.wire = wire
        self.endpoint = endpoint
        self.place = place
        self.events: list[SipEvent] = []
        self.on_event: Callable[[SipEvent], None] = lambda event: None

    def __getattr__(self, verb: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            result = getattr(self.endpoint, verb)(*args, now=self.wire.now, **kwargs)
            self.wire.collect(self)
            return result

        return call

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type):
        found = self.of(kind)
        assert found, f"no {kind.__name__} among {[type(e).__name__ for e in self.events]}"
        return found[-1]


class Wire:
    """`delay` seconds each way. `fate(data, source, target)` gives the delays of the copies that arrive: [] is a loss,
    two are a doubled datagram."""

    def __init__(self, seed: int = 1, delay: float = 0.01) -> None:
        self.now = 1000.0
        self.delay = delay
        self.rng = random.Random(seed)
        self.nodes: dict[Place, Node] = {}
        self.flying: list[tuple[float, int, bytes, Place, Place]] = []
        self.log: list[tuple[float, Place, Place, Request | Response]] = []
        self.names: dict[str, list[Place]] = {}
        self.raw: dict[Place, list[bytes]] = {}
        self.fate: Callable[[bytes, Place, Place], list[float]] = lambda data, source, target: [self.delay]
        self._order = 0

    def node(self, ip: str, port: int = 5060, **config: object) -> Node:
        place = Place(ip, port)
        settings = {"domain": ip, "host": ip, "port": port, **config}
        endpoint = Endpoint(SipConfig(**settings), random.Random(self.rng.random()))
        self.nodes[place] = Node(self, endpoint, place)
        return self.nodes[place]

    def collect(self, node: Node) -> None:
        for data, target in node.endpoint.take_messages():
            self.put(data, node.place, target)
        for lookup in node.endpoint.take_lookups():
            node.endpoint.located(lookup.number, self.names.get(lookup.uri.host, ()), self.now)
            self.collect(node)
        for event in node.endpoint.take_events():
            node.events.append(event)
            node.on_event(event)
            self.collect(node)

    def put(self, data: bytes, source: Place, target: Place) -> None:
        self.log.append((self.now, source, target, peek(data)))
        for delay in self.fate(data, source, target):
            self._order += 1
            self.flying.append((self.now + delay, self._order, data, source, target))

    def run(self, seconds: float) -> None:
        """Lets time pass: what is due is delivered and rung, in order."""
        until = self.now + seconds
        while True:
            at = min(
                [f[0] for f in self.flying] + [t for n in self.nodes.values() if (t := n.endpoint.next_timer())],
                default=until + 1,
            )
            if at > until:
                break
            self.now = max(self.now, at)
            self._deliver()
            for node in self.nodes.values():
                timer = node.endpoint.next_timer()
                if timer is not None and timer <= self.now:
                    node.endpoint.tick(self.now)
                    self.collect(node)
        self.now = until

    def _deliver(self) -> None:
        due = sorted(f for f in self.flying if f[0] <= self.now)
        self.flying = [f for f in self.flying if f[0] > self.now]
        for _, _, data, source, target in due:
            node = self.nodes.get(target)
            if node is None:
                self.raw.setdefault(target, []).append(data)
                continue
            node.endpoint.receive(data, source, self.now)
            self.collect(node)

    def starts(self, source: Node | None = None) -> list[str]:
        """What was sent, in short: `INVITE`, `180 INVITE`, ..."""
        return [short(m) for _, s, _, m in self.log if source is None or s == source.place]


def peek(data: bytes) -> Request | Response:
    """A message as a test looks at it: an answer that echoes a broken header is read as far as its status,
    a keep-alive has none."""
    try:
        return parse(data)
    except MessageError:
        words = data.partition(b"\r\n")[0].decode("utf-8", "replace").split(" ", 2)
        return Response(int(words[1]), words[2], []) if words[0] == "SIP/2.0" else Response(0, "", [])


def short(message: Request | Response) -> str:
    return message.method if isinstance(message, Request) else f"{message.status} {message.cseq[1]}"


def pair(seed: int = 1, **gateway: object) -> tuple[Wire, Node, Node]:
    """A wire, a caller, and a gateway that takes calls to 8000 from the caller's address."""
    wire = Wire(seed)
    caller = wire.node("10.0.0.1", user="alice")
    settings = {"trunks": (Trunk("pbx", ("10.0.0.0/24",)),), "destinations": ("8000",), **gateway}
    return wire, caller, wire.node("10.0.0.2", **settings)
