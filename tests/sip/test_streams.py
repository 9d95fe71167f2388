"""TCP and TLS on the loopback: connections found, shared, limited, lost, and told of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import pytest

from gateway.core.errors import PortBusy
from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.connections import ConnectionLimits
from gateway.sip.edge import Listen
from gateway.sip.events import CallAnswered, CallEnded, CallOffered, ContactDown, ContactUp, OptionsAnswered
from gateway.sip.framing import FrameLimits
from gateway.sip.guard import Defence
from gateway.sip.message import parse
from tests.sip.ends import OPEN, TCP, Peer, answering, counters, options, running, until
from tests.sip.peers import Running

# --- requests and calls -----------------------------------------------------------------------------------------------


async def test_requests_are_answered_over_the_connection_they_came_by() -> None:
    async with running(TCP) as node:
        peer = await Peer.connect(node.edge.port)
        data = options(node.edge.port, "1") + b"\r\n\r\n" + options(node.edge.port, "2", via="192.0.2.9:5060")
        for i in range(0, len(data), 7):
            peer.write(data[i : i + 7])
            await asyncio.sleep(0)
        assert await peer.answer() == (200, "1")
        assert await peer.answer() == (200, "2")
        assert counters(node)["keepalive_pings"] == 1
        peer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_call_over_tcp_uses_one_connection_both_ways(host: str) -> None:
    listen = Listen("tcp", host)
    async with running(listen, **OPEN, host=host) as callee, running(listen, **OPEN, host=host) as caller:
        answering(callee)
        shown = f"[{host}]" if ":" in host else host
        uri = f"sip:8000@{shown}:{callee.edge.port};transport=tcp"
        call = caller.edge.invite(uri, offer_answer.offer("127.0.0.1", 6000))
        assert (await caller.wait(CallAnswered)).call == call
        heard = next(iter(callee.edge.endpoint.calls))
        callee.edge.hangup(heard)
        assert (await caller.wait(CallEnded)).by_peer
        assert len(callee.edge._streams._connections) == len(caller.edge._streams._connections) == 1
        assert counters(callee)["retransmitted"] == counters(caller)["retransmitted"] == 0


async def test_nobody_there_fails_the_request_at_once() -> None:
    async with running(TCP) as node:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            gone = sock.getsockname()[1]
        node.edge.options(f"sip:127.0.0.1:{gone};transport=tcp")
        assert (await node.wait(OptionsAnswered)).status == 503
        assert counters(node)["connections_failed"] == 1
        assert counters(node)["timed_out"] == 0


async def test_a_lost_connection_fails_what_waits_on_it_and_the_next_request_connects_anew() -> None:
    async with running(TCP) as node:
        greeted: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            greeted.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            node.edge.options(f"sip:127.0.0.1:{port};transport=tcp")
            assert (await node.wait(OptionsAnswered)).status == 503
        assert len(greeted) == 2
        server.close()


async def test_a_phone_whose_connection_ends_is_no_longer_called() -> None:
    accounts = (Account("omar", "secret"),)
    async with running(TCP, accounts=accounts) as node, running(TCP) as phone:
        account = accounts[0]
        phone.edge.register(f"sip:127.0.0.1:{node.edge.port};transport=tcp", "sip:omar@127.0.0.1", account)
        up = await node.wait(ContactUp)
        assert up.source.transport == "tcp"
        assert up.source.flow
        await phone.edge._shut()
        down = await node.wait(ContactDown)
        assert down.aor == up.aor


async def test_a_response_whose_connection_is_gone_goes_to_the_port_of_the_via() -> None:
    """RFC 3261 section 18.2.2."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(TCP, **OPEN) as node:
        peer = await Peer.connect(node.edge.port)
        body = offer_answer.offer("127.0.0.1", 6000).encode()
        text = f"INVITE sip:8000@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:{port};branch=z9hG4bK1\r\n"
        text += "From: <sip:a@b>;tag=1\r\nTo: <sip:8000@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
        text += "Contact: <sip:a@127.0.0.1:9>\r\nContent-Type: application/sdp\r\n"
        peer.write(f"{text}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        offered = await node.wait(CallOffered)
        peer.writer.transport.abort()
        await until(lambda: not len(node.edge._streams._connections))
        node.edge.reject(offered.call, 486)
        async with asyncio.timeout(20):
            while (found := parse(await heard.get())).status != 486:
                pass
        assert found.call_id == "1"
    server.close()


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_busy_port_is_named() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(PortBusy, match=f"TCP port {port}"):
            await Running.start(Listen("tcp", "127.0.0.1", port))


async def test_what_can_not_be_framed_is_answered_400_and_the_connection_closed() -> None:
    async with running(TCP) as node:
        peer = await Peer.connect(node.edge.port)
        peer.write(options(node.edge.port, length=False) + options(node.edge.port, "2"))
        response = parse(await peer.ended())
        assert (response.status, response.reason) == (400, "Missing Content-Length")
        assert counters(node)["streams_without_length"] == 1
        peer.close()


async def test_garbage_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async with running(TCP) as node:
        good = await Peer.connect(node.edge.port)
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 1000, b"\0" * 70000, b"A" * 70000):
            peer = await Peer.connect(node.edge.port)
            peer.write(data)
            assert await peer.ended() == b""
            peer.close()
        assert counters(node)["streams_garbage"] == 4
        good.write(options(node.edge.port))
        assert await good.answer() == (200, "1")
        good.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


NOBODY = Defence(trusted=())
"""The loopback is as strange as any other network."""


@pytest.mark.parametrize(
    ("limits", "defence", "counter"),
    [
        (ConnectionLimits(total=3), Defence(), "connections_refused_total"),
        (ConnectionLimits(per_address=3), NOBODY, "connections_refused_address"),
        (ConnectionLimits(per_address=3, rate=0.001), NOBODY, "connections_refused_rate"),
    ],
)
async def test_connections_are_limited(limits: ConnectionLimits, defence: Defence, counter: str) -> None:
    async with running(TCP, connections=limits, defence=defence) as node:
        peers = [await Peer.connect(node.edge.port) for _ in range(3)]
        if counter == "connections_refused_rate":
            peers.pop().close()
            await until(lambda: node.edge.connections["tcp"] == 2)
        for _ in range(2):
            refused = await Peer.connect(node.edge.port)
            assert await refused.ended() == b""
        assert counters(node)[counter] == 2
        for peer in peers:
            peer.write(options(node.edge.port))
            assert (await peer.answer())[0] == 200
            peer.close()


async def test_strangers_make_room_for_those_who_come_after() -> None:
    accounts = (Account("omar", "secret"),)
    limits = ConnectionLimits(total=3)
    async with (
        running(TCP, connections=limits, defence=NOBODY, accounts=accounts) as node,
        running(TCP) as phone,
    ):
        phone.edge.register(f"sip:127.0.0.1:{node.edge.port};transport=tcp", "sip:omar@127.0.0.1", accounts[0])
        await node.wait(ContactUp)
        strangers = [await Peer.connect(node.edge.port) for _ in range(5)]
        for stranger in strangers[:3]:
            assert await stranger.ended() == b""
        for stranger in strangers[3:]:
            stranger.write(options(node.edge.port))
            assert (await stranger.answer())[0] == 200
        assert counters(node)["connections_displaced"] == 3
        assert len(node.edge.endpoint.contacts("sip:omar@127.0.0.1", 0.0)) == 1
        for stranger in strangers:
            stranger.close()


async def test_pings_whose_answers_nobody_reads_end_the_connection() -> None:
    async with running(TCP, connections=ConnectionLimits(unread=10_000)) as node:
        peer = await Peer.connect(node.edge.port)
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.writer.transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while not counters(node)["connections_not_reading"]:
                    peer.write(b"\r\n\r\n" * 10_000)
                    await peer.writer.drain()
        assert counters(node)["connections_not_reading"] == 1
        peer.writer.transport.abort()


async def test_a_good_message_before_a_bad_one_is_answered() -> None:
    async with running(TCP) as node:
        peer = await Peer.connect(node.edge.port)
        peer.write(options(node.edge.port, "1") + b"no SIP\r\n")
        assert b"Call-ID: 1" in await peer.ended()
        peer.close()


async def test_a_peer_that_does_not_read_is_disconnected() -> None:
    async with running(TCP, connections=ConnectionLimits(unread=20_000)) as node:
        peer = await Peer.connect(node.edge.port)
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.writer.transport.pause_reading()

        async def flood() -> None:
            for i in range(200_000):
                peer.write(options(node.edge.port, str(i)))
                await peer.writer.drain()

        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                await flood()
        assert counters(node)["connections_not_reading"] == 1
        peer.writer.transport.abort()


async def test_slow_and_silent_peers_are_cut_off() -> None:
    limits = ConnectionLimits(first=0.5, frame=FrameLimits(patience=0.5))
    async with running(TCP, connections=limits) as node:
        silent, slow = await Peer.connect(node.edge.port), await Peer.connect(node.edge.port)
        slow.write(options(node.edge.port) + b"OPT")
        assert (await slow.answer())[0] == 200
        assert await slow.ended() == b""
        assert await silent.ended() == b""
        assert counters(node)["streams_slow"] == counters(node)["connections_silent"] == 1
        silent.close()
        slow.close()


async def test_idle_connections_are_closed_and_keep_alives_prevent_it() -> None:
    async with running(TCP, connections=ConnectionLimits(idle=4.0)) as node:
        idle, kept = await Peer.connect(node.edge.port), await Peer.connect(node.edge.port)
        for peer in (idle, kept):
            peer.write(options(node.edge.port))
            assert (await peer.answer())[0] == 200
        closing = asyncio.create_task(idle.ended())
        while not closing.done():
            kept.write(b"\r\n\r\n")
            await asyncio.sleep(0.1)
        kept.write(options(node.edge.port, "2"))
        async with asyncio.timeout(20):
            said = b""
            while b"Call-ID: 2" not in said:
                said += await kept.reader.read(65536)
        assert counters(node)["connections_idle"] == 1
        idle.close()
        kept.close()


async def test_strangers_are_cut_off_early_and_junk_makes_nobody_known() -> None:
    accounts, limits = (Account("omar", "secret"),), ConnectionLimits(total=4, stranger=3.0)
    async with (
        running(TCP, connections=limits, defence=NOBODY, accounts=accounts) as node,
        running(TCP) as phone,
    ):
        phone.edge.register(f"sip:127.0.0.1:{node.edge.port};transport=tcp", "sip:omar@127.0.0.1", accounts[0])
        await node.wait(ContactUp)
        junk = [await Peer.connect(node.edge.port) for _ in range(3)]
        for peer in junk:
            peer.write(b"JUNK sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: counters(node)["garbage"] == 3)
        late = await Peer.connect(node.edge.port)
        assert await junk[0].ended() == b""
        late.write(options(node.edge.port))
        assert (await late.answer())[0] == 200
        for peer in (*junk[1:], late):
            assert await peer.ended() == b""
        assert counters(node)["connections_idle"] == 3
        assert node.edge.connections["tcp"] == 1
        for peer in (*junk, late):
            peer.close()


# --- keep-alive of our own --------------------------------------------------------------------------------------------


async def test_connections_we_opened_are_kept_alive_and_given_up_when_pongs_stop() -> None:
    pings = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        request = parse(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer_to(request))
        while await reader.readexactly(4) == b"\r\n\r\n":
            pings += 1
            if pings == 1:
                writer.write(b"\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with running(TCP, connections=ConnectionLimits(ping=0.5, pong=0.5)) as node:
        node.edge.options(f"sip:127.0.0.1:{port};transport=tcp")
        assert (await node.wait(OptionsAnswered)).status == 200
        await until(lambda: counters(node)["connections_without_pong"] == 1)
        assert counters(node)["keepalive_pongs"] == 1
        assert pings >= 2
    server.close()


def answer_to(request) -> bytes:
    from gateway.sip.message import respond

    return respond(request, 200, tag="x").encode()
