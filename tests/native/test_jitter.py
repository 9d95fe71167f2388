"""The playout buffer against its twin and against what it promises, with the clock as a value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.impairment import Network, through
from native import comfort, jitter
from native.twins import jitter as twins

MS = 1_000_000
TICK = 20 * MS
START = 10**12


def wave_of(seed: int, n: int = 1920) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tone = 6000 * np.sin(np.arange(n) * rng.uniform(0.02, 0.8))
    return np.round(tone + rng.normal(0, 300, n)).astype(np.int16)


def adds_up(buffer: jitter.JitterBuffer) -> None:
    """What came in was played, left out or given up, or waits."""
    c = buffer.counters
    assert c["placed"] == c["played"] + c["removed"] + c["dropped"] + c["waiting"]
    assert c["stretched"] == c["removed"] + c["inserted"]
    assert min(c.values()) >= 0


def loudest_step(pcm: np.ndarray) -> float:
    """The largest second difference: a click stands out of it."""
    return float(np.abs(np.diff(pcm.astype(float), 2)).max())


# --- any input ----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(-20000, 20000), st.sampled_from([1, 80, 160, 240, 320, 1920])),
        st.tuples(st.just("marker"), st.integers(-20000, 20000), st.sampled_from([80, 160, 480])),
        st.tuples(st.just("noise"), st.integers(-400, 400), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("reset"), st.just(0), st.just(0)),
        st.tuples(st.just("talk"), st.integers(1, 12), st.sampled_from([80, 160, 240, 320])),
        st.tuples(st.just("take"), st.integers(1, 12), st.booleans()),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([8000, 16000]), st.sampled_from([0, 2**32 - 4000, 2**61]), st.integers(0, 2**32 - 1))
def test_the_buffer_equals_its_twin_on_any_input(
    steps: list[tuple[str, int, int]], rate: int, base: int, seed: int
) -> None:
    ours, twin = jitter.JitterBuffer(rate), twins.JitterBuffer(rate)
    rng, wave, now, at = np.random.default_rng(seed), wave_of(seed), START, base

    def put(stamp: int, n: int, marker: bool, when: int) -> None:
        assert ours.put(stamp, wave[:n], marker, when) == twin.put(stamp, wave[:n], marker, when)

    for what, a, b in steps:
        now += int(rng.integers(0, 8)) * MS
        if what in ("put", "marker"):
            put(max(0, at + a), b, what == "marker", now)
        elif what == "noise":
            ours.noise(max(0, at + a), b, now)
            twin.noise(max(0, at + a), b, now)
        elif what == "reset":
            ours.reset()
            twin.reset()
            at += 5000
        for _ in range(a if what in ("talk", "take") else 0):
            now += TICK
            for _ in range(rate // 50 // b if what == "talk" else int(rng.integers(0, 2))):
                if rng.random() < 0.9:
                    put(at, b if what == "talk" else 160, False, now - int(rng.integers(0, 40)) * MS)
                at += b if what == "talk" else 160
            quiet = what == "take" and bool(b)
            made, told = ours.take(quiet, now), twin.take(quiet, now)
            assert np.abs(made.astype(int) - told).max() <= 1
            assert ours.short == twin.short
        assert ours.counters == twin.counters
        assert (ours.play, ours.target_ms, ours.delay_ms) == (twin.play, twin.target_ms, twin.delay_ms)
        adds_up(ours)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([8000, 16000]),
    st.sampled_from([80, 160, 320, 480]),
    st.floats(0, 0.3),
    st.floats(1, 8),
    st.floats(0, 120),
    st.floats(0, 0.2),
    st.floats(0, 0.2),
    st.floats(-300, 300),
    st.integers(0, 2**32 - 1),
)
def test_whatever_the_network_does_the_delay_is_bounded_and_all_is_counted(
    rate: int,
    samples: int,
    loss: float,
    burst: float,
    spread: float,
    reordered: float,
    doubled: float,
    ppm: float,
    seed: int,
) -> None:
    network, rng = Network("any", loss, burst, spread, reordered, doubled, ppm), np.random.default_rng(seed)
    pcm = wave_of(seed, 8 * rate)
    traffic = through(pcm, network, rng, rate, samples)
    stamps = traffic.stamps + int(rng.choice([0, 2**32 - rate]))  # the 32-bit stamp wraps in mid-stream
    buffer, ticks = jitter.JitterBuffer(rate), 8 * 50
    begin = int(rng.integers(0, TICK))
    out, delay, _ = buffer.replay(traffic.at, stamps, traffic.pcm, ticks, begin)
    came = int((traffic.at <= begin + (ticks - 1) * TICK).sum())
    c = buffer.counters
    adds_up(buffer)
    assert delay.max() <= 470
    assert c["played"] + c["inserted"] + c["concealed"] <= len(out)
    assert c["placed"] + samples * (c["late"] + c["duplicate"]) >= samples * came - c["refused"]
    assert np.abs(out.astype(int)).max() <= 32768


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([8000, 16000]),
    st.integers(0, 9),
    st.integers(0, 2**33),
    st.lists(st.integers(0, 15), min_size=60, max_size=60),
)
def test_nothing_lost_nothing_late_every_sample_once_and_in_order(
    rate: int, phase: int, base: int, delays: list[int]
) -> None:
    """Delays that stay within what the buffer allows for at first: packets in order, their samples numbered."""
    frame = rate // 50
    numbered = np.arange(1, 60 * frame + 1).astype(np.int16)
    at = np.arange(60, dtype=np.int64) * TICK + START
    at += np.minimum(np.array(delays), 4) * MS
    buffer = jitter.JitterBuffer(rate)
    stamps = base + np.arange(60) * frame
    out, delay, _ = buffer.replay(at, stamps, numbered.reshape(60, frame), 58, START + phase * MS)
    heard = out[out > 0]
    assert np.array_equal(heard, numbered[: len(heard)])
    assert len(heard) >= 55 * frame
    assert buffer.counters["concealed"] == 0
    assert delay.max() <= 36


# --- delay --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("ms", [10, 20, 30, 60])
def test_a_clean_stream_waits_thirty_milliseconds_at_most(rate: int, ms: int) -> None:
    samples, delays = ms * rate // 1000, []
    for phase in range(0, 20, 3):
        pcm = wave_of(phase, 30 * rate)
        traffic = through(pcm, Network("clean"), np.random.default_rng(1), rate, samples)
        buffer = jitter.JitterBuffer(rate)
        _, delay, _ = buffer.replay(traffic.at, traffic.stamps, traffic.pcm, 1490, phase * MS)
        assert buffer.counters["concealed"] == 0
        assert buffer.target_ms == 10
        delays.append(delay[-500:].max())
    assert max(delays) <= (31 if ms % 20 == 0 else 42)
    assert np.mean(delays) <= (25 if ms % 20 == 0 else 38)


def test_the_delay_follows_the_jitter_up_at_once_and_down_again(speech: list[np.ndarray]) -> None:
    rng = np.random.default_rng(5)
    pcm = np.concatenate(speech)[: 60 * 8000]
    calm = through(pcm, Network("calm"), rng)
    rough = through(pcm, Network("rough", jitter=60), rng)
    at = calm.at.copy()
    rough_at = np.empty_like(at)
    rough_at[rough.stamps // 160] = rough.at
    at[500:1000] = rough_at[500:1000]  # from 10 s to 20 s
    order = np.argsort(at, kind="stable")
    buffer = jitter.JitterBuffer()
    _, delay, _ = buffer.replay(at[order], calm.stamps[order], calm.pcm[order], 2990, 7 * MS)
    assert delay[400:490].max() <= 31
    assert 55 <= delay[540:600].mean() <= 100
    assert delay[600:1000].min() >= 55
    assert delay[1000:].max() <= 100
    assert delay[2400:].max() <= 31
    assert buffer.counters["late"] < 15


@pytest.mark.parametrize(
    "network",
    [
        Network("jitter", jitter=60),
        Network("random", loss=0.05),
        Network("bursts", loss=0.10, burst=3),
        Network("all", loss=0.10, burst=3, jitter=60, reordered=0.05, doubled=0.05),
    ],
    ids=lambda n: n.name,
)
def test_a_damaged_stream_is_continuous_and_its_delay_does_not_grow(network: Network, speech: list[np.ndarray]) -> None:
    pcm = np.concatenate(speech)[: 120 * 8000]
    traffic = through(pcm, network, np.random.default_rng(9))
    buffer = jitter.JitterBuffer()
    out, delay, _ = buffer.replay(traffic.at, traffic.stamps, traffic.pcm, 5990, 11 * MS)
    assert delay[250:].max() <= 60 + 2 * network.jitter + 1000 * network.reordered
    assert delay[-1000:].mean() <= delay[500:1500].mean() + 15
    # A hole is silence where the speaker was loud: only a gap of more than 60 ms may leave one.
    sent = np.abs(pcm[: len(out)].astype(float)).reshape(-1, 160).mean(axis=1)
    heard = np.abs(out.astype(float)).reshape(-1, 160).mean(axis=1)
    loud = sent > 500
    near = np.max([np.roll(loud, k) for k in range(1, 9)], axis=0) & np.min(
        [np.roll(loud, k) for k in range(1, 9)], axis=0
    )
    holes = (heard[near & (np.arange(len(near)) > 20)] < 5).mean()
    assert holes <= (0 if network.burst == 1 else 0.045)
    assert buffer.counters["concealed"] / len(out) <= 1.4 * network.loss + 0.02


# --- clocks -------------------------------------------------------------------------------------------------------


HOUR = 180_000


def hour(pcm: np.ndarray, ppm: float) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """`pcm` (8 kHz, whole frames) over and over for an hour by a sender whose clock is wrong."""
    rows, number = pcm.reshape(-1, 160), np.arange(HOUR + 100, dtype=np.int64)
    at = START + np.round(number * TICK * (1 + ppm * 1e-6)).astype(np.int64)
    buffer = jitter.JitterBuffer()
    out, delay, _ = buffer.replay(at, number * 160, rows[number % len(rows)], HOUR, START + 7 * MS)
    adds_up(buffer)
    return out, delay, buffer.counters


def left_over(pcm: np.ndarray, hertz: float) -> float:
    """What a sine fitted to each 10 ms leaves at worst, dB of the tone. G.711 itself leaves -38 dB."""
    pieces, t = pcm.reshape(-1, 80).astype(float), np.arange(80) / 8000
    basis = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)], axis=1)
    rest = pieces - pieces @ np.linalg.pinv(basis).T @ basis.T
    return float(10 * np.log10((rest**2).mean(axis=1).max() / (pieces**2).mean()))


@pytest.mark.parametrize("ppm", [200, -200])
@pytest.mark.parametrize("hertz", [440, 1004, 2890])
def test_an_hour_of_drift_on_a_tone_has_no_click(hertz: float, ppm: float) -> None:
    tone = np.round(8000 * np.sin(2 * np.pi * hertz * np.arange(8000 * 2) / 8000)).astype(np.int16)
    out, delay, counters = hour(tone, ppm)
    assert delay.max() <= 45
    assert counters["concealed"] == counters["late"] == counters["dropped"] == 0
    assert counters["removed" if ppm < 0 else "inserted"] >= 0.72 * 8000 - 400
    played = out[800:]
    assert loudest_step(played) <= 1.02 * loudest_step(tone)
    assert left_over(played[: len(played) // 80 * 80], hertz) <= -20


@pytest.mark.parametrize("ppm", [200, -200])
def test_an_hour_of_drift_on_speech_has_no_click(ppm: float, speech: list[np.ndarray]) -> None:
    pcm = np.concatenate(speech)[: 120 * 8000]
    out, delay, counters = hour(pcm, ppm)
    assert delay.max() <= 45
    assert counters["concealed"] == counters["late"] == counters["dropped"] == 0
    assert loudest_step(out) <= loudest_step(pcm)
    # Of the steps that are large beside the sound around them there are no more than in what was said.
    assert outliers(out) <= outliers(np.tile(pcm, 30)) * 1.002 + 5


def outliers(pcm: np.ndarray) -> int:
    """Pieces of 2.5 ms with a second difference four times that of the pieces before and after."""
    steps = np.abs(np.diff(pcm.astype(np.float32), 2))
    worst = steps[: len(steps) // 20 * 20].reshape(-1, 20).max(axis=1)
    return int(((worst[1:-1] > 4 * worst[:-2]) & (worst[1:-1] > 4 * worst[2:]) & (worst[1:-1] > 200)).sum())


# --- talk spurts, timelines, strays -------------------------------------------------------------------------------


def talk(
    buffer: jitter.JitterBuffer, stamp: int, frames: int, now: int, marker: bool = False
) -> tuple[np.ndarray, int]:
    """Packets of numbered levels, each 5 ms before a tick; what is played and the time after."""
    out = []
    for k in range(frames):
        buffer.put(stamp + 160 * k, np.full(160, 1000 + k, np.int16), marker and k == 0, now - 5 * MS)
        out.append(buffer.take(False, now))
        now += TICK
    return np.concatenate(out), now


def rest(buffer: jitter.JitterBuffer, ticks: int, now: int) -> tuple[np.ndarray, int]:
    return np.concatenate([buffer.take(False, now + k * TICK) for k in range(ticks)]), now + ticks * TICK


@pytest.mark.parametrize("pause", [8, 50, 3000])
@pytest.mark.parametrize("jump", [0, 10**6, -(10**6), 2**31, 300, -300])
def test_a_talk_spurt_is_heard_whole_wherever_its_timestamps_begin(pause: int, jump: int) -> None:
    buffer = jitter.JitterBuffer()
    _, now = talk(buffer, 10**7, 50, START, marker=True)
    _, now = rest(buffer, pause, now)
    begin = 10**7 + (50 + pause) * 160 + jump
    out, now = talk(buffer, begin, 20, now, marker=True)
    tail, now = rest(buffer, 5, now)
    heard = np.concatenate([out, tail])
    levels = [level for level in range(1000, 1020) if (heard == level).sum() >= 100]
    assert levels == list(range(1000, 1020))
    first = int(np.flatnonzero(heard == 1001)[0]) - 160
    assert first <= 3 * 160
    adds_up(buffer)


@pytest.mark.parametrize("jump", [-(10**6), 10**6, 2**30])
def test_a_jump_without_a_marker_costs_three_packets_at_most(jump: int) -> None:
    buffer = jitter.JitterBuffer()
    _, now = talk(buffer, 10**7, 50, START)
    out, now = talk(buffer, 10**7 + 50 * 160 + jump, 20, now)
    assert set(range(1004, 1017)) <= set(out.tolist())
    assert buffer.counters["late"] <= 3


@pytest.mark.parametrize("pause", [5, 12, 40, 300])
def test_a_sender_whose_clock_pauses_with_it_is_heard_again_at_once(pause: int) -> None:
    buffer = jitter.JitterBuffer()
    _, now = talk(buffer, 0, 60, START)
    _, now = rest(buffer, pause, now)
    out, now = talk(buffer, 60 * 160, 300, now)
    assert set(range(1001, 1297)) <= set(out.tolist())
    waiting = buffer.counters["waiting"]
    assert waiting <= 2 * 160
    assert buffer.counters["dropped"] == buffer.counters["late"] == 0


def test_a_stray_packet_changes_nothing() -> None:
    calm, disturbed = jitter.JitterBuffer(), jitter.JitterBuffer()
    now = START
    for k in range(100):
        for buffer in (calm, disturbed):
            buffer.put(160 * k, np.full(160, 1000 + k, np.int16), False, now - 5 * MS)
        if k % 10 == 5:
            assert not disturbed.put(160 * k + 10**7, np.full(160, 9, np.int16), False, now)
        assert np.array_equal(calm.take(False, now), disturbed.take(False, now))
        now += TICK
    assert disturbed.counters["refused"] == 1600


def test_another_ssrc_follows_without_a_hole() -> None:
    buffer = jitter.JitterBuffer()
    first, now = talk(buffer, 0, 30, START)
    buffer.reset()
    second, _ = talk(buffer, 2**31, 30, now)
    heard = np.concatenate([first, second])[3 * 160 :]
    assert heard.min() > 0
    assert buffer.counters["late"] == 0
    adds_up(buffer)


def test_repeated_and_late_packets_are_told_apart() -> None:
    buffer, now = jitter.JitterBuffer(), START
    for k in range(60):
        if k != 30:
            pcm = np.full(160, 1000 + k, np.int16)
            assert buffer.put(160 * k, pcm, False, now)
            assert not buffer.put(160 * k, pcm, False, now + MS)
        if k == 40:
            assert not buffer.put(160 * 30, np.full(160, 1030, np.int16), False, now)
            assert not buffer.put(160 * 30, np.full(160, 1030, np.int16), False, now)
        buffer.take(False, now + 5 * MS)
        now += TICK
    assert buffer.counters["duplicate"] == 59
    assert buffer.counters["late"] == 2


def test_packets_that_come_in_one_burst_after_a_stall_are_played_within_the_ceiling() -> None:
    buffer = jitter.JitterBuffer()
    _, now = talk(buffer, 0, 50, START)
    _, now = rest(buffer, 45, now)
    for k in range(50, 95):
        buffer.put(160 * k, np.full(160, 1000 + k, np.int16), False, now - MS)
    delays = []
    for k in range(95, 400):
        buffer.put(160 * k, np.full(160, 1000 + k, np.int16), False, now - 5 * MS)
        buffer.take(False, now)
        delays.append(buffer.delay_ms)
        now += TICK
    assert max(delays) <= 420
    assert delays[-1] <= 200
    assert buffer.counters["dropped"] > 0
    adds_up(buffer)


# --- keys and comfort noise ---------------------------------------------------------------------------------------


def test_a_key_in_place_of_audio_is_silence() -> None:
    buffer = jitter.JitterBuffer()
    _, now = talk(buffer, 0, 30, START)
    buffer.take(False, now)
    assert buffer.counters["concealed"] in (0, 160)
    before = buffer.counters["concealed"]
    for k in range(1, 10):
        assert not buffer.take(True, now + k * TICK).any()
    assert buffer.counters["concealed"] == before


@pytest.mark.parametrize("rate", [8000, 16000])
def test_comfort_noise_takes_the_place_of_concealment_until_audio_comes(rate: int) -> None:
    frame, rng, meter = rate // 50, np.random.default_rng(2), comfort.ComfortMeter()
    room = np.round(rng.normal(0, 120, 100 * frame)).astype(np.int16)
    for k in range(20):
        payload = np.frombuffer(meter.measure(room[k * frame : (k + 1) * frame]), np.uint8)
    buffer = jitter.JitterBuffer(rate)
    out = []
    for k in range(50):
        at = START + k * TICK
        buffer.put(frame * k, room[k * frame : (k + 1) * frame], False, at - 5 * MS)
        out.append(buffer.take(False, at))
    for k in range(50, 150):
        at = START + k * TICK
        if k % 20 == 10:
            buffer.noise(frame * k, payload, at - 5 * MS)
        out.append(buffer.take(False, at))
    for k in range(150, 200):
        at = START + k * TICK
        buffer.put(frame * k, room[(k - 150) * frame : (k - 149) * frame], k == 150, at - 5 * MS)
        out.append(buffer.take(False, at))
    heard = np.concatenate(out).astype(float).reshape(200, frame)
    assert buffer.counters["noise_frames"] >= 85
    level = 20 * np.log10(heard[65:149].std() / room.std())
    assert abs(level) < 2
    assert heard[155:].std() == pytest.approx(room.std(), rel=0.1)
    assert buffer.counters["late"] == 0
