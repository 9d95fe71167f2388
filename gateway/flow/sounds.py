"""How words sound: the same text, and words a recognizer confuses with them, give the same or nearly the same keys.

Mandarin becomes pinyin without tones, with the sounds merged that speakers and recognizers confuse (zh/z, ch/c, sh/s,
n/l, -ng/-n). English becomes consonant classes with marked vowels, after the idea of Metaphone (Philips, 1990) in a
much smaller table.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import cast

from gateway.core.errors import ModelMissing

_HAN = re.compile(r"[\u3400-\u9fff]")
_NOT_WORD = re.compile(r"[^\w ]+|_")
_DIGITS = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")

_FILLERS = {
    "en": re.compile(r"\b(?:um+|uh+|erm?|hmm+|mm+|well|please|hello|hey|hi there|hi|okay|yeah|so|yes)\b"),
    "zh": re.compile(
        r"^(?:喂|你好|您好|嗯|呃|额|啊|哦|那个|就是|请问一下|请问|麻烦你|麻烦您|麻烦)+|(?:嗯|呃|啊|呀|吧|呢|谢谢)+$"
    ),
}

_PINYIN_MERGED = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("ng", "n"))

# First match wins; the groups of letters stand for one sound class each. Vowels inside a word become a single "a".
_ENGLISH_SOUNDS = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^(?:kn|gn|pn)", "n"),
        (r"^wr", "r"),
        (r"tch|ch|sh|ti(?=on|a)|ci(?=a)|ssi(?=on)|j|dg(?=e)|ge\b|g(?=[eiy])", "x"),
        (r"ph|f|v", "f"),
        (r"gh(?=t)|gh\b", ""),
        (r"ck|qu|x|q|c(?![eiy])|k|g", "k"),
        (r"th|[td]", "t"),
        (r"c|s|z", "s"),
        (r"[bp]", "p"),
        (r"wh|w", "w"),
        (r"[mn]", "n"),
        (r"(?<=[^aeiouy])e\b", ""),
        (r"[aeiouy]+", "a"),
        (r"h", ""),
    )
)
_REPEATED = re.compile(r"(.)\1+")


def plain(text: str, language: str) -> str:
    """Text without case and punctuation, numbers as a single 0. Mandarin loses its spaces, English keeps one a word."""
    lowered = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("’", "")
    spaced = _SPACES.sub(" ", _NOT_WORD.sub(" ", lowered)).strip()
    return _DIGITS.sub("0", spaced.replace(" ", "") if language.startswith("zh") else spaced)


def content(text: str, language: str) -> str:
    """Plain text without greetings, hesitations and politeness; empty when nothing else was said."""
    stripped = _FILLERS["zh" if language.startswith("zh") else "en"].sub(" ", plain(text, language))
    return _SPACES.sub(" ", stripped).strip()


@functools.lru_cache(maxsize=1)
def _lazy_pinyin() -> Callable[[str], list[str]]:
    try:
        from pypinyin import lazy_pinyin
    except ImportError as missing:
        raise ModelMissing("Mandarin can't be matched on sound.", do="pip install pypinyin") from missing
    return cast("Callable[[str], list[str]]", lazy_pinyin)


@functools.lru_cache(maxsize=16384)
def _syllable(pinyin: str) -> str:
    for spelled, merged in _PINYIN_MERGED:
        pinyin = pinyin.replace(spelled, merged)
    return "l" + pinyin[1:] if pinyin.startswith("n") and len(pinyin) > 1 else pinyin


def syllables(text: str) -> list[str]:
    """Merged pinyin, one a character, of a text of Chinese characters only; an empty list for any other text."""
    keys = list(pinyin_keys(text))
    return keys if len(keys) == len(text) and all(_HAN.match(c) for c in text) else []


@functools.lru_cache(maxsize=8192)
def pinyin_keys(text: str) -> tuple[str, ...]:
    """One key a Mandarin syllable, and one a run of other letters, of plain text."""
    return tuple(_syllable(p) for p in _lazy_pinyin()(text))


@functools.lru_cache(maxsize=16384)
def _word_key(word: str) -> str:
    out, i = [], 0
    while i < len(word):
        for pattern, sound in _ENGLISH_SOUNDS:
            found = pattern.match(word, i)
            if found and found.end() > i:
                out.append(sound)
                i = found.end()
                break
        else:
            out.append(word[i])
            i += 1
    return _REPEATED.sub(r"\1", "".join(out))


def word_keys(text: str) -> list[str]:
    """One key an English word of plain text."""
    return [_word_key(word) for word in text.split()]


def sound(text: str, language: str) -> str:
    """How a sentence sounds, as keys between spaces: equal for homophones, so that phrases can be found by ear."""
    said = plain(text, language)
    mandarin = language.startswith("zh") or _HAN.search(said)
    return " ".join(pinyin_keys(said) if mandarin else word_keys(said))
