"""The agent's softphone against sipp: registration with digest, sound both ways, hanging up, CANCEL, busy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.lab.sounds import likeness, tone, tones_heard
from gateway.lab.wire import read_wav, write_wav
from tests.peers import sipp, softphone
from tests.peers.programs import Programs, free_port

pytestmark = pytest.mark.peers


def test_records_what_the_caller_said(programs: Programs, tmp_path: Path) -> None:
    port, said, record = free_port(), tone([1000, 1300], 2.0), tmp_path / "heard.wav"
    caller = sipp.start(
        programs, ["registrar", "invite", "answered", "speak", "bye"], port=port, sounds={"caller": said}
    )
    phone = softphone.start(programs, f"127.0.0.1:{port}", "agent-anna", "secret", "--record", str(record))
    ringing = phone.event("ringing")
    assert (ringing["caller"], ringing["name"]) == ("5551234", "Maria Diaz")
    assert ringing["headers"] == {"X-Trunkline-Intent": "card_lost"}
    phone.event("answered")
    ended = phone.event("ended", 15)
    assert (ended["by"], ended["lost"], ended["garbage"]) == ("caller", 0, 0)
    assert caller.finishes() == 0
    heard = read_wav(record)
    assert tones_heard(heard, [440, 1000, 1300, 2000]) == {1000, 1300}
    assert likeness(said, heard) > 0.9


def test_says_its_wav_and_hangs_up(programs: Programs, tmp_path: Path) -> None:
    port, record, voice = free_port(), tmp_path / "heard.wav", tmp_path / "voice.wav"
    write_wav(voice, tone(440, 0.5))
    caller = sipp.start(programs, ["registrar", "invite", "answered", "byed"], port=port, echo=True)
    options = ["--play", str(voice), "--loop", "--record", str(record), "--hangup-after", "2.5", "--calls", "1"]
    phone = softphone.start(programs, f"127.0.0.1:{port}", "agent-bo", "secret", *options)
    assert phone.event("ended", 15)["by"] == "agent"
    assert caller.finishes() == 0
    assert phone.finishes() == 0
    heard = read_wav(record)
    assert tones_heard(heard, [440, 1000]) == {440}
    assert len(heard) > 2.0 * 8000


def test_a_cancelled_call_is_never_answered(programs: Programs) -> None:
    port = free_port()
    caller = sipp.start(programs, ["registrar", "invite", "cancel"], port=port)
    phone = softphone.start(programs, f"127.0.0.1:{port}", "agent-anna", "secret", "--no-answer")
    phone.event("cancelled")
    assert caller.finishes() == 0
    assert not [event for event in phone.events if event["event"] == "answered"]


def test_a_busy_phone_refuses(programs: Programs) -> None:
    port = free_port()
    caller = sipp.start(programs, ["registrar", "invite", "refused"], port=port)
    phone = softphone.start(programs, f"127.0.0.1:{port}", "agent-anna", "secret", "--busy")
    phone.event("refused")
    assert caller.finishes() == 0


def test_no_registrar_is_said_in_a_sentence(programs: Programs) -> None:
    phone = softphone.start(
        programs, f"127.0.0.1:{free_port()}", "agent-anna", "x", "--max-seconds", "1", registered=False
    )
    assert "not registered at 127.0.0.1" in phone.event("failed", 20)["reason"]
    assert phone.finishes() == 1
