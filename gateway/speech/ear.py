"""One call's ear: takes the caller's sound from the engine's ring, finds the turn in it, and has it recognized
meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway.core.audio import SPEECH_RATE
from gateway.core.errors import TrunklineError
from gateway.core.ports import Hypothesis
from gateway.speech import endpoint
from gateway.speech.decoder import Job
from gateway.speech.endpoint import WINDOW, Ended, Endpoint, Rules
from gateway.speech.language import digits_in, primer, units
from gateway.speech.pcm import PcmBlock
from gateway.speech.pool import Saturated

if TYPE_CHECKING:
    from gateway.speech.ears import Ears

PARTIAL_S = 0.3
"""New sound between two partials of an utterance."""
STARVED_S = 0.25
"""No sound for so long in a turn (packets lost, or a phone that stops sending in silence) counts as silence."""
MARGIN_S = 3.0
"""Room in shared memory for what comes before a turn's speech and after its longest length."""
BRIEF_MS = 600
"""Sound without any recognized word is a false alarm up to this length; the design's limit for muting a prompt."""

SPANS = 16
"""Stretches of speech remembered of what the media engine told."""

Expect = Literal["menu", "yesno", "digits", "amount", "date"]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The caller speaks since `at`. Times are monotonic seconds in all events."""

    at: float


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """A false alarm: it was not speech, or held no word. The prompt goes on."""

    at: float


@dataclass(frozen=True, slots=True)
class Partial:
    """The beginning of what is being said, as far as it is settled; `voiced_ms` of speech were heard so far."""

    text: str
    voiced_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceHeard:
    """A turn and its words. `score`: the recognizer's own, 0..1.

    `endpoint_at`: when the turn was found to be over; `decoded_at`: when the words were there (before `endpoint_at`
    where the recognizer began in the silence).
    """

    text: str
    score: float
    language: str
    speech_started: float
    speech_ended: float
    endpoint_at: float
    decoded_at: float


@dataclass(frozen=True, slots=True)
class Unheard:
    """A turn that could not be recognized: saturated (too many wait) or failed (a process died)."""

    reason: Literal["saturated", "failed"]


EarEvent = TurnStarted | TurnDropped | Partial | UtteranceHeard | Unheard


@dataclass(slots=True)
class Turn:
    """What is known of the turn being listened for."""

    number: int
    language: str
    expect: Expect
    length: int
    hints: tuple[str, ...]
    endpoint: Endpoint
    max_samples: int
    block: PcmBlock | None = None
    judged: int = 0
    sent: int = 0
    partial_at: int = 0
    partial_busy: bool = False
    said: str = ""
    anchors: list[tuple[int, float]] = field(default_factory=list)
    fed_at: float = 0.0
    guess: asyncio.Future[Hypothesis | None] | None = None
    guess_at: float = 0.0
    ended: Ended | None = None
    ended_at: float = 0.0

    @property
    def written(self) -> int:
        return self.block.written if self.block else 0

    def time(self, sample: int) -> float:
        """When a sample was heard, in monotonic seconds."""
        known = [anchor for anchor in self.anchors if anchor[0] >= sample] or self.anchors[-1:]
        at, mono = known[0]
        return mono - (at - sample) / SPEECH_RATE

    def sample(self, mono: float) -> int:
        """The sample that was heard at a time, of those there are."""
        at, newest = self.anchors[-1] if self.anchors else (0, mono)
        return min(max(round(at - (newest - mono) * SPEECH_RATE), 0), self.written)


class Ear:
    """`listen`, then `feed`; events come by `on_event`. One turn at a time: after UtteranceHeard, Unheard or
    TurnDropped nothing is heard until `listen` is called again."""

    def __init__(self, ears: Ears, call: str, on_event: Callable[[EarEvent], None]) -> None:
        self.call = call
        self._ears, self._on_event = ears, on_event
        self._turn: Turn | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._spoken: deque[tuple[float, float]] = deque(maxlen=SPANS)

    def voice(self, speaks: bool, at: float) -> None:
        """What the media engine's own detector noticed: the caller speaks since `at`, or was last heard at `at`
        (monotonic seconds). It decides where no other detector does."""
        if speaks:
            self._spoken.append((at, math.inf))
        elif self._spoken:
            self._spoken[-1] = (self._spoken[-1][0], at)
        if self._turn is not None and not speaks and not self._ears.judges:
            self._turn.endpoint.silent_since(self._turn.sample(at))

    def listen(
        self,
        language: str,
        *,
        expect: Expect = "menu",
        silence_ms: int = 600,
        max_ms: int = 12000,
        length: int = 0,
        hints: tuple[str, ...] = (),
    ) -> None:
        """Hear the next turn, whatever was being heard before. Arguments are those of gateway.flow.turn.Listen."""
        self.stop()
        rules = Rules(silence_ms=silence_ms, max_ms=max_ms)
        room = int((max_ms / 1000 + silence_ms / 1000 + MARGIN_S) * SPEECH_RATE)
        words = hints or primer(language, expect)
        self._turn = Turn(self._ears.number(), language, expect, length, tuple(words), Endpoint(rules), room)

    def feed(self, pcm: bytes, end_mono: float | None = None) -> None:
        """The caller's sound, 16 kHz mono int16, any length. `end_mono`: when its last sample was heard (None: now)."""
        turn = self._turn
        if turn is None or turn.endpoint.over or not pcm:
            return
        now = time.monotonic()
        if turn.block is None:
            turn.block = PcmBlock(turn.max_samples)
            self._watch(turn)
        turn.block.append(pcm)
        turn.fed_at = now
        turn.anchors.append((turn.written, now if end_mono is None else end_mono))
        ready = (turn.written - turn.sent) // WINDOW * WINDOW
        if ready:
            if self._ears.judges:
                self._ears.judge(self, turn.number, turn.block.read(turn.sent, turn.sent + ready))
            else:
                middles = range(turn.sent + WINDOW // 2, turn.sent + ready, WINDOW)
                found = [self._voiced(turn.time(middle)) for middle in middles]
                asyncio.get_running_loop().call_soon(self.judged, turn.number, found)
            turn.sent += ready

    def _voiced(self, mono: float) -> float:
        """1.0 where the engine says that the caller spoke, else 0.0."""
        return float(any(start <= mono < end for start, end in self._spoken))

    def stop(self) -> None:
        """Hear nothing until the next `listen`; a turn half way is dropped without an event."""
        turn, self._turn = self._turn, None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if turn:
            self._ears.over(turn.number)
            if turn.block:
                turn.block.close()

    def close(self) -> None:
        """The call is over."""
        self.stop()

    # --- what the processes answer ---

    def judged(self, utterance: int, probabilities: list[float]) -> None:
        """The voice activity detector's answer for the next windows of the utterance."""
        turn = self._turn
        if turn is None or turn.number != utterance:
            return
        for probability in probabilities:
            turn.judged += WINDOW
            for event in turn.endpoint.step(probability):
                self._act(turn, event)
                if self._turn is not turn:  # the driver listens anew
                    return
        self._ask_partial(turn)

    def failed(self, utterance: int) -> None:
        """A process died over this utterance."""
        if self._turn and self._turn.number == utterance:
            self._finish(Unheard("failed"))

    def _act(self, turn: Turn, event: endpoint.Event) -> None:
        match event:
            case endpoint.Started(at):
                turn.partial_at = turn.judged
                self._on_event(TurnStarted(turn.time(at)))
            case endpoint.Dropped(at):
                self._finish(TurnDropped(turn.time(at)))
            case endpoint.Peeked():
                if not self._ears.pool.incremental:
                    self._guess(turn, "peek")
            case endpoint.Resumed():
                turn.guess = None
            case endpoint.Ended():
                turn.ended, turn.ended_at = event, time.monotonic()
                if turn.guess is None:
                    self._guess(turn, "final")
                else:
                    self._ears.pool.promote(turn.number)
                    self._settle(turn)

    def _guess(self, turn: Turn, kind: Literal["final", "peek"]) -> None:
        """Have the turn decoded as it stands."""
        guess = turn.guess = self._ears.pool.submit(self._job(turn, kind))

        def done(_: asyncio.Future[Hypothesis | None]) -> None:
            if self._turn is turn and turn.guess is guess:
                turn.guess_at = time.monotonic()
                self._guessed(turn)

        guess.add_done_callback(done)

    def _guessed(self, turn: Turn) -> None:
        """A decoding is there: it ends the turn, or tells that all that was expected was said."""
        if turn.ended:
            self._settle(turn)
        elif turn.guess and not turn.guess.exception() and (found := turn.guess.result()):
            self._count(turn, found.text)

    def _count(self, turn: Turn, text: str) -> None:
        # too many digits are a recognizer's slip on half a number: the caller is heard out
        if turn.length and turn.expect == "digits" and len(digits_in(text, turn.language)) == turn.length:
            turn.endpoint.enough()

    def _settle(self, turn: Turn) -> None:
        """The turn is over; tell what was heard as soon as that is known."""
        guess, ended = turn.guess, turn.ended
        if guess is None or ended is None or not guess.done():
            return
        problem = guess.exception()
        if problem:
            self._finish(Unheard("saturated" if isinstance(problem, Saturated) else "failed"))
            return
        found = guess.result()
        if found is None:  # its place in the queue was lost: once more, as a final
            self._guess(turn, "final")
        elif not units(found.text) and turn.endpoint.voiced_ms <= BRIEF_MS:
            self._finish(TurnDropped(turn.ended_at))
        else:
            started, stopped = turn.time(ended.started), turn.time(ended.ended)
            self._finish(
                UtteranceHeard(found.text, found.score, turn.language, started, stopped, turn.ended_at, turn.guess_at)
            )

    def _ask_partial(self, turn: Turn) -> None:
        if not turn.endpoint.started or turn.endpoint.over or turn.partial_busy or turn.guess is not None:
            return
        if turn.judged - turn.partial_at < PARTIAL_S * SPEECH_RATE:
            return
        turn.partial_at, turn.partial_busy = turn.judged, True
        answer = self._ears.pool.submit(self._job(turn, "partial"))

        def done(found: asyncio.Future[Hypothesis | None]) -> None:
            turn.partial_busy = False
            if self._turn is not turn or turn.ended or found.exception():
                return
            if (heard := found.result()) and heard.text != turn.said:
                turn.said = heard.text
                self._count(turn, heard.text)
                self._on_event(Partial(heard.text, turn.endpoint.voiced_ms))

        answer.add_done_callback(done)

    def _job(self, turn: Turn, kind: Literal["final", "peek", "partial"]) -> Job:
        if turn.block is None:
            raise TrunklineError("a turn without sound can't be decoded")
        return Job(turn.number, turn.block.name, turn.judged, turn.language, turn.hints, kind)

    def _finish(self, event: EarEvent) -> None:
        self.stop()
        self._on_event(event)

    def _watch(self, turn: Turn) -> None:
        """Feeds silence where no sound arrives at all, so that every turn ends."""
        if self._turn is not turn:
            return
        missing = time.monotonic() - turn.fed_at if turn.fed_at else 0.0
        if missing >= STARVED_S and not turn.endpoint.over:
            self.feed(bytes(2 * int(missing * SPEECH_RATE)))
        self._timer = asyncio.get_running_loop().call_later(STARVED_S / 2, self._watch, turn)
