"""TLS and WebSocket on the loopback: whom they let in, calls both ways, what ends a connection, new certificates."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from gateway.core.errors import ConfigError
from gateway.sip import offer_answer
from gateway.sip.certificates import Certificate
from gateway.sip.connections import ConnectionLimits
from gateway.sip.edge import Listen
from gateway.sip.events import CallAnswered, CallEnded, CallOffered, OptionsAnswered
from gateway.sip.message import parse
from tests.sip.certs import Authority
from tests.sip.ends import OPEN, TCP, Peer, answering, counters, options, running, until
from tests.sip.peers import Running, Sipp, need

TLS = Listen("tls", "127.0.0.1")
WS = Listen("ws", "127.0.0.1")
WSS = Listen("wss", "127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.file)
    return context


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_a_call_over_tls_with_checked_certificates(authority: Authority) -> None:
    certificate = authority.certificate("127.0.0.1", verify="mutual")
    async with (
        running(TLS, **OPEN, certificate=certificate) as callee,
        running(TLS, **OPEN, certificate=certificate) as caller,
    ):
        answering(callee)
        caller.edge.invite(
            f"sip:8000@127.0.0.1:{callee.edge.port};transport=tls", offer_answer.offer("127.0.0.1", 6000)
        )
        await caller.wait(CallAnswered)
        callee.edge.hangup(next(iter(callee.edge.endpoint.calls)))
        assert (await caller.wait(CallEnded)).by_peer
        assert counters(callee)["tls_failed"] == counters(caller)["tls_failed"] == 0


async def test_an_endpoint_without_a_listener_calls_over_tcp_and_tls_too(authority: Authority) -> None:
    trusted = Certificate((), authority.file)
    async with (
        running(TCP, TLS, **OPEN, certificate=authority.certificate("127.0.0.1")) as callee,
        running(certificate=trusted) as caller,
    ):
        for transport in ("tcp", "tls"):
            caller.edge.options(f"sip:127.0.0.1:{callee.edge.ports[transport]};transport={transport}")
            assert (await caller.wait(OptionsAnswered)).status == 200


@pytest.mark.parametrize("names", [("other.test",), ("127.0.0.2",)])
async def test_a_certificate_for_another_name_is_not_taken(authority: Authority, names: tuple[str, ...]) -> None:
    certificate = authority.certificate(*names)
    async with running(TLS, certificate=certificate) as callee, running(TLS, certificate=certificate) as caller:
        caller.edge.options(f"sip:127.0.0.1:{callee.edge.port};transport=tls")
        assert (await caller.wait(OptionsAnswered)).status == 503
        assert counters(caller)["connections_failed"] == counters(caller)["tls_failed"] == 1
        assert counters(caller)["timed_out"] == 0


async def test_tls_needs_a_certificate_and_tls_refuses_plain_text(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="TLS needs a certificate"):
        await Running.start(TLS)
    async with running(TLS, certificate=authority.certificate("127.0.0.1")) as node:
        peer = await Peer.connect(node.edge.port)
        peer.write(options(node.edge.port))
        await peer.ended()
        assert counters(node)["tls_failed"] == 1
        peer.close()


async def test_a_handshake_that_takes_too_long_is_cut_off(authority: Authority) -> None:
    limits = ConnectionLimits(handshake=0.5)
    certificate = authority.certificate("127.0.0.1")
    async with running(TLS, WS, WSS, certificate=certificate, connections=limits) as node:
        peers = [await Peer.connect(port) for port in node.edge.ports.values()]
        peers[1].write(b"GET / HTTP/1.1\r\n")
        for peer in peers:
            await peer.ended()
            peer.close()
        assert counters(node)["connections_slow_handshake"] == 3


async def test_a_new_certificate_is_shown_without_a_restart(authority: Authority) -> None:
    certificate = authority.certificate("127.0.0.1")
    async with running(TLS, certificate=certificate) as node:
        old = await Peer.connect(node.edge.port, trusting(authority))
        renewed = authority.pair("127.0.0.1", "new.test", file="127.0.0.1")
        for path in (renewed.certificate, renewed.key):
            os.utime(path, (time.time() + 10,) * 2)
        context = trusting(authority)

        async def renewed_is_shown() -> bool:
            peer = await Peer.connect(node.edge.port, context)
            names = peer.writer.get_extra_info("peercert")["subjectAltName"]
            peer.close()
            return ("DNS", "new.test") in names

        for _ in range(100):
            if await renewed_is_shown():
                break
            await asyncio.sleep(0.2)
        else:
            pytest.fail("the new certificate was never shown")
        old.write(options(node.edge.port))
        assert (await old.answer())[0] == 200
        old.close()


@pytest.mark.peers
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-tls1_1", "-cipher", "ALL@SECLEVEL=0"), "alert"),
        (("-cert", "stranger.crt", "-key", "stranger.key"), "unknown ca"),
        ((), "certificate required"),
        (("-cert", "known.crt", "-key", "known.key"), ""),
    ],
)
async def test_openssl_with_good_and_bad_certificates(authority: Authority, more: tuple[str, ...], said: str) -> None:
    need("openssl")
    authority.pair("known.test", file="known")
    Authority(authority.folder / "other", "other").pair("stranger.test", file="../stranger")
    async with running(TLS, certificate=authority.certificate("127.0.0.1", verify="mutual")) as node:
        process = await asyncio.create_subprocess_exec(
            *(
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{node.edge.port}",
                "-CAfile",
                str(authority.file),
                "-quiet",
            ),
            *more,
            cwd=authority.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(options(node.edge.port))
        async with asyncio.timeout(25):
            if said:
                heard = (await process.stdout.read()).decode(errors="replace")
                await until(lambda: counters(node)["tls_failed"] == 1)
                assert said in heard
            else:
                assert b"SIP/2.0 200 OK" in await process.stdout.readuntil(b"SIP/2.0 200 OK")
                process.kill()
        await process.wait()


# --- WebSocket --------------------------------------------------------------------------------------------------------


def web_options(call: str = "1") -> str:
    return options(5060, call, via="df7jal23ls0d.invalid").decode().replace("SIP/2.0/TCP", "SIP/2.0/WS")


@pytest.mark.parametrize("listen", [WS, WSS])
async def test_requests_over_websocket(authority: Authority, listen: Listen) -> None:
    secure = listen is WSS
    async with running(listen, certificate=authority.certificate("127.0.0.1")) as node:
        url = f"{listen.transport}://127.0.0.1:{node.edge.port}/any"
        async with connect(url, subprotocols=["sip"], ssl=trusting(authority) if secure else None) as phone:
            await phone.send(web_options())
            answer = await phone.recv()
            assert isinstance(answer, str)
            assert parse(answer.encode()).status == 200
            await phone.send(web_options("2").encode())
            assert "Call-ID: 2" in str(await phone.recv())
            await node.edge.close()
            await phone.wait_closed()
            assert phone.close_code == 1001


async def test_a_websocket_phone_is_called_over_its_own_connection_only() -> None:
    """RFC 7118 section 5: a host in .invalid can't be connected to."""
    async with running(WS, trunks=OPEN["trunks"], destinations=("8000",)) as node:
        async with connect(f"ws://127.0.0.1:{node.edge.port}", subprotocols=["sip"]) as phone:
            body = offer_answer.offer("127.0.0.1", 6000).encode().decode()
            await phone.send(
                "INVITE sip:8000@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\n"
                "From: <sip:a@b>;tag=1\r\nTo: <sip:8000@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
                "Contact: <sip:a@x.invalid;transport=ws>\r\nContent-Type: application/sdp\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}"
            )
            call = await node.wait(CallOffered)
            node.edge.answer(call.call, offer_answer.answer(call.offer, "127.0.0.1", 6002))
            while (found := parse(str(await phone.recv()).encode())).status != 200:
                pass
            contact = found.contacts[0].uri
            assert contact.param("transport") == "ws"
            to = found.get("To")
            await phone.send(
                f"ACK {contact} SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK2\r\nMax-Forwards: 70\r\n"
                f"From: <sip:a@b>;tag=1\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
            )
            await until(lambda: counters(node)["received_ACK"] == 1)
            node.edge.hangup(call.call)
            async with asyncio.timeout(20):
                bye = parse(str(await phone.recv()).encode())
            assert (bye.method, bye.uri) == ("BYE", "sip:a@x.invalid;transport=ws")
            assert bye.via.transport == "WS"
        node.edge.options("sip:a@x.invalid;transport=ws")
        assert (await node.wait(OptionsAnswered)).status in (404, 480, 503)


async def test_who_can_not_come_in_by_websocket() -> None:
    async with running(WS, origins=("https://desk.test",)) as node:
        for name, value in (("subprotocols", ["chat"]), ("origin", "https://evil.test")):
            with pytest.raises(Exception, match="HTTP 40"):
                async with connect(f"ws://127.0.0.1:{node.edge.port}", **{"subprotocols": ["sip"], name: value}):
                    pass
        assert counters(node)["websocket_refused"] == counters(node)["websocket_origin"] == 1
        async with connect(f"ws://127.0.0.1:{node.edge.port}", subprotocols=["sip"], origin="https://desk.test"):
            pass


async def test_a_browser_that_vanished_is_found_out() -> None:
    async with running(WS, connections=ConnectionLimits(web_ping=0.5, pong=0.5)) as node:
        peer = await Peer.connect(node.edge.port)
        peer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
        )
        await peer.ended()
        assert counters(node)["connections_without_pong"] == 1
        peer.close()


# --- a crowd that dribbles --------------------------------------------------------------------------------------------


@pytest.mark.peers
async def test_two_hundred_dribblers_do_not_delay_a_call(authority: Authority, tmp_path: Path) -> None:
    """sipp retransmits an INVITE after 500 ms; of three calls one at least is spared that on any machine."""
    need("sipp")
    places = (Listen("udp", "127.0.0.1"), TCP, TLS, WS)
    async with running(*places, **OPEN, certificate=authority.certificate("127.0.0.1")) as node:
        answering(node)
        ports = [node.edge.ports[name] for name in ("tcp", "tls", "ws")]
        sockets = [socket.create_connection(("127.0.0.1", ports[i % 3])) for i in range(200)]
        data = {ports[0]: options(ports[0]), ports[1]: b"\x16\x03\x01\x02\x00\x01\x00", ports[2]: b"GET / HTTP/1.1\r\n"}
        done = asyncio.Event()

        async def dribble() -> None:
            at = 0
            while not done.is_set():
                for one in sockets:
                    said = data[one.getpeername()[1]]
                    one.send(said[at % len(said) : at % len(said) + 1])
                at += 1
                await asyncio.sleep(0.05)

        dribbling = asyncio.create_task(dribble())
        await asyncio.sleep(0.1)
        prompt = 0
        for _ in range(3):
            before = counters(node)["repeats_absorbed"]
            sipp = await Sipp.start("call", tmp_path, node.edge.ports["udp"], "-d", "100")
            await sipp.good()
            prompt += counters(node)["repeats_absorbed"] == before
        assert prompt
        assert not dribbling.done()
        done.set()
        await dribbling
        for one in sockets:
            one.close()
