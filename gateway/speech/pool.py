"""Recognizer processes and the jobs that wait for them: finals first, stale partials dropped, never an unbounded
queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.errors import TrunklineError
from gateway.core.ports import Hypothesis
from gateway.core.worker import Worker, WorkerDied
from gateway.speech.decoder import Job

ORDER = {"final": 0, "peek": 1, "partial": 2}


class Saturated(TrunklineError):
    """More finals wait than can be decoded in time."""


@dataclass(frozen=True, slots=True)
class Load:
    """Figures of the pool. `waiting`, `busy`, `workers`, `ready`: now; the others count since the start."""

    waiting: int
    busy: int
    workers: int
    ready: int
    restarts: int
    decoded: int
    dropped: int
    saturated: int
    failed: int
    seconds: float


@dataclass(slots=True, eq=False)
class Waiting:
    """A job in the queue."""

    job: Job
    answer: asyncio.Future[Hypothesis | None]
    since: float


class Pool:
    """`workers` processes of one recognizer.

    `recognizer`: a name of gateway.speech.recognizers; `options`: its arguments. `patience_s`: how long a final may
    wait before it is refused as Saturated; `depth`: finals that may wait for each worker; `timeout_s`: longest
    decoding.
    """

    def __init__(
        self,
        recognizer: str = "whisper",
        options: Mapping[str, Any] | None = None,
        *,
        workers: int = 0,
        depth: int = 8,
        patience_s: float = 4.0,
        timeout_s: float = 15.0,
    ) -> None:
        count = workers or max(1, (os.cpu_count() or 2) // 2)
        args = (recognizer, dict(options or {}))
        self._workers = [
            Worker(
                "gateway.speech.decoder:create",
                args,
                name=f"{recognizer} {number}",
                timeout_s=timeout_s,
                env={"OMP_NUM_THREADS": "1"},
            )
            for number in range(count)
        ]
        self.depth, self.patience_s = depth, patience_s
        self.name = recognizer
        self.languages: tuple[str, ...] = ()
        self.incremental = False
        self._waiting: list[Waiting] = []
        self._owner: dict[int, int] = {}
        self._forget: list[list[int]] = [[] for _ in range(count)]
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._busy = self._decoded = self._dropped = self._saturated = self._failed = 0
        self._seconds = 0.0

    async def start(self) -> None:
        """Start every process and wait until the models are loaded. Raises ModelMissing, ConfigError, WorkerDied."""
        started = await asyncio.gather(*(worker.start() for worker in self._workers), return_exceptions=True)
        if problems := [outcome for outcome in started if isinstance(outcome, BaseException)]:
            await self.close()
            raise problems[0]
        about = await self._workers[0].call("about")
        self.name, self.languages, self.incremental = about["name"], about["languages"], about["incremental"]
        self._tasks = [
            asyncio.create_task(self._run(number), name=f"decoding {number}") for number in range(len(self._workers))
        ]

    async def close(self) -> None:
        """End the processes; jobs that wait fail with WorkerDied."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in self._waiting:
            if not held.answer.done():
                held.answer.set_exception(WorkerDied("the recognizers were stopped"))
        self._waiting.clear()
        await asyncio.gather(*(worker.close() for worker in self._workers))

    def submit(self, job: Job) -> asyncio.Future[Hypothesis | None]:
        """Queue a job. Its future gives a hypothesis (None: a partial with nothing new, or dropped), or raises
        Saturated, WorkerDied.

        A newer job of the same utterance takes the place of a partial or peek that still waits.
        """
        answer: asyncio.Future[Hypothesis | None] = asyncio.get_running_loop().create_future()
        self._cancel(job.utterance)
        finals = sum(1 for held in self._waiting if held.job.kind == "final")
        if job.kind == "final" and finals >= self.depth * len(self._workers):
            self._refuse(answer)
            return answer
        if job.kind != "final" and len(self._waiting) >= self.depth * len(self._workers):
            self._dropped += 1
            answer.set_result(None)
            return answer
        held = Waiting(job, answer, time.monotonic())
        self._waiting.append(held)
        if job.kind == "final":
            asyncio.get_running_loop().call_later(self.patience_s, self._expire, held)
        self._wake.set()
        return answer

    def promote(self, utterance: int) -> None:
        """The peek of this utterance, should it still wait, is needed: treat it as a final."""
        for held in self._waiting:
            if held.job.utterance == utterance and held.job.kind == "peek":
                held.job = replace(held.job, kind="final")
                asyncio.get_running_loop().call_later(self.patience_s, self._expire, held)

    def forget(self, utterance: int) -> None:
        """Nothing more of this utterance is wanted."""
        self._cancel(utterance, final=True)
        if (owner := self._owner.pop(utterance, None)) is not None:
            self._forget[owner].append(utterance)

    async def once(self, pcm: bytes, language: str, hints: tuple[str, ...] = ()) -> Hypothesis:
        """Decode a whole recording (16 kHz int16) on the first worker. Raises WorkerDied."""
        return cast_hypothesis(await self._workers[0].call("once", pcm, language, hints, timeout_s=120.0))

    @property
    def load(self) -> Load:
        return Load(
            waiting=len(self._waiting),
            busy=self._busy,
            workers=len(self._workers),
            ready=sum(worker.ready for worker in self._workers),
            restarts=sum(worker.restarts for worker in self._workers),
            decoded=self._decoded,
            dropped=self._dropped,
            saturated=self._saturated,
            failed=self._failed,
            seconds=self._seconds,
        )

    def _cancel(self, utterance: int, *, final: bool = False) -> None:
        kept = []
        for held in self._waiting:
            if held.job.utterance == utterance and (final or held.job.kind != "final"):
                self._dropped += 1
                if not held.answer.done():
                    held.answer.set_result(None)
            else:
                kept.append(held)
        self._waiting[:] = kept

    def _expire(self, held: Waiting) -> None:
        """A final has waited as long as it may."""
        if held not in self._waiting:
            return
        self._waiting.remove(held)
        if any(worker.ready for worker in self._workers):
            self._refuse(held.answer)
        elif not held.answer.done():
            self._failed += 1
            held.answer.set_exception(WorkerDied("no recognizer is running", do="they are being started again"))

    def _refuse(self, answer: asyncio.Future[Hypothesis | None]) -> None:
        self._saturated += 1
        if not answer.done():
            answer.set_exception(Saturated("the recognizers are busy", do="offer keys to the caller"))

    def _take(self, number: int) -> Waiting | None:
        """The job that worker `number` should do next. A stream's state is in one worker, so its partials go there."""
        mine = [held for held in self._waiting if self._may(number, held.job)]
        if not mine:
            return None
        chosen = min(mine, key=lambda held: (ORDER[held.job.kind], held.since))
        self._waiting.remove(chosen)
        return chosen

    def _may(self, number: int, job: Job) -> bool:
        owner = self._owner.get(job.utterance)
        pinned = self.incremental or job.kind == "partial"
        return owner is None or owner == number or not pinned or not self._workers[owner].ready

    async def _run(self, number: int) -> None:
        worker = self._workers[number]
        while True:
            await worker.wait_ready()
            held = self._take(number)
            if held is None:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), 0.5)
                continue
            await self._decode(number, worker, held)
            self._wake.set()

    async def _decode(self, number: int, worker: Worker, held: Waiting) -> None:
        if held.job.kind == "partial":
            self._owner.setdefault(held.job.utterance, number)
        forget, self._forget[number] = self._forget[number], []
        self._busy += 1
        began = time.monotonic()
        try:
            found = await worker.call("decode", held.job, forget)
            self._decoded += 1
            if not held.answer.done():
                held.answer.set_result(found)
        except TrunklineError as problem:
            self._failed += 1
            if isinstance(problem, WorkerDied):
                self._owner = {utterance: owner for utterance, owner in self._owner.items() if owner != number}
            if not held.answer.done():
                held.answer.set_exception(problem)
        finally:
            self._busy -= 1
            self._seconds += time.monotonic() - began


def cast_hypothesis(value: Any) -> Hypothesis:
    """What a worker sent, as the Hypothesis it is."""
    if not isinstance(value, Hypothesis):
        raise WorkerDied("a recognizer answered with something else than a hypothesis", read=type(value).__name__)
    return value
