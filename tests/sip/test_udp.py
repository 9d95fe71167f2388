"""The socket: busy ports, phones that are gone, leaving in order."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest

from gateway.core.errors import PortBusy
from gateway.sip import offer_answer
from gateway.sip.config import SipConfig, Trunk
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import CallAnswered, CallEnded, CallFailed, CallOffered, OptionsAnswered
from tests.sip.peers import Running, free_port

LOOPBACK = Trunk("loopback", ("127.0.0.0/8",))


async def test_a_busy_port_is_named_with_its_holder() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(PortBusy) as caught:
            await Edge.open(Endpoint(SipConfig()), [Listen("udp", "127.0.0.1", port)])
    assert str(port) in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)


async def test_a_phone_that_is_gone_fails_long_before_any_timer() -> None:
    node = await Running.start()
    call = node.edge.invite(f"sip:x@127.0.0.1:{free_port()}", offer_answer.offer("127.0.0.1", 6000))
    assert node.events == []
    failed = await node.wait(CallFailed, 10)
    assert (failed.call, failed.status) == (call, 503)
    assert node.edge.endpoint.counters["timed_out"] == 0
    await node.edge.close()


async def test_one_phone_gone_does_not_disturb_the_others() -> None:
    node = await Running.start(trunks=(LOOPBACK,), destinations=("8000",))
    other = await Running.start(trunks=(LOOPBACK,), destinations=("8000",))
    gone = free_port()
    for _ in range(5):
        node.edge.options(f"sip:127.0.0.1:{gone}")
        node.edge.options(f"sip:127.0.0.1:{other.edge.port}")
    codes = [(await node.wait(OptionsAnswered)).status for _ in range(10)]
    assert sorted(codes) == [200] * 5 + [503] * 5
    await node.edge.close()
    await other.edge.close()


async def test_closing_ends_calls_and_gives_the_port_back() -> None:
    node = await Running.start()
    other = await Running.start(trunks=(LOOPBACK,), destinations=("8000",))
    other.on_event = lambda event: (
        other.edge.answer(event.call, offer_answer.answer(event.offer, "127.0.0.1", 6002))
        if isinstance(event, CallOffered)
        else None
    )
    node.edge.invite(f"sip:8000@127.0.0.1:{other.edge.port}", offer_answer.offer("127.0.0.1", 6000))
    await node.wait(CallAnswered)
    port = node.edge.port
    await node.edge.close("closing down")
    ended = await other.wait(CallEnded)
    assert (ended.by_peer, ended.reason) == (True, "closing down")
    again = await Edge.open(Endpoint(SipConfig()), [Listen("udp", "127.0.0.1", port)])
    await again.close()
    await other.edge.close()


async def test_closing_does_not_wait_for_ever_for_a_peer_that_is_silent() -> None:
    node = await Running.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        node.edge.invite(f"sip:x@127.0.0.1:{silent.getsockname()[1]}", offer_answer.offer("127.0.0.1", 6000))
        await asyncio.wait_for(node.edge.close(patience=0.2), 10)


async def test_garbage_on_the_port_is_counted_and_the_next_call_is_taken() -> None:
    node = await Running.start(trunks=(LOOPBACK,), destinations=("8000",))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        for data in (os.urandom(500), b"\0" * 1200, b"INVITE\r\n\r\n", b"x" * 60000):
            noise.sendto(data, ("127.0.0.1", node.edge.port))
    other = await Running.start()
    other.edge.options(f"sip:127.0.0.1:{node.edge.port}")
    assert (await other.wait(OptionsAnswered)).status == 200
    assert node.edge.endpoint.counters["garbage"] >= 3
    assert node.edge.endpoint.counters["internal_errors"] == 0
    await node.edge.close()
    await other.edge.close()


async def test_a_user_that_raises_does_not_stop_the_loop() -> None:
    node = await Running.start(trunks=(LOOPBACK,), destinations=("8000",))

    def refuse(event: object) -> None:
        raise RuntimeError("a mistake of the user's")

    node.on_event = refuse
    other = await Running.start()
    call = other.edge.invite(f"sip:8000@127.0.0.1:{node.edge.port}", offer_answer.offer("127.0.0.1", 6000))
    await node.wait(CallOffered)
    other.edge.hangup(call)
    other.edge.options(f"sip:127.0.0.1:{node.edge.port}")
    assert (await other.wait(OptionsAnswered)).status == 200
    await other.edge.close()
    await node.edge.close()
    assert time.monotonic() > 0
