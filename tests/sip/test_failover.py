"""From one server to the next (RFC 3263 section 4.3), and what is remembered of the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import offer_answer
from gateway.sip.config import Account, SipConfig
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import CallAnswered, CallEnded, CallFailed, SipEvent
from gateway.sip.message import Request, parse
from gateway.sip.outages import HELD_S, LONGEST_S, REMEMBERED, Outages
from gateway.sip.place import Place
from gateway.sip.resolver import DnsResolver
from gateway.sip.states import Base
from tests.sip.name_server import NameServer
from tests.sip.peers import Running, Sipp
from tests.sip.raw import reply
from tests.sip.wire import Node, Wire

OFFER = offer_answer.offer("127.0.0.1", 6000)
FIRST, SECOND = Place("10.0.0.8", 5060), Place("10.0.0.9", 5060)


# --- what is remembered, on a wire of values ------------------------------------------------------------------------


class Named:
    """A node that calls a name of two places."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.wire.names["pbx.example"] = [FIRST, SECOND]
        self.node: Node = self.wire.node("10.0.0.2", credentials=(Account("we", "pw"),))

    def invite(self) -> tuple[Place, Request]:
        """Where a new call goes first."""
        before = {place: len(self.wire.raw.get(place, ())) for place in (FIRST, SECOND)}
        self.node.invite("sip:x@pbx.example", OFFER)
        self.wire.run(0.02)
        (place,) = [place for place in before if len(self.wire.raw.get(place, ())) > before[place]]
        return place, self.last(place)

    def last(self, place: Place) -> Request:
        message = parse(self.wire.raw[place][-1])
        assert isinstance(message, Request)
        return message


def test_a_place_that_was_silent_is_not_waited_for_again_until_a_minute_has_passed() -> None:
    named = Named()
    assert named.invite()[0] == FIRST
    named.wire.run(32.1)
    assert named.last(SECOND).method == "INVITE"
    assert named.invite()[0] == SECOND
    named.wire.run(HELD_S)
    assert named.invite()[0] == FIRST


def test_retry_after_says_how_long_a_place_is_passed_over() -> None:
    named = Named()
    place, request = named.invite()
    named.node.receive(reply(request, 503, Retry_After="5 (maintenance);duration=10"), place)
    named.wire.run(4)
    assert named.invite()[0] == SECOND
    named.wire.run(2)
    assert named.invite()[0] == FIRST


def test_a_place_that_answers_is_in_service_again() -> None:
    named = Named()
    named.node.endpoint._stack.outages.failed(FIRST, named.wire.now)
    named.node.endpoint._stack.outages.failed(SECOND, named.wire.now)
    place, request = named.invite()
    assert place == FIRST  # where all are out they are tried as they come
    named.node.receive(reply(request, 486), place)
    assert len(named.node.endpoint._stack.outages) == 1


def test_credentials_go_to_the_server_that_asked_for_them() -> None:
    named = Named()
    named.wire.names["pbx.example"] = [FIRST, SECOND]
    place, request = named.invite()
    named.node.receive(reply(request, 503), place)
    named.wire.run(0.02)
    named.node.endpoint._stack.outages.answered(FIRST)
    challenge = 'Digest realm="x", nonce="1", algorithm=MD5, qop="auth"'
    named.node.receive(reply(named.last(SECOND), 401, WWW_Authenticate=challenge), SECOND)
    named.wire.run(0.02)
    again = named.last(SECOND)
    assert again.method == "INVITE"
    assert again.get("Authorization")


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans(), st.floats(0, 1e6)), max_size=50), st.integers(0, 2))
def test_outages_are_bounded_and_end(steps: list[tuple[int, bool, float]], more: int) -> None:
    outages, now = Outages(), 0.0
    for n in range(more * 1000):
        outages.failed(Place("10.0.0.1", n + 1), now)
    for port, fails, wait in steps:
        place = Place("10.0.0.1", port)
        if fails:
            outages.failed(place, now, wait)
            assert outages.down(place, now)
        else:
            outages.answered(place)
            assert not outages.down(place, now)
        assert len(outages) <= REMEMBERED
        now += wait / 1000
    places = [Place("10.0.0.1", n) for n in range(3000)]
    up, down = outages.split(places, now)
    assert sorted(up + down) == places
    assert outages.split(places, now + LONGEST_S + 0.1) == (places, [])


# --- real servers ---------------------------------------------------------------------------------------------------


class Peer(asyncio.DatagramProtocol):
    """A server that answers every request as it is told: 0 is silence."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.heard: list[Request] = []
        self.port = 0

    @classmethod
    async def start(cls, status: int) -> Peer:
        loop = asyncio.get_running_loop()
        transport, self = await loop.create_datagram_endpoint(lambda: cls(status), local_addr=("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        return self

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        message = parse(data)
        if isinstance(message, Request):
            self.heard.append(message)
            if self.status and message.method != "ACK":
                self.transport.sendto(reply(message, self.status), source)


def zone(*ports: int) -> dict[tuple[str, str], list[str]]:
    return {
        ("carrier.test", "NAPTR"): ['10 10 "s" "SIP+D2U" "" _sip._udp.carrier.test.'],
        ("_sip._udp.carrier.test", "SRV"): [f"{n} 0 {port} host.test." for n, port in enumerate(ports)],
        ("host.test", "A"): ["127.0.0.1"],
    }


@pytest.fixture
async def gateway() -> AsyncIterator[Callable]:
    started: list[Edge] = []

    async def start(server: NameServer) -> Running:
        running = Running()
        resolver = DnsResolver(servers=[server.at], hosts=Path("/nonexistent"))
        config = SipConfig(domain="127.0.0.1", base=Base(t1=0.02))
        listen = [Listen("udp", "127.0.0.1")]
        running.edge = await Edge.open(Endpoint(config), listen, running._hear, resolver)
        started.append(running.edge)
        return running

    yield start
    for edge in started:
        await edge.close()


async def over(running: Running) -> SipEvent:
    """How the last call ended."""
    return await running.wait((CallAnswered, CallFailed), 20)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["closed", "refuses", "silent"])
@pytest.mark.peers
async def test_a_call_goes_to_the_second_server(first: str, gateway: Callable, tmp_path: Path) -> None:
    phone = await Sipp.start("phone", tmp_path, None)
    dead = await Peer.start(503 if first == "refuses" else 0)
    if first == "closed":
        dead.transport.close()
    server = await NameServer.start(zone(dead.port, phone.port))
    running = await gateway(server)
    running.edge.invite("sip:8000@carrier.test", OFFER)
    answered = await over(running)
    assert isinstance(answered, CallAnswered)
    assert running.edge.endpoint.counters["failed_over"] == 1
    if first != "closed":
        assert dead.heard[0].method == "INVITE"
    running.edge.hangup(answered.call)
    await running.wait(CallEnded)
    await phone.good()
    server.close()


@pytest.mark.peers
async def test_the_next_call_does_not_wait_for_the_dead_server(gateway: Callable, tmp_path: Path) -> None:
    silent, busy = await Peer.start(0), await Peer.start(486)
    server = await NameServer.start(zone(silent.port, busy.port))
    running = await gateway(server)
    for _ in range(5):
        running.edge.invite("sip:8000@carrier.test", OFFER)
        failed = await over(running)
        assert isinstance(failed, CallFailed)
        assert failed.status == 486
    assert {request.call_id for request in silent.heard} == {silent.heard[0].call_id}
    assert len({request.call_id for request in busy.heard}) == 5
    branches = {request.via.branch for request in silent.heard + busy.heard if request.method == "INVITE"}
    assert len(branches) == 6
    assert server.asked["carrier.test", "NAPTR"] == 1  # the answer was kept
    server.close()


@pytest.mark.peers
async def test_a_call_to_nowhere_fails_at_once(gateway: Callable) -> None:
    server = await NameServer.start({})
    running = await gateway(server)
    running.edge.invite("sip:8000@nowhere.test", OFFER)
    failed = await over(running)
    assert isinstance(failed, CallFailed)
    assert failed.status == 503
    server.close()
