"""What a gateway survives and how it ends: full, reloaded, its recognizer or itself killed, told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.lab import stage
from gateway.lab.script import Listen, Press, Speak, Stay, Wait
from gateway.lab.sounds import tone
from gateway.lab.wire import write_wav
from tests.peers import whole
from tests.peers.programs import Programs, eventually
from tests.peers.whole import AUDIO, Hall, Until, page, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CALLER_HZ, AGENT_HZ = 620.0, 1110.0
ROOM = 2
"""Calls this gateway takes at once."""


@dataclass
class Place:
    """Where this module's gateways live, one after the other, with the same data."""

    config: Path
    data: Path
    heard: Path

    @property
    def flow(self) -> Path:
        return self.config.parent / "floor.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Place:
    folder = tmp_path_factory.mktemp("mortal")
    heard = folder / "heard"
    heard.mkdir()
    return Place(
        whole.written(folder / "config", calls=ROOM, bank=False), whole.data_folder(folder / "data", prompts), heard
    )


@pytest.fixture(scope="module")
def mortal(place: Place) -> Iterator[Hall]:
    """Callers to a gateway that is not spared. The last test that uses it kills it."""
    with stage.gateway(place.data, config=place.config) as running:
        hall = Hall(running, place.heard)
        yield hall
        hall.close()


def log(hall: Hall) -> str:
    """What the gateway printed so far, line breaks of a narrow terminal taken out."""
    return hall.gateway.log.read_text(errors="replace")


def test_one_call_too_many_is_503(mortal: Hall) -> None:
    calls = [mortal.start("3001", [Stay(whole.LONG_S)]) for _ in range(ROOM)]
    for call in calls:
        call.until("entered")
    assert mortal.start("3001", [Wait(1.0)]).outcome.status == 503
    assert mortal.metric("trunkline_calls_refused_total", why="full") == 1
    for call in calls:
        call.hang_up()
    assert {call.record.head.reason for call in calls} == {"caller hung up"}
    assert mortal.start("3001", [Listen()]).outcome.status == 200


def test_a_saved_flow_is_used_by_the_next_call_and_a_broken_one_by_none(mortal: Hall, place: Place) -> None:
    good = place.flow.read_text()
    under_way = mortal.start("3001", [Stay(whole.LONG_S)])
    under_way.until("entered")
    place.flow.write_text(good.replace("Test line. What is it?", "New line. Say it."))
    wait(lambda: "flows loaded" in log(mortal), "the new flow", lambda: log(mortal))
    call = mortal.start("3001", [Listen()])
    assert "New line. Say it." in [d["text"] for d in call.data("said")], story(call.record)
    under_way.hang_up()
    assert "New line. Say it." not in [d["text"] for d in under_way.data("said")]

    broken = good.replace("say: welcome\n", "say: wellcome\n")
    where = next(n for n, line in enumerate(broken.splitlines(), 1) if "wellcome" in line)
    place.flow.write_text(broken)
    wait(lambda: f"floor.yaml:{where}:" in log(mortal).replace("\n", ""), "the error's place", lambda: log(mortal))
    assert "welcome" in log(mortal)
    call = mortal.start("3001", [Listen()])
    assert "New line. Say it." in [d["text"] for d in call.data("said")], story(call.record)

    seen = log(mortal).count("flows can't be loaded")
    mortal.gateway.reload()
    wait(lambda: log(mortal).count("flows can't be loaded") > seen, "the answer to SIGHUP", lambda: log(mortal))
    seen = log(mortal).count("flows loaded")
    place.flow.write_text(good)
    mortal.gateway.reload()
    wait(lambda: log(mortal).count("flows loaded") > seen, "the old flow again", lambda: log(mortal))
    call = mortal.start("3001", [Listen()])
    assert "Test line. What is it?" in [d["text"] for d in call.data("said")], story(call.record)


def recognizers(gateway: int) -> list[int]:
    """The process ids of the gateway's workers that have the recognizer's library loaded."""
    found = []
    for child in Path(f"/proc/{gateway}/task/{gateway}/children").read_text().split():
        try:
            if "ctranslate2" in Path(f"/proc/{child}/maps").read_text():
                found.append(int(child))
        except OSError:
            continue
    return found


def test_a_recognizer_that_dies_costs_one_utterance(mortal: Hall) -> None:
    """It is killed again and again until the utterance is over; the caller goes on by key, and later by voice."""
    gateway = mortal.gateway.process.pid
    speaks = [Listen(), Speak(AUDIO / "en-no.wav"), Until("said", data={"prompt": "keys_only"})]
    call = mortal.start("3001", [*speaks, Press("4"), Until("nobody"), Listen()])
    call.until("entered")
    wait(lambda: call.line and any(said.started for said in call.line[0].leg.said), "the caller's words")

    def killed_until_unheard() -> bool:
        for worker in recognizers(gateway):
            os.kill(worker, signal.SIGKILL)
        return bool(call.so_far().of("unheard"))

    wait(killed_until_unheard, "words that nobody heard", lambda: story(call.so_far()))
    assert [d["reason"] for d in call.data("unheard")] == ["failed"]
    assert call.data("nobody"), story(call.record)
    assert mortal.metric("trunkline_recognizers", what="restarts") >= 1
    wait(lambda: '"recognizer":"ok"' in page(mortal.gateway.http_port, "/healthz")[1], "the recognizer again")
    later = mortal.start("3001", [Listen(), Speak(AUDIO / "en-parcel.wav"), Until("heard")])
    assert later.data("heard")[0]["intent"] == "order", story(later.record)


def test_a_gateway_that_is_killed_leaves_the_call_readable(mortal: Hall, place: Place, crew: Programs) -> None:
    spoken = crew.folder / "caller.wav"
    write_wav(spoken, tone(CALLER_HZ, 2.0, -15.0))
    whole.phone(crew, mortal, "talk1", "--play", str(spoken), "--loop")
    call = mortal.start("3001", [Listen(), Press("7"), Until("bridged"), Speak(spoken), Wait(1.0), Stay(8.0)])
    call.until("bridged")
    wait(lambda: any(s.what == "caller.wav" and s.done for s in call.line[0].leg.said), "the caller's tone")
    recording = place.data / "recordings" / f"{call.so_far().head.id}.wav"
    wait(lambda: CALLER_HZ in tones(whole.sides(recording)[0], [CALLER_HZ]), "the tone on the disk")
    mortal.gateway.kill()
    with stage.gateway(place.data, config=place.config) as again:
        hall = Hall(again, place.heard)
        record = hall.records.of(call.caller)
        assert record is not None
        assert (record.head.outcome, record.head.reason) == ("lost", "the gateway stopped without warning")
        assert record.of("bridged")
        assert record.head.recording == recording
        left, right = whole.sides(recording)
        assert CALLER_HZ in tones(left, [CALLER_HZ])
        with wave.open(str(recording)) as file:
            assert file.getnframes() == len(left) == len(right)
        following = hall.start("3001", [Listen()])
        assert following.outcome.status == 200
        assert following.record.head.reason == "caller hung up"
        hall.close()
    assert again.process.returncode == 0


def test_ctrl_c_ends_calls_in_order(place: Place, crew: Programs) -> None:
    with stage.gateway(place.data, config=place.config) as running:
        hall = Hall(running, place.heard)
        agent = whole.phone(crew, hall, "hold1")
        talks = hall.start("3001", [Listen(), Press("34"), Until("bridged"), Stay(whole.LONG_S)])
        listens = hall.start("3001", [Stay(whole.LONG_S)])
        talks.until("bridged")
        listens.until("entered")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(whole.LONG_S) == 0
        agent.event("ended", whole.LONG_S)
        for call in (talks, listens):
            assert call.outcome.ended_by == "peer"
            assert call.record.head.reason == "gateway stopped"
        assert "Traceback" not in log(hall)
        hall.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_gateway_that_still_loads_ends_when_told_to(tmp_path: Path, place: Place, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "gateway.cli", "run", "--config", str(place.config), "--data", str(tmp_path)]
    with (tmp_path / "log").open("wb") as out:
        process = subprocess.Popen(
            [*command, "--sip", "127.0.0.1:0", "--http", "127.0.0.1:0"], stdout=out, stderr=out, cwd=stage.ROOT
        )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: process.poll() is None and children.read_text().split(), 60.0, "a worker that loads")
    workers = children.read_text().split()
    process.send_signal(how)
    assert process.wait(30.0) == 0, (tmp_path / "log").read_text()
    assert "takes calls" not in (tmp_path / "log").read_text()
    eventually(lambda: not any(Path(f"/proc/{pid}/maps").exists() for pid in workers), 30.0, "the workers' end")


def test_the_recordings_of_all_these_calls_can_be_played(place: Place) -> None:
    """Runs last: every file that a call left behind is a whole WAV file."""
    files = sorted((place.data / "recordings").glob("*.wav"))
    assert len(files) >= 5
    for recording in files:
        with wave.open(str(recording)) as file:
            assert file.getnchannels() == (1 if "message" in recording.stem else 2)
            assert file.getframerate() == 8000
            assert len(file.readframes(file.getnframes())) == 2 * file.getnchannels() * file.getnframes()
