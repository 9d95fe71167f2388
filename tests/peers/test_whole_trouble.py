"""Whole calls while something is wrong around them: records that can't be written, a phone that sends nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lab import stage
from gateway.lab.caller import Callers
from gateway.lab.script import Listen, Press, Wait
from gateway.sip import edge, offer_answer
from gateway.sip import events as sip
from gateway.sip.auth import Account
from gateway.sip.config import SipConfig, Trunk
from gateway.sip.edge import Edge
from gateway.sip.endpoint import Endpoint
from tests.peers import whole


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[stage.GatewayProcess]:
    """A gateway of this module's own, as its records are locked."""
    folder = tmp_path_factory.mktemp("trouble")
    data = whole.data_folder(folder / "data", prompts)
    with stage.gateway(data, config=whole.written(folder / "config")) as running:
        yield running
    said = running.log.read_text(errors="replace")
    assert "Traceback" not in said, said[-4000:]


async def test_a_call_is_served_while_its_record_waits_for_the_disk(alone: stage.GatewayProcess) -> None:
    blocker = sqlite3.connect(alone.data / "calls.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    async with Callers() as callers:
        outcome = await callers.call(alone.uri("1000"), [Listen(1.0), Wait(0.5)], caller="5559001", seconds=90)
    assert outcome.answered
    assert outcome.level_dbfs > -60
    blocker.execute("ROLLBACK")
    blocker.close()
    records = whole.Records(alone.data)
    for _ in range(300):
        if records.of("5559001") is not None:
            records.close()
            return
        await asyncio.sleep(0.1)
    pytest.fail("the record was not written when the disk was there again")


async def test_an_agents_phone_that_sends_no_sound_and_answers_nothing_is_hung_up(alone: stage.GatewayProcess) -> None:
    """Its caller goes back to the queue, so the phone must not go on believing that it talks."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[sip.CallEnded] = loop.create_future()
    registered = asyncio.Event()

    def take(event: sip.SipEvent) -> None:
        if isinstance(event, sip.Registered):
            registered.set()
        elif isinstance(event, sip.CallOffered) and event.offer is not None:
            phone.answer(event.call, offer_answer.answer(event.offer, "127.0.0.1", 9))
            phone.drain()  # from now on OPTIONS is answered as an unreachable place would be
        elif isinstance(event, sip.CallEnded) and not ended.done():
            ended.set_result(event)

    endpoint = Endpoint(
        SipConfig(
            domain="127.0.0.1",
            host="127.0.0.1",
            user="anna",
            trunks=(Trunk("gateway", ("127.0.0.0/8",)),),
            destinations=("*",),
        )
    )
    phone = await Edge.open(endpoint, [edge.Listen("udp", "127.0.0.1", 0)], take)
    account = Account("anna", whole.password("anna"))
    phone.register(f"sip:{alone.sip}", "sip:anna@trunkline.local", account)
    async with asyncio.timeout(20):
        await registered.wait()
    async with Callers() as callers:
        calling = asyncio.create_task(callers.call(alone.uri("1000"), [Listen(1.0), Press("0"), Wait(60)], seconds=90))
        async with asyncio.timeout(80):
            over = await ended
        assert over.by_peer
        assert not calling.done()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    await phone.close()
