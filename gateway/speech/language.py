"""What differs between languages in hearing: how text is tidied, counted in units, and how dictated digits are read."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from gateway.core.errors import ModelMissing

ENGLISH_DIGITS = {
    **dict(
        zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], "0123456789", strict=True)
    ),
    **{"oh": "0", "o": "0", "to": "2", "too": "2", "for": "4", "ate": "8"},
}
MANDARIN_DIGITS = dict(zip("零一二三四五六七八九〇幺么两", "01234567890112", strict=True))
HAN = re.compile(r"[\u3400-\u9fff]")
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’][^\W_]+)*")


def base(language: str) -> str:
    """The primary subtag of a BCP 47 tag: zh of zh-CN."""
    return language.split("-")[0].lower()


def tidy(text: str, language: str) -> str:
    """Recognized text as it is kept: NFKC (full-width digits become ASCII), one space, Mandarin in simplified
    characters.
    """
    # NFKC would turn Mandarin punctuation into ASCII: only letters and digits are folded.
    folded = "".join(unicodedata.normalize("NFKC", c) if c.isalnum() else c for c in text)
    folded = " ".join(folded.split())
    if base(language) == "zh":
        folded = simplifier().convert(folded)
        folded = re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", folded)
    return folded


@cache
def simplifier() -> Any:
    """OpenCC's traditional to simplified conversion. Raises ModelMissing."""
    try:
        import opencc
    except ImportError:
        raise ModelMissing(
            "the package opencc, which Mandarin recognition needs, is not installed", do="pip install opencc"
        ) from None
    return opencc.OpenCC("t2s")


def units(text: str) -> list[str]:
    """What a length is counted in: characters of Mandarin, words of other languages, without punctuation, in lower
    case.
    """
    return WORD.findall(text.lower())


def digits_in(text: str, language: str) -> str:
    """The digits dictated in `text`, one after the other: "8 2 four" is 824; other words are passed over.

    >>> digits_in("it's 8-2 four, double five", "en-US")
    '82455'
    """
    mandarin = base(language) == "zh"
    found: list[str] = []
    times = 1
    for unit in units(text.replace("-", " ")):
        if unit.isdecimal():
            digits = unit
        elif mandarin:
            digits = MANDARIN_DIGITS.get(unit, "")
        else:
            digits = ENGLISH_DIGITS.get(unit, "")
        if unit in ("double", "triple"):
            times = 2 if unit == "double" else 3
        elif digits:
            found.append(digits[0] * (times - 1) + digits)
            times = 1
    return "".join(found)


def common(a: list[str], b: list[str]) -> int:
    """How many units two decodings have in common at their beginning."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def beginning(text: str, count: int) -> str:
    """The part of `text` that holds its first `count` units."""
    end = 0
    for number, unit in enumerate(WORD.finditer(text), 1):
        if number > count:
            break
        end = unit.end()
    return text[:end]


class Agreement:
    """The beginning of an utterance that two decodings in a row agree on (local agreement); it only grows."""

    def __init__(self) -> None:
        self._last: list[str] = []
        self._settled = 0

    def update(self, text: str) -> str | None:
        """Take the next decoding; what is settled now, or None when that is no more than before."""
        now = units(text)
        agreed = common(self._last, now)
        self._last = now
        if agreed <= self._settled:
            return None
        self._settled = agreed
        return beginning(text, agreed)


PRIMERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("en", "digits"): ("The number is 4-7-0-9-3-1-6-8",),
    ("zh", "digits"): ("号码是4 7 0 9 3 1 6 8",),
}
"""Words as if said before, by language and what is expected: they make the recognizer write digits one by one."""


def primer(language: str, expect: str) -> tuple[str, ...]:
    """Hints to use where the flow gives none."""
    return PRIMERS.get((base(language), expect), ())
