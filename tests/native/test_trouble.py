"""What peers, signals and a hurried commander do to a leg: nothing that lasts."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

import native

from .wire import SILENCE, Phone, pitch_of, tone


def test_the_signalled_peer_takes_its_leg_back_from_a_stranger(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.receive()
    stranger = phone.bind()
    for _ in range(5):
        stranger.sendto(phone.audio(SILENCE), ("127.0.0.1", phone.port))
        time.sleep(0.025)
    assert engine.stats(phone.leg)["remote"] == stranger.getsockname()
    stranger.close()
    phone.send(phone.audio(SILENCE))
    phone.talk(np.zeros(10 * 160, np.int16))
    assert engine.stats(phone.leg)["remote"] == phone.socket.getsockname()


def test_numbers_that_begin_anew_are_heard(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.talk(tone(500, 15))
    for jump in (-20000, 25000):
        phone.seq = (phone.seq + jump) & 0xFFFF
        engine.echo(phone.leg, True)
        heard = np.concatenate([p.pcm() for p in phone.talk(tone(700, 40))])
        assert pitch_of(heard[-15 * 160 :]) == pytest.approx(700, abs=8)


def test_one_wild_number_loses_one_packet(engine: native.Engine) -> None:
    phone = Phone(engine)
    engine.echo(phone.leg, True)
    phone.talk(tone(500, 15))
    seq = phone.seq
    phone.seq = (seq + 30000) & 0xFFFF
    phone.send(phone.audio(SILENCE))
    phone.seq = seq
    heard = np.concatenate([p.pcm() for p in phone.talk(tone(500, 30))])
    assert pitch_of(heard[-15 * 160 :]) == pytest.approx(500, abs=8)
    assert engine.stats(phone.leg)["packets_received"] >= 40


def test_a_hold_that_ends_is_no_loss(engine: native.Engine) -> None:
    phone = Phone(engine)
    phone.talk(np.zeros(5 * 160, np.int16))
    port = phone.socket.getsockname()[1]
    engine.set_remote(phone.leg, "127.0.0.1", port, 0, 101, receive=False)
    time.sleep(5.3)
    engine.events()
    engine.set_remote(phone.leg, "127.0.0.1", port, 0, 101)
    time.sleep(0.2)
    assert not [e for e in engine.events() if e[0] == native.RTP_LOST]


def test_a_full_room_keeps_a_leg_where_it_was(engine: native.Engine) -> None:
    legs = [engine.open_leg("127.0.0.1")[0] for _ in range(18)]
    full, other = engine.open_room(), engine.open_room()
    for leg in legs[:16]:
        engine.join(full, leg)
    for leg in legs[16:]:
        engine.join(other, leg)
    with pytest.raises(native.EngineError, match="16"):
        engine.join(full, legs[16])
    assert engine.room_of(legs[16]) == other


def test_opus_agreed_again_and_again_while_it_is_spoken() -> None:
    engine = native.Engine(max_legs=4)
    engine.start()
    phone = Phone(engine)
    port = phone.socket.getsockname()[1]
    for turn in range(40):
        codecs = {111: "opus", 112: "opus", 9: "G722", 0: "PCMU"}
        engine.set_remote(phone.leg, "127.0.0.1", port, (111, 9)[turn % 2], 101, codecs=codecs)
        phone.send(phone.packet(bytes([0x78 + turn % 4, *range(20)]), payload=111))
        phone.send(phone.packet(bytes(160), payload=9))
        phone.receive()
    assert engine.stats(phone.leg)["packets_received"] >= 60
    engine.stop()


def test_signals_do_not_hurry_the_clock() -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    engine = native.Engine(max_legs=4, seed=1)
    engine.start()
    try:
        phone = Phone(engine)
        thread = next(t for t in threading.enumerate() if t.name.startswith("trunkline-media"))
        began = phone.receive()
        for _ in range(300):
            assert thread.ident is not None
            signal.pthread_kill(thread.ident, signal.SIGUSR1)
            time.sleep(0.001)
        phone.socket.setblocking(False)
        last = began
        while True:
            try:
                last = phone.receive()
            except BlockingIOError:
                break
        sent = (last.stamp - began.stamp) % 2**32 / 8000
        assert sent == pytest.approx((last.at - began.at) / 1e9, abs=0.15)
        assert engine.counters()["send_failed"] == 0
        assert engine.lateness().min() >= 0
    finally:
        engine.stop()
        signal.signal(signal.SIGUSR1, before)


def test_a_full_command_ring_leaves_nothing_half_done() -> None:
    engine = native.Engine(max_legs=8, seed=2, threads=2)
    engine.start()
    a, b, c = (engine.open_leg("127.0.0.1")[0] for _ in range(3))
    room = engine.open_room()
    for leg in (a, b, c):
        engine.join(room, leg)
    refused = 0
    for _ in range(50):
        try:
            for _ in range(1100):
                engine.listen(a, False)
        except native.EngineError:
            pass
        try:
            engine.leave(a)
        except native.EngineError:
            refused += 1
            assert engine.room_of(a) == room
            continue
        time.sleep(0.02)
        engine.join(room, a)
    assert engine.room_of(b) == engine.room_of(c) == room
    time.sleep(0.1)
    for leg in (a, b, c):
        engine.close_leg(leg)
    assert refused
    engine.stop()
