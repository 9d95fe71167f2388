"""Transfers with sipp at the other end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sip.events import CallConfirmed, CallEnded, TransferAsked, TransferProgress
from tests.sip.peers import Sipp
from tests.sip.test_peers import answering, gateway

pytestmark = pytest.mark.peers


async def test_sipp_asks_for_a_transfer_and_is_told_how_it_goes(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("refer", tmp_path, node.edge.port)
    offered = await answering(node)
    asked = await node.wait(TransferAsked)
    assert (asked.call, asked.dialled, asked.replaces) == (offered.call, "bo", None)
    assert "1001" in asked.referred_by
    node.edge.accept_transfer(asked.transfer)
    node.edge.transfer_progress(asked.transfer, 200)
    node.edge.hangup(offered.call, "transferred")
    await sipp.good()
    await node.edge.close()


async def test_sipp_asks_for_what_cannot_be(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("refer_nowhere", tmp_path, node.edge.port)
    await answering(node)
    assert (await node.wait(CallEnded)).by_peer
    await sipp.good()
    assert not any(isinstance(event, TransferAsked) for event in node.events)
    await node.edge.close()


async def test_sipp_is_asked_to_call_somebody_else(tmp_path: Path) -> None:
    node = await gateway()
    sipp = await Sipp.start("referred", tmp_path, node.edge.port)
    offered = await answering(node)
    await node.wait(CallConfirmed)
    node.edge.refer(offered.call, "sip:bo@example.com")
    told = []
    while not told or not told[-1].final:
        told.append(await node.wait(TransferProgress))
    assert [(one.status, one.final) for one in told] == [(202, False), (100, False), (200, True)]
    assert (await node.wait(CallEnded)).by_peer
    await sipp.good()
    await node.edge.close()
