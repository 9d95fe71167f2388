"""Legs over real sockets: pacing, symmetric RTP, audio both ways, keys, garbage, rings, handles."""

from __future__ import annotations

import select
import struct
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import native
from native import kernels

from .wire import SILENCE, Packet, Phone, pitch_of, tone, wait_for


def test_packets_follow_each_other_as_rfc_3550_says(engine: native.Engine) -> None:
    phone = Phone(engine)
    packets = phone.talk(np.zeros(25 * 160, np.int16))
    assert [p.marker for p in packets] == [True] + [False] * 24
    assert {p.ssrc for p in packets} == {packets[0].ssrc}
    assert {len(p.data) for p in packets} == {160}
    for a, b in pairwise(packets):
        assert (b.seq - a.seq) & 0xFFFF == 1
        assert (b.stamp - a.stamp) % 2**32 == 160


def test_one_seed_gives_one_start_and_legs_differ(make_engine: type[native.Engine]) -> None:
    starts = []
    for _ in range(2):
        engine = make_engine(seed=3)
        engine.start()
        phones = [Phone(engine), Phone(engine)]
        starts.append([(p.ssrc, p.seq, p.stamp % 160) for p in (phone.receive() for phone in phones)])
        engine.stop()
    assert starts[0] == starts[1]
    assert starts[0][0] != starts[0][1]


def test_ticks_keep_their_pace_beside_busy_python(engine: native.Engine) -> None:
    phone, busy = Phone(engine), True

    def work() -> None:
        while busy:
            sum(range(2000))

    thread = threading.Thread(target=work)
    thread.start()
    engine.lateness()
    packets = [phone.receive() for _ in range(60)]
    busy = False
    thread.join()
    assert (packets[-1].stamp - packets[0].stamp) % 2**32 == 59 * 160
    late = engine.lateness()
    assert 55 <= late.sum() <= 240
    assert engine.lateness().sum() <= late.sum()
    assert engine.counters()["skipped"] == 0


@pytest.mark.parametrize("payload", [0, 8])
def test_caller_is_heard_and_upsampled(engine: native.Engine, payload: int) -> None:
    phone = Phone(engine, payload)
    engine.listen(phone.leg, True)
    phone.hear(20)
    voice = np.tile(vowel(), 30)[: 50 * 160]
    phone.talk(voice)
    out = np.zeros(32000, np.int16)
    got = out[: engine.read(phone.leg, out)]
    assert len(got) >= 40 * 320
    events = engine.events()
    start = [e for e in events if e[0] == native.SPEECH_STARTED]
    assert start[0][1] == phone.leg
    heard = got[-20 * 320 :]
    assert pitch_of(heard, 16000) == pytest.approx(pitch_of(voice[-20 * 160 :]), abs=8)


def vowel() -> np.ndarray:
    """A period of 80 ms of something voiced: 125 Hz pulses through two resonances."""
    pulses = np.zeros(640)
    pulses[::64] = 12000
    ring = 0.94 ** np.arange(200) * (np.cos(0.55 * np.arange(200)) + 0.5 * np.cos(0.95 * np.arange(200)))
    return np.clip(np.convolve(np.tile(pulses, 2), ring)[640:1280], -32768, 32767).astype(np.int16)


def test_nothing_goes_up_before_speech_and_preroll_comes_first(engine: native.Engine) -> None:
    phone = Phone(engine)
    out = np.zeros(65536, np.int16)
    engine.listen(phone.leg, True)
    phone.talk(np.tile(np.array([200, -200], np.int16), 80 * 40))
    assert engine.read(phone.leg, out) == 0
    phone.talk(np.tile(vowel(), 8)[: 30 * 160])
    got = out[: engine.read(phone.leg, out)]
    assert len(got) > 20 * 320
    quiet = np.flatnonzero(np.abs(got.astype(int)) > 2000)[0]
    assert 4000 <= quiet <= 7000  # about 400 ms of what came before, less the time it took to be sure
    phone.hear(20)
    engine.read(phone.leg, out)
    engine.listen(phone.leg, True)
    phone.hear(10)
    assert engine.read(phone.leg, out) == 0


def test_latches_to_the_source_after_three_valid_packets(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.receive()
    behind_nat = phone.bind()
    for k in range(3):
        assert not any(e[0] == native.RTP_LATCHED for e in engine.events())
        behind_nat.sendto(phone.audio(SILENCE), ("127.0.0.1", phone.port))
        if k < 2:
            phone.receive()
            phone.receive()
    event = next(e for e in wait_for(engine, [native.RTP_LATCHED]) if e[0] == native.RTP_LATCHED)
    assert event[4] == behind_nat.getsockname()[1]
    assert Packet.read(behind_nat.recv(2048)).payload == 0
    stranger = phone.bind()
    for _ in range(5):
        stranger.sendto(phone.audio(SILENCE), ("127.0.0.1", phone.port))
        behind_nat.sendto(phone.audio(SILENCE), ("127.0.0.1", phone.port))
        behind_nat.recv(2048)
    assert engine.stats(phone.leg)["remote"] == ("127.0.0.1", behind_nat.getsockname()[1])


def test_garbage_is_counted_and_hurts_nothing(engine: native.Engine) -> None:
    phone = Phone(engine)
    rng = np.random.default_rng(1)
    phone.talk(np.zeros(1600, np.int16))
    bad = [b"", b"\x80", b"\x00" * 172, b"\x80\x00" + b"\xff" * 1500, rng.bytes(40), b"\x80" + b"\xc8" + b"\x00" * 30]
    for octets in bad:
        phone.send(octets)
        phone.send(phone.audio(SILENCE))
        phone.receive()
    phone.hear(5)
    assert engine.stats(phone.leg)["discarded"] >= 4
    assert engine.counters()["garbage"] >= 4
    assert engine.stats(phone.leg)["lost"] == 0


def test_loss_duplicates_and_reordering_are_counted_and_repaired(engine: native.Engine) -> None:
    phone, peer = Phone(engine), Phone(engine)
    engine.bridge(phone.leg, peer.leg)
    sent = tone(440, 70)
    frames = [phone.audio(f) for f in sent.reshape(-1, 160)]
    frames[10], frames[11] = frames[11], frames[10]
    frames.insert(30, frames[29])
    del frames[50]
    heard = []
    for octets in frames:
        phone.receive()
        phone.send(octets)
        heard.append(peer.receive().pcm())
    stats = engine.stats(phone.leg)
    assert (stats["lost"], stats["duplicate"]) == (1, 1)
    steady = np.concatenate(heard)[20 * 160 : 45 * 160]
    assert pitch_of(steady) == pytest.approx(440, abs=3)
    assert np.abs(steady).reshape(-1, 160).max(1).min() > 6000


def test_keys_in_are_told_once_at_their_start(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.hear(5)
    for digit, code in (("5", 5), ("#", 11), ("5", 5)):
        stamp = phone.stamp
        for k in range(8):
            payload = struct.pack("!BBH", code, 0x80 * (k >= 5) | 10, 160 * min(k + 1, 6))
            phone.receive()
            octets = bytearray(phone.packet(payload, 101, marker=k == 0))
            octets[4:8] = struct.pack("!I", stamp)
            phone.send(bytes(octets))
        phone.hear(3)
        assert [chr(e[3]) for e in engine.events() if e[0] == native.KEY] == [digit]
    engine.mask(phone.leg, True)
    phone.receive()
    phone.send(phone.packet(struct.pack("!BBH", 1, 10, 160), 101, marker=True))
    event = next(e for e in wait_for(engine, [native.KEY]) if e[0] == native.KEY)
    assert event[3:] == (ord("1"), 1)


def test_keys_out_follow_rfc_4733(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.hear(3)
    engine.send_dtmf(phone.leg, "1#", ms=100)
    packets = phone.talk(np.zeros(40 * 160, np.int16))
    keys = [p for p in packets if p.payload == 101]
    assert [k[0] for k in dict.fromkeys((p.data[0], p.stamp) for p in keys)] == [1, 11]
    for code in (1, 11):
        mine = [p for p in keys if p.data[0] == code]
        assert [p.marker for p in mine] == [True] + [False] * (len(mine) - 1)
        assert len({p.stamp for p in mine}) == 1
        assert [struct.unpack("!H", p.data[2:])[0] for p in mine] == [160, 320, 480, 640, 800, 800, 800]
        assert [p.data[1] >> 7 for p in mine] == [0, 0, 0, 0, 1, 1, 1]
    assert all((b.seq - a.seq) & 0xFFFF == 1 for a, b in pairwise(packets))
    audio = [p for p in packets if p.payload == 0]
    after = next(p for p in audio if (p.seq - keys[6].seq) & 0xFFFF == 1)
    assert after.marker
    assert (after.stamp - keys[0].stamp) % 2**32 == 7 * 160


def test_bridge_carries_both_ways_and_ends(engine: native.Engine) -> None:
    a, b = Phone(engine, 0), Phone(engine, 8)
    engine.bridge(a.leg, b.leg)
    heard: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for from_a, from_b in zip(tone(500, 40).reshape(-1, 160), tone(900, 40).reshape(-1, 160), strict=True):
        heard[0].append(a.receive().pcm())
        a.send(a.audio(from_a))
        heard[1].append(b.receive().pcm())
        b.send(b.audio(from_b))
    assert pitch_of(np.concatenate(heard[0][20:])) == pytest.approx(900, abs=3)
    assert pitch_of(np.concatenate(heard[1][20:])) == pytest.approx(500, abs=3)
    engine.close_leg(a.leg)
    assert np.abs(b.hear(10)[-1]).max() <= 8


def test_tap_is_aligned_and_masked(engine: native.Engine) -> None:
    phone = Phone(engine)
    engine.tap(phone.leg, True)
    prompt = tone(700, 40)
    engine.play(phone.leg, [engine.load_prompt(prompt)], 1)
    phone.talk(tone(300, 60))
    out = np.zeros((16000, 2), np.int16)
    pairs = out[: engine.read_tap(phone.leg, out)]
    assert len(pairs) % 160 == 0
    assert len(pairs) >= 55 * 160
    begin = np.flatnonzero(pairs[:, 1])[0] // 160 * 160
    coded = kernels.g711_decode(kernels.g711_encode(prompt))
    assert np.array_equal(pairs[begin : begin + len(prompt), 1], coded)
    assert pitch_of(pairs[20 * 160 : 50 * 160, 0]) == pytest.approx(300, abs=3)
    engine.mask(phone.leg, True)
    phone.talk(tone(300, 3))
    engine.read_tap(phone.leg, out)
    phone.talk(tone(300, 10))
    assert not out[: engine.read_tap(phone.leg, out)].any()


def test_live_audio_down(engine: native.Engine) -> None:
    phone = Phone(engine)
    live = tone(600, 20)
    assert engine.write(phone.leg, live) == len(live)
    heard = phone.hear(25).reshape(-1)
    begin = np.flatnonzero(heard)[0] // 160 * 160
    assert np.array_equal(heard[begin : begin + len(live)], kernels.g711_decode(kernels.g711_encode(live)))
    assert engine.write(phone.leg, np.zeros(10**6, np.int16)) < 10**6


def test_a_full_event_ring_is_reported_not_hidden(make_engine: type[native.Engine]) -> None:
    engine = make_engine(max_legs=1)  # not started: every command is carried out at once
    leg, _ = engine.open_leg("127.0.0.1")
    prompt = engine.load_prompt(SILENCE)
    for token in range(9001):
        engine.play(leg, [prompt], token)  # each ends the one before, which is an event
    assert [e[3] for e in engine.events()] == list(range(8192))
    assert engine.counters()["events_refused"] == 9000 - 8192
    engine.play(leg, [prompt], 9001)
    assert [(e[0], e[4]) for e in engine.events()] == [(native.RING_FULL, 808), (native.PROMPT_DONE, 1)]
    engine.stop()


def test_stale_handles_and_bad_arguments_are_refused(engine: native.Engine) -> None:
    leg, port = engine.open_leg("127.0.0.1")
    assert port % 2 == 0
    engine.close_leg(leg)
    for call in (
        lambda: engine.close_leg(leg),
        lambda: engine.play(leg, [0], 1),
        lambda: engine.stats(leg),
        lambda: engine.read(leg, np.zeros(10, np.int16)),
        lambda: engine.listen(leg, True),
    ):
        with pytest.raises(native.EngineError, match="not open"):
            call()
    time.sleep(0.02)
    again, _ = engine.open_leg("127.0.0.1")
    assert again != leg
    assert again & 0xFFFF == leg & 0xFFFF
    prompt = engine.load_prompt(SILENCE)
    for call in (
        lambda: engine.play(again, [prompt + 1], 1),
        lambda: engine.play(again, [], 1),
        lambda: engine.send_dtmf(again, "1"),
        lambda: engine.set_remote(again, "127.0.0.1", 4000, payload=77),
        lambda: engine.set_remote(again, "nowhere", 4000),
        lambda: engine.bridge(again, again),
        lambda: engine.load_prompt(np.zeros(0, np.int16)),
        lambda: engine.free_prompt(99),
    ):
        with pytest.raises(native.EngineError):
            call()


def test_a_taken_port_and_no_free_leg(make_engine: type[native.Engine]) -> None:
    engine = make_engine(max_legs=1)
    engine.start()
    _, port = engine.open_leg("127.0.0.1")
    with pytest.raises(native.EngineError, match="in use"):
        engine.open_leg("127.0.0.1")
    other = make_engine()
    with pytest.raises(OSError, match="in use"):
        other.open_leg("127.0.0.1", port)
    engine.stop()
    other.stop()


def test_the_eventfd_wakes_and_empties(engine: native.Engine) -> None:
    phone = Phone(engine)
    engine.play(phone.leg, [engine.load_prompt(SILENCE)], 5)
    assert select.select([engine.fd], [], [], 5)[0]
    wait_for(engine, [native.PROMPT_DONE])
    engine.events()
    assert not select.select([engine.fd], [], [], 0)[0]
