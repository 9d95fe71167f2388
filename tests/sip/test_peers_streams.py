"""Real phones over TCP, TLS and WebSocket."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.certificates import Certificate
from gateway.sip.edge import Listen
from gateway.sip.events import (
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    ContactDown,
    ContactUp,
)
from tests.sip.certs import Authority
from tests.sip.ends import OPEN, TCP, answering, counters, running
from tests.sip.jssip import JsSip
from tests.sip.peers import Baresip, Sipp

pytestmark = pytest.mark.peers

ANN = Account("ann", "secret")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_baresip_registers_is_called_calls_and_leaves(transport: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    pair = authority.pair("127.0.0.1")
    listen = Listen(transport, "127.0.0.1")
    lines = [f"sip_cafile {authority.file}", "sip_verify_server yes"] if transport == "tls" else []
    async with running(
        listen, **OPEN, accounts=(ANN,), certificate=Certificate((pair,), authority.file), domain="127.0.0.1"
    ) as node:
        account = f"Ann <sip:ann@127.0.0.1:{node.edge.port};transport={transport}>"
        phone = await Baresip.start(tmp_path, f"{account};auth_pass=secret;answermode=auto;regint=60", *lines)
        try:
            up = await node.wait(ContactUp, 20)
            assert (up.aor, up.source.transport) == ("sip:ann@127.0.0.1", transport)
            call = node.edge.invite("ann", offer_answer.offer("127.0.0.1", 6000), from_user="1001")
            assert (await node.wait(CallAnswered, 20)).call == call
            node.edge.hangup(call)
            await node.wait(CallEnded, 20)
            await phone.order("dial", f"sip:8000@127.0.0.1:{node.edge.port};transport={transport}")
            offered = await node.wait(CallOffered, 20)
            node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", 6000))
            await node.wait(CallConfirmed, 20)
            node.edge.hangup(offered.call)
            assert not (await node.wait(CallEnded, 20)).by_peer
        finally:
            print(await phone.stop())
        assert (await node.wait(ContactDown, 20)).aor == "sip:ann@127.0.0.1"
        assert counters(node)["timed_out"] == counters(node)["retransmitted"] == 0


async def test_sipp_calls_over_tcp(tmp_path: Path) -> None:
    async with running(TCP, **OPEN) as node:
        answering(node)
        for mode in ("t1", "tn"):
            how = ("-t", mode, "-max_socket", "500", "-m", "20", "-r", "20", "-d", "100")
            sipp = await Sipp.start("call", tmp_path, node.edge.port, *how)
            await sipp.good()
        assert counters(node)["received_BYE"] == 40
        assert counters(node)["retransmitted"] == counters(node)["repeats_absorbed"] == 0


async def test_sipp_is_called_over_tcp(tmp_path: Path) -> None:
    async with running(TCP, **OPEN) as node:
        phone = await Sipp.start("phone", tmp_path, None, "-t", "t1")
        call = node.edge.invite(f"sip:x@127.0.0.1:{phone.port};transport=tcp", offer_answer.offer("127.0.0.1", 6000))
        await node.wait(CallAnswered, 20)
        node.edge.hangup(call)
        await node.wait(CallEnded, 20)
        await phone.good()
        assert counters(node)["retransmitted"] == 0


@pytest.mark.parametrize("transport", ["ws", "wss"])
async def test_jssip_registers_calls_is_called_and_leaves(transport: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    listen = Listen(transport, "127.0.0.1")
    config = {"accounts": (ANN,), "certificate": authority.certificate("localhost"), "domain": "example.test"}
    async with running(listen, destinations=("8000",), **config) as node:
        url = f"{transport}://localhost:{node.edge.port}"
        phone = await JsSip.start(url, "sip:ann@example.test", "secret", authority.file)
        try:
            up = await node.wait(ContactUp, 30)
            assert (up.aor, up.source.transport) == ("sip:ann@example.test", transport)
            assert ".invalid" in up.contact
            await phone.wait("registered")
            (binding,) = node.edge.endpoint.registrar.all()
            assert binding.reg_id == 1
            assert binding.gruu.startswith("sip:ann@example.test;gr=urn:uuid:")

            phone.order("options sip:8000@example.test")
            assert (await phone.wait("options"))["status"] == 200
            phone.order("message sip:8000@example.test hello there")
            assert 200 <= (await phone.wait("message"))["status"] < 500

            call = node.edge.invite("ann", offer_answer.offer("127.0.0.1", 6000), from_user="1001")
            assert (await phone.wait("call"))["user"] == "1001"
            phone.order("answer")
            assert (await node.wait(CallAnswered, 30)).call == call
            await phone.wait("confirmed")
            node.edge.hangup(call)
            assert (await phone.wait("ended"))["from"] == "remote"
            assert not (await node.wait(CallEnded, 30)).by_peer

            node.edge.invite("ann", offer_answer.offer("127.0.0.1", 6000))
            await phone.wait("call")
            phone.order("reject 486")
            assert (await node.wait(CallFailed, 30)).status == 486

            phone.order("call sip:8000@example.test")
            offered = await node.wait(CallOffered, 30)
            assert offered.aor == "sip:ann@example.test"
            node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", 6002))
            await node.wait(CallConfirmed, 30)
            await phone.wait("confirmed")
            phone.order("hangup")
            assert (await node.wait(CallEnded, 30)).by_peer

            node.edge.invite(binding.gruu, offer_answer.offer("127.0.0.1", 6000), from_user="1002")
            assert (await phone.wait("call"))["user"] == "1002"
            phone.order("reject 486")
            assert (await node.wait(CallFailed, 30)).status == 486
        finally:
            await phone.stop()
        assert (await node.wait(ContactDown, 30)).aor == "sip:ann@example.test"
        assert counters(node)["timed_out"] == counters(node)["retransmitted"] == 0


async def test_a_jssip_phone_whose_connection_is_cut_comes_back(tmp_path: Path) -> None:
    async with running(Listen("ws", "127.0.0.1"), accounts=(ANN,), domain="example.test") as node:
        phone = await JsSip.start(f"ws://127.0.0.1:{node.edge.port}", "sip:ann@example.test", "secret")
        try:
            first = await node.wait(ContactUp, 30)
            for connection in node.edge._streams._connections:
                connection.abort("cut")
            assert (await node.wait(ContactDown, 30)).aor == first.aor
            assert (await node.wait(ContactUp, 30)).source.flow != first.source.flow
        finally:
            await phone.stop()
