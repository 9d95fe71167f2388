"""The numeric parts: log-mel features, the voice activity model, PCM in shared memory."""

from __future__ import annotations

import os

import numpy as np
import pytest

from gateway.speech.mel import filters, log_mel, window
from gateway.speech.pcm import PcmBlock, PcmReader
from tests.speech.conftest import noise, silence


def reference(samples: np.ndarray, frames: int) -> np.ndarray:
    """Log-mel as Whisper's paper describes it, frame by frame and without shortcuts."""
    padded = np.zeros(frames * 160 + 800)
    padded[200 : 200 + len(samples)] = samples
    padded[:200] = padded[201:401][::-1]
    columns = [
        filters().astype(float) @ np.abs(np.fft.rfft(padded[n * 160 : n * 160 + 400] * window())) ** 2
        for n in range(frames)
    ]
    logs = np.log10(np.maximum(np.stack(columns, axis=1), 1e-10))
    return (np.maximum(logs, logs.max() - 8) + 4) / 4


@pytest.mark.parametrize("count", [3000, 12345, 16000, 48000])
def test_log_mel_is_the_straightforward_one(count: int) -> None:
    samples = (np.random.default_rng(count).normal(0, 0.1, count)).astype(np.float32)
    frames = count // 160 + 300
    made = log_mel(samples, frames)
    assert made.shape == (80, frames)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, reference(samples, frames), atol=1e-4)


def test_log_mel_has_the_values_whispers_own_front_end_gives() -> None:
    # From the reference implementation, for this noise with 3 s of silence behind it: bands 0, 20, 40, 60 of frame 5.
    samples = (np.random.default_rng(1).standard_normal(16000) * 0.1).astype(np.float32)
    np.testing.assert_allclose(log_mel(samples, 400)[::20, 5], [0.75159717, 0.6593265, 0.4602728, 0.5848963], atol=1e-6)


def test_the_mel_bands_cover_the_telephones_range_with_equal_area() -> None:
    bands = filters()
    assert bands.shape == (80, 201)
    assert np.all(bands >= 0)
    assert np.argmax(bands[0]) <= 1
    assert np.argmax(bands[79]) * 40 > 7500
    np.testing.assert_allclose(bands[40:].sum(axis=1) * 40, 1.0, atol=0.1)


def test_what_the_writer_appends_a_reader_sees() -> None:
    block = PcmBlock(1000)
    reader = PcmReader(block.name)
    try:
        pcm = os.urandom(800)
        assert block.append(pcm) == 400
        assert reader.read(0, 400) == pcm == block.read(0, 400)
        assert block.append(os.urandom(2000)) == 600
        assert block.append(b"12") == 0
        assert block.written == 1000
    finally:
        reader.close()
        block.close()


@pytest.fixture(scope="module")
def silero() -> object:
    pytest.importorskip("onnxruntime")
    from gateway.speech.silero import create

    return create()


def score(silero: object, stream: str, pcm: bytes) -> list[float]:
    (found,) = silero.score([(stream, pcm[: len(pcm) // 1024 * 1024])])  # type: ignore[attr-defined]
    return list(found)


@pytest.mark.model
def test_speech_scores_high_and_noise_low(silero: object, spoken: bytes) -> None:
    assert np.mean(np.array(score(silero, "a", spoken)) > 0.5) > 0.5
    assert max(score(silero, "b", silence(2))) < 0.2
    assert np.mean(score(silero, "c", noise(3, 1000))) < 0.3


@pytest.mark.model
def test_a_batch_of_streams_scores_as_each_alone(silero: object, spoken: bytes) -> None:
    sounds = {"s1": spoken, "s2": noise(1.5), "s3": spoken[16000:]}
    whole = {name: pcm[: len(pcm) // 1024 * 1024] for name, pcm in sounds.items()}
    alone = {name: score(silero, f"alone {name}", pcm) for name, pcm in whole.items()}
    first = {name: pcm[: 10 * 1024] for name, pcm in whole.items()}
    begun = silero.score(list(first.items()))  # type: ignore[attr-defined]
    ended = silero.score([(name, whole[name][10 * 1024 :]) for name in whole])  # type: ignore[attr-defined]
    for name, head, tail in zip(whole, begun, ended, strict=True):
        np.testing.assert_allclose(head + tail, alone[name], atol=1e-3)


@pytest.mark.model
def test_a_forgotten_stream_starts_fresh(silero: object, spoken: bytes) -> None:
    pcm = spoken[: 20 * 1024]
    once = score(silero, "f", pcm)
    (again,) = silero.score([("f", pcm)], forget=["f"])  # type: ignore[attr-defined]
    assert again == pytest.approx(once, abs=1e-4)
