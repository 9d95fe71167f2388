"""Prompts: rendered when a flow is loaded, cached on disk by content, held by the engine once for all calls."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import tempfile
import unicodedata
import wave
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import SPEECH_RATE, WIRE_RATE, Audio
from gateway.core.errors import Findings, MediaError, TrunklineError, nearest
from gateway.core.ports import Synthesizer
from gateway.media.clip import Clip
from gateway.media.tones import MAKERS, tone
from gateway.media.wire import at_rate

log = logging.getLogger(__name__)

Pcm = NDArray[np.int16]
Progress = Callable[[int, int, str], None]
"""Told (done, total, text) as prompts become ready."""

Key = tuple[str, str, int]
"""Language, text and sampling rate of a clip."""

PAUSES_MS = {"。": 220, ".": 220, "？": 220, "?": 220, "！": 220, "!": 220, "；": 160, "，": 100, ",": 100, "、": 80}
"""Silence after a clip, by the mark its text ends in."""

RENDER_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to be said. `live`: they hold a caller's value, so they are rendered now and never kept on disk."""

    text: str
    live: bool = False


class PromptStore:
    """Finds or renders the sound of texts. `synthesizers` are asked in order; the first that can speak a text does.

    `load` puts audio into the engine (MediaEngine.load). A text is held at 8 kHz, and at 16 kHz too from the first wide
    leg on that needs it. Clips are shared; `held_s` seconds of 8 kHz are kept ready, the least recently used are let go
    and come back from the disk.
    """

    def __init__(
        self,
        folder: Path,
        synthesizers: Sequence[Synthesizer],
        load: Callable[[Pcm, int], Clip],
        *,
        held_s: float = 3600.0,
    ) -> None:
        self.folder = folder
        self.synthesizers = tuple(synthesizers)
        self._load = load
        self._held_s = held_s
        self._clips: OrderedDict[Key, Clip] = OrderedDict()
        self._samples = 0
        self._full = False

    async def render_all(self, items: Iterable[tuple[str, str]], progress: Progress | None = None) -> int:
        """Make every (text, language) ready to be played; gives how many there are.

        Raises Findings with one error for each text that no synthesizer can speak; the others are ready nonetheless.
        Live voices are started too, so that the first value spoken waits for none.
        """
        wanted = [(text, language) for text, language in dict.fromkeys(items) if sayable(text)]
        gate = asyncio.Semaphore(RENDER_AT_ONCE)
        done = 0

        async def one(text: str, language: str) -> TrunklineError | None:
            nonlocal done
            async with gate:
                try:
                    pcm = await asyncio.to_thread(self._sound, Phrase(text), language, WIRE_RATE)
                    self._hold((language, text, WIRE_RATE), pcm)
                except TrunklineError as error:
                    return error
            done += 1
            if progress is not None:
                progress(done, len(wanted), text)
            return None

        found = await asyncio.gather(*(one(text, language) for text, language in wanted))
        await asyncio.to_thread(self._warm, {language for _, language in wanted})
        errors = [error for error in found if error is not None]
        if errors:
            raise Findings(f"{len(errors)} of {len(wanted)} prompts have no voice.", errors)
        return len(wanted)

    async def clips(self, phrases: Iterable[Phrase | str], language: str, rate: int = WIRE_RATE) -> list[Clip]:
        """Clips that say the phrases in a row, for a leg of `rate` (8000 or 16000). Raises TrunklineError for one that
        no synthesizer can speak."""
        plain = [p if isinstance(p, Phrase) else Phrase(p) for p in phrases]
        return list(await asyncio.gather(*(self._clip(p, language, rate) for p in plain if sayable(p.text))))

    def at_hand(self, phrases: Iterable[Phrase], language: str, rate: int = WIRE_RATE) -> list[Clip] | None:
        """What `clips` would give, where nothing has to be rendered or read for it."""
        found = [self._held((language, p.text, rate)) for p in phrases if sayable(p.text)]
        return [clip for clip in found if clip] if all(found) else None

    def tone(self, name: str, language: str = "") -> Clip:
        """A sound that needs no voice: hold (loop it), ringback (loop it) or beep."""
        if name not in MAKERS:
            raise MediaError("No such tone.", read=name, expected=", ".join(MAKERS), near=nearest(name, MAKERS))
        key = "tone", f"{name} {language}", WIRE_RATE
        return self._held(key) or self._hold(key, tone(name, language))

    async def _clip(self, phrase: Phrase, language: str, rate: int) -> Clip:
        key = language, phrase.text, rate
        held = self._held(key)
        if held is None:
            pcm = await asyncio.to_thread(self._sound, phrase, language, rate)
            held = self._held(key) or self._hold(key, pcm)
        return held

    async def close(self) -> None:
        """End what the synthesizers started. The next render starts it again."""
        for synthesizer in self.synthesizers:
            end = getattr(synthesizer, "close", None)
            if end is not None:
                await asyncio.to_thread(end)

    def _warm(self, languages: set[str]) -> None:
        for synthesizer in self.synthesizers:
            warm = getattr(synthesizer, "warm", None)
            if warm is None or not synthesizer.live or not any(synthesizer.voice(tag) for tag in languages):
                continue
            try:
                warm()
            except TrunklineError as error:
                log.warning(
                    "A voice for values can't start", extra={"fields": {"voice": synthesizer.name, "why": error.what}}
                )

    def _held(self, key: Key) -> Clip | None:
        if key in self._clips:
            self._clips.move_to_end(key)
        return self._clips.get(key)

    def _hold(self, key: Key, pcm: Pcm) -> Clip:
        clip = self._load(pcm, key[2])
        before = self._clips.pop(key, None)
        self._clips[key] = clip
        self._samples += clip.samples - (before.samples if before else 0)
        while self._samples > self._held_s * WIRE_RATE and len(self._clips) > 1:
            self._samples -= self._clips.popitem(last=False)[1].samples
        return clip

    def _sound(self, phrase: Phrase, language: str, rate: int) -> Pcm:
        """What the phrase sounds like at a leg's rate, with the pause its last mark asks for. Blocks."""
        pause = np.zeros(rate * PAUSES_MS.get(phrase.text.rstrip()[-1:], 0) // 1000, np.int16)
        return np.concatenate([at_rate(self._audio(phrase, language), rate), pause])

    def _audio(self, phrase: Phrase, language: str) -> Audio:
        """From the disk or the first synthesizer that can. Blocks."""
        reasons = []
        for synthesizer in self.synthesizers:
            voice = synthesizer.voice(language)
            if voice is None or (phrase.live and not synthesizer.live):
                continue
            path = None if phrase.live else self._path(synthesizer.name, voice, language, phrase.text)
            kept = read(path) if path else None
            if kept is not None:
                return kept
            try:
                audio = synthesizer.render(phrase.text, language)
            except TrunklineError as error:
                reasons.append(f"{synthesizer.name}: {error.what}" + (f" ({error.do})" if error.do else ""))
                continue
            if path:
                self._keep(path, audio)
            return audio
        shown = "a value" if phrase.live else f"{language}: {phrase.text}"
        raise TrunklineError(
            "No voice can speak a prompt.",
            read=shown,
            expected="; ".join(reasons) or f"a voice for {language}, and none is configured",
            do="record it under ivr_flows/recordings, or configure a voice for this language (trunkline models)",
        )

    def _keep(self, path: Path, audio: Audio) -> None:
        """A full disk costs only the cache, and one warning until it has room again."""
        try:
            keep(path, audio)
        except OSError as error:
            told, self._full = self._full, True
            if not told:
                log.warning("Prompts can't be kept on disk", extra={"fields": {"path": str(path), "why": str(error)}})
        else:
            self._full = False

    def _path(self, name: str, voice: str, language: str, text: str) -> Path:
        about = "\n".join((name, voice, language, text, str(SPEECH_RATE)))
        digest = hashlib.sha256(about.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.wav"


def sayable(text: str) -> bool:
    """Whether a text holds anything to pronounce; marks alone are silence."""
    return any(unicodedata.category(c)[0] in "LN" for c in text)


def read(path: Path) -> Audio | None:
    """A kept prompt, or None when it isn't there or is damaged (then it is rendered anew)."""
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SPEECH_RATE):
                return None
            count = file.getnframes()
            pcm = file.readframes(count)
    except (OSError, EOFError, wave.Error):
        return None
    return Audio(pcm) if pcm and len(pcm) == 2 * count else None


def keep(path: Path, audio: Audio) -> None:
    """Write a prompt so that a crash leaves the old file or the new one. Raises OSError, and leaves nothing then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(audio.rate)
            file.writeframes(audio.pcm)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
