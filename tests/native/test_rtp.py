"""RTP headers, receiver statistics and named events (RFC 3550, RFC 4733)."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import kernels
from native.twins import rtp as twins


@given(st.binary(max_size=80))
def test_rtp_header_equals_twin_on_any_bytes(packet: bytes) -> None:
    assert kernels.parse_rtp(packet) == twins.parse_rtp(packet)


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
    assert kernels.parse_rtp(packet) == twins.parse_rtp(packet)


@given(st.lists(st.integers(-5, 6), min_size=1, max_size=120), st.integers(0, 65535))
def test_receiver_statistics_equal_twin(moves: list[int], start: int) -> None:
    ours, twin, at = kernels.Source(), twins.Source(), start
    for k, move in enumerate(moves):
        packet = (at & 0xFFFF, at * 160 % 2**32, 1, k * 160)
        assert ours.packet(*packet) == twin.packet(*packet)
        at += move
    assert (ours.lost, ours.received, ours.duplicate) == (twin.lost, twin.received, twin.duplicate)
    assert (ours.stamp, ours.jitter) == (twin.stamp, pytest.approx(twin.jitter))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 160, 800, 4000, 0xF000, 0xFFFF, 2**31 + 5]),
            st.integers(0, 17),
            st.booleans(),
            st.integers(0, 0xFFFF),
        ),
        max_size=40,
    )
)
def test_key_reader_equals_twin(moves: list[tuple[int, int, bool, int]]) -> None:
    ours, twin, at = kernels.KeyReader(), twins.KeyReader(), 0
    for move, code, end, duration in moves:
        at = (at + move) % 2**32
        payload = event(code, end, duration)
        assert ours.packet(at, payload) == twin.packet(at, payload)


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
