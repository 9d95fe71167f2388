"""Opus by pointers: what comes through, what loss costs with and without FEC, silence, garbage, where it is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import codec

ROOT = Path(__file__).resolve().parents[2]
READERS = Path("/usr/share/pocketsphinx/test/data/librivox")
LOOKAHEAD = 104
"""Samples: 6.5 ms of an encoder for speech."""


@pytest.fixture(scope="module", autouse=True)
def libopus() -> None:
    problem = codec.available()["opus"]
    if problem and os.environ.get("CI"):
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


@pytest.fixture(scope="module")
def reading() -> np.ndarray:
    """A person reading, int16 at 16 kHz, whole frames."""
    files = sorted(READERS.glob("*.wav"))
    if not files and os.environ.get("CI"):
        pytest.fail(f"no human speech at {READERS}: install pocketsphinx-testdata")
    if not files:
        pytest.skip(f"no human speech at {READERS}: install pocketsphinx-testdata")
    found = []
    for file in files[:3]:
        with wave.open(str(file)) as sound:
            found.append(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
    whole = np.concatenate(found)
    return whole[: len(whole) // 320 * 320]


def packets_of(pcm: np.ndarray, frame: int = 320, **tuning: int) -> list[bytes]:
    encoder = codec.Encoder("opus", **tuning)
    return [encoder.encode(pcm[k : k + frame]) for k in range(0, len(pcm), frame)]


def snr(clean: np.ndarray, heard: np.ndarray) -> float:
    rest = heard.astype(float) - clean
    return float(10 * np.log10((clean.astype(float) ** 2).sum() / (rest**2).sum()))


def test_speech_comes_through_at_the_bitrate_asked_for(reading: np.ndarray) -> None:
    sizes, clean = {}, {}
    for bitrate in (12000, 24000, 40000):
        packets, decoder = packets_of(reading, bitrate=bitrate), codec.Decoder("opus")
        heard = np.concatenate([decoder.decode(p) for p in packets])[LOOKAHEAD:]
        sizes[bitrate] = sum(map(len, packets)) * 8 / (len(reading) / 16000)
        clean[bitrate] = snr(reading[: len(heard)], heard)
    assert all(size == pytest.approx(bitrate, rel=0.15) for bitrate, size in sizes.items())
    assert clean[12000] < clean[24000] < clean[40000]
    assert clean[24000] > 4.5  # the codec keeps the spectrum rather than the waveform


@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 20, 40, 60, 80, 100, 120])
def test_packets_of_every_length_decode(milliseconds: float) -> None:
    """RFC 6716 3.2: frames of 2.5 to 60 ms, packets of up to 120 ms."""
    n = int(16 * milliseconds)
    pcm = np.round(9000 * np.sin(0.2 * np.arange(8 * n))).astype(np.int16)
    encoder, decoder = codec.Encoder("opus"), codec.Decoder("opus")
    for k in range(0, len(pcm), n):
        assert len(decoder.decode(encoder.encode(pcm[k : k + n]))) == n


def test_other_lengths_are_refused() -> None:
    encoder = codec.Encoder("opus")
    for n in (1, 159, 161, 300, 1921, 3840):
        with pytest.raises(ValueError, match=f"{n} samples"):
            encoder.encode(np.zeros(n, np.int16))


def heard_through(packets: list[bytes], lost: set[int], fec: bool) -> np.ndarray:
    decoder, out = codec.Decoder("opus"), []
    for k, packet in enumerate(packets):
        following = packets[k + 1] if fec and k + 1 < len(packets) and k + 1 not in lost else b""
        out.append(decoder.missing(320, following) if k in lost and k else decoder.decode(packet))
    return np.concatenate(out)


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_fec_halves_what_loss_costs(reading: np.ndarray, rate: float) -> None:
    packets = packets_of(reading)
    whole = heard_through(packets, set(), False)
    rng = np.random.default_rng(5)
    lost = {k for k in range(1, len(packets)) if rng.random() < rate}
    assert len(lost) > 20
    with_fec, without = heard_through(packets, lost, True), heard_through(packets, lost, False)
    assert len(with_fec) == len(without) == len(whole)
    cost, dear = (float(((x.astype(float) - whole) ** 2).sum()) for x in (with_fec, without))
    assert cost < 0.5 * dear
    assert snr(whole, with_fec) > snr(whole, without) + 3


def test_a_long_gap_is_made_up_and_fades(reading: np.ndarray) -> None:
    packets, decoder = packets_of(reading[: 320 * 60]), codec.Decoder("opus")
    loud = max((decoder.decode(p) for p in packets[:40]), key=lambda x: float(np.abs(x).mean()))
    gap = [decoder.missing(320) for _ in range(25)]
    assert all(len(g) == 320 for g in gap)
    assert np.abs(gap[-1]).mean() < 0.1 * np.abs(loud).mean()


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 0), (39, 0), (40, 40), (100, 80), (320, 320), (1000, 1000), (1920, 1920)]
)
def test_what_is_made_up_are_steps_of_2_5_ms(asked: int, given: int) -> None:
    packets, decoder = packets_of(np.zeros(640, np.int16)), codec.Decoder("opus")
    decoder.decode(packets[0])
    assert len(decoder.missing(asked)) == given
    assert len(decoder.missing(asked, packets[1])) == given
    assert len(decoder.missing(asked, b"\xff" * 7)) == given


def test_nothing_is_made_up_before_anything_was_heard() -> None:
    assert len(codec.Decoder("opus").missing(320)) == 0


def test_silence_is_not_sent_with_dtx(reading: np.ndarray) -> None:
    pcm = np.concatenate([reading[:16000], np.zeros(48000, np.int16)])
    sent = [len(p) > 0 for p in packets_of(pcm, dtx=True)]
    always = packets_of(pcm)
    assert all(always)
    assert sum(sent[:50]) >= 45
    assert sum(sent[75:]) <= 0.2 * len(sent[75:])


def test_settings_reach_the_encoder(reading: np.ndarray) -> None:
    encoder = codec.Encoder("opus", bitrate=40000)
    frames = [reading[k : k + 320] for k in range(0, 320 * 200, 320)]
    before = sum(len(encoder.encode(f)) for f in frames[:100])
    encoder.tune(bitrate=12000)
    assert sum(len(encoder.encode(f)) for f in frames[100:]) < 0.6 * before


DECODER: list[codec.Decoder] = []


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.integers(0, 1920))
def test_garbage_is_refused_or_heard_and_harms_nothing(data: bytes, lost: int) -> None:
    decoder = DECODER[0] if DECODER else codec.Decoder("opus")
    DECODER[:] = [decoder]
    assert len(decoder.missing(lost, data)) <= lost
    try:
        pcm = decoder.decode(data)
    except ValueError:
        return
    assert 40 <= len(pcm) <= 1920


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_spoilt_packet_leaves_the_next_ones_audible(number: int, spoilt: list[tuple[int, int]]) -> None:
    t = np.arange(320 * 64)
    packets = packets_of(np.round(8000 * np.sin(0.15 * t)).astype(np.int16))
    packet = bytearray(packets[number])
    for at, value in spoilt:
        packet[at % len(packet)] = value
    decoder, out = codec.Decoder("opus"), []
    for k, good in enumerate(packets):
        try:
            out.append(decoder.decode(bytes(packet) if k == number else good))
        except ValueError:
            out.append(decoder.missing(320))
    assert 1000 < np.abs(np.concatenate(out[-2:]).astype(int)).max() < 20000


LOADED = """
import sys
from native import codec
print(codec.available()["opus"])
print("av" in sys.modules, "opuslib_next" in sys.modules)
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "/" in line}), sep="\\n")
"""


def loaded(path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_file_that_pyavs_wheel_carries_is_loaded_alone(tmp_path: Path) -> None:
    """The package is neither imported nor are its other libraries loaded (x264 and x265 are GPL)."""
    found = next((line for line in loaded(tmp_path) if "/libopus" in line), None)
    assert found is not None
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "av.libs").mkdir()
    ours = tmp_path / "av.libs" / "libopus-114e2b1a.so.0.11.1"
    shutil.copy(found, ours)
    shutil.copy(found, tmp_path / "av.libs" / "libx264-d6533a8d.so.165")
    lines = loaded(tmp_path)
    assert lines[:2] == ["", "False False"]
    assert [line for line in lines if "/libopus" in line] == [str(ours)]
    assert not [line for line in lines if "x264" in line or "x265" in line or "libav" in line]
