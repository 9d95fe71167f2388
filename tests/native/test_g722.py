"""G.722 against its twin, against spandsp bit for bit, and by what is heard of it."""

from __future__ import annotations

import ctypes
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import codec, kernels
from native.twins import g722 as twin

from . import spandsp

READERS = Path("/usr/share/pocketsphinx/test/data/librivox")
DELAY = 22
"""Samples: both halves of the QMF."""


def missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def reading() -> np.ndarray:
    """A person reading, int16 at 16 kHz, 10 s."""
    files = sorted(READERS.glob("*.wav"))
    if not files:
        missing(f"no human speech at {READERS}: install pocketsphinx-testdata")
    found = []
    for file in files:
        with wave.open(str(file)) as sound:
            assert sound.getframerate() == 16000
            found.append(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
    return np.concatenate(found)[:160000]


class Peer:
    """spandsp's G.722 at 64 kbit/s, one state a direction."""

    def __init__(self) -> None:
        lib = spandsp.library()
        if lib is None:
            missing("no independent G.722: install libspandsp2")
        self.lib = lib
        for init in (lib.g722_encode_init, lib.g722_decode_init):
            init.restype, init.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        for work in (lib.g722_encode, lib.g722_decode):
            work.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self.encoder, self.decoder = lib.g722_encode_init(None, 64000, 0), lib.g722_decode_init(None, 64000, 0)

    def encode(self, pcm: np.ndarray) -> np.ndarray:
        pcm, out = np.ascontiguousarray(pcm), np.zeros(len(pcm) // 2, np.uint8)
        assert self.lib.g722_encode(self.encoder, out.ctypes.data, pcm.ctypes.data, len(pcm)) == len(out)
        return out

    def decode(self, codes: np.ndarray) -> np.ndarray:
        codes, out = np.ascontiguousarray(codes), np.zeros(2 * len(codes), np.int16)
        assert self.lib.g722_decode(self.decoder, out.ctypes.data, codes.ctypes.data, len(codes)) == len(out)
        return out


@pytest.fixture
def peer() -> Peer:
    return Peer()


def encoded(pcm: np.ndarray, frame: int = 320) -> np.ndarray:
    encoder = codec.Encoder("G722")
    packets = [encoder.encode(pcm[k : k + frame]) for k in range(0, len(pcm), frame)]
    return np.frombuffer(b"".join(packets), np.uint8)


def decoded(codes: np.ndarray, frame: int = 160) -> np.ndarray:
    decoder = codec.Decoder("G722")
    return np.concatenate([decoder.decode(codes[k : k + frame].tobytes()) for k in range(0, len(codes), frame)])


def inputs() -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(722), np.arange(16000) / 16000
    noise = rng.normal(0, 1, 16000)
    steps = np.repeat(rng.choice([-32768, 32767], 100), 160)
    return {
        "silence": np.zeros(3200),
        "quiet noise": 20 * noise,
        "noise": 4000 * noise,
        "loudest noise": 40000 * noise,
        "square": steps,
        "sweep": 30000 * np.sin(2 * np.pi * 4000 * t * t),
        "impulses": np.where(np.arange(16000) % 501 == 0, 32767, 0),
        "nyquist": np.where(np.arange(8000) % 2 == 0, 32767, -32768),
        "bursts": np.where(np.arange(16000) % 3200 < 400, 25000, 3) * np.sign(noise),
    }


@pytest.mark.parametrize("name", inputs())
def test_every_bit_is_spandsps(name: str, peer: Peer) -> None:
    """Both encoders give the same octets; decoders the same samples, save that spandsp's wraps round where it clips."""
    pcm = np.clip(np.round(inputs()[name]), -32768, 32767).astype(np.int16)
    codes = encoded(pcm)
    assert np.array_equal(codes, peer.encode(pcm))
    ours, theirs = decoded(codes), peer.decode(codes)
    clipped = np.abs(ours.astype(int)) >= 32767
    assert np.array_equal(ours[~clipped], theirs[~clipped])
    assert clipped.mean() < 0.5


def test_every_bit_of_speech_is_spandsps(reading: np.ndarray, peer: Peer) -> None:
    codes = encoded(reading)
    assert np.array_equal(codes, peer.encode(reading))
    assert np.array_equal(decoded(codes), peer.decode(codes))


def test_any_octets_decode_as_spandsp_decodes_them(peer: Peer) -> None:
    """100,000 random codes, those no encoder gives among them."""
    codes = np.random.default_rng(2).integers(0, 256, 100_000).astype(np.uint8)
    ours, theirs = decoded(codes), peer.decode(codes)
    clipped = np.abs(ours.astype(int)) >= 32767
    assert np.array_equal(ours[~clipped], theirs[~clipped])
    assert 0 < clipped.mean() < 0.05


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=150), st.integers(1, 40))
def test_equals_twin_however_it_is_cut(samples: list[int], pairs: int) -> None:
    pcm = np.repeat(np.array(samples, np.int16), 2)
    reader = twin.Coder()
    codes = reader.encode(pcm)
    assert np.array_equal(encoded(pcm, 2 * pairs), codes)
    assert np.array_equal(decoded(codes, pairs), twin.Coder().decode(codes))


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_decoder_equals_twin_on_any_octets(octets: bytes) -> None:
    codes = np.frombuffer(octets, np.uint8)
    assert np.array_equal(decoded(codes), twin.Coder().decode(codes))


def test_a_packet_longer_than_a_block_is_as_several() -> None:
    pcm = (9000 * np.random.default_rng(5).normal(0, 1, 1920)).clip(-32768, 32767).astype(np.int16)
    assert np.array_equal(encoded(pcm, 1920), encoded(pcm, 160))
    codes = encoded(pcm)
    assert np.array_equal(decoded(codes, 960), decoded(codes, 7))


def band(x: np.ndarray, low: int, high: int) -> np.ndarray:
    spectrum = np.fft.rfft(x)
    hertz = np.fft.rfftfreq(len(x), 1 / 16000)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(x))


def snr(clean: np.ndarray, heard: np.ndarray, low: int, high: int) -> float:
    signal = band(clean.astype(float), low, high)
    rest = band(heard.astype(float) - clean, low, high)
    return float(10 * np.log10((signal**2).sum() / (rest**2).sum()))


def test_the_upper_band_is_real(reading: np.ndarray) -> None:
    """4 to 7 kHz of speech arrives, where G.711 has nothing (0 dB); below 4 kHz it is at least as clean."""
    heard = decoded(encoded(reading))[DELAY:]
    clean = reading[: len(heard)]
    narrow = kernels.g711_decode(kernels.g711_encode(kernels.downsample(reading)))
    double = kernels.upsample(narrow)[63:]
    narrow_upper = snr(clean[: len(double)], double[: len(clean)], 4100, 7000)
    assert narrow_upper < 1
    assert snr(clean, heard, 4100, 7000) > narrow_upper + 8
    assert snr(clean, heard, 100, 3400) > 20


def test_a_tone_is_clean_in_both_bands() -> None:
    for hertz in (440, 1000, 3000, 5000, 6500):
        pcm = np.round(10000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
        heard = decoded(encoded(pcm))[DELAY:]
        assert snr(pcm[4000 : len(heard)], heard[4000:], 50, 7900) > (30 if hertz < 4000 else 14)
