"""Calls whose media changes on the way, by sipp: another codec, old ways to hold, fax, an offer that comes late.

sipp sends back what it hears, so what the gateway records of the caller is the agent's tone where both directions work.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.lab.sounds import tone, tone_level
from gateway.lab.wire import Sound
from gateway.store.record import CallRecord
from tests.peers import baresip, sipp, whole
from tests.peers.programs import Programs
from tests.peers.talks import AGENT_HZ
from tests.peers.whole import Hall, story, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

BACK = "reinvite:sendrecv:sendrecv"
MENU = ["stay", "info:3", "stay", "info:7", "stay", "stay"]
"""From the welcome to a talk of some seconds with an agent."""

SCRIPTS = {
    "5559931": ["invite", "answered", *MENU, "recodec", "stay", "bye"],
    "5559932": [
        "invite",
        "answered",
        *MENU,
        "hold_nowhere",
        "stay",
        "reinvite:sendrecv:sendrecv",
        "fax",
        "stay",
        "bye",
    ],
    "5559933": ["late", *MENU, "reinvite:inactive:inactive", "stay", BACK, "stay", "bye"],
}


@pytest.fixture(scope="module")
def records(hall: Hall, crew: Programs) -> dict[str, CallRecord]:
    """The records of all calls, made at the same time."""
    for name in ("secret1", "secret2", "secret3"):
        voice, password = tone(AGENT_HZ, 60.0), whole.password(name)
        baresip.start(crew, hall.gateway.sip, name, password, voice=voice, encryption="srtp-mand")
    callers = {
        caller: sipp.start(
            crew, parts, hall.gateway.sip, name=caller, echo=True, **{"from": caller, "to": "3001", "talk_ms": "2000"}
        )
        for caller, parts in SCRIPTS.items()
    }
    with ThreadPoolExecutor() as pool:
        ends = dict(zip(callers, pool.map(lambda each: each.finishes(whole.LONG_S), callers.values()), strict=True))
    for caller, status in ends.items():
        assert status == 0, callers[caller].text + callers[caller].messages[-3000:]
    found = {}
    for caller in callers:
        found[caller] = wait(lambda: (r := hall.records.of(caller)) and r.head.ended and r, "a record")  # noqa: B023
        assert found[caller].of("bridged"), story(found[caller])
    return found


def sounding(record: CallRecord) -> list[bool]:
    """Whether the agent's tone came back, for each 100 ms of the talk."""
    assert record.head.recording is not None
    left, _ = whole.sides(record.head.recording)
    return [tone_level(chunk, AGENT_HZ) > -30 for chunk in chunks(left)]


def chunks(sound: Sound) -> list[Sound]:
    return [sound[at : at + 800] for at in range(0, len(sound) - 799, 800)]


def stretches(heard: list[bool], least: int = 5) -> list[tuple[bool, int]]:
    """(sounds, how many in a row), without what is shorter than `least`."""
    found: list[tuple[bool, int]] = []
    for part in np.split(np.array(heard), np.flatnonzero(np.diff(heard)) + 1):
        if len(part) >= least:
            if found and found[-1][0] == bool(part[0]):
                found[-1] = (found[-1][0], found[-1][1] + len(part))
            else:
                found.append((bool(part[0]), len(part)))
    return found


def codecs(record: CallRecord) -> dict[str, object]:
    return {str(e.data["party"]): e.data["codec"] for e in record.of("media")}


def test_another_codec_in_the_middle_of_a_talk(records: dict[str, CallRecord]) -> None:
    record = records["5559931"]
    assert codecs(record)["caller"] == "PCMA"
    heard = stretches(sounding(record))
    assert [sounds for sounds, _ in heard] == [False, True], heard
    assert heard[1][1] > 30, "two seconds before the change and two after it"


def test_held_by_no_address_and_a_fax_that_is_refused(records: dict[str, CallRecord]) -> None:
    heard = stretches(sounding(records["5559932"]))
    assert [sounds for sounds, _ in heard] == [False, True, False, True], heard
    assert 10 < heard[2][1] < 40


def test_a_late_offer_has_media_and_can_be_held(records: dict[str, CallRecord]) -> None:
    record = records["5559933"]
    assert codecs(record)["caller"] == "PCMU"
    heard = stretches(sounding(record))
    assert [sounds for sounds, _ in heard] == [False, True, False, True], heard
