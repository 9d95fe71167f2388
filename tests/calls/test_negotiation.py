"""Two parties agree and speak over real UDP: in the clear and encrypted, by both versions of IP, through changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.calls.negotiation import Negotiation, Terms, peer_address
from gateway.core.errors import MediaError
from gateway.media.addresses import Addresses
from gateway.media.engine import MediaEngine
from gateway.media.recorder import read_recording
from gateway.sip import offer_answer, sdp
from gateway.sip.crypto import SUITES, Srtp
from gateway.sip.offer_answer import NotAcceptable
from gateway.sip.place import Place
from tests.media.peer import strength, tone, until

HERTZ = (500.0, 900.0)
ALL = ("opus", "G722", "PCMU", "PCMA", "L16")


class Two:
    """Caller and callee, each with a leg of one engine and a tone that it never stops saying."""

    def __init__(self, engine: MediaEngine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.parties: list[Negotiation] = []

    def party(
        self, ip: str = "127.0.0.1", codecs: tuple[str, ...] = ALL, policy: str = "never", **how: object
    ) -> Negotiation:
        srtp = Srtp(policy, tuple(SUITES), random.Random(len(self.parties)).randbytes)
        found = Negotiation(self.engine.open_leg(ip), ip, Addresses((ip,)), Terms(codecs, srtp), **how)
        self.parties.append(found)
        return found

    def settle(
        self, asks: Negotiation, answers: Negotiation, direction: str = "sendrecv", wish: str = "sendrecv"
    ) -> None:
        """One offer and its answer, as text."""
        offer = sdp.parse(asks.offer(direction).encode())
        answer = sdp.parse(answers.answer(offer).encode())
        asks.answered(answer, offer_answer.agreed(offer, answer))

    def speak(self) -> None:
        for party, hertz in zip(self.parties, HERTZ, strict=True):
            party.leg.play([self.engine.load(tone(hertz, 1.0))], token=1, loop=True)

    async def hear(self, *listeners: Negotiation) -> None:
        """Until each of them heard 25 packets more, and the last 20 are all it got."""
        await self._more(5, listeners)
        forged = [party.leg.stats()["srtp_forged"] for party in listeners]
        await self._more(20, listeners)
        assert [party.leg.stats()["srtp_forged"] for party in listeners] == forged

    async def _more(self, packets: int, listeners: tuple[Negotiation, ...]) -> None:
        wanted = {party: self.got(party) + packets for party in listeners}
        await until(lambda: all(self.got(party) >= count for party, count in wanted.items()), 30)

    async def quiet(self, listener: Negotiation) -> None:
        """Until nothing came for 200 ms."""
        seen = [-1]

        def still() -> bool:
            seen.append(self.got(listener))
            return len(seen) > 20 and len(set(seen[-20:])) == 1

        await until(still, 30)

    def got(self, party: Negotiation) -> int:
        return int(party.leg.stats()["packets_received"])

    def record(self) -> None:
        for place, party in enumerate(self.parties):
            party.leg.record(self.folder / f"{place}.wav")

    def tones(self) -> list[set[float]]:
        """What each heard in the end."""
        found = []
        for place, party in enumerate(self.parties):
            party.leg.stop_recording()
            self.engine.recorder.close()
            _, frames = read_recording(self.folder / f"{place}.wav")
            late = frames[-3000:-1000, 0]
            found.append({hertz for hertz in HERTZ if strength(late, hertz) > 0.3})
        return found


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    engine = MediaEngine(max_legs=8, seed=5)
    await engine.start()
    yield Two(engine, tmp_path)
    await engine.close()


WAYS = [
    ("127.0.0.1", ("never", "optional"), None),
    ("127.0.0.1", ("required", "optional"), "AES_CM_128_HMAC_SHA1_80"),
    ("::1", ("optional", "required"), None),
    ("::1", ("required", "required"), "AES_CM_128_HMAC_SHA1_80"),
]


@pytest.mark.parametrize(("ip", "policies", "profile"), WAYS)
async def test_each_hears_the_other(two: Two, ip: str, policies: tuple[str, str], profile: str | None) -> None:
    asks, answers = (two.party(ip, policy=policy) for policy in policies)
    if policies == ("optional", "required"):
        with pytest.raises(NotAcceptable):
            two.settle(asks, answers)
        return
    two.settle(asks, answers)
    two.record()
    two.speak()
    await two.hear(asks, answers)
    assert asks.agreed is not None
    assert (asks.agreed.profile, asks.agreed.encoding) == (profile, "opus")
    qualities = [party.leg.quality() for party in two.parties]
    assert [each.srtp for each in qualities if each] == [profile, profile]
    await asyncio.sleep(0.5)
    assert two.tones() == [{HERTZ[1]}, {HERTZ[0]}]


async def test_a_phone_that_nobody_listens_to_is_offered_keys_where_they_are_optional(two: Two) -> None:
    asks, answers = two.party(policy="optional", secured=True), two.party(policy="optional")
    two.settle(asks, answers)
    assert asks.agreed is not None
    assert asks.agreed.profile
    two.settle(answers, asks)
    assert answers.agreed is not None
    assert answers.agreed.profile == asks.agreed.profile


async def test_keys_that_a_phone_refuses_are_offered_once_where_they_are_optional(two: Two) -> None:
    for policy, again in (("optional", True), ("required", False), ("never", False)):
        party = two.party(policy=policy, secured=True)
        assert bool(party.offer().media[0].crypto) is (policy != "never")
        assert party.retreat() is again
        assert bool(party.offer().media[0].crypto) is (policy == "required")
        assert not party.retreat()


async def test_hold_retrieve_codec_and_keys_change_with_sound_before_and_after(two: Two) -> None:
    caller, callee = two.party(policy="required"), two.party(policy="optional")
    two.settle(caller, callee)
    two.speak()
    await two.hear(caller, callee)
    two.settle(caller, callee, "sendonly")
    assert (caller.held, callee.held) == (False, True)
    await two.hear(callee)
    await two.quiet(caller)
    two.settle(callee, caller, "inactive")  # held while it holds
    assert caller.held
    assert callee.held
    two.settle(caller, callee)
    await two.hear(caller, callee)
    first = callee.agreed
    callee.terms = Terms(("PCMA",), callee.terms.srtp)
    two.settle(callee, caller)
    assert first is not None
    assert callee.agreed is not None
    assert (first.encoding, callee.agreed.encoding) == ("opus", "PCMA")
    await two.hear(caller, callee)
    caller.terms = Terms(ALL, Srtp("required", ("AEAD_AES_128_GCM",), random.Random(9).randbytes))
    two.settle(caller, callee)
    assert callee.agreed is not None
    assert callee.agreed.profile == "AEAD_AES_128_GCM"
    assert callee.agreed.encoding == "PCMA", "the codec in use goes on"
    two.record()
    await two.hear(caller, callee)
    await asyncio.sleep(0.5)
    assert two.tones() == [{HERTZ[1]}, {HERTZ[0]}]


async def test_what_was_answered_since_counts_more_than_a_late_answer(two: Two) -> None:
    caller, callee = two.party(), two.party(codecs=("PCMA",))
    offer = caller.offer()
    early = offer_answer.answer(offer, "127.0.0.1", 9, ("PCMU",))
    caller.answer(callee.offer())  # by UPDATE, before the call is answered
    caller.answered(early, offer_answer.agreed(offer, early))
    assert caller.agreed is not None
    assert (caller.agreed.port, caller.agreed.encoding) == (callee.leg.port, "PCMA")


async def test_another_port_is_spoken_to(two: Two) -> None:
    caller, callee = two.party(policy="required"), two.party(policy="required")
    two.settle(caller, callee)
    two.speak()
    await two.hear(caller, callee)
    moved = Negotiation(two.engine.open_leg("127.0.0.1"), caller.peer, caller.addresses, caller.terms)
    offer = moved.offer()
    moved.answered(answer := callee.answer(offer), offer_answer.agreed(offer, answer))
    caller.leg.close()
    moved.leg.play([two.engine.load(tone(HERTZ[0], 1.0))], token=1, loop=True)
    await two.hear(moved, callee)


async def test_an_answer_in_the_clear_does_not_undo_encryption(two: Two) -> None:
    caller, callee = two.party(policy="required"), two.party(policy="required")
    two.settle(caller, callee)
    before = caller.agreed
    assert before is not None
    again = caller.offer()
    plain = changed(callee.answer(again), ("RTP/SAVP", "RTP/AVP"))
    with pytest.raises(MediaError, match="in the clear"):
        caller.answered(plain, replace(before, profile=None))
    assert caller.agreed is before


def changed(body: sdp.SessionDescription, *replaced: tuple[str, str]) -> sdp.SessionDescription:
    text = str(body)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return sdp.parse(text.encode())


HOLDS = [
    (("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),),
    (("c=IN IP4 127.0.0.1", "c=IN IP6 ::"),),
    (("a=sendrecv", "a=inactive"),),
]


@pytest.mark.parametrize("how", HOLDS)
async def test_every_way_to_hold_and_back(two: Two, how: tuple[tuple[str, str], ...]) -> None:
    caller, callee = two.party(), two.party()
    two.settle(caller, callee)
    two.speak()
    await two.hear(caller, callee)
    again = caller.offer()
    answer = callee.answer(changed(again, *how))
    assert answer.media[0].direction in ("recvonly", "inactive")
    assert callee.held
    await two.quiet(caller)
    two.settle(caller, callee)
    await two.hear(caller, callee)


async def test_a_stream_taken_away_is_silence_until_it_comes_back(two: Two) -> None:
    caller, callee = two.party(), two.party()
    two.settle(caller, callee)
    two.speak()
    await two.hear(caller, callee)
    again = caller.offer()
    answer = callee.answer(changed(again, (f"m=audio {caller.leg.port} ", "m=audio 0 ")))
    assert [stream.port for stream in answer.media] == [0]
    assert callee.held
    await two.quiet(caller)
    two.settle(caller, callee)
    await two.hear(caller, callee)


async def test_fax_is_refused_and_the_call_goes_on(two: Two) -> None:
    caller, callee = two.party(), two.party()
    two.settle(caller, callee)
    before = callee.agreed
    fax = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    for media in ("m=image 4000 udptl t38\r\n", "m=audio 0 RTP/AVP 0\r\nm=image 4000 udptl t38\r\n"):
        with pytest.raises(NotAcceptable) as refusal:
            callee.answer(sdp.parse((fax + media).encode()))
        assert refusal.value.what == "image over udptl is not taken"
    assert callee.agreed is before
    two.speak()
    await two.hear(caller, callee)


async def test_a_call_stays_with_its_version_of_ip(two: Two) -> None:
    caller, callee = two.party(), two.party()
    two.settle(caller, callee)
    before = callee.agreed
    with pytest.raises(MediaError, match="other version of IP"):
        callee.answer(changed(caller.offer(), ("c=IN IP4 127.0.0.1", "c=IN IP6 ::1")))
    assert callee.agreed is before


def test_the_address_that_counts_is_the_one_signalled_from_unless_media_is_of_the_other_family() -> None:
    place = Place("198.51.100.7", 5060)
    offer = offer_answer.offer("10.0.0.9", 4000)
    assert peer_address(None, place) == peer_address(offer, place) == "198.51.100.7"
    assert peer_address(offer_answer.offer("2001:db8::9", 4000), place) == "2001:db8::9"
    assert peer_address(offer_answer.offer("0.0.0.0", 4000), Place("::1", 5060)) == "0.0.0.0"
    assert peer_address(sdp.SessionDescription((), "host.example"), place) == "198.51.100.7"
