"""Hearing for the calls of this process: callers' sound in, turns and words out. See `Ears` and `Ear`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.errors import ConfigError, TrunklineError, nearest
from gateway.core.ports import Hypothesis
from gateway.core.worker import Worker
from gateway.speech import models, recognizers
from gateway.speech.ear import Ear, EarEvent
from gateway.speech.models import Progress
from gateway.speech.pool import Load, Pool

VADS: Mapping[str, str | None] = {"silero": "gateway.speech.silero:create", "webrtc": None}
"""What decides which sound is a turn: a model in a process of its own, or the media engine alone (`Ear.voice`)."""


class Ears:
    """The voice activity detector's process, the recognizers' processes, and an Ear for each call.

    `recognizer`, `options`, `workers`: see Pool. `vad`: one of VADS, or "module:function" giving what
    gateway.speech.silero.Silero offers. Raises ConfigError for another.
    """

    def __init__(
        self,
        recognizer: str = "whisper",
        options: Mapping[str, Any] | None = None,
        *,
        workers: int = 0,
        vad: str = "silero",
        **limits: Any,
    ) -> None:
        self.pool = Pool(recognizer, options, workers=workers, **limits)
        if vad not in VADS and ":" not in vad:
            near = nearest(vad, VADS)
            raise ConfigError("No such voice activity detector.", read=vad, expected=", ".join(VADS), near=near)
        served = VADS.get(vad, vad)
        self._vad: Worker | None = None
        if served is not None:
            self._vad = Worker(served, name="voice activity", timeout_s=5.0, env={"OMP_NUM_THREADS": "1"})
        self._needs = recognizers.needs(recognizer, options or {}) + (("silero-vad",) if vad == "silero" else ())
        self._numbers = itertools.count(1)
        self._due: dict[int, tuple[Ear, bytearray]] = {}
        self._past: list[int] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, progress: Progress | None = None) -> None:
        """Fetch models that are not here yet (told to `progress`), start the processes and load the models.

        Raises ModelMissing, ConfigError, WorkerDied.
        """
        for model in self._needs:
            await asyncio.to_thread(models.ensure, model, progress)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pool.start())
                if self._vad is not None:
                    group.create_task(self._vad.start())
        except ExceptionGroup as problems:
            await self.close()
            raise problems.exceptions[0] from None
        if self._vad is not None:
            self._task = asyncio.create_task(self._judge(self._vad), name="voice activity")

    async def close(self) -> None:
        """End the processes."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.pool.close()
        if self._vad is not None:
            await self._vad.close()

    def open(self, call: str, on_event: Callable[[EarEvent], None]) -> Ear:
        """An ear for one call. `on_event` is called on the event loop."""
        return Ear(self, call, on_event)

    async def transcribe(self, pcm: bytes, language: str, hints: tuple[str, ...] = ()) -> Hypothesis:
        """Decode a whole recording (16 kHz mono int16), without endpointing. Raises WorkerDied."""
        return await self.pool.once(pcm, language, hints)

    @property
    def load(self) -> Load:
        """Figures of the recognizers, for metrics and the wallboard."""
        return self.pool.load

    @property
    def vad_restarts(self) -> int:
        return self._vad.restarts if self._vad is not None else 0

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP 47 tags the recognizer was made for."""
        return self.pool.languages

    # --- for Ear ---

    @property
    def judges(self) -> bool:
        """Whether sound is judged here; else the media engine's own detector decides."""
        return self._vad is not None

    def number(self) -> int:
        """A new utterance's number."""
        return next(self._numbers)

    def judge(self, ear: Ear, utterance: int, pcm: bytes) -> None:
        """Have whole windows of an utterance's sound judged; the ear's `judged` is called with the probabilities."""
        self._due.setdefault(utterance, (ear, bytearray()))[1].extend(pcm)
        self._wake.set()

    def over(self, utterance: int) -> None:
        """Nothing more of this utterance is wanted."""
        self.pool.forget(utterance)
        if self._vad is not None:
            self._due.pop(utterance, None)
            self._past.append(utterance)

    async def _judge(self, vad: Worker) -> None:
        """All that came in while the last batch was judged is the next batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            past, self._past = self._past, []
            if not due:
                continue
            try:
                sounds = [(utterance, bytes(pcm)) for utterance, (_, pcm) in due.items()]
                scores = await vad.call("score", sounds, past)
            except TrunklineError:
                for utterance, (ear, _) in due.items():
                    ear.failed(utterance)
                await vad.wait_ready()
                continue
            for (utterance, (ear, _)), found in zip(due.items(), scores, strict=True):
                ear.judged(utterance, found)
