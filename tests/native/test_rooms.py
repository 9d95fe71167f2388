"""Who hears whom: conferences, monitor, whisper, barge, announcements; no frame is lost or doubled by a change."""

from __future__ import annotations

import numpy as np
import pytest

import native
from native import kernels

from .wire import SILENCE, Phone, converse, follows, tone, tones_in

HERTZ = (400, 700, 1100, 1600, 2300)


def party(engine: native.Engine, people: int, frames: int = 0) -> list[Phone]:
    """Phones in step, their streams begun."""
    phones = [Phone(engine, ssrc=100 + k) for k in range(people)]
    converse(phones, [np.zeros((frames or 4) * 160, np.int16)] * people)
    return phones


def hear(phones: list[Phone], frames: int = 17, size: float = 3000) -> list[set[float]]:
    """Each says a tone of its own; the tones that each heard at the end."""
    heard = converse(phones, [tone(hz, frames, size) for hz, _ in zip(HERTZ, phones, strict=False)])
    return [tones_in(h[-7:], HERTZ) for h in heard]


def test_everybody_in_a_conference_hears_the_others(engine: native.Engine) -> None:
    phones, room = party(engine, 4), engine.open_room()
    for phone in phones:
        engine.join(room, phone.leg)
    everybody = set(HERTZ[:4])
    assert hear(phones) == [everybody - {hz} for hz in HERTZ[:4]]
    engine.leave(phones[1].leg)
    assert hear(phones) == [{1100, 1600}, set(), {400, 1600}, {400, 1100}]
    engine.close_leg(phones[0].leg)
    assert hear(phones[1:])[1:] == [{1100}, {700}]  # their tones moved up: 400 is said by who left


def test_sixteen_are_heard_and_no_more_fit(engine: native.Engine) -> None:
    phones, room = party(engine, 16), engine.open_room()
    for phone in phones:
        engine.join(room, phone.leg)
    hertz = [300 + 200 * k for k in range(16)]
    heard = converse(phones, [tone(hz, 24, 1500) for hz in hertz])
    for mine, h in zip(hertz, heard, strict=True):
        assert tones_in(h[-10:], hertz) == set(hertz) - {mine}
    extra, _ = engine.open_leg("127.0.0.1")
    with pytest.raises(native.EngineError, match="16"):
        engine.join(room, extra)
    engine.leave(phones[0].leg)
    engine.join(room, extra)


def test_a_supervisor_monitors_whispers_and_barges_in(engine: native.Engine) -> None:
    caller, agent, boss = HERTZ[:3]
    phones, room = party(engine, 3), engine.open_room()
    engine.join(room, phones[0].leg)
    engine.join(room, phones[1].leg)
    modes = (
        ([], [{agent}, {caller}, {caller, agent}]),
        ([phones[1].leg], [{agent}, {caller, boss}, {caller, agent}]),
        (None, [{agent, boss}, {caller, boss}, {caller, agent}]),
        ([], [{agent}, {caller}, {caller, agent}]),
    )
    for heard_by, expected in modes:
        engine.join(room, phones[2].leg, heard_by)
        assert hear(phones) == expected
    engine.leave(phones[2].leg)
    assert hear(phones) == [{agent}, {caller}, set()]


def numbered(frames: int, seed: int = 1) -> np.ndarray:
    """Frames none of which is like another, and that G.711 does not change."""
    noise = np.random.default_rng(seed).integers(-9000, 9000, frames * 160).astype(np.int16)
    return kernels.g711_decode(kernels.g711_encode(noise))


def taped(engine: native.Engine, phone: Phone) -> np.ndarray:
    """What the phone said so far as it went into its room, in frames, as G.711 leaves it."""
    out = np.zeros((131072, 2), np.int16)
    said = out[: engine.read_tap(phone.leg, out), 0]
    return kernels.g711_decode(kernels.g711_encode(np.ascontiguousarray(said))).reshape(-1, 160)


def test_a_change_of_topology_loses_and_doubles_no_frame(engine: native.Engine) -> None:
    (speaker, hearer, third, fourth), room = party(engine, 4), engine.open_room()
    engine.tap(speaker.leg, True)
    for phone in (speaker, hearer):
        engine.join(room, phone.leg)
    changes = [
        lambda: engine.join(room, third.leg, []),
        lambda: engine.join(room, third.leg, [hearer.leg]),
        lambda: engine.join(room, fourth.leg),
        lambda: engine.join(room, third.leg),
        lambda: engine.join(room, hearer.leg, [speaker.leg]),
        lambda: engine.leave(fourth.leg),
        lambda: engine.join(room, speaker.leg, [hearer.leg, third.leg]),
        lambda: engine.join(room, hearer.leg),
        lambda: engine.close_leg(fourth.leg),
        lambda: engine.join(room, speaker.leg),
    ]
    hearer.catch_up()
    third.catch_up()
    heard: list[np.ndarray] = []
    heard_by_third: list[np.ndarray] = []
    for k, frame in enumerate(numbered(90).reshape(-1, 160)):
        if k >= 15 and k % 7 == 5 and changes:
            changes.pop(0)()
        for phone, into in ((hearer, heard), (third, heard_by_third)):
            into.append(phone.receive().pcm())
            phone.send(phone.audio(SILENCE))
        speaker.receive()
        speaker.send(speaker.audio(frame))
    assert not changes
    said = taped(engine, speaker)
    follows(np.stack(heard), said)
    follows(np.stack(heard_by_third), said)


def test_a_bridge_becomes_a_conference_without_losing_a_frame(engine: native.Engine) -> None:
    speaker, hearer, third = party(engine, 3)
    engine.tap(speaker.leg, True)
    engine.bridge(speaker.leg, hearer.leg)
    room = engine.room_of(hearer.leg)
    hearer.catch_up()
    heard: list[np.ndarray] = []
    for k, frame in enumerate(numbered(40, 2).reshape(-1, 160)):
        if k == 20:
            engine.join(room, third.leg)
        heard.append(hearer.receive().pcm())
        hearer.send(hearer.audio(SILENCE))
        speaker.receive()
        speaker.send(speaker.audio(frame))
    follows(np.stack(heard), taped(engine, speaker))
    assert hear([speaker, hearer, third]) == [{700, 1100}, {400, 1100}, {400, 700}]
    engine.unbridge(hearer.leg)
    assert engine.room_of(speaker.leg) is None
    assert hear([speaker, hearer]) == [set(), set()]


def test_legs_of_two_threads_hear_each_other(make_engine: type[native.Engine]) -> None:
    engine = make_engine(max_legs=8, seed=2, threads=2)
    engine.start()
    (speaker, hearer), near = party(engine, 2), Phone(engine)
    beside = Phone(engine, near=near.leg)
    engine.tap(speaker.leg, True)
    engine.bridge(speaker.leg, hearer.leg)
    heard = converse([speaker, hearer], [numbered(50, 3), np.zeros(8000, np.int16)])[1]
    follows(heard, taped(engine, speaker))
    engine.bridge(near.leg, beside.leg)
    assert hear([near, beside, speaker, hearer]) == [{700}, {400}, {1600}, {1100}]
    engine.stop()


def test_an_announcement_is_heard_over_the_bridge_a_prompt_in_its_place(engine: native.Engine) -> None:
    phones = party(engine, 2)
    engine.bridge(phones[0].leg, phones[1].leg)
    announcement = engine.load_prompt(tone(2300, 100, 3000))
    engine.play(phones[0].leg, [announcement], 1, over=True)
    assert hear(phones) == [{700, 2300}, {400}]
    engine.play(phones[0].leg, [announcement], 2)
    assert hear(phones) == [{2300}, {400}]
    engine.stop_play(phones[0].leg)
    assert hear(phones) == [{700}, {400}]


def test_mixes_saturate(engine: native.Engine) -> None:
    phones, room = party(engine, 3), engine.open_room()
    for phone in phones:
        engine.join(room, phone.leg)
    loud = tone(500, 20, 30000)
    heard = converse(phones, [loud, loud, np.zeros(3200, np.int16)])[2][-8:].reshape(-1).astype(int)
    assert 32000 <= np.abs(heard).max() <= 32767
    assert np.abs(np.diff(heard)).max() < 30000, "a sum that is too large stays at the edge"


def test_an_echo_leaves_at_minus_one_decibel_in_the_same_tick(engine: native.Engine) -> None:
    (phone,) = party(engine, 1)
    engine.tap(phone.leg, True)
    engine.echo(phone.leg, True)
    heard = phone.talk(tone(900, 24))
    assert tones_in(np.stack([p.pcm() for p in heard[-8:]]), [900]) == {900}
    out = np.zeros((16000, 2), np.int16)
    left, right = out[: engine.read_tap(phone.leg, out)][-10 * 160 :].astype(float).T
    assert 20 * np.log10(right.std() / left.std()) == pytest.approx(-1, abs=0.1)
    assert np.corrcoef(left, right)[0, 1] > 0.999
    engine.echo(phone.leg, False)
    assert np.abs(phone.hear(10)[-5:]).max() == 0


def test_rooms_refuse_what_can_not_be(engine: native.Engine) -> None:
    room, (leg, _) = engine.open_room(), engine.open_leg("127.0.0.1")
    for call in (
        lambda: engine.join(room + 1, leg),
        lambda: engine.join(room, leg + 1),
        lambda: engine.leave(leg + 1),
        lambda: engine.echo(leg + 1, True),
    ):
        with pytest.raises(native.EngineError, match="not open"):
            call()
    engine.join(room, leg)
    engine.leave(leg)
    with pytest.raises(native.EngineError, match="not open"):  # a room ends with its last member
        engine.join(room, leg)
