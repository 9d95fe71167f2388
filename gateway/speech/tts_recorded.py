"""Recordings a deployment ships: folders of WAV files with an index.tsv that gives each file's words."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gateway.core.audio import Audio
from gateway.core.errors import Mark, ModelMissing, StoreError
from gateway.speech.tts_shape import from_pcm, level, resample, to_audio

INDEX = "index.tsv"


def plain(text: str) -> str:
    """The form in which texts are compared: width and case folded, white space and outer punctuation gone."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if any("\u4e00" <= c <= "\u9fff" for c in folded):
        folded = folded.replace(" ", "")
    start, end = 0, len(folded)
    while start < end and not _spoken(folded[start]):
        start += 1
    while end > start and not _spoken(folded[end - 1]):
        end -= 1
    return folded[start:end]


def _spoken(c: str) -> bool:
    return unicodedata.category(c)[0] in "LN" or c in "%$¥"


def read_index(folder: Path) -> Iterator[tuple[str, str, int]]:
    """File name, words and line number of each recording of `folder`. Raises StoreError for a line that isn't one."""
    path = folder / INDEX
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("The index of recordings can't be read.", where=Mark(str(path)), read=str(error)) from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#") or line == "file\ttext":
            continue
        file, tab, text = line.partition("\t")
        if not tab or not text.strip() or Path(file).name != file:
            raise StoreError(
                "A line of the index of recordings can't be used.",
                where=Mark(str(path), number),
                read=line,
                expected="a file name in this folder, a tab, the words",
            )
        yield file, text.strip(), number


def read_wav(path: Path) -> Audio:
    """A mono 16-bit WAV file at any rate, as 16 kHz speech at prompt level. Raises StoreError."""
    try:
        with wave.open(str(path), "rb") as file:
            shape = file.getnchannels(), file.getsampwidth()
            rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise StoreError("A recording can't be read.", where=Mark(str(path)), read=str(error)) from None
    if shape != (1, 2):
        raise StoreError(
            "A recording has another form than prompts have.",
            where=Mark(str(path)),
            read=f"{shape[0]} channels of {8 * shape[1]} bits",
            expected="one channel of 16 bits",
            do=f"sox {path.name} -c 1 -b 16 fixed.wav",
        )
    return to_audio(level(resample(from_pcm(pcm[: len(pcm) // 2 * 2]), rate)))


class Folder:
    """One folder of recordings, read again when its index changes. Text that ends in a comma is a different take: how
    the words sound when the sentence goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[int, dict[str, str], str] | None = None
        self._sounds: dict[str, Audio] = {}
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        return (self.path / INDEX).exists()

    @property
    def files(self) -> dict[str, str]:
        """File name by plain text; the key of a going-on take ends in a comma."""
        return self._load()[1]

    @property
    def digest(self) -> str:
        """Changes when the index or a file changes its size or time."""
        return self._load()[2]

    def _load(self) -> tuple[int, dict[str, str], str]:
        with self._lock:
            changed = (self.path / INDEX).stat().st_mtime_ns
            if self._read is None or self._read[0] != changed:
                files: dict[str, str] = {}
                seen = hashlib.sha256()
                for file, text, number in read_index(self.path):
                    try:
                        about = (self.path / file).stat()
                    except OSError:
                        raise StoreError(
                            "A recording named by the index is not there.",
                            where=Mark(str(self.path / INDEX), number),
                            read=file,
                            do="render it again, or take its line out",
                        ) from None
                    seen.update(f"{file}\t{text}\t{about.st_size}\t{about.st_mtime_ns}\n".encode())
                    files.setdefault(plain(text) + ("," if text[-1] in ",，" else ""), file)
                self._read = changed, files, seen.hexdigest()[:16]
                self._sounds = {}
            return self._read

    def sound(self, key: str) -> Audio | None:
        """The recording of a key of `files`, or None."""
        file = self.files.get(key)
        if file is None:
            return None
        if key not in self._sounds:
            self._sounds[key] = read_wav(self.path / file)
        return self._sounds[key]


class RecordedVoice:
    """A Synthesizer that speaks what was recorded ahead and nothing else.

    `root` holds a folder for each language tag. A prompt that isn't there is ModelMissing, and the next voice's turn.
    """

    name = "recorded"
    live = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Folder] = {}

    def folder(self, language: str) -> Folder | None:
        """The recordings for a language tag, or None."""
        if not (self.root / language / INDEX).exists():
            return None
        return self._folders.setdefault(language, Folder(self.root / language))

    def voice(self, language: str) -> str | None:
        folder = self.folder(language)
        return f"recorded-{folder.digest}" if folder else None

    def render(self, text: str, language: str) -> Audio:
        """The recording whose words are `text`, at 16 kHz and prompt level. Raises ModelMissing, StoreError."""
        folder = self.folder(language)
        key = plain(text)
        takes = (key + ",", key) if text.rstrip()[-1:] in ("，", ",", "、") else (key, key + ",")
        sound = next((s for take in takes if folder and (s := folder.sound(take))), None)
        if sound is None:
            raise ModelMissing(
                "This prompt was not recorded.",
                read=text,
                do=f"add it to {self.root / language / INDEX} and record or render it",
            )
        if not np.frombuffer(sound.pcm, "<i2").any():
            raise ModelMissing("The recording of this prompt is silent.", read=text)
        return sound
