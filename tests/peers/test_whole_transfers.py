"""Hold, transfers, pick-up and calls between colleagues through a running gateway: who hears whom, by their tones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.lab.script import Listen, Press, Speak, Stay
from gateway.lab.sounds import tone
from gateway.lab.wire import level, read_wav, write_wav
from gateway.sip import events as sip
from tests.peers import baresip, whole
from tests.peers.deskphone import DeskLine, Deskphone
from tests.peers.programs import Programs
from tests.peers.whole import Calling, Hall, Until, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CALLER_HZ, FIRST_HZ, SECOND_HZ = 620.0, 1110.0, 1650.0
ALL = [CALLER_HZ, FIRST_HZ, SECOND_HZ]


@dataclass
class Floor:
    hall: Hall
    said: Path
    phones: list[Deskphone]
    crew: Programs

    def phone(self, agent: str, hertz: float, *, answers: bool = True) -> Deskphone:
        phone = Deskphone(self.hall, agent, hertz, answers=answers)
        self.phones.append(phone)
        return phone

    def caller(self, keys: str) -> Calling:
        """A caller who goes to the queue behind `keys` and says a tone from then on."""
        return self.hall.start("3001", [Listen(), Press(keys), Until("queued"), Speak(self.said), Stay(whole.LONG_S)])


@pytest.fixture
def floor(hall: Hall, tmp_path: Path) -> Iterator[Floor]:
    said = tmp_path / "caller.wav"
    write_wav(said, tone(CALLER_HZ, 60.0, -15.0))
    made = Floor(hall, said, [], Programs(tmp_path))
    yield made
    made.crew.end()
    for phone in made.phones:
        phone.close()


def caller_hears(call: Calling, seconds: float = 1.2) -> set[float]:
    """The tones that the caller hears from now on."""
    since = time.monotonic()
    time.sleep(seconds)
    return tones(call.line[0].leg.track.sound(since), ALL)


def caller_level(call: Calling) -> float:
    """How loud it is at the caller's ear from now on, dBFS."""
    since = time.monotonic()
    time.sleep(1.2)
    return level(call.line[0].leg.track.sound(since))


def progress(line: DeskLine) -> list[int]:
    return [event.status for event in line.of(sip.TransferProgress)]


def test_an_agent_holds_and_puts_the_caller_through_to_a_colleague(floor: Floor) -> None:
    """baresip is the agent's phone: its own hold, resume and transfer."""
    hall = floor.hall
    first = baresip.start(
        floor.crew, hall.gateway.sip, "move1", whole.password("move1"), voice=tone(FIRST_HZ, 60.0, -15.0)
    )
    call = floor.caller("35")
    call.until("bridged", agent="move1")
    second = floor.phone("move2", SECOND_HZ)
    assert caller_hears(call) == {FIRST_HZ}
    first.command("hold")
    call.until("held", by="agent")
    assert caller_hears(call) == set()
    assert caller_level(call) > -45  # music
    first.command("resume")
    call.until("retrieved", by="agent")
    assert caller_hears(call) == {FIRST_HZ}
    first.command("transfer", f"sip:move2@{hall.gateway.sip}")
    call.until("transferred", by="move1", to="move2")
    line = second.first()
    assert caller_hears(call) == {SECOND_HZ}
    assert line.hears(ALL) == {CALLER_HZ}
    offered = line.of(sip.CallOffered)[0]
    assert offered.headers["X-Trunkline-Transferred-By"] == "move1"
    assert offered.headers["X-Trunkline-Queue"] == "move"
    first.says("terminated (duration", whole.LONG_S)
    second.hang_up(line)
    assert call.record.head.reason == "agent hung up", story(call.record)
    assert [d["agent"] for d in call.data("bridged")] == ["move1", "move2"]
    first.end()
    heard = [read_wav(path) for path in first.recordings()]
    assert heard
    assert not any(SECOND_HZ in tones(sound, ALL) for sound in heard)


def test_a_colleague_is_asked_first_and_then_takes_the_caller(floor: Floor) -> None:
    """Attended: a second call from the same phone, then REFER with Replaces."""
    first, second = floor.phone("move1", FIRST_HZ), floor.phone("move2", SECOND_HZ, answers=False)
    call = floor.caller("35")
    call.until("bridged", agent="move1")
    second.answers = True
    line = first.first()
    first.hold(line)
    call.until("held", by="agent")
    consulted = first.dial("move2")
    wait(lambda: consulted.up, "the colleague to answer")
    colleague = second.first()
    assert colleague.hears(ALL) == {FIRST_HZ}
    assert consulted.hears(ALL) == {SECOND_HZ}
    assert caller_hears(call) == set()
    first.refer(line, "move2", replaces=consulted)
    call.until("transferred", by="move1", to="move2", attended=True)
    wait(lambda: line.over and consulted.over, "both calls of the agent to end")
    assert progress(line)[-1] == 200
    assert caller_hears(call) == {SECOND_HZ}
    assert colleague.hears(ALL) == {CALLER_HZ}
    assert colleague.up
    assert colleague.leg.track.lost == 0
    call.hang_up()
    wait(lambda: colleague.over, "the colleague's call to end")
    assert [d["agent"] for d in call.data("bridged")] == ["move1", "move2"]


def test_who_cannot_be_reached_sends_the_caller_back(floor: Floor) -> None:
    """To one who is not signed in, and to one who does not answer: the agent has the caller again each time."""
    first, second = floor.phone("move1", FIRST_HZ), floor.phone("move2", SECOND_HZ, answers=False)
    call = floor.caller("35")
    call.until("bridged", agent="move1")
    line = first.first()
    for count, colleague in enumerate(("move3", "move2"), 1):
        first.refer(line, colleague)
        call.until("transfer_failed", by="move1", to=colleague)
        call.until("bridged", count + 1, agent="move1")
        assert caller_hears(call) == {FIRST_HZ}
    assert progress(line)[-1] == 480
    assert any(isinstance(event, sip.CallCancelled) for event in second.events)
    first.refer(line, "nobody-of-ours")
    wait(lambda: progress(line)[-1] == 404, "the refusal")
    assert line.up
    call.hang_up()
    assert call.record.head.outcome == "served"


def test_a_caller_is_sent_to_a_queue_and_to_a_number(floor: Floor) -> None:
    first, second = floor.phone("move1", FIRST_HZ), floor.phone("talk1", SECOND_HZ)
    call = floor.caller("35")
    call.until("bridged", agent="move1")
    first.refer(first.first(), "talk")
    call.until("bridged", agent="talk1")
    assert caller_hears(call) == {SECOND_HZ}
    wait(lambda: first.lines[0].over, "the agent's call to end")
    second.refer(second.first(), "3001")
    call.until("transferred", by="talk1", to="3001")
    call.until("entered", 3)
    call.hang_up()
    assert [d["queue"] for d in call.data("queued")] == ["move", "talk"], story(call.record)


def test_a_waiting_caller_is_picked_up(floor: Floor) -> None:
    """The phone that rang for the caller stops ringing; whoever dialled the code has the caller."""
    ringing, picker = floor.phone("pick1", FIRST_HZ, answers=False), floor.phone("move2", SECOND_HZ)
    refused = picker.dial("*8pick")
    wait(lambda: refused.over, "a refusal where nobody waits")
    assert refused.of(sip.CallFailed)[0].status == 480
    call = floor.caller("36")
    call.until("offered", agent="pick1")
    wait(lambda: ringing.lines, "the first phone to ring")
    line = picker.dial("*8pick")
    call.until("picked_up", agent="move2")
    assert caller_hears(call) == {SECOND_HZ}
    assert line.hears(ALL) == {CALLER_HZ}
    wait(lambda: ringing.lines[0].over, "the ringing to stop")
    picker.hang_up(line)
    assert call.record.head.reason == "agent hung up"


def test_colleagues_call_each_other_hold_and_hang_up(floor: Floor) -> None:
    first, second = floor.phone("move1", FIRST_HZ), floor.phone("move2", SECOND_HZ)
    line = first.dial("move2")
    wait(lambda: line.up, "the colleague to answer")
    assert line.hears(ALL) == {SECOND_HZ}
    other = second.first()
    first.hold(line, "inactive")
    assert other.hears(ALL) == set()
    first.resume(line)
    assert other.hears(ALL) == {FIRST_HZ}
    busy = floor.phone("talk1", CALLER_HZ).dial("move2")
    wait(lambda: busy.over, "a busy colleague")
    assert busy.of(sip.CallFailed)[0].status == 486
    second.hang_up(other)
    wait(lambda: line.over, "the end at the other side")
