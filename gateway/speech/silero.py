"""Silero VAD 6.2 (MIT, snakers4/silero-vad) by onnxruntime: how likely each 32 ms of sound is speech. Lives in a
worker process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import ModelMissing
from gateway.speech import models

WINDOW = 512
"""Samples of 16 kHz sound judged at a time (32 ms)."""
CONTEXT = 64
"""Samples of the window before that the model sees again."""


class Silero:
    """Keeps the state of any number of streams and judges them in batches. `model`: the .onnx file, or None for the
    default.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ModelMissing(
                "the package onnxruntime, which tells speech from noise, is not installed",
                do='pip install "trunkline[offline]"',
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = Path(model) if model else models.ensure("silero-vad") / "silero_vad.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._rate = np.array(16000, dtype=np.int64)
        self._streams: dict[Any, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def score(self, sounds: Sequence[tuple[Any, bytes]], forget: Iterable[Any] = ()) -> list[list[float]]:
        """Probabilities of speech, 0..1, one list a stream with one number a window.

        `sounds`: (stream, 16 kHz int16 bytes of whole windows); a stream not seen before starts fresh. Streams in
        `forget` are dropped first.
        """
        for stream in forget:
            self._streams.pop(stream, None)
        windows = [
            np.frombuffer(pcm, dtype="<i2").astype(np.float32).reshape(-1, WINDOW) / 32768.0 for _, pcm in sounds
        ]
        scores: list[list[float]] = [[] for _ in sounds]
        for step in range(max(map(len, windows), default=0)):
            rows = [row for row, held in enumerate(windows) if len(held) > step]
            found = self._judge([sounds[row][0] for row in rows], np.stack([windows[row][step] for row in rows]))
            for row, score in zip(rows, found, strict=True):
                scores[row].append(score)
        return scores

    def _judge(self, streams: list[Any], windows: NDArray[np.float32]) -> list[float]:
        fresh = (np.zeros((2, 128), np.float32), np.zeros(CONTEXT, np.float32))
        held = [self._streams.get(stream, fresh) for stream in streams]
        state = np.stack([s for s, _ in held], axis=1)
        sound = np.concatenate([np.stack([c for _, c in held]), windows], axis=1)
        scores, state = self._session.run(None, {"input": sound, "state": state, "sr": self._rate})
        for row, stream in enumerate(streams):
            self._streams[stream] = (state[:, row], windows[row, -CONTEXT:])
        return [float(score) for score in scores[:, 0]]


def create(model: str | None = None) -> Silero:
    """What the VAD's worker process serves."""
    return Silero(model)
