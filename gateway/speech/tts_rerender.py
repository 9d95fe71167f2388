"""Replaces the recordings of a language by another voice's, all in one command:

python -m gateway.speech.tts_rerender --language zh-CN --voice edge

Every line of index.tsv and of pieces/index.tsv is spoken anew into the file it names. `--texts FILE` (one text a line)
adds recordings first. Nothing is replaced unless every text could be spoken.
"""

from __future__ import annotations

import argparse
import os
import sys
import wave
from collections.abc import Callable
from pathlib import Path

from gateway.core.audio import Audio
from gateway.core.errors import ConfigError, Findings, ModelMissing, TrunklineError
from gateway.core.ports import Synthesizer
from gateway.speech.tts_recorded import INDEX, plain, read_index
from gateway.speech.tts_voices import voices

Progress = Callable[[int, int, str], None]


def rerender(folder: Path, language: str, voice: Synthesizer, progress: Progress | None = None) -> int:
    """Speak every line of a folder's index into its file; gives how many. Blocks.

    Raises Findings when a text can't be spoken; then no file was touched.
    """
    if voice.voice(language) is None:
        raise ModelMissing(f"Voice {voice.name} does not speak this language.", read=language, do="name another voice")
    lines = [(file, text) for file, text, _ in read_index(folder)]
    errors: list[TrunklineError] = []
    fresh: list[tuple[Path, Path]] = []
    try:
        for done, (file, text) in enumerate(lines, 1):
            try:
                audio = voice.render(text, language)
            except TrunklineError as error:
                errors.append(error)
                if isinstance(error, ModelMissing):
                    break
                continue
            part = folder / f"{file}.part"
            fresh.append((part, folder / file))
            _write(part, audio)
            if progress is not None:
                progress(done, len(lines), text)
        if errors:
            raise Findings(f"{len(errors)} recordings could not be rendered; nothing was replaced.", errors)
        for part, path in fresh:
            os.replace(part, path)
    finally:
        for part, _ in fresh:
            part.unlink(missing_ok=True)
    os.utime(folder / INDEX)
    return len(lines)


def add(folder: Path, texts: list[str], prefix: str = "added") -> int:
    """Append texts that the index does not have yet, under new file names; gives how many."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / INDEX
    if not index.exists():
        index.write_text("file\ttext\n", encoding="utf-8")
    known = {plain(text) for _, text, _ in read_index(folder)}
    fresh: dict[str, str] = {}
    for text in texts:
        if plain(text) and plain(text) not in known:
            fresh.setdefault(plain(text), text.strip())
    with index.open("a", encoding="utf-8") as file:
        for number, text in enumerate(fresh.values(), len(known) + 1):
            file.write(f"{prefix}.{number}.wav\t{text}\n")
    return len(fresh)


def _write(path: Path, audio: Audio) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(audio.pcm)


def main(arguments: list[str] | None = None) -> int:
    """0 done, 2 not done and why."""
    parser = argparse.ArgumentParser(prog="python -m gateway.speech.tts_rerender", description=__doc__.split("\n\n")[0])
    parser.add_argument("--language", required=True, help="language tag, such as zh-CN")
    parser.add_argument("--voice", required=True, help="a voice that renders: edge or piper")
    parser.add_argument("--root", type=Path, default=Path("ivr_flows/recordings"), help="folder of recordings")
    parser.add_argument("--texts", type=Path, help="file with texts to add, one a line")
    asked = parser.parse_args(arguments)
    shown = (
        (lambda done, total, text: print(f"\r{done}/{total}", end="", file=sys.stderr)) if sys.stderr.isatty() else None
    )
    try:
        if asked.voice in ("recorded", "pieces"):
            raise ConfigError(
                "This voice plays recordings and can't make them.", read=asked.voice, do="name edge or piper"
            )
        (voice,) = voices([asked.voice], asked.root)
        folder = asked.root / asked.language
        if asked.texts:
            add(folder, asked.texts.read_text(encoding="utf-8").splitlines())
        folders = [f for f in (folder, folder / "pieces") if (f / INDEX).exists()]
        if not folders:
            raise ConfigError(
                "There are no recordings for this language.", read=str(folder), expected=f"an {INDEX} there"
            )
        count = sum(rerender(f, asked.language, voice, shown) for f in folders)
    except (TrunklineError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count} recordings in {folder} are now spoken by {voice.name} ({voice.voice(asked.language)}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
