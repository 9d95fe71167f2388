"""Real peers on the loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from gateway.sip import offer_answer
from gateway.sip.config import Account, Trunk
from gateway.sip.events import (
    CallAnswered,
    CallCancelled,
    CallConfirmed,
    CallEnded,
    CallFailed,
    CallOffered,
    CallProgress,
    ChangeAnswered,
    ContactDown,
    ContactUp,
    InfoDigit,
    OfferChanged,
)
from gateway.sip.states import Base
from tests.sip.peers import Baresip, Running, Sipp, free_port, run

pytestmark = pytest.mark.peers

LOOPBACK = Trunk("loopback", ("127.0.0.0/8",))
ANN = Account("ann", "secret")


async def gateway(**config: object) -> Running:
    return await Running.start(**{"trunks": (LOOPBACK,), "destinations": ("8000",), "accounts": (ANN,), **config})


async def test_sipp_calls_and_hangs_up(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("call", tmp_path, node.edge.port, "-d", "200")
    offered = await node.wait(CallOffered)
    assert (offered.caller, offered.dialled, offered.trunk) == ("1001", "8000", "loopback")
    node.edge.ring(offered.call)
    node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", 6000))
    await node.wait(CallConfirmed)
    assert (await node.wait(CallEnded)).by_peer
    await sipp.good()
    await node.edge.close()


async def test_sipp_registers_and_is_called(tmp_path: Path) -> None:
    node = await gateway()
    users = tmp_path / "users.csv"
    users.write_text("SEQUENTIAL\nann;[authentication username=ann password=secret]\n")
    phone = await Sipp.start("phone", tmp_path, None, "-d", "50")
    register = await Sipp.start("register", tmp_path, node.edge.port, "-inf", str(users))
    await register.good()
    up = await node.wait(ContactUp)
    assert up.aor == "sip:ann@127.0.0.1"
    call = node.edge.invite(
        f"sip:x@127.0.0.1:{phone.port}", offer_answer.offer("127.0.0.1", 6000), headers={"X-Trunkline-Intent": "loan"}
    )
    assert (await node.wait(CallProgress)).status == 180
    answered = await node.wait(CallAnswered)
    assert (answered.media.encoding, answered.media.payload, answered.media.dtmf_payload) == ("PCMA", 8, 101)
    node.edge.hangup(call)
    await phone.good()
    await node.edge.close()


async def test_sipsak_finds_somebody_there() -> None:
    node = await gateway()
    code, said = await run(["sipsak", "-v", "-s", f"sip:8000@127.0.0.1:{node.edge.port}"])
    assert code == 0, said
    code, said = await run(["sipsak", "-v", "-s", f"sip:nobody@127.0.0.1:{node.edge.port}"])
    assert "404" in said
    await node.edge.close()


async def test_baresip_registers_calls_is_called_holds_and_leaves(tmp_path: Path) -> None:
    node = await gateway()
    account = f"Ann <sip:ann@127.0.0.1:{node.edge.port}>;auth_pass=secret;answermode=auto;regint=60"
    phone = await Baresip.start(tmp_path, account)
    try:
        assert (await node.wait(ContactUp)).aor == "sip:ann@127.0.0.1"
        call = node.edge.invite("ann", offer_answer.offer("127.0.0.1", 6000), from_user="1001", from_display="Caller")
        answered = await node.wait(CallAnswered)
        assert answered.media.send
        node.edge.change(call, offer_answer.offer("127.0.0.1", 6000, direction="sendonly"))
        assert not (await node.wait(ChangeAnswered)).media.receive
        node.edge.change(call, offer_answer.offer("127.0.0.1", 6002))
        assert (await node.wait(ChangeAnswered)).media.receive
        node.edge.hangup(call)
        await node.wait(CallEnded)
        await phone.order("dial", f"sip:8000@127.0.0.1:{node.edge.port}")
        offered = await node.wait(CallOffered)
        assert offered.aor == "sip:ann@127.0.0.1"
        node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", 6000))
        await node.wait(CallConfirmed)
        await phone.order("hold")
        held = await node.wait(OfferChanged)
        assert offer_answer.answer(held.offer, "127.0.0.1", 6000).media[0].direction == "recvonly"
        node.edge.accept_change(offered.call, offer_answer.answer(held.offer, "127.0.0.1", 6000))
        await phone.order("hangup")
        assert (await node.wait(CallEnded)).by_peer
    finally:
        said = await phone.stop()
        print(said)
    down = await node.wait(ContactDown)
    assert (down.reason, down.left) == ("unregistered", 0)
    await node.edge.close()


@pytest.fixture
def pyvoip() -> str:
    """The script that runs pyVoIP; the library itself is never imported here."""
    if importlib.util.find_spec("pyVoIP") is None:
        if os.environ.get("CI"):
            pytest.fail("pyVoIP is not installed")
        pytest.skip("pyVoIP is not installed")
    return str(Path(__file__).parent / "pyvoip_phone.py")


async def start_pyvoip(script: str, node: Running, *more: str) -> asyncio.subprocess.Process:
    arguments = (script, str(node.edge.port), str(free_port()), "ann", "secret", *more)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)


async def leave(phone: asyncio.subprocess.Process) -> str:
    said, _ = await asyncio.wait_for(phone.communicate(b"\n"), 10)
    return said.decode()


async def test_pyvoip_registers_and_is_called(pyvoip: str) -> None:
    node = await gateway()
    phone = await start_pyvoip(pyvoip, node)
    await node.wait(ContactUp)
    call = node.edge.invite("ann", offer_answer.offer("127.0.0.1", free_port()))
    assert (await node.wait(CallAnswered)).media.dtmf_payload == 101
    node.edge.hangup(call)
    await node.wait(CallEnded)
    while (await asyncio.wait_for(phone.stdout.readline(), 10)) != b"ended\n":
        pass
    assert "stopped" in await leave(phone)
    assert (await node.wait(ContactDown)).reason == "unregistered"
    await node.edge.close()


async def test_pyvoip_calls_with_credentials_and_hangs_up(pyvoip: str) -> None:
    node = await gateway(trunks=())
    phone = await start_pyvoip(pyvoip, node, "8000")
    offered = await node.wait(CallOffered)
    assert (offered.aor, offered.trunk) == ("sip:ann@127.0.0.1", None)
    node.edge.ring(offered.call)
    node.edge.answer(offered.call, offer_answer.answer(offered.offer, "127.0.0.1", free_port()))
    assert (await node.wait(CallEnded)).by_peer
    assert "hung up" in await leave(phone)
    await node.edge.close()


# --- sipp, one behaviour each -------------------------------------------------------------------------------------


async def answering(node: Running) -> CallOffered:
    offered = await node.wait(CallOffered)
    mine = (
        offer_answer.answer(offered.offer, "127.0.0.1", 6000)
        if offered.offer
        else offer_answer.offer("127.0.0.1", 6000)
    )
    node.edge.answer(offered.call, mine)
    return offered


async def test_sipp_cancels_while_it_rings(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("cancel", tmp_path, node.edge.port, "-d", "100")
    offered = await node.wait(CallOffered)
    node.edge.ring(offered.call)
    assert (await node.wait(CallCancelled)).call == offered.call
    await sipp.good()
    await node.edge.close()


async def test_sipp_holds_and_resumes(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("hold", tmp_path, node.edge.port, "-d", "50")
    offered = await answering(node)
    for _ in range(2):
        changed = await node.wait(OfferChanged)
        node.edge.accept_change(offered.call, offer_answer.answer(changed.offer, "127.0.0.1", 6000))
    assert (await node.wait(CallEnded)).by_peer
    await sipp.good()
    await node.edge.close()


async def test_sipp_leaves_the_offer_to_us(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("late_offer", tmp_path, node.edge.port, "-d", "50")
    await answering(node)
    confirmed = await node.wait(CallConfirmed)
    assert confirmed.media.encoding == "PCMU"
    await sipp.good()
    await node.edge.close()


async def test_sipp_presses_keys_by_info(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("keys", tmp_path, node.edge.port)
    await answering(node)
    pressed = [await node.wait(InfoDigit) for _ in range(2)]
    assert [(key.digit, key.ms) for key in pressed] == [("5", 120), ("#", 160)]
    await sipp.good()
    await node.edge.close()


async def test_sipp_records_a_route_that_our_bye_takes(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("routed", tmp_path, node.edge.port)
    offered = await answering(node)
    await node.wait(CallConfirmed)
    node.edge.hangup(offered.call)
    await sipp.good()
    await node.edge.close()


async def test_sipp_never_acknowledges(tmp_path: Path) -> None:
    node = await gateway(base=Base(t1=0.1))
    sipp = await Sipp.start("no_ack", tmp_path, node.edge.port)
    await answering(node)
    ended = await node.wait(CallEnded, 15)
    assert (ended.by_peer, ended.reason) == (False, "no ACK came")
    await sipp.good()
    await node.edge.close()


async def test_sipp_is_refused(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("refused", tmp_path, node.edge.port)
    node.edge.reject((await node.wait(CallOffered)).call, 486)
    await sipp.good()
    await node.edge.close()


async def test_a_busy_sipp_phone(tmp_path: Path) -> None:
    node = await gateway()
    phone = await Sipp.start("busy_phone", tmp_path)
    node.edge.invite(f"sip:x@127.0.0.1:{phone.port}", offer_answer.offer("127.0.0.1", 6000))
    assert (await node.wait(CallFailed)).status == 486
    await phone.good()
    await node.edge.close()


async def test_a_sipp_phone_that_only_rings_is_cancelled(tmp_path: Path) -> None:
    node = await gateway()
    phone = await Sipp.start("ringing_phone", tmp_path)
    call = node.edge.invite(f"sip:x@127.0.0.1:{phone.port}", offer_answer.offer("127.0.0.1", 6000))
    await node.wait(CallProgress)
    node.edge.hangup(call, "ring time is over")
    assert (await node.wait(CallFailed)).status == 487
    await phone.good()
    await node.edge.close()


async def test_sipp_asks_for_credentials_before_it_answers(tmp_path: Path) -> None:
    node = await gateway(credentials=(Account("us", "pw", realm="pbx"),))
    phone = await Sipp.start("auth_phone", tmp_path)
    call = node.edge.invite(f"sip:x@127.0.0.1:{phone.port}", offer_answer.offer("127.0.0.1", 6000))
    await node.wait(CallAnswered)
    node.edge.hangup(call)
    await phone.good()
    await node.edge.close()


async def test_a_hundred_sipp_calls_with_lost_packets(tmp_path: Path) -> None:
    """One in ten of sipp's packets is lost, in both directions; sipp repeats, and so do we."""
    node = await gateway(base=Base(t1=0.1))
    node.on_event = lambda event: (
        node.edge.answer(event.call, offer_answer.answer(event.offer, "127.0.0.1", 6000))
        if isinstance(event, CallOffered)
        else None
    )
    calls, more = (
        100,
        ("-r", "50", "-lost", "10", "-d", "100", "-nd", "-recv_timeout", "15000", "-m", "100", "-timeout", "120s"),
    )
    sipp = await Sipp.start("call", tmp_path, node.edge.port, *more)
    ended = [await node.wait(CallEnded, 30) for _ in range(calls)]
    await sipp.done()
    assert len({event.call for event in ended}) == calls
    assert node.edge.endpoint.calls == ()
    await node.edge.close()
