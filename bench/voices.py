"""How well a recognizer understands the voices after 8 kHz G.711: character and syllable errors (zh), word errors (en).

python bench/voices.py [--language zh-CN|en-US] [--values N] [--worst N]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pypinyin import lazy_pinyin

from gateway.core.audio import SPEECH_RATE, Audio
from gateway.core.errors import ModelMissing, TrunklineError
from gateway.core.ports import Synthesizer
from gateway.media.wire import to_wire
from gateway.speech.asr_whisper import WhisperRecognizer
from gateway.speech.language import tidy
from gateway.speech.tts_recorded import plain, read_index
from gateway.speech.tts_shape import resample, to_audio
from gateway.speech.tts_voices import OFFLINE, voices
from gateway.speech.tts_words import english_ordinal, spoken

ROOT = Path(__file__).parent.parent / "ivr_flows" / "recordings"
ENGLISH = (
    "Welcome to the service desk. How can I help you today?",
    "Please say or key in the last four digits of your card.",
    "All our agents are busy. You are third in line.",
    "For opening hours, press one. To speak with a person, press zero.",
    "Sorry, I did not understand that.",
    "Your parcel left our warehouse this morning and arrives tomorrow.",
    "This call is recorded for training and quality.",
    "Nobody can take your call right now. Please leave a message after the tone.",
)


def telephone(audio: Audio) -> Audio:
    """Through 8 kHz mu-law (ITU-T G.711, continuous form) and back to 16 kHz."""
    x = to_wire(audio).astype(np.float64) / 32768
    coded = np.round(np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256) * 127)
    back = np.sign(coded) * (np.expm1(np.abs(coded) / 127 * np.log(256)) / 255)
    return to_audio(resample(back, 8000, 16000))


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def figures(read: str, kind: str, language: str) -> str:
    """Figures as the words that `kind` is spoken in."""
    if kind == "digits":
        return spoken("digits", read, language)
    if language == "zh-CN":
        year = kind == "date" and len(read) == 4
        return spoken("digits", read, language) if year else spoken("number", read, language)
    if kind == "date":
        return "twenty twenty-six" if read == "2026" else english_ordinal(int(read))
    return (
        spoken("amount", read, language, currency="dollars") if kind == "amount" else spoken("number", read, language)
    )


def units(text: str, kind: str, language: str) -> list[str]:
    """Words or characters, figures read out as words."""

    def words(found: re.Match[str]) -> str:
        read = found[1].replace(",", "")
        try:
            return " " + figures(read, kind, language) + " "
        except (TrunklineError, ValueError):
            return " " + read + " "

    out = re.sub(r"[$¥]?(\d[\d,.]*\d|\d)(st|nd|rd|th)?", words, text.replace("-", " ")).lower()
    if language == "zh-CN":
        out = (
            re.sub("[幺么]", "一", out).replace("两", "二").replace("〇", "零").replace("块", "元").replace("日", "号")
        )
        return re.findall(r"[\u4e00-\u9fff]", out.replace("星期号", "星期日"))
    return re.findall(r"[a-z0-9']+", out.replace("-", " "))


def sounded(characters: list[str]) -> list[str]:
    """Syllables without tones: what is left when homophones count as right."""
    return list(lazy_pinyin("".join(characters)))


def samples(language: str, values: int) -> Iterator[tuple[str, str, str, str]]:
    """(group, kind, currency, words)."""
    if language == "zh-CN":
        for _, text, _ in read_index(ROOT / language):
            yield "prompts", "text", "", text
    else:
        for text in ENGLISH:
            yield "prompts", "text", "", text
    draw = random.Random(16)
    money = "yuan" if language == "zh-CN" else "dollars"
    for _ in range(values):
        yield "digits", "digits", "", spoken("digits", "".join(draw.choices("0123456789", k=8)), language)
        amount = f"{draw.randrange(1, 10 ** draw.randrange(1, 6))}.{draw.choice(('00', '50', '05', '37'))}"
        yield "amounts", "amount", money, spoken("amount", amount, language, currency=money)
        day = f"2026-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
        yield "dates", "date", "", spoken("date", day, language)
        yield "numbers", "number", "", spoken("number", str(draw.randrange(0, 10 ** draw.randrange(1, 7))), language)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--language", choices=("zh-CN", "en-US"), action="append")
    parser.add_argument("--values", type=int, default=20, help="spoken values of each kind")
    parser.add_argument("--worst", type=int, default=5, help="show the N worst of each language")
    asked = parser.parse_args()
    recognizer = WhisperRecognizer()
    found = []
    for language in asked.language or ("en-US", "zh-CN"):
        told = voices(OFFLINE, ROOT)
        groups: dict[str, list[int]] = {}
        worst = []
        clock, seconds = 0.0, 0.0
        for group, kind, _, text in samples(language, asked.values):
            started = time.perf_counter()
            audio = next(a for voice in told if (a := attempt(voice, text, language)))
            clock, seconds = clock + time.perf_counter() - started, seconds + audio.seconds
            quiet = bytes(SPEECH_RATE * 6 // 10)
            pcm = np.frombuffer(quiet + telephone(audio).pcm + quiet, "<i2").astype(np.float32) / 32768
            heard, _, _ = recognizer.decode(pcm, recognizer.prompt(language, ()), beam=5, tail=None)
            want, got = (units(t, kind, language) for t in (text, tidy(heard, language)))
            wrong = distance(want, got)
            sounds = distance(sounded(want), sounded(got)) if language == "zh-CN" else wrong
            counts = groups.setdefault(group, [0, 0, 0, 0])
            counts[:] = [counts[0] + 1, counts[1] + wrong, counts[2] + len(want), counts[3] + sounds]
            worst.append((wrong / max(len(want), 1), group, text, heard))
        for group, (n, wrong, total, sounds) in groups.items():
            rate = wrong / total
            found.append({"language": language, "group": group, "n": n, "units": total, "error_rate": round(rate, 3)})
            shown = f"CER {rate:.3f}  syllables {sounds / total:.3f}" if language == "zh-CN" else f"WER {rate:.3f}"
            print(f"{language}  {group:8}  n={n:3}  {shown} of {total}")
        print(f"{language}  rendering {clock / seconds:.3f} s a second of speech")
        for rate, group, text, heard in sorted(worst, reverse=True)[: asked.worst]:
            print(f"    {rate:.2f} {group}: {plain(text)} | {heard}")
    print(json.dumps(found))


def attempt(voice: Synthesizer, text: str, language: str) -> Audio | None:
    """The voice's sound, or None where it can't."""
    if voice.voice(language) is None:
        return None
    try:
        return voice.render(text, language)
    except ModelMissing:
        return None


if __name__ == "__main__":
    main()
