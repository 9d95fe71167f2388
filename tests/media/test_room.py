"""Rooms over real UDP: who hears whom, a supervisor's three ways in, what is said over a conversation; wide legs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from gateway.core.errors import MediaError
from gateway.media.engine import MediaEngine
from gateway.media.leg import Leg
from gateway.media.room import Room
from tests.media.peer import DTMF, Peer, strength, tone

HERTZ = (500, 900, 1400)
"""What each party says: caller, agent, supervisor."""


async def party(engine: MediaEngine, near: Leg | None = None) -> tuple[Leg, Peer]:
    peer = await Peer.open()
    leg = engine.open_leg("127.0.0.1", near=near)
    leg.attach("127.0.0.1", peer.port, 0, DTMF)
    return leg, peer


async def talk(parties: Sequence[tuple[Leg, Peer]], seconds: float = 1.2) -> list[set[int]]:
    """All speak at once; which tones each of them hears at the end."""
    starts = [len(peer.heard) for _, peer in parties]
    await asyncio.gather(
        *(peer.speak(leg.port, tone(hz, seconds)) for (leg, peer), hz in zip(parties, HERTZ, strict=False))
    )
    found = []
    for (_, peer), start in zip(parties, starts, strict=True):
        late = peer.heard[start:][-4000:]
        found.append({hz for hz in HERTZ if strength(late, hz) > 0.15})
    return found


async def test_a_supervisor_listens_whispers_and_comes_in(engine: MediaEngine) -> None:
    parties = [await party(engine) for _ in HERTZ]
    (caller, _), (agent, _), (supervisor, _) = parties
    caller.bridge(agent)
    room = caller.room
    assert room is agent.room is not None
    room.monitor(supervisor)
    assert await talk(parties) == [{900}, {500}, {500, 900}]
    room.whisper(supervisor, to=agent)
    assert await talk(parties) == [{900}, {500, 1400}, {500, 900}]
    room.barge(supervisor)
    assert await talk(parties) == [{900, 1400}, {500, 1400}, {500, 900}]
    agent.close()
    assert room.members == [caller, supervisor]
    caller.unbridge()
    assert (room.members, caller.room, supervisor.room) == ([], None, None)
    for _, peer in parties:
        peer.close()


async def test_a_leg_that_joins_elsewhere_leaves(engine: MediaEngine) -> None:
    (a, _), (b, _), (c, _) = parties = [await party(engine) for _ in HERTZ]
    a.bridge(b)
    first = a.room
    a.bridge(b)
    assert a.room is first, "they are together already"
    assert first is not None
    other = Room(engine)
    other.join(c)
    other.join(a)
    assert (first.members, other.members) == ([b], [c, a])
    assert await talk(parties) == [{1400}, set(), {500}]
    first.leave(a)
    assert a.room is other, "it is not in that room any more"
    b.close()
    with pytest.raises(MediaError, match="closed"):
        b.unbridge()
    for _, peer in parties:
        peer.close()


async def test_an_announcement_is_heard_over_the_other_party(engine: MediaEngine) -> None:
    parties = [await party(engine) for _ in HERTZ[:2]]
    (caller, heard), (agent, _) = parties
    caller.bridge(agent)
    caller.play([engine.load(tone(1400, 20.0))], token=1, over=True)
    await talk(parties)
    late = heard.heard[-4000:]
    assert strength(late, 900) > 0.3
    assert strength(late, 1400) > 0.3
    for _, peer in parties:
        peer.close()


async def test_echo_gain_and_keys_in_the_sound_reach_the_engine(engine: MediaEngine, peers: list[Peer]) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    leg.auto_gain(True)
    leg.inband_dtmf(True)
    leg.echo(True)
    await peers[0].speak(leg.port, tone(600, 1.0))
    assert strength(peers[0].heard[-4000:], 600) > 0.9
    with pytest.raises(MediaError, match="set_keys"):
        leg.set_keys("AES_CM_128_HMAC_MD5_80", bytes(30), bytes(30))


async def test_a_leg_stands_on_the_thread_of_the_one_it_is_near() -> None:
    engine = MediaEngine(max_legs=16, seed=1, threads=2, io="plain", auto_gain=True)
    await engine.start()
    try:
        assert engine.io == ["plain", "plain"]
        callers = [engine.open_leg("127.0.0.1") for _ in range(4)]
        assert {leg.handle % 2 for leg in callers} == {0, 1}
        agents = [engine.open_leg("127.0.0.1", near=leg) for leg in callers]
        assert [leg.handle % 2 for leg in agents] == [leg.handle % 2 for leg in callers]
        parties = [(leg, await Peer.open()) for leg in callers[:2]]
        for leg, peer in parties:
            leg.attach("127.0.0.1", peer.port, 0, DTMF)
        callers[0].bridge(callers[1])
        assert await talk(parties) == [{900}, {500}], "they hear each other across threads"
        for _, peer in parties:
            peer.close()
    finally:
        await engine.close()


async def test_a_wide_leg_is_heard_beyond_the_telephone_band(engine: MediaEngine, peers: list[Peer]) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 97, codecs={97: "L16/16000"})
    assert leg.rate == 16000
    high = np.int16(6000 * np.sin(2 * np.pi * 5500 * np.arange(16000) / 16000))
    leg.play([engine.load(high, leg.rate)], token=1)
    await asyncio.sleep(0.8)
    heard = np.frombuffer(b"".join(p[12:] for p in peers[0].packets if p[1] & 0x7F == 97), ">i2")
    assert strength(heard[-6400:], 5500 / 2) > 0.95, "the peer counts in samples of 8 kHz"
    assert leg.stats()["codec"] == "L16/16000"
    leg.attach("127.0.0.1", peers[0].port, 8)
    assert leg.rate == 8000
