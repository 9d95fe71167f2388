"""A phone that is quiet is asked before it is given up."""

from __future__ import annotations

import asyncio

import pytest

from gateway.calls import lifeline
from gateway.calls.lifeline import Lifelines


class Phone:
    """Counts the questions it got."""

    def __init__(self) -> None:
        self.pings: list[str] = []
        self.gone, self.came = asyncio.Event(), asyncio.Event()
        self.lines = Lifelines(self.ask)

    def ask(self, uri: str) -> str:
        self.pings.append(uri)
        self.came.set()
        return f"ping {len(self.pings)}"

    def falls_silent(self, wait_s: float = 0.01) -> None:
        self.lines.silent("key", "sip:10.0.0.1:5060", wait_s, self.gone.set)

    async def asked(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.pings) < times:
                self.came.clear()
                await self.came.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "PROBE_S", 0.2)


async def test_a_phone_that_answers_is_asked_again_later_and_never_given_up() -> None:
    phone = Phone()
    phone.falls_silent()
    for question in (1, 2, 3):
        await phone.asked(question)
        phone.lines.answered(f"ping {question}", 200)
    assert not phone.gone.is_set()
    phone.lines.heard("key")


async def test_a_phone_that_says_nothing_is_gone() -> None:
    phone = Phone()
    phone.falls_silent()
    async with asyncio.timeout(10):
        await phone.gone.wait()
    assert phone.pings == ["sip:10.0.0.1:5060"]


@pytest.mark.parametrize("status", [408, 503])
async def test_an_unreachable_phone_is_gone_at_once(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "PROBE_S", 3600)
    phone = Phone()
    phone.falls_silent()
    await phone.asked(1)
    phone.lines.answered("ping 1", status)
    assert phone.gone.is_set()


async def test_sound_or_the_end_of_the_call_ends_the_watch() -> None:
    phone = Phone()
    phone.falls_silent(0.05)
    phone.lines.heard("key")
    phone.lines.answered("ping 1", 408)
    await asyncio.sleep(0.1)
    assert phone.pings == []
    assert not phone.gone.is_set()


async def test_a_silent_phone_is_asked_at_once_where_there_is_doubt() -> None:
    phone = Phone()
    phone.lines.ask("key")
    phone.falls_silent(3600)
    assert phone.pings == []
    phone.lines.ask("key")
    phone.lines.ask("key")
    assert len(phone.pings) == 1
    phone.lines.heard("key")
