"""Numbers outside through a running gateway: an agent's mobile phone, and callers who are put through to a number."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lab.script import Listen, Press, Speak, Stay
from gateway.lab.sounds import tone
from gateway.lab.wire import write_wav
from gateway.sip import events as sip
from tests.peers import whole
from tests.peers.deskphone import Deskphone
from tests.peers.whole import Calling, Hall, Until, story, tones, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CALLER_HZ, OUTSIDE_HZ, AGENT_HZ = 620.0, 1110.0, 1650.0
ALL = [CALLER_HZ, OUTSIDE_HZ, AGENT_HZ]


@pytest.fixture
def outside(hall: Hall) -> Iterator[Deskphone]:
    """The phone behind the carrier, whatever number is called."""
    phone = Deskphone(hall, "outside", OUTSIDE_HZ, port=whole.CITY)
    yield phone
    phone.close()


@pytest.fixture
def said(tmp_path: Path) -> Path:
    path = tmp_path / "caller.wav"
    write_wav(path, tone(CALLER_HZ, 60.0, -15.0))
    return path


def caller(hall: Hall, said: Path, keys: str) -> Calling:
    return hall.start("3001", [Listen(), Press(keys), Until("queued"), Speak(said), Stay(whole.LONG_S)])


def caller_hears(call: Calling) -> set[float]:
    since = time.monotonic()
    time.sleep(1.2)
    return tones(call.line[0].leg.track.sound(since), ALL)


def test_an_agents_phone_may_be_a_number_outside(hall: Hall, outside: Deskphone, said: Path) -> None:
    """The first trunk is dead; the second takes the call and learns the caller's number, not what the call is about."""
    call = caller(hall, said, "38")
    call.until("bridged", agent="mobile")
    line = outside.first()
    assert caller_hears(call) == {OUTSIDE_HZ}
    assert line.hears(ALL) == {CALLER_HZ}
    offered = line.of(sip.CallOffered)[0]
    assert offered.dialled == "4915112345678"
    assert offered.caller == call.caller
    assert "P-Asserted-Identity" not in offered.headers  # nobody vouched for the caller's number to us
    assert not [name for name in offered.headers if name.startswith("X-Trunkline")]
    assert {codec.name for stream in offered.offer.media for codec in stream.codecs} == {"PCMA", "telephone-event"}
    outside.hang_up(line)
    assert call.record.head.reason == "agent hung up", story(call.record)


def test_a_caller_is_put_through_to_a_number_outside_that_is_listed(hall: Hall, outside: Deskphone, said: Path) -> None:
    agent = Deskphone(hall, "move1", AGENT_HZ)
    try:
        call = caller(hall, said, "35")
        call.until("bridged", agent="move1")
        line = agent.first()
        agent.refer(line, "+12025550100")
        wait(lambda: [e.status for e in line.of(sip.TransferProgress)][-1:] == [404], "the refusal")
        assert line.up
        agent.refer(line, "02071234567")
        call.until("transferred", by="move1", to="+442071234567")
        taken = outside.first()
        assert caller_hears(call) == {OUTSIDE_HZ}
        assert taken.hears(ALL) == {CALLER_HZ}
        assert taken.of(sip.CallOffered)[0].dialled == "442071234567"
        call.hang_up()
        wait(lambda: taken.over, "the end outside")
    finally:
        agent.close()


def test_a_number_outside_that_cannot_be_reached_gives_the_caller_back(hall: Hall, said: Path) -> None:
    """Nobody is at the carrier now."""
    agent = Deskphone(hall, "move1", AGENT_HZ)
    try:
        call = caller(hall, said, "35")
        call.until("bridged", agent="move1")
        line = agent.first()
        agent.refer(line, "+442071234567")
        call.until("transfer_failed", by="move1", to="+442071234567")
        call.until("bridged", 2, agent="move1")
        assert caller_hears(call) == {AGENT_HZ}
        assert [e.status for e in line.of(sip.TransferProgress)][-1] >= 400
        call.hang_up()
    finally:
        agent.close()
