"""Mandarin numbers, amounts and dates from recorded pieces, joined the way announcement machines always have."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gateway.core.audio import SPEECH_RATE, Audio
from gateway.core.errors import ModelMissing
from gateway.speech.tts_recorded import INDEX, Folder
from gateway.speech.tts_shape import Wave, from_pcm, join, to_audio, trim

PAUSES = {"，": 180, ",": 180, "、": 120, "。": 300, "；": 250, " ": 0}
"""Silence in ms that a mark asks for between two pieces."""

DIGITS = frozenset("零一二三四五六七八九幺")

DIGIT_GAP_MS = 20
"""Between digits read one by one."""

WORD_GAP_MS = 10
"""Between the pieces of one number."""


def split(text: str, known: Iterable[str]) -> list[tuple[str, int]]:
    """`text` as (piece, silence after it in ms), taking the longest known piece each time.

    Raises ModelMissing naming the first part that no piece covers.
    """
    pieces = {key.rstrip(",") for key in known}
    longest = max(map(len, pieces), default=0)
    text = unicodedata.normalize("NFKC", text)
    parts: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        if text[at] in PAUSES:
            if parts:
                parts[-1] = parts[-1][0], max(parts[-1][1], PAUSES[text[at]])
            at += 1
            continue
        found = next((text[at : at + n] for n in range(longest, 0, -1) if text[at : at + n] in pieces), None)
        if found is None:
            raise ModelMissing(
                "No recorded piece speaks a part of this text.",
                read=f"{text[at : at + 8]} in {text}",
                do="record it and add it to the index of pieces",
            )
        if parts and not parts[-1][1]:
            one_by_one = parts[-1][0] in DIGITS and found in DIGITS
            parts[-1] = parts[-1][0], DIGIT_GAP_MS if one_by_one else WORD_GAP_MS
        parts.append((found, 0))
        at += len(found)
    return parts


class PiecesVoice:
    """A Synthesizer for any text that recorded pieces make up, longest piece first. Rendering takes milliseconds.

    `root`/LANGUAGE/pieces holds the pieces. What they can't make up is ModelMissing, naming the first missing part.
    """

    name = "pieces"
    live = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Folder] = {}
        self._waves: dict[tuple[str, str], Wave] = {}

    def voice(self, language: str) -> str | None:
        folder = self._folder(language)
        return f"pieces-{folder.digest}" if folder else None

    def render(self, text: str, language: str) -> Audio:
        """16 kHz speech at prompt level. Raises ModelMissing, StoreError."""
        folder = self._folder(language)
        if folder is None:
            raise ModelMissing(
                "There are no recorded pieces for this language.", read=language, expected=str(self.root)
            )
        parts = split(text, folder.files)
        if not parts:
            raise ModelMissing("There is nothing to speak in this text.", read=text)
        waves = [self._wave(folder, piece, goes_on=True) for piece, _ in parts[:-1]]
        waves.append(self._wave(folder, parts[-1][0], goes_on=False))
        edge = np.zeros(SPEECH_RATE // 50)
        return to_audio(join([edge, *waves, edge], [0, *(gap for _, gap in parts[:-1]), 0]))

    def _folder(self, language: str) -> Folder | None:
        path = self.root / language / "pieces"
        if not (path / INDEX).exists():
            return None
        return self._folders.setdefault(language, Folder(path))

    def _wave(self, folder: Folder, piece: str, goes_on: bool) -> Wave:
        """The take that fits: said in the middle (its key ends in a comma) or at the end."""
        takes = (piece + ",", piece) if goes_on else (piece, piece + ",")
        key = next(take for take in takes if take in folder.files)
        known = folder.digest, key
        if known not in self._waves:
            sound = folder.sound(key)
            self._waves[known] = trim(from_pcm(sound.pcm if sound else b""), keep_ms=0)
        return self._waves[known]
