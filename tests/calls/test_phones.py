"""Phones outlive the gateway: a file beside the records, read by the next run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.calls.phones import Phones
from gateway.core.clock import FakeClock, SystemClock
from gateway.sip.auth import Account
from gateway.sip.config import SipConfig
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import ContactDown, ContactUp, SipEvent

ANN = Account("ann", "secret")
UDP = [Listen("udp", "127.0.0.1")]


class Running:
    """An edge with its events."""

    def __init__(self) -> None:
        self.events: list[SipEvent] = []
        self.edge: Edge

    @classmethod
    async def start(cls, **config: object) -> Running:
        self = cls()
        settings = SipConfig(**{"domain": "127.0.0.1", **config})
        self.edge = await Edge.open(Endpoint(settings), UDP, self.events.append)
        return self

    async def wait(self, kind: type) -> SipEvent:
        await until(lambda: any(isinstance(event, kind) for event in self.events))
        return next(event for event in self.events if isinstance(event, kind))


async def until(true: Callable[[], object]) -> None:
    """Waits for it, 20 s at most."""
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")


async def registered(path: Path) -> Running:
    """A phone that runs on, registered at a gateway that is gone and left its file."""
    gateway, phone = await Running.start(accounts=(ANN,)), await Running.start()
    kept = Phones(path, gateway.edge, SystemClock(), every_s=0.05).follow()
    phone.edge.register(f"sip:127.0.0.1:{gateway.edge.port}", "sip:ann@127.0.0.1", ANN)
    await gateway.wait(ContactUp)
    await until(path.exists)
    await kept.close()
    gateway.edge.endpoint.take_messages()
    await gateway.edge._shut()
    return phone


async def test_the_next_run_knows_the_phone_and_asks_whether_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "phones.json"
    phone = await registered(path)
    assert path.stat().st_mode & 0o077 == 0
    gateway = await Running.start(accounts=(ANN,))
    kept = Phones(path, gateway.edge, SystemClock()).follow()
    up = await gateway.wait(ContactUp)
    assert (up.aor, up.source.port) == ("sip:ann@127.0.0.1", phone.edge.port)
    await until(lambda: phone.edge.endpoint.counters.get("received_OPTIONS"))
    await kept.close()
    await phone.edge.close()
    await gateway.edge.close()


async def test_a_phone_that_is_gone_by_then_goes_down(tmp_path: Path) -> None:
    path = tmp_path / "phones.json"
    phone = await registered(path)
    await phone.edge._shut()
    gateway = await Running.start(accounts=(ANN,))
    kept = Phones(path, gateway.edge, SystemClock()).follow()
    await gateway.wait(ContactUp)
    down = await gateway.wait(ContactDown)
    assert down.reason == "unreachable"
    await kept.close()
    assert json.loads(path.read_text())["phones"] == []
    await gateway.edge.close()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"written": 0}', '{"written": "x", "phones": []}', '{"written": 1, "phones": 7}', "\x00"]
)
async def test_a_file_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "phones.json"
    path.write_text(text)
    gateway = await Running.start(accounts=(ANN,))
    kept = Phones(path, gateway.edge, SystemClock()).follow()
    await kept.close()
    await gateway.edge.close()
    assert gateway.events == []


async def test_a_clock_that_was_set_back_forgets_them(tmp_path: Path) -> None:
    path = tmp_path / "phones.json"
    clock = FakeClock()
    row = {"aor": "sip:ann@127.0.0.1", "contact": "sip:ann@127.0.0.1:9", "ip": "127.0.0.1", "port": 9}
    row |= {"expires_in": 600.0, "call_id": "x", "cseq": 1, "q": 1.0}
    for seconds, known in ((-60.0, 1), (60.0, 0)):
        path.write_text(json.dumps({"written": clock.now().utc.timestamp() + seconds, "phones": [row]}))
        gateway = await Running.start(accounts=(ANN,))
        kept = Phones(path, gateway.edge, clock).follow()
        assert len(gateway.edge.endpoint.registrar) == known
        await kept.close()
        await gateway.edge.close()
