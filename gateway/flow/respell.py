"""Mandarin that a recognizer wrote with the wrong characters, written again with the flow's own words.

"查一下语恶" sounds like "查一下余额", which this flow knows: runs of two to six characters that nobody says are
replaced by the flow's run that sounds most like them. Sounds are compared by initial and final, tones are not.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gateway.flow.sounds import plain, syllables

_LONGEST = 6
_ALLOWED = {2: 0.16, 3: 0.16, 4: 0.18, 5: 0.20, 6: 0.20}
"""The mean cost a character up to which a run of so many characters is taken for a misheard one."""
_TELLING = 4
"""A run of so many characters is worth knowing when one example holds it; a shorter one when two do."""
_FAR = 1.0

_INITIALS = "bpmfdtnlgkhjqxrzcswy"
_NEAR_INITIALS = ("bp", "dt", "gk", "jq", "zc", "nl", "fh", "xs", "jz", "qc", "rl", "hg", "hk", "mn", "wh", "fb", "sc")
_NEAR_FINALS = (
    ("an", "en", "ai"),
    ("ian", "in", "ie", "an"),
    ("uan", "an", "un", "ua"),
    ("uo", "u", "e", "o", "ou"),
    ("ai", "ei", "e", "uai"),
    ("ao", "ou", "iao", "a"),
    ("i", "v", "e", "ei", "in"),
    ("u", "v", "iu", "ou"),
    ("ia", "a", "ua"),
    ("ui", "ei", "i"),
    ("un", "en", "on", "in"),
    ("ion", "on", "in"),
)


def _split(syllable: str) -> tuple[str, str]:
    head, tail = syllable[:1], syllable[1:]
    if not tail or head not in _INITIALS:
        return "", syllable
    return head, "v" + tail[1:] if head in "jqxy" and tail.startswith("u") else tail


@functools.lru_cache(maxsize=200_000)
def sound_cost(one: str, other: str) -> float:
    """0 for the same merged syllable, about 0.3 for one confusable sound, 1 for different syllables."""
    if one == other:
        return 0.0
    (head, tail), (head2, tail2) = _split(one), _split(other)
    near = head and head2 and any(head in pair and head2 in pair for pair in _NEAR_INITIALS)
    begin = 0.0 if head == head2 else 0.35 if near else 0.6
    end = 0.0 if tail == tail2 else 0.3 if any(tail in g and tail2 in g for g in _NEAR_FINALS) else 0.7
    return min(_FAR, begin + end)


class Respelling:
    """Fitted to a flow's examples; `known` are other sentences whose runs of characters are left alone."""

    def __init__(self, examples: Iterable[Sequence[str]], known: Iterable[str]) -> None:
        seen: Counter[str] = Counter()
        keys: dict[str, list[str]] = {}
        for variants in examples:
            held = [_runs(plain(text, "zh")) for text in variants]
            seen.update(set().union(*held))
            keys.update(pair for runs in held for pair in runs.items())
        self._said = set(seen).union(*(_runs(plain(text, "zh")) for text in known))
        self._ids: dict[str, int] = {}
        self._tables: dict[int, tuple[list[str], NDArray[np.int64], NDArray[np.float64]]] = {}
        for length in range(2, _LONGEST + 1):
            often = 2 if length < _TELLING else 1
            words = sorted(run for run, count in seen.items() if len(run) == length and count >= often and keys[run])
            if words:
                ids = np.array([[self._id(syllable) for syllable in keys[word]] for word in words])
                self._tables[length] = (words, ids, np.log1p([seen[word] for word in words]))
        self._sounds = list(self._ids)

    def _id(self, syllable: str) -> int:
        return self._ids.setdefault(syllable, len(self._ids))

    def __call__(self, text: str) -> str:
        """`text` must be plain; what can't be compared character by character comes back as it is."""
        keys = syllables(text)
        if len(keys) != len(text) or len(text) < 2:
            return text
        costs = np.array([[sound_cost(key, sound) for sound in self._sounds] for key in keys])
        found: list[tuple[float, int, str]] = []
        for length, (words, ids, bonus) in self._tables.items():
            for at in range(len(text) - length + 1):
                if text[at : at + length] in self._said:
                    continue
                cost = costs[at + np.arange(length), ids].mean(axis=1)
                best = int(np.argmin(cost - 0.01 * bonus))
                if cost[best] <= _ALLOWED[length]:
                    found.append((cost[best] * 2 - 0.1 * length, at, words[best]))
        out = list(text)
        taken: set[int] = set()
        for _, at, word in sorted(found):
            span = range(at, at + len(word))
            if not taken.intersection(span):
                taken.update(span)
                out[at : at + len(word)] = word
        return "".join(out)


def _runs(text: str) -> dict[str, list[str]]:
    """Every run of two to six characters with its syllables (none where it holds other letters)."""
    spoken = syllables(text)
    spans = [(i, j) for i, j in combinations(range(len(text) + 1), 2) if 2 <= j - i <= _LONGEST]
    return {text[i:j]: spoken[i:j] for i, j in spans}
