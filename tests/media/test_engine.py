"""The asyncio handle on the real engine, over real UDP."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import MediaError, PortBusy
from gateway.media.engine import MediaEngine
from gateway.media.events import KeyPressed, Latched, MediaEvent, PromptDone, PromptStarted, SpeechEnded, SpeechStarted
from gateway.media.leg import Leg
from gateway.media.wire import to_wire
from gateway.speech.tts_recorded import read_wav
from native.ports import pair
from tests.media.peer import DTMF, Peer, strength, tone, until


def joined(engine: MediaEngine, peer: Peer) -> tuple[Leg, list[MediaEvent]]:
    leg = engine.open_leg("127.0.0.1")
    events: list[MediaEvent] = []
    leg.on_event = events.append
    leg.attach("127.0.0.1", peer.port, 0, DTMF)
    return leg, events


async def test_a_clip_is_heard_and_its_events_carry_its_token(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, events = joined(engine, peers[0])
    began = time.monotonic()
    leg.play([engine.load(tone(700, 0.4)), engine.load(tone(1100, 0.4))], token=41)
    await until(lambda: any(isinstance(e, PromptDone) for e in events))
    started = next(e for e in events if isinstance(e, PromptStarted))
    done = next(e for e in events if isinstance(e, PromptDone))
    assert (started.token, done.token, done.interrupted) == (41, 41, False)
    assert began <= started.at <= done.at <= time.monotonic()
    await asyncio.sleep(0.1)
    heard = peers[0].heard
    start = int(np.flatnonzero(np.abs(heard) > 1000)[0])
    assert strength(heard[start + 200 : start + 3000], 700) > 0.95
    assert strength(heard[start + 3400 : start + 6200], 1100) > 0.95


async def test_appended_clips_follow_and_stop_interrupts(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, events = joined(engine, peers[0])
    leg.play([engine.load(tone(500, 0.2))], token=1)
    leg.play([engine.load(tone(900, 30.0))], token=2, append=True)
    await until(lambda: any(isinstance(e, PromptStarted) and e.token == 2 for e in events))
    leg.stop()
    await until(lambda: sum(isinstance(e, PromptDone) for e in events) == 2)
    assert [(e.token, e.interrupted) for e in events if isinstance(e, PromptDone)] == [(1, False), (2, True)]


async def test_keys_come_once_each_and_stop_a_prompt(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, events = joined(engine, peers[0])
    await peers[0].speak(leg.port, np.zeros(1600, np.int16))
    leg.play([engine.load(tone(900, 30.0))], token=3, keys_stop=True)
    await until(lambda: any(isinstance(e, PromptStarted) for e in events))
    peers[0].press(leg.port, "5")
    peers[0].press(leg.port, "#")
    await until(lambda: sum(isinstance(e, KeyPressed) for e in events) == 2)
    await until(lambda: any(isinstance(e, PromptDone) for e in events))
    assert [e.digit for e in events if isinstance(e, KeyPressed)] == ["5", "#"]
    assert next(e for e in events if isinstance(e, PromptDone)).interrupted
    leg.pause_recording()
    peers[0].press(leg.port, "7")
    await until(lambda: sum(isinstance(e, KeyPressed) for e in events) == 3)
    assert [e.masked for e in events if isinstance(e, KeyPressed)] == [False, False, True]


async def test_keys_are_sent(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, _ = joined(engine, peers[0])
    leg.send_dtmf("19*")
    await until(lambda: peers[0].keys == "19*")


async def test_speech_mutes_the_prompt_and_is_handed_over(
    engine: MediaEngine, peers: list[Peer], recordings: Path
) -> None:
    words = to_wire(read_wav(recordings / "zh-CN" / "bank.root_keys.wav"))[: 8000 * 3]
    leg, events = joined(engine, peers[0])
    pieces: list[tuple[bytes, float]] = []
    leg.on_audio = lambda pcm, at: pieces.append((pcm, at))
    await peers[0].speak(leg.port, np.zeros(4000, np.int16))
    assert any(isinstance(e, Latched) for e in events)
    leg.listen(True)
    leg.play([engine.load(tone(440, 20.0, 0.05))], token=9, barge_in=True)
    await peers[0].speak(leg.port, np.concatenate([np.zeros(2400, np.int16), words, np.zeros(8000, np.int16)]))
    await until(lambda: any(isinstance(e, SpeechEnded) for e in events))
    assert next(e for e in events if isinstance(e, SpeechStarted)).muted
    heard = np.frombuffer(b"".join(pcm for pcm, _ in pieces), "<i2")
    assert 3.0 < len(heard) / 16000 < 5.0
    assert 0.3 < np.abs(heard).max() / np.abs(words).max() < 3
    assert [at for _, at in pieces] == sorted(at for _, at in pieces)
    leg.listen(False)
    await asyncio.sleep(0.1)
    assert leg.read() == b""


async def test_a_bridge_carries_both_ways(engine: MediaEngine, peers: list[Peer]) -> None:
    a, _ = joined(engine, peers[0])
    b, _ = joined(engine, peers[1])
    a.bridge(b)
    await asyncio.gather(peers[0].speak(a.port, tone(600, 1.5)), peers[1].speak(b.port, tone(1300, 1.5)))
    assert strength(peers[1].heard[-8000:], 600) > 0.9
    assert strength(peers[0].heard[-8000:], 1300) > 0.9
    a.unbridge()
    b.close()
    with pytest.raises(MediaError):
        a.bridge(b)


async def test_a_quiet_speaker_is_made_louder_where_that_is_asked_for(
    engine: MediaEngine, peers: list[Peer], recordings: Path
) -> None:
    words = to_wire(read_wav(recordings / "zh-CN" / "bank.root_keys.wav"))[: 8000 * 4]
    quiet = (words / (np.abs(words.astype(np.int32)).max() / 2400)).astype(np.int16)
    ends = [*peers, await Peer.open(), await Peer.open()]
    speakers = [joined(engine, peer)[0] for peer in ends[:2]]
    for speaker, listener in zip(speakers, ends[2:], strict=True):
        speaker.bridge(joined(engine, listener)[0])
    speakers[1].auto_gain(True)
    await asyncio.gather(*(peer.speak(leg.port, quiet) for leg, peer in zip(speakers, ends, strict=False)))
    plain, raised = (float(np.square(p.heard[-12000:].astype(np.float64)).mean()) for p in ends[2:])
    assert 10 * np.log10(raised / plain) > 4
    for peer in ends[2:]:
        peer.close()


async def test_a_taken_port_range_says_so(engine: MediaEngine) -> None:
    taken, port = pair("127.0.0.1")[0::2]
    with taken, pytest.raises(PortBusy, match=f"{port}-{port}"):
        engine.open_leg("127.0.0.1", (port, port))


async def test_ports_are_even_and_within_the_range(engine: MediaEngine) -> None:
    legs = [engine.open_leg("127.0.0.1", (42101, 42140)) for _ in range(5)]
    assert all(42101 <= leg.port <= 42140 and leg.port % 2 == 0 for leg in legs)
    assert len({leg.port for leg in legs}) == 5


async def test_what_the_engine_refuses_is_a_media_error(engine: MediaEngine, peers: list[Peer]) -> None:
    with pytest.raises(MediaError, match="can't be opened"):
        engine.open_leg("203.0.113.9")
    leg, _ = joined(engine, peers[0])
    with pytest.raises(MediaError, match="play"):
        leg.play([], token=1)
    leg.close()
    leg.close()
    with pytest.raises(MediaError, match="closed"):
        leg.stop()
    with pytest.raises(MediaError, match="did you mean: native"):
        MediaEngine("natve")


async def test_all_legs_in_use_and_free_again(engine: MediaEngine) -> None:
    legs = [engine.open_leg("127.0.0.1") for _ in range(8)]
    with pytest.raises(MediaError, match="in use"):
        engine.open_leg("127.0.0.1")
    legs[3].close()
    await until(lambda: engine.counters()["legs"] == 7)
    await asyncio.sleep(0.05)
    assert engine.open_leg("127.0.0.1").handle != legs[3].handle


async def test_a_clip_is_freed_with_its_last_holder(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, events = joined(engine, peers[0])
    clip = engine.load(tone(500, 0.5))
    handle = clip.handle
    leg.play([clip], token=1)
    del clip
    other = engine.load(tone(500, 0.1))
    assert other.handle != handle, "the leg still plays it"
    await until(lambda: any(isinstance(e, PromptDone) for e in events))
    await asyncio.sleep(0.05)
    assert engine.load(tone(500, 0.1)).handle == handle


async def test_an_error_in_a_listener_stays_with_its_leg(
    engine: MediaEngine, peers: list[Peer], caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = joined(engine, peers[0])
    good, events = joined(engine, peers[1])

    def fail(event: MediaEvent) -> None:
        raise RuntimeError("no")

    bad.on_event = fail
    with caplog.at_level(logging.CRITICAL, "gateway.media.leg"):
        for leg in (bad, good):
            leg.play([engine.load(tone(500, 0.1))], token=1)
        await until(lambda: any(isinstance(e, PromptDone) for e in events))


async def test_stats_and_counters_tell_what_went(engine: MediaEngine, peers: list[Peer]) -> None:
    leg, _ = joined(engine, peers[0])
    await peers[0].speak(leg.port, tone(500, 0.5))
    await until(lambda: leg.stats()["packets_received"] == 25)
    assert leg.stats()["remote"] == ("127.0.0.1", peers[0].port)
    assert engine.counters()["ticks"] > 0
    assert engine.lateness().sum() > 10


async def test_the_port_of_the_last_leg_is_given_back_although_nothing_happens_any_more(engine: MediaEngine) -> None:
    leg = engine.open_leg("127.0.0.1")
    port = leg.port
    leg.close()

    def free() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True

    await until(free)
