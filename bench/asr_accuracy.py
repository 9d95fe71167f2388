"""How well and at what cost the recognizer hears: people's English prompts, Mandarin and English callers, dictated
digits.

    python bench/asr_accuracy.py [--json FILE] [--only NAME ...] [--threads N]

All sound goes through 8 kHz mu-law first. Error rates are words (English), characters (Mandarin) or digits; sentences
right carry n and a 95% Wilson interval. CPU is process time an utterance of this process, on one thread unless told
otherwise. Needs: the package asterisk-core-sounds-en-wav, and ../shared/callers (or TRUNKLINE_SHARED).
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import phone
from numpy.typing import NDArray
from ruamel.yaml import YAML

from gateway.speech.asr_whisper import TAIL, WhisperRecognizer
from gateway.speech.hints import hints
from gateway.speech.language import digits_in, primer, units

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared")
PROMPTS = Path("/usr/share/asterisk/sounds/en")
PROMPT_TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")


@dataclass(frozen=True)
class Clip:
    """`flow`: whose hints apply; `text`: what is said."""

    flow: str
    text: str
    pcm: NDArray[np.int16]


@dataclass(frozen=True)
class Setting:
    """`tail`: mel frames behind the utterance (None: the whole 30 s window); `hinted`: with the flow's words."""

    name: str
    tail: int | None = TAIL
    beam: int = 5
    hinted: bool = False
    retry: bool = True


def prompts(count: int = 80) -> list[Clip]:
    """A fixed random choice of what one speaker says in Asterisk's English prompts, 3 to 20 words, no digits or
    keys.
    """
    with gzip.open(PROMPT_TEXTS, "rt") as lines:
        texts = dict(line.strip().split(": ", 1) for line in lines if ": " in line)
    good = [
        Clip("", text, phone.heard(PROMPTS / f"{name}.wav"))
        for name, text in sorted(texts.items())
        if not name.startswith(";")
        and not re.search(r"[\[\(\d*#]", text)
        and 3 <= len(units(text)) <= 20
        and (PROMPTS / f"{name}.wav").exists()
    ]
    random.Random(8).shuffle(good)
    return good[:count]


def rows(folder: Path) -> Iterator[list[str]]:
    for line in (folder / "index.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        yield line.split("\t")


def callers(language: str) -> list[Clip]:
    """One sentence an intent of both flows."""
    folders = [(flow, SHARED / f"callers/audio/{flow}.{language}") for flow in ("bank", "shop")]
    return [Clip(flow, row[2], phone.heard(folder / row[0])) for flow, folder in folders for row in rows(folder)]


def dictated() -> list[Clip]:
    """Eight digits, said by people."""
    folder = SHARED / "callers/audio/digits"
    return [Clip("digits", row[1], phone.heard(folder / row[0])) for row in rows(folder)]


def flow_hints(flow: str, language: str) -> tuple[str, ...]:
    """What a call gives the recognizer in this flow's menus."""
    path = ROOT / f"ivr_flows/{flow}.yaml"
    intents = YAML(typ="safe").load(path)["intents"] if path.exists() else {}
    said = {
        name: [str(text) for text in held.get("utterances", {}).get(language, [])] for name, held in intents.items()
    }
    return hints(said, language)


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Substitutions, insertions and deletions between two sequences (Levenshtein)."""
    last = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (left != right)))
        last = row
    return last[-1]


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% interval of a rate (Wilson 1927)."""
    z = 1.96
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def measure(
    recognizer: WhisperRecognizer, clips: list[Clip], language: str, setting: Setting, read: Callable[[str], list[str]]
) -> dict[str, Any]:
    """One row of the table."""
    recognizer.beam = setting.beam
    recognizer.tail = setting.tail if setting.tail is not None else 3000
    recognizer.retry = setting.retry
    words = {flow: flow_hints(flow, language) for flow in {clip.flow for clip in clips} if flow in ("bank", "shop")}
    wrong = total = right = 0
    cpu: list[float] = []
    for clip in clips:
        given = (words.get(clip.flow) or primer(language, clip.flow)) if setting.hinted else ()
        stream = recognizer.start(language, given)
        stream.feed(clip.pcm.tobytes())
        began = time.process_time()
        heard = stream.final().text
        cpu.append(time.process_time() - began)
        said, found = read(clip.text), read(heard)
        errors = distance(said, found)
        wrong, total, right = wrong + errors, total + len(said), right + (errors == 0)
    low, high = wilson(right, len(clips))
    return {
        "setting": setting.name,
        "n": len(clips),
        "error_rate": round(wrong / total, 3),
        "units": total,
        "right": right,
        "right_95": [round(low, 3), round(high, 3)],
        "cpu_ms": round(1000 * sum(cpu) / len(cpu)),
        "seconds": round(sum(len(clip.pcm) for clip in clips) / 16000 / len(clips), 2),
    }


def shown(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    low, high = row["right_95"]
    right = f"{row['right']} / {row['n']}"
    return f"{row['setting']:34} {row['error_rate']:>10} {right:>12} {low:>8.2f}-{high:.2f} {row['cpu_ms']:>7}"


PLAIN = (
    Setting("whole window, beam 5", None, retry=False),
    Setting("cut +3 s, beam 5, no second try", 300, retry=False),
    Setting("cut +3 s, beam 5", 300),
    Setting("cut +5 s, beam 5 (in use)"),
    Setting("cut +5 s, beam 1", beam=1),
)
HINTED = (
    Setting("whole window, no hints", None, retry=False),
    Setting("cut +5 s, no hints"),
    Setting("cut +5 s, hints, beam 1", beam=1, hinted=True),
    Setting("cut +5 s, hints (in use)", hinted=True),
    Setting("whole window, hints", None, hinted=True, retry=False),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--json", type=Path, help="write the figures here")
    asked.add_argument("--only", nargs="*", default=["prompts", "zh", "en", "digits"])
    asked.add_argument("--threads", type=int, default=1)
    args = asked.parse_args()
    recognizer = WhisperRecognizer(threads=args.threads)
    sets: dict[str, tuple[str, Callable[[], list[Clip]], tuple[Setting, ...], Callable[[str], list[str]]]] = {
        "prompts": ("en-US", prompts, PLAIN, units),
        "zh": ("zh-CN", lambda: callers("zh-CN"), HINTED, units),
        "en": ("en-US", lambda: callers("en-US"), HINTED, units),
        "digits": ("en-US", dictated, HINTED, lambda text: list(digits_in(text, "en-US"))),
    }
    figures: dict[str, list[dict[str, Any]]] = {}
    for name in args.only:
        language, clips, settings, read = sets[name]
        held = clips()
        print(f"\n{name} ({language}, {len(held)} clips)")
        print(f"{'setting':34} {'error rate':>10} {'all right':>12} {'95%':>14} {'CPU ms':>7}")
        for setting in settings:
            row = measure(recognizer, held, language, setting, read)
            figures.setdefault(name, []).append(row)
            print(shown(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
