"""Silero's two rates on telephone speech in noise: python bench/vad.py [--json]

Speech is recorded prompts at 8 kHz (Debian's asterisk-core-sounds-en-wav), each behind a second of silence, with noise
added at 5 to 20 dB. A window of 32 ms is speech where the clean sound is within 32 dB of its loudest. The wide model
hears it brought to 16 kHz by the engine's kernel, as a call's recognizer does; the narrow one as it is.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import wave
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnxruntime
from native.kernels import upsample
from numpy.typing import NDArray

PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
MODELS = {16000: "silero_vad_16k_op15.onnx", 8000: "silero_vad.onnx"}
WINDOW, CONTEXT = {16000: 512, 8000: 256}, {16000: 64, 8000: 32}
NOISES = [("white", 20), ("white", 10), ("white", 5), ("hum", 10), ("babble", 20), ("babble", 10)]
Floats = NDArray[np.float64]


class Model:
    def __init__(self, rate: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = distribution("silero-vad").locate_file(f"silero_vad/data/{MODELS[rate]}")
        self.run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run
        self.rate, self.window, self.context = rate, WINDOW[rate], CONTEXT[rate]

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (streams, windows) of streams (streams, samples) at the model's rate."""
        state = np.zeros((2, len(batch), 128), np.float32)
        before, found = np.zeros((len(batch), self.context), np.float32), []
        for at in range(0, batch.shape[1] - self.window + 1, self.window):
            window = batch[:, at : at + self.window]
            inputs = {"input": np.hstack([before, window]), "state": state, "sr": np.array(self.rate)}
            scores, state = self.run(None, inputs)
            before = window[:, -self.context :]
            found.append(scores[:, 0])
        return np.stack(found, axis=1)


def prompts(rng: np.random.Generator, count: int) -> list[Floats]:
    found = []
    for path in rng.permutation(sorted(PROMPTS.rglob("*.wav"))):
        with wave.open(str(path)) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        if len(pcm) > 8000 and len(found) < count:
            found.append(pcm)
    return found


def speech(pcm: Floats) -> NDArray[np.bool_]:
    """Which windows are speech; gaps of up to 96 ms belong to it."""
    level = 10 * np.log10((pcm.reshape(-1, 256) ** 2).mean(axis=1) + 1e-3)
    voiced = level > level.max() - 32
    at = np.flatnonzero(voiced)
    for a, b in itertools.pairwise(at):
        voiced[a:b] |= b - a <= 4
    return voiced


def noise(kind: str, n: int, rng: np.random.Generator, voices: Floats) -> Floats:
    if kind == "white":
        return rng.normal(0, 1, n)
    if kind == "hum":
        return np.asarray(sum(np.sin(2 * np.pi * 50 * h * np.arange(n) / 8000) / h for h in range(1, 20)))
    return np.asarray(sum(np.resize(np.roll(voices, rng.integers(len(voices))), n) for _ in range(6)))


def figures(found: NDArray[np.float32], truth: NDArray[np.bool_]) -> dict[str, float]:
    heard = found >= 0.5
    hits, wrong, missed = (heard & truth).sum(), (heard & ~truth).sum(), (~heard & truth).sum()
    return {
        "f1": round(float(2 * hits / (2 * hits + wrong + missed)), 3),
        "false_alarms": round(float(wrong / (~truth).sum()), 3),
        "missed": round(float(missed / truth.sum()), 3),
        "windows": len(truth),
    }


def accuracy(models: list[Model], rng: np.random.Generator) -> Iterator[dict[str, object]]:
    said = prompts(rng, 120)
    voices, said = np.concatenate(said[:60]), said[60:]
    for kind, snr in NOISES:
        scores: dict[int, list[NDArray[np.float32]]] = {model.rate: [] for model in models}
        truth = []
        for pcm in said:
            clean = np.concatenate([np.zeros(8000), pcm, np.zeros(12000)])
            clean = clean[: len(clean) // 256 * 256]
            true = speech(clean)
            added = noise(kind, len(clean), rng, voices)
            loud = np.sqrt((clean.reshape(-1, 256)[true] ** 2).mean() / (added**2).mean())
            mixed = np.clip(clean + added * loud / 10 ** (snr / 20), -32768, 32767).astype(np.int16)
            truth.append(true)
            for model in models:
                heard = np.asarray(upsample(mixed)) if model.rate == 16000 else mixed
                scores[model.rate].append(model.score(heard[None].astype(np.float32) / 32768)[0])
        for rate, found in scores.items():
            yield {"noise": kind, "snr_db": snr, "rate": rate, **figures(np.concatenate(found), np.concatenate(truth))}


def cost(model: Model, streams: int) -> dict[str, object]:
    batch = np.random.default_rng(1).normal(0, 0.05, (streams, 2 * model.rate)).astype(np.float32)
    model.score(batch[:, : model.rate // 4])
    began = time.process_time()
    model.score(batch)
    spent = (time.process_time() - began) / 2 / streams
    return {"rate": model.rate, "streams": streams, "ms_cpu_a_stream_second": round(1000 * spent, 2)}


def main() -> None:
    models = [Model(16000), Model(8000)]
    found = list(accuracy(models, np.random.default_rng(3)))
    costs = [cost(model, streams) for model in models for streams in (1, 32, 256)]
    if "--json" in sys.argv:
        print(json.dumps({"accuracy": found, "cost": costs}))
        return
    for row in [*found, *costs]:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
