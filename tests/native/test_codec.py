"""The table of codecs: what every row promises, and what each payload format says."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import codec
from native.twins import g711, l16

NAMES = sorted(codec.NAMES)
FRAMES = {"PCMU": 160, "PCMA": 160, "G722": 160, "L16/8000": 320, "L16/16000": 640}
"""Octets of 20 ms, where every frame has as many."""


def tone(rate: int, milliseconds: int = 200) -> np.ndarray:
    t = np.arange(rate * milliseconds // 1000) / rate
    return np.round(9000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def test_every_codec_is_there() -> None:
    assert codec.available() == dict.fromkeys(codec.NAMES, "")


@pytest.mark.parametrize(
    ("name", "clock", "rate"),
    [
        ("PCMU", 8000, 8000),
        ("PCMA", 8000, 8000),
        ("G722", 8000, 16000),  # RFC 3551 4.5.2: the clock of a mistake, kept
        ("L16/8000", 8000, 8000),
        ("L16/16000", 16000, 16000),
        ("opus", 48000, 16000),  # RFC 7587 4.1
    ],
)
def test_clocks_and_rates(name: str, clock: int, rate: int) -> None:
    made = codec.Decoder(name)
    assert (made.clock, made.rate) == (clock, rate)
    assert made.ticks(rate // 50) == clock // 50
    assert [made.samples(7 * clock // 50 * k) for k in range(4)] == [7 * rate // 50 * k for k in range(4)]


def test_static_payload_types_of_rfc_3551() -> None:
    assert codec.STATIC_PAYLOADS == {0: "PCMU", 8: "PCMA", 9: "G722"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("milliseconds", [10, 20, 40, 60])
def test_frames_come_back(name: str, milliseconds: int) -> None:
    encoder, decoder = codec.Encoder(name), codec.Decoder(name)
    pcm = tone(encoder.rate, 480)
    n = encoder.rate * milliseconds // 1000
    packets = [encoder.encode(pcm[k : k + n]) for k in range(0, len(pcm), n)]
    back = np.concatenate([decoder.decode(p) for p in packets])
    assert len(back) == len(pcm)
    if name in FRAMES:
        assert {len(p) for p in packets} == {FRAMES[name] * milliseconds // 20}
    rest = slice(len(pcm) // 2, None)
    assert np.abs(back[rest]).max() == pytest.approx(9000, rel=0.25 if name == "opus" else 0.1)
    assert np.abs(np.fft.rfft(back[rest].astype(float))).argmax() == round(440 * len(back[rest]) / encoder.rate)


@pytest.mark.parametrize("payload", [0, 8])
def test_g711_rows_equal_the_twin_at_every_length(payload: int) -> None:
    """Blocks of 16 and what is left over go different ways: both meet every sample and code."""
    name = codec.STATIC_PAYLOADS[payload]
    encoder, decoder = codec.Encoder(name), codec.Decoder(name)
    every = np.arange(-32768, 32768).astype(np.int16)
    codes = g711.g711_encode(every, payload)
    for n in (1, 7, 15, 16, 17, 160, 1920):
        for k in range(0, len(every), 65536 // 8 if n == 1 else n):
            assert encoder.encode(every[k : k + n]) == codes[k : k + n].tobytes()
    singly = b"".join(encoder.encode(every[k : k + 1]) for k in range(len(every)))
    assert singly == codes.tobytes()
    levels = g711.g711_decode(np.arange(256).astype(np.uint8), payload)
    assert np.array_equal(decoder.decode(bytes(range(256))), levels)
    assert np.array_equal([decoder.decode(bytes([k]))[0] for k in range(256)], levels)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=60))
def test_l16_is_network_byte_order(samples: list[int]) -> None:
    pcm, octets = np.array(samples, np.int16), struct.pack(f"!{len(samples)}h", *samples)
    for name in ("L16/8000", "L16/16000"):
        assert codec.Encoder(name).encode(pcm) == octets == l16.l16_encode(pcm)
        assert np.array_equal(codec.Decoder(name).decode(octets), pcm)
        assert np.array_equal(l16.l16_decode(octets), pcm)


def test_half_samples_are_garbage() -> None:
    with pytest.raises(ValueError, match="3 octets"):
        codec.Decoder("L16/8000").decode(b"abc")
    with pytest.raises(ValueError, match="3 samples"):
        codec.Encoder("G722").encode(np.zeros(3, np.int16))


DECODERS = {name: codec.Decoder(name) for name in NAMES}
"""Kept over all examples: what garbage does to a state must not matter to what comes later."""


def is_garbage(name: str, n: int) -> bool:
    """What no packet of 120 ms can be, by its length alone."""
    if name.startswith("L16"):
        return n == 0 or n % 2 == 1 or n // 2 > 1920
    return n == 0 or n * (2 if name == "G722" else 1) > 1920


@settings(max_examples=300)
@given(st.sampled_from(NAMES), st.one_of(st.binary(max_size=80), st.binary(min_size=900, max_size=4000)))
def test_any_octets_are_a_packet_of_120_ms_at_most_or_garbage(name: str, data: bytes) -> None:
    decoder = DECODERS[name]
    try:
        pcm = decoder.decode(data)
    except ValueError:
        assert name == "opus" or is_garbage(name, len(data))
        return
    assert name == "opus" or not is_garbage(name, len(data))
    assert 0 < len(pcm) <= 1920


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_no_packet(name: str) -> None:
    with pytest.raises(ValueError, match="0 octets"):
        codec.Decoder(name).decode(b"")
    with pytest.raises(ValueError, match="0 samples"):
        codec.Encoder(name).encode(np.zeros(0, np.int16))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "opus"])
def test_only_opus_makes_up_what_was_lost(name: str) -> None:
    decoder = codec.Decoder(name)
    decoder.decode(bytes(FRAMES[name]))
    assert len(decoder.missing(160, bytes(FRAMES[name]))) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_coder_is_as_new(name: str) -> None:
    used, fresh = codec.Encoder(name), codec.Encoder(name)
    noise = np.random.default_rng(3).integers(-20000, 20000, 320).astype(np.int16)
    for _ in range(5):
        used.encode(noise)
    used.reset()
    pcm = tone(used.rate, 20)
    first = fresh.encode(pcm)
    assert used.encode(pcm) == first
    heard, other = codec.Decoder(name), codec.Decoder(name)
    heard.decode(codec.Encoder(name).encode(noise))
    heard.reset()
    assert np.array_equal(heard.decode(first), other.decode(first))


def test_an_unknown_codec_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'G729'.*PCMU.*opus"):
        codec.Decoder("G729")
