"""baresip and the scripted caller hear each other: two stacks that prove the harness before it proves the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.lab.caller import Callers
from gateway.lab.script import Press, Speak, Wait
from gateway.lab.sounds import tone, tones_heard
from gateway.lab.wire import read_wav, write_wav
from tests.peers import baresip
from tests.peers.programs import Programs, eventually

pytestmark = pytest.mark.peers


async def test_a_call_with_a_tone_each_way(programs: Programs, tmp_path: Path) -> None:
    phone = baresip.start(programs, "", "omar")
    write_wav(tmp_path / "said.wav", tone(1000, 1.0))
    async with Callers() as callers:
        outcome = await callers.call(
            f"sip:omar@127.0.0.1:{phone.port}",
            [Speak(tmp_path / "said.wav"), Press("5#"), Wait(0.5)],
            record=tmp_path / "heard.wav",
        )
    assert (outcome.status, outcome.ended_by) == (200, "caller")
    assert tones_heard(read_wav(tmp_path / "heard.wav"), [440, 1000]) == {440}
    eventually(phone.recordings, what="baresip's recording")
    phone.end()
    assert tones_heard(read_wav(phone.recordings()[0]), [440, 1000]) == {1000}


async def test_it_hangs_up_when_told_to(programs: Programs) -> None:
    import asyncio

    phone = baresip.start(programs, "", "omar")
    async with Callers() as callers:
        call = asyncio.create_task(callers.call(f"sip:omar@127.0.0.1:{phone.port}", [Wait(20)]))
        await asyncio.sleep(1.5)
        answer = await asyncio.to_thread(phone.command, "hangup")
        outcome = await call
    assert answer["ok"]
    assert outcome.ended_by == "peer"
