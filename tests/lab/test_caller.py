"""The scripted caller against sipp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import TrunklineError
from gateway.lab.caller import Callers, call_once
from gateway.lab.script import Amid, Listen, Press, Speak, Stay, Wait
from gateway.lab.sounds import likeness, noise, tone, tones_heard
from gateway.lab.wire import read_wav, write_wav
from tests.peers import sipp
from tests.peers.programs import Programs, eventually

pytestmark = pytest.mark.peers


async def test_speaks_and_hears_itself_from_an_echo(programs: Programs, tmp_path: Path) -> None:
    callee = sipp.start(programs, ["accept", "byed"], echo=True)
    voice = noise(1.5, -20, seed=1, kind="babble")
    write_wav(tmp_path / "voice.wav", voice)
    async with Callers() as callers:
        outcome = await callers.call(
            f"sip:100@127.0.0.1:{callee.port}",
            [Speak(tmp_path / "voice.wav"), Wait(0.5)],
            record=tmp_path / "heard.wav",
        )
    assert callee.finishes() == 0
    assert (outcome.status, outcome.ended_by) == (200, "caller")
    assert outcome.rtp["lost"] == outcome.rtp["garbage"] == 0
    assert likeness(voice, read_wav(tmp_path / "heard.wav")) > 0.97


async def test_times_the_answer_to_what_it_said(programs: Programs, tmp_path: Path) -> None:
    """A prompt of 1 s, silence, and from 3 s on the reply: what is measured must be what was heard."""
    prompt = np.concatenate([tone(440, 1.0), np.zeros(16000, np.int16), tone(1000, 1.0)])
    callee = sipp.start(programs, ["accept", "play", "byed"], sounds={"caller": prompt})
    write_wav(
        tmp_path / "question.wav", np.concatenate([noise(0.5, -20, seed=2, kind="babble"), np.zeros(1600, np.int16)])
    )
    script = [Listen(silence=0.5), Speak(tmp_path / "question.wav"), Listen(silence=0.4)]
    async with Callers() as callers:
        outcome = await callers.call(f"sip:100@127.0.0.1:{callee.port}", script, record=tmp_path / "heard.wav")
    asked = outcome.exchanges[0]
    assert asked.started is not None
    assert asked.ended is not None
    assert asked.reply_ms is not None
    heard = read_wav(tmp_path / "heard.wav")
    reply = asked.ended + asked.reply_ms / 1000
    assert tones_heard(heard[round((reply + 0.05) * 8000) :], [440, 1000]) == {1000}
    assert tones_heard(heard[: round((reply - 0.05) * 8000)], [440, 1000]) == {440}
    assert asked.ended - asked.started == pytest.approx(0.5, abs=0.05)
    assert asked.stop_ms is None
    assert callee.finishes() == 0


async def test_interrupts_amid_a_prompt(programs: Programs, tmp_path: Path) -> None:
    """The prompt stops 1.5 s in by itself; interrupted at 1 s the caller sees it stop about half a second later."""
    prompt = np.concatenate([tone(440, 1.5), np.zeros(16000, np.int16)])
    callee = sipp.start(programs, ["accept", "play", "byed"], sounds={"caller": prompt})
    write_wav(tmp_path / "stop.wav", tone(700, 0.8))
    async with Callers() as callers:
        outcome = await callers.call(
            f"sip:100@127.0.0.1:{callee.port}", [Amid(1.0), Speak(tmp_path / "stop.wav"), Wait(0.5)]
        )
    assert outcome.exchanges[0].stop_ms == pytest.approx(500, abs=150)
    assert callee.finishes() == 0


async def test_many_calls_at_once_on_one_port(programs: Programs, tmp_path: Path) -> None:
    import asyncio

    callees = [sipp.start(programs, ["accept", "byed"], name=f"sipp{number}", echo=True) for number in range(3)]
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", tone(500 + 300 * number, 0.6))
    async with Callers() as callers:
        outcomes = await asyncio.gather(
            *(
                callers.call(
                    f"sip:100@127.0.0.1:{callee.port}",
                    [Speak(tmp_path / f"{number}.wav"), Press("12"), Wait(0.3)],
                    record=tmp_path / f"heard{number}.wav",
                )
                for number, callee in enumerate(callees)
            )
        )
    for number, outcome in enumerate(outcomes):
        assert tones_heard(read_wav(tmp_path / f"heard{number}.wav"), [500, 800, 1100]) == {500 + 300 * number}
        assert outcome.keys_heard == "12"
    assert [callee.finishes() for callee in callees] == [0, 0, 0]


async def test_a_refusal_and_silence_are_told(programs: Programs) -> None:
    callee = sipp.start(programs, ["refuse"], status="486")
    async with Callers() as callers:
        busy = await callers.call(f"sip:100@127.0.0.1:{callee.port}", [Stay()])
    assert (busy.status, busy.answered, busy.ended_by) == (486, False, "nobody")
    assert callee.finishes() == 0


async def test_the_other_side_may_hang_up_first(programs: Programs) -> None:
    callee = sipp.start(programs, ["accept", "stay", "callee_bye"], talk_ms="500")
    async with Callers() as callers:
        outcome = await callers.call(f"sip:100@127.0.0.1:{callee.port}", [Stay(10)])
    assert outcome.ended_by == "peer"
    assert outcome.seconds < 5
    assert callee.finishes() == 0


async def test_gives_up_with_cancel_when_nobody_answers(programs: Programs) -> None:
    callee = sipp.start(programs, ["cancelled"])
    async with Callers() as callers:
        outcome = await callers.call(f"sip:100@127.0.0.1:{callee.port}", [Stay()], seconds=1.0)
    assert outcome.answered is False
    assert callee.finishes() == 0


async def test_nobody_to_call_is_said_in_a_sentence() -> None:
    with pytest.raises(TrunklineError, match="sip:USER@HOST:PORT"):
        await call_once("tel:123")


async def test_one_call_from_the_command_line(programs: Programs, tmp_path: Path) -> None:
    prompt = np.concatenate([tone(440, 0.8), np.zeros(24000, np.int16)])
    callee = sipp.start(programs, ["accept", "play", "byed"], sounds={"caller": prompt})
    found = await call_once(f"sip:100@127.0.0.1:{callee.port}", keys="42", record=tmp_path / "heard.wav", seconds=6.0)
    assert found["status"] == 200
    assert found["exchanges"][0]["what"] == "keys 42"
    assert tones_heard(read_wav(tmp_path / "heard.wav"), [440, 1000]) == {440}
    eventually(lambda: not callee.running)
