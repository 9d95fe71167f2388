"""Trunks with real peers: Kamailio as a provider that asks for a password, as a proxy that forks, sipp as a carrier."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.edge import Listen
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    CallProgress,
    Registered,
    RegisterFailed,
    TrunkChanged,
)
from gateway.sip.trunks import Destinations, RegisterAs
from tests.peers import kamailio
from tests.peers.kamailio import CARRIERS, Kamailio
from tests.sip.peers import Running, Sipp, free_port

pytestmark = pytest.mark.peers

OFFER = offer_answer.offer("127.0.0.1", 6000)
EVERYWHERE = Destinations(allow=("*",))
LINE = Account("4930123", "secret")
PATIENCE = 30.0
SHIPPED = Path(__file__).resolve().parents[2] / "sip_config" / "kamailio" / "kamailio.cfg"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., Kamailio]]:
    """Starts Kamailio with one of the carriers' configurations; it ends with the test."""
    running: list[Kamailio] = []

    def start(config: str, **words: object) -> Kamailio:
        running.append(kamailio.start(CARRIERS / config, tmp_path, name=f"kamailio{len(running)}", **words))
        return running[-1]

    yield start
    for each in running:
        each.end()
        print(each.text[-3000:])


def provider(proxy: Callable[..., Kamailio], world: int, algorithm: str = "", password: str = "secret") -> Kamailio:
    words = {"WORLD_PORT": world, "REALM": "carrier.test", "USER": LINE.user, "PASSWORD": password}
    return proxy("registrar.cfg", ALGORITHM=algorithm, **words)


async def customer(port: int, transport: str = "udp", expires: int = 600, **more: object) -> Running:
    """A gateway that registers at a provider on the loopback."""
    trunk = Trunk(
        "carrier",
        server=f"sip:127.0.0.1:{port};transport={transport}",
        domain="carrier.test",
        register=RegisterAs(LINE.user, LINE, expires),
        country="DE",
        number_format="plus",
        **more,
    )
    listen = [Listen("udp", "127.0.0.1"), *([Listen("tcp", "127.0.0.1")] if transport == "tcp" else [])]
    return await Running.start(*listen, trunks=(trunk,), outside=EVERYWHERE, destinations=("*",))


@pytest.mark.parametrize(("transport", "algorithm"), [("udp", ""), ("tcp", "SHA-256")])
async def test_a_provider_is_registered_at_calls_us_and_carries_our_calls(
    proxy: Callable[..., Kamailio], tmp_path: Path, transport: str, algorithm: str
) -> None:
    world = free_port()
    upstream = provider(proxy, world, algorithm)
    node = await customer(upstream.port, transport)
    node.edge.connect_trunks()
    registered = await node.wait(Registered, PATIENCE)
    assert (registered.registration, registered.expires) == ("carrier", 600)
    assert (await node.wait(TrunkChanged)).up
    state = node.edge.endpoint.trunks["carrier"]
    assert state.routes == (f"<sip:127.0.0.1:{upstream.port};lr>",)

    caller = await Sipp.start("call", tmp_path, upstream.port, "-d", "200", service="+4930123456", port=world)
    offered = await node.wait(CallOffered, PATIENCE)
    assert (offered.trunk, offered.dialled) == ("carrier", "+4930123456")
    node.edge.ring(offered.call)
    node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", 6000))
    await node.wait(CallConfirmed, PATIENCE)
    assert (await node.wait(CallEnded, PATIENCE)).by_peer
    await caller.good()

    phone = await Sipp.start("phone", tmp_path, None, "-d", "50", port=world)
    call = node.edge.invite("+442071234567", OFFER)
    answered = await node.wait(CallAnswered, PATIENCE)
    assert (answered.call, answered.trunk) == (call, "carrier")
    assert node.edge.endpoint.counters["received_4xx"] >= 2  # one for REGISTER, one for INVITE
    node.edge.hangup(call)
    await phone.good()
    await node.edge.close()


async def test_a_registration_is_refreshed_and_taken_back(proxy: Callable[..., Kamailio]) -> None:
    world = free_port()
    upstream = provider(proxy, world)
    node = await customer(upstream.port, expires=5)
    node.edge.connect_trunks()
    for _ in range(3):
        assert (await node.wait(Registered, PATIENCE)).expires == 5
    assert len([e for e in node.events if isinstance(e, TrunkChanged)]) == 1
    await node.edge.close()
    outside = await Running.start(Listen("udp", "127.0.0.1", world))
    outside.edge.invite(f"sip:+4930123456@127.0.0.1:{upstream.port}", OFFER)
    assert (await outside.wait(CallFailed, PATIENCE)).status == 480
    await outside.edge.close()


async def test_a_wrong_password_is_told_in_words(proxy: Callable[..., Kamailio]) -> None:
    upstream = provider(proxy, free_port(), password="another")
    node = await customer(upstream.port)
    node.edge.connect_trunks()
    failed = await node.wait(RegisterFailed, PATIENCE)
    assert failed.status == 401
    state = node.edge.endpoint.trunks["carrier"]
    assert not state.up
    assert "401" in state.words(0.0)
    node.edge.invite("+442071234567", OFFER)
    assert (await node.wait(CallFailed)).reason == "No Trunk"
    await node.edge.close()


async def test_a_provider_that_restarts_is_registered_over_tcp_anew(proxy: Callable[..., Kamailio]) -> None:
    upstream = provider(proxy, free_port())
    node = await customer(upstream.port, "tcp", patience_s=1.0)
    node.edge.connect_trunks()
    await node.wait(Registered, PATIENCE)
    assert (await node.wait(TrunkChanged)).up
    upstream.end()
    down = await node.wait(TrunkChanged, PATIENCE)
    assert not down.up
    assert "Connection Lost" in down.why
    assert (await node.wait(RegisterFailed, PATIENCE)).status == 430
    assert (await node.wait(RegisterFailed, PATIENCE)).status == 503  # nobody there yet: tried again later
    await node.edge.close()


async def test_the_first_of_two_forked_phones_that_answers_is_the_call(proxy: Callable[..., Kamailio]) -> None:
    """Both phones are behind a proxy, and so is the caller: every later request goes by its Record-Route."""
    loopback = Trunk("proxy", ("127.0.0.0/8",))
    phones = [await Running.start(trunks=(loopback,), destinations=("*",)) for _ in range(2)]
    front = proxy("fork.cfg", FIRST_PORT=phones[0].edge.port, SECOND_PORT=phones[1].edge.port)
    caller = await Running.start(trunks=(Trunk("front", server=f"sip:127.0.0.1:{front.port}"),), outside=EVERYWHERE)
    call = caller.edge.invite("+442071234567", OFFER)
    offers = [await phone.wait(CallOffered, PATIENCE) for phone in phones]
    for phone, offered in zip(phones, offers, strict=True):
        phone.edge.ring(offered.call)
    for _ in phones:
        assert (await caller.wait(CallProgress, PATIENCE)).status == 180
    winner, loser = phones[1], phones[0]
    winner.edge.answer(offers[1].call, offer_answer.answer(offers[1].offer, "127.0.0.1", 6100))
    assert (await caller.wait(CallAnswered, PATIENCE)).call == call
    await winner.wait(CallConfirmed, PATIENCE)
    assert (await loser.wait(CallCancelled, PATIENCE)).call == offers[0].call
    caller.edge.hangup(call)
    assert (await winner.wait(CallEnded, PATIENCE)).by_peer
    for node in (*phones, caller):
        await node.edge.close()


async def test_the_proxy_that_is_shipped_spreads_calls_over_gateways_and_passes_over_one_that_drains(
    tmp_path: Path,
) -> None:
    loopback = Trunk("front", ("127.0.0.0/8",), trust=True)
    gateways = [await Running.start(trunks=(loopback,), destinations=("*",)) for _ in range(2)]
    listed = tmp_path / "dispatcher.list"
    listed.write_text("".join(f"1 sip:127.0.0.1:{each.edge.port} 0 0\n" for each in gateways))
    defines = {"LISTEN": "udp:127.0.0.1:{port}", "GATEWAYS": f'"{listed}"'}
    front = kamailio.start(SHIPPED, tmp_path, defines=defines)
    try:
        for each in gateways:
            each.on_event = answering(each)
        for _ in range(4):
            await (await Sipp.start("call", tmp_path, front.port, "-d", "50")).good()
        taken = [len([e for e in each.events if isinstance(e, CallOffered)]) for each in gateways]
        assert taken == [2, 2]
        gateways[0].edge.drain()
        for _ in range(3):
            await (await Sipp.start("call", tmp_path, front.port, "-d", "50")).good()
        assert len([e for e in gateways[1].events if isinstance(e, CallOffered)]) == 5
    finally:
        front.end()
        print(front.text[-3000:])
    for each in gateways:
        await each.edge.close()


def answering(node: Running) -> Callable[[object], None]:
    def hear(event: object) -> None:
        if isinstance(event, CallOffered):
            node.edge.answer(event.call, offer_answer.answer(event.offer, "127.0.0.1", 6000))

    return hear


async def test_a_dead_trunk_is_left_for_the_second(tmp_path: Path) -> None:
    """One port swallows what comes, one says by ICMP that nobody is there."""
    phone = await Sipp.start("phone", tmp_path, None, "-d", "50")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        trunks = (
            Trunk(
                "silent", server=f"sip:127.0.0.1:{silent.getsockname()[1]}", patience_s=0.7, failover=("closed", "b")
            ),
            Trunk("closed", server=f"sip:127.0.0.1:{free_port()}"),
            Trunk("b", server=f"sip:127.0.0.1:{phone.port}"),
        )
        node = await Running.start(trunks=trunks, outside=EVERYWHERE)
        call = node.edge.invite("+442071234567", OFFER, trunk="silent")
        answered = await node.wait(CallAnswered, PATIENCE)
        assert (answered.call, answered.trunk) == (call, "b")
        assert node.edge.endpoint.trunks["silent"].failure.startswith("408")
        assert node.edge.endpoint.trunks["closed"].failure.startswith("503")
        node.edge.hangup(call)
        await phone.good()
        again = await Sipp.start("phone", tmp_path, None, "-d", "50", port=phone.port)
        node.edge.invite("+442071234567", OFFER, trunk="silent")
        assert (await node.wait(CallAnswered, PATIENCE)).trunk == "b"  # at once: the others rest
        for each in node.edge.endpoint.calls:
            node.edge.hangup(each)
        await again.good()
        await node.edge.close(patience=0.1)


async def test_a_carrier_by_address_is_held_to_its_calls_a_second(tmp_path: Path) -> None:
    node = await Running.start(
        trunks=(Trunk("carrier", ("127.0.0.0/8",), per_second=3, max_calls=100),), destinations=("8000",)
    )
    node.on_event = lambda event: node.edge.reject(event.call, 486) if isinstance(event, CallOffered) else None
    carrier = await Sipp.start("limited", tmp_path, node.edge.port, "-r", "40", "-m", "20", "-trace_logs")
    await carrier.good()
    counters = node.edge.endpoint.counters
    assert counters["trunk_full"] + counters["refused_486"] == 20
    assert counters["trunk_full"] > 5
    assert counters["refused_486"] >= 3
    assert node.edge.endpoint.trunks["carrier"].calls_in == 0
    await node.edge.close()
