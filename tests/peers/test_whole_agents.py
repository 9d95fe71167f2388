"""Callers and agents' phones: who is rung next, who waits, who is told that nobody is there."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.lab.script import Listen, Press, Speak, Stay, Wait
from gateway.lab.sounds import tone, tone_level, voiced_spans
from gateway.lab.wire import read_wav, write_wav
from tests.peers import whole
from tests.peers.programs import JsonProgram, Programs
from tests.peers.whole import AUDIO, Calling, Hall, Until, When, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CALLER_HZ, AGENT_HZ, MESSAGE_HZ = 620.0, 1110.0, 850.0


@dataclass
class Floor:
    """The module's calls and phones, all under way."""

    calls: dict[str, Calling]
    phones: dict[str, JsonProgram]

    def offered(self, name: str) -> list[str]:
        return [str(data["agent"]) for data in self.calls[name].data("offered")]

    def heard_by(self, phone: str) -> Path:
        return self.phones[phone].folder / "heard.wav"


def begin(hall: Hall, crew: Programs) -> Floor:
    """Phones sign in in the order in which they are to be rung; then all callers dial."""
    said = crew.folder / "agent.wav"
    write_wav(said, tone(AGENT_HZ, 1.0, -15.0))
    spoken = crew.folder / "caller.wav"
    write_wav(spoken, tone(CALLER_HZ, 1.2, -15.0))
    message = whole.signed(crew.folder / "message.wav", "en-thanks.wav", MESSAGE_HZ)
    answers = ("--play", str(said), "--loop")
    options: dict[str, tuple[str, ...]] = {
        "relay1": ("--no-answer",),
        "vanish1": ("--no-answer",),
        "ringing1": ("--no-answer",),
        "desk1": answers,
        "help1": answers,
        "relay2": ("--busy",),
        "vanish2": answers,
        "relay3": answers,
        "vanish3": answers,
    }
    phones: dict[str, JsonProgram] = {}
    for rank in "123":
        these = {name: chosen for name, chosen in options.items() if name.endswith(rank)}
        for name, chosen in these.items():
            phones[name] = whole.phone(crew, hall, name, *chosen, registered=False)
        for name in these:
            phones[name].event("registered", whole.LONG_S)
    talk = [Until("bridged"), Speak(spoken), Wait(1.5)]
    scripts = {
        "relay": [Listen(), Press("1"), *talk],
        "vanish": [Listen(), Press("2"), Until("bridged", 2), Speak(spoken), Wait(1.5)],
        "cancel": [Listen(), Press("31"), When(lambda: bool(ringing(phones["ringing1"])))],
        "first": [Listen(), Press("32"), Until("bridged"), Stay(whole.LONG_S)],
        "nobody": [Listen(), Press("4"), Until("message_start"), Speak(message), Stay(whole.LONG_S)],
        "silent": [Until("bridged"), Wait(1.0)],
        "strange": [*[step for _ in range(3) for step in (Listen(), Speak(AUDIO / "en-recipe.wav"))], Until("queued")],
    }
    calls = {name: hall.start("3001", script) for name, script in scripts.items()}
    calls["first"].until("bridged")
    calls["second"] = hall.start("3001", [Listen(), Press("32"), Until("bridged"), Speak(spoken), Wait(1.0)])
    calls["leaves"] = hall.start("3001", [Listen(), Press("32"), Until("queued"), Wait(1.0)])
    return Floor(calls, phones)


@pytest.fixture(scope="module")
def floor(scenes: dict[str, Future[Floor]]) -> Floor:
    return scenes[__name__].result(whole.LONG_S)


def ringing(phone: JsonProgram) -> list[object]:
    return [event for event in phone.events if event["event"] == "ringing"]


def test_an_agents_phone_that_is_killed_costs_the_caller_nothing(floor: Floor) -> None:
    call = floor.calls["vanish"]
    floor.phones["vanish1"].event("ringing", whole.LONG_S)
    floor.phones["vanish1"].process.kill()
    call.until("bridged")
    floor.phones["vanish2"].event("answered", whole.LONG_S)
    floor.phones["vanish2"].process.kill()
    assert floor.offered("vanish")[:3] == ["vanish1", "vanish2", "vanish3"], story(call.record)
    assert [d["agent"] for d in call.data("bridged")] == ["vanish2", "vanish3"]
    assert [d["agent"] for d in call.data("agent_lost")] == ["vanish2"]
    assert call.record.head.outcome == "served"
    floor.phones["vanish3"].event("ended", whole.LONG_S)
    assert tones(read_wav(floor.heard_by("vanish3")), [CALLER_HZ, AGENT_HZ]) == {CALLER_HZ}


def test_no_answer_then_busy_then_the_next_agent(floor: Floor) -> None:
    call = floor.calls["relay"]
    assert floor.offered("relay") == ["relay1", "relay2", "relay3"], story(call.record)
    floor.phones["relay1"].event("cancelled", whole.LONG_S)
    floor.phones["relay2"].event("refused", whole.LONG_S)
    assert [d["agent"] for d in call.data("bridged")] == ["relay3"]
    assert any(d["agent"] == "relay2" and "486" in str(d["reason"]) for d in call.data("not_answered"))
    floor.phones["relay3"].event("ended", whole.LONG_S)
    assert tones(read_wav(floor.heard_by("relay3")), [CALLER_HZ, AGENT_HZ]) == {CALLER_HZ}
    assert AGENT_HZ in tones(call.heard, [CALLER_HZ, AGENT_HZ])
    assert CALLER_HZ not in tones(call.heard, [CALLER_HZ])


def test_a_caller_who_hangs_up_stops_the_agents_phone_ringing(floor: Floor) -> None:
    call = floor.calls["cancel"]
    floor.phones["ringing1"].event("cancelled", whole.LONG_S)
    assert (call.record.head.outcome, call.record.head.reason) == ("abandoned", "caller hung up")
    assert not call.data("bridged")


def test_a_caller_may_leave_the_queue(floor: Floor) -> None:
    call = floor.calls["leaves"]
    assert call.record.head.outcome == "abandoned"
    assert not call.data("offered")


def test_waiting_has_music_and_a_position_and_then_the_agent(floor: Floor) -> None:
    first, second = floor.calls["first"], floor.calls["second"]
    queued = second.until("queued")
    told = second.until("said", prompt="position")
    assert "1" in str(told.data["text"]) or "first" in str(told.data["text"])
    position = second.until("position")
    assert position.data["position"] == 1
    assert "desk1" in str(position.data["why"]).lower()
    before = len(second.line[0].leg.voiced)
    wait(lambda: len(second.line[0].leg.voiced) > before + 50, "a second of music while the caller waits")
    first.hang_up()
    bridged = second.until("bridged")
    record = second.record
    waited = second.heard[int(record.at(queued) * 8000) : int(record.at(bridged) * 8000)]
    spans = voiced_spans(waited)
    assert sum(end - start for start, end in spans) >= 1.5, spans
    assert AGENT_HZ not in tones(waited, [AGENT_HZ])
    assert AGENT_HZ in tones(second.heard[int(record.at(bridged) * 8000) :], [AGENT_HZ])
    assert [d["agent"] for d in second.data("offered")] == ["desk1"]


def test_where_nobody_is_signed_in_a_message_is_taken(floor: Floor, hall: Hall) -> None:
    call = floor.calls["nobody"]
    record = call.record
    queued, nobody = record.of("queued")[0], record.of("nobody")[0]
    told = next(e for e in record.of("said") if e.data["prompt"] == "nobody")
    assert record.at(told) - record.at(queued) <= 5.0
    assert "empty" in str(nobody.data["why"])
    assert (record.head.outcome, call.outcome.ended_by) == ("message", "peer")
    assert any(d["prompt"] == "message_taken" for d in call.data("said"))
    message = hall.gateway.data / "recordings" / str(record.of("message_start")[0].data["file"])
    left, _ = whole.sides(message)
    assert tones(left, [MESSAGE_HZ, CALLER_HZ]) == {MESSAGE_HZ}
    assert "address" in whole.words(left, hall.folder).lower()


def test_silence_ends_at_a_person(floor: Floor) -> None:
    call = floor.calls["silent"]
    reasons = [d["reason"] for d in call.data("queued")]
    assert len(reasons) == 1
    assert [d["prompt"] for d in call.data("said")][-3:] == ["again", "keys", "hold"], story(call.record)
    assert [d["agent"] for d in call.data("bridged")] == ["help1"]


def test_words_that_mean_nothing_here_end_at_a_person(floor: Floor) -> None:
    call = floor.calls["strange"]
    assert len(call.data("no_match")) == 3, story(call.record)
    assert [d["queue"] for d in call.data("queued")] == ["help"]
    assert tone_level(call.heard, CALLER_HZ) < -40
