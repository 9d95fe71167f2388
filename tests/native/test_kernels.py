"""The engine's kernels against their numpy twins, and against what the standards say."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import kernels, reference

ALL = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize("payload", [0, 8])
def test_g711_equals_twin_for_every_sample_and_code(payload: int) -> None:
    codes = np.arange(256).astype(np.uint8)
    assert np.array_equal(kernels.g711_encode(ALL, payload), reference.g711_encode(ALL, payload))
    assert np.array_equal(kernels.g711_decode(codes, payload), reference.g711_decode(codes, payload))


@pytest.mark.parametrize(("payload", "silence", "loudest"), [(0, 0xFF, 32124), (8, 0xD5, 32256)])
def test_g711_known_points_and_round_trip(payload: int, silence: int, loudest: int) -> None:
    codes = np.arange(256).astype(np.uint8)
    back = kernels.g711_encode(kernels.g711_decode(codes, payload), payload)
    assert set(codes[back != codes]) <= {0x7F}  # mu-law has two zeros
    assert kernels.g711_encode(np.zeros(1, np.int16), payload)[0] == silence
    assert kernels.g711_decode(codes, payload).max() == loudest


def sinad(signal: np.ndarray, hertz: float, rate: int) -> tuple[float, float]:
    """(signal over everything else in dB, amplitude) of a tone, by least squares."""
    t = 2 * np.pi * hertz * np.arange(len(signal)) / rate
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    fit, *_ = np.linalg.lstsq(basis, signal, rcond=None)
    rest = signal - basis @ fit
    return 10 * np.log10(((basis @ fit) ** 2).mean() / (rest**2).mean()), float(np.hypot(*fit))


@pytest.mark.parametrize("hertz", [300, 1000, 2000, 3000, 3400])
def test_resampling_is_telephone_grade(hertz: int) -> None:
    narrow = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)).astype(np.int16)
    wide = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
    for out, rate in ((kernels.upsample(narrow)[200:], 16000), (kernels.downsample(wide)[200:], 8000)):
        clean, size = sinad(out.astype(float), hertz, rate)
        assert clean >= 60
        assert abs(20 * np.log10(size / 16000)) <= 0.3


def test_downsampling_keeps_the_upper_band_out() -> None:
    for hertz in (4600, 5000, 6000, 7500):
        wide = np.round(16000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
        out = kernels.downsample(wide)[200:].astype(float)
        assert (out**2).mean() <= 1e-6 * 16000**2 / 2


def test_resampling_equals_twin() -> None:
    rng = np.random.default_rng(4)
    for n in (160, 481, 4000):
        pcm = rng.integers(-30000, 30000, n).astype(np.int16)
        assert np.abs(kernels.upsample(pcm).astype(int) - reference.upsample(pcm)).max() <= 1
        assert np.abs(kernels.downsample(pcm).astype(int) - reference.downsample(pcm)).max() <= 1


@given(st.binary(max_size=80))
def test_rtp_header_equals_twin_on_any_bytes(packet: bytes) -> None:
    assert kernels.parse_rtp(packet) == reference.parse_rtp(packet)


@given(
    first=st.integers(0, 255),
    second=st.integers(0, 255),
    words=st.integers(0, 3),
    tail=st.binary(min_size=0, max_size=60),
)
def test_rtp_header_equals_twin_on_near_rtp(first: int, second: int, words: int, tail: bytes) -> None:
    packet = (
        struct.pack("!BBHII", 0x80 | first & 0x3F, second, 65535, 2**32 - 1, 7) + struct.pack("!HH", 1, words) + tail
    )
    assert kernels.parse_rtp(packet) == reference.parse_rtp(packet)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 70)), max_size=80))
def test_ring_equals_a_list(steps: list[tuple[bool, int]]) -> None:
    ring, model, number, refused = kernels.SampleRing(64), [], 0, 0
    for write, n in steps:
        if write:
            items = np.arange(number, number + n).astype(np.int16)
            number += n
            if n % 2:
                fits = len(model) + n <= 64
                assert ring.put(items) == fits
            else:
                fits = None
                assert ring.fill(items) == min(n, 64 - len(model))
            room = n if fits else 0 if fits is False else min(n, 64 - len(model))
            refused += n - room
            model.extend(items[:room].tolist())
        else:
            got = ring.take(n)
            assert got.tolist() == model[: len(got)]
            assert len(got) == min(n, len(model))
            del model[: len(got)]
        assert len(ring) == len(model)
        assert ring.refused == refused


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(-30, 60), st.sampled_from([80, 160, 240])),
            st.tuples(st.just("take"), st.integers(1, 30), st.booleans()),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 2**32 - 4000]),
)
def test_jitter_buffer_equals_twin(steps: list[tuple[str, int, int]], base: int) -> None:
    ours, twin = kernels.JitterBuffer(), reference.JitterBuffer()
    rng = np.random.default_rng(1)
    for what, a, b in steps:
        if what == "put":
            pcm = rng.integers(-9000, 9000, b).astype(np.int16)
            stamp = base + max(0, (twin.play if twin.running else base) - base + a * 160)
            assert ours.put(stamp, pcm) == twin.put(stamp, pcm)
        else:
            for _ in range(a):
                assert np.array_equal(ours.take(bool(b)), twin.take(bool(b)))
    assert (ours.late, ours.concealed) == (twin.late, twin.concealed)


def test_jitter_buffer_reorders_conceals_and_grows() -> None:
    buffer = kernels.JitterBuffer()
    frames = [np.full(160, 100 * (k + 1), np.int16) for k in range(30)]
    heard = []
    order = [0, 2, 1, 3, 5, 4, 6, 7, *range(9, 30)]  # 8 is lost
    for k in order:
        buffer.put(k * 160, frames[k])
        heard.append(int(buffer.take()[0]))
        if k == 9:
            heard.append(int(buffer.take()[0]))
    assert [h for h in heard if h % 100 == 0 and h][:8] == [100, 200, 300, 400, 500, 600, 700, 800]
    assert 900 not in heard
    assert buffer.concealed == 160
    assert buffer.late == 0
    before = buffer.play
    assert buffer.put(before - 200, frames[0])  # late by 25 ms: played 40 ms later from now on
    assert buffer.play == before - 320
    assert buffer.late == 1


@given(st.lists(st.integers(-5, 6), min_size=1, max_size=120), st.integers(0, 65535))
def test_receiver_statistics_equal_twin(moves: list[int], start: int) -> None:
    ours, twin, at = kernels.Source(), reference.Source(), start
    for move in moves:
        assert ours.packet(at & 0xFFFF, 0, 1, 0) == twin.packet(at & 0xFFFF)
        at += move
    assert (ours.lost, ours.received, ours.duplicate) == (twin.lost, twin.received, twin.duplicate)


def test_jitter_of_rfc_3550_and_timestamp_wrap() -> None:
    source, jitter, last = kernels.Source(), 0.0, None
    rng = np.random.default_rng(2)
    for k in range(200):
        arrival, stamp = k * 160 + int(rng.integers(0, 80)), (2**32 - 8000 + k * 160)
        assert source.packet(k, stamp % 2**32, 9, arrival) == 0
        transit = arrival - stamp
        if last is not None:
            jitter += (abs(transit - last) - jitter) / 16
        last = transit
    assert source.jitter == pytest.approx(jitter)
    assert source.stamp == 2**32 - 8000 + 199 * 160


def event(code: int, end: bool, duration: int) -> bytes:
    return struct.pack("!BBH", code, 0x80 * end | 10, duration)


def test_a_key_counts_once_whatever_is_lost() -> None:
    packets = [(1000, event(5, False, 160 * k)) for k in range(1, 6)] + [(1000, event(5, True, 960))] * 3
    for skip in range(len(packets)):
        reader = kernels.KeyReader()
        assert [reader.packet(*p) for p in packets[skip:]] == [5] + [-1] * (len(packets) - skip - 1)


def test_keys_long_repeated_and_garbled() -> None:
    reader = kernels.KeyReader()
    assert reader.packet(0, event(1, False, 0xFFFF)) == 1
    assert reader.packet(0xFFFF, event(1, False, 800)) == -1  # the same key, still pressed (RFC 4733 2.5.1.3)
    assert reader.packet(0xFFFF, event(1, True, 1600)) == -1
    assert reader.packet(0xFFFF + 4000, event(1, False, 160)) == 1  # pressed again
    assert reader.packet(0xFFFF, event(1, True, 1600)) == -1  # an old packet, late
    assert reader.packet(90000, event(2, False, 160)) == 2
    assert reader.packet(91000, event(16, False, 160)) == -1  # flash is no key
    assert reader.packet(92000, b"\x01") == -2


def test_high_pass_equals_twin() -> None:
    pcm = np.random.default_rng(3).integers(-20000, 20000, 2000).astype(np.int16)
    assert np.allclose(kernels.high_pass(pcm), reference.high_pass(pcm), atol=2)


def test_periodicity_equals_twin_and_tells_voice_from_noise() -> None:
    rng = np.random.default_rng(5)
    pulses = np.zeros(320)
    pulses[::70] = 8000
    voice = np.convolve(pulses, 0.9 ** np.arange(60) * np.cos(0.5 * np.arange(60)))[:320].astype(np.float32)
    noise = rng.normal(0, 1000, 320).astype(np.float32)
    rumble = np.cumsum(rng.normal(0, 300, 320)).astype(np.float32)
    for x in (voice, noise, rumble - rumble.mean()):
        assert kernels.periodicity(x) == pytest.approx(reference.periodicity(x), abs=0.02)
    assert kernels.periodicity(voice) > 0.6 > 0.4 > kernels.periodicity(noise)
    with pytest.raises(ValueError, match="160"):
        kernels.periodicity(np.zeros(10, np.float32))


@pytest.mark.parametrize("delay", [160, 777, 1600, 2560])
def test_echo_search_equals_twin_and_finds_the_delay(delay: int) -> None:
    rng = np.random.default_rng(delay)
    played = np.clip(np.cumsum(rng.normal(0, 900, 8000)) % 9000 - 4500, -32768, 32767).astype(np.int16)
    heard = np.concatenate([np.zeros(delay, np.int16), (played // 4)[:-delay]])
    lag, share = kernels.echo_share(heard, played)
    assert (lag, share) == pytest.approx(reference.echo_share(heard, played), abs=0.02)
    assert lag == delay
    assert share > 0.95
    stranger = rng.normal(0, 2000, 8000).astype(np.int16)
    assert kernels.echo_share(stranger, played)[1] < 0.3
