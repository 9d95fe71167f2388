"""Words to expect, chosen from what callers may say: a recognizer that takes hints makes fewer mistakes on them. Pure.

Whisper reads hints as text that came before, so they must be few (its prompt holds some 200 tokens) and telling: parts
of utterances that many sentences of one intent share and other intents do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.speech.language import base, units

LONGEST = {"zh": 4}
"""Units a hint has at most: characters of Mandarin; other languages two words."""
STOP = frozenset(
    units(
        """
        a an the i you we they he she it is are was were be am do does did to of for on in at my me your our can could
        would like want need please with this that and or so just have has had get got what how when where who which
        there here up out if not no don't can't i'm i'd it's will know tell say about from by any some one
        """
    )
)
STOP_HAN = frozenset("我你您他她们的了吗呢吧啊嗯是在有要想请帮给把被就都还也不没这那个一下么什怎")


def hints(utterances: Mapping[str, Sequence[str]], language: str, limit: int = 40) -> tuple[str, ...]:
    """At most `limit` words or short phrases out of `utterances` (intent -> sentences), the most telling of every
    intent.
    """
    longest = LONGEST.get(base(language), 2)
    counts = {intent: phrases(sentences, longest) for intent, sentences in utterances.items()}
    everywhere = sum(counts.values(), Counter[tuple[str, ...]]())
    ranked = [best(held, everywhere) for held in counts.values()]
    chosen: dict[str, None] = {}
    joint = "" if base(language) == "zh" else " "
    for rank in range(max(map(len, ranked), default=0)):
        for phrase in (held[rank] for held in ranked if rank < len(held)):
            said = joint.join(phrase)
            if len(chosen) < limit and not any(said in other for other in chosen):
                chosen[said] = None
    return tuple(chosen)


def phrases(sentences: Sequence[str], longest: int) -> Counter[tuple[str, ...]]:
    """In how many sentences each run of telling units occurs."""
    found: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        said = units(sentence)
        spans = (said[at : at + size] for size in range(1, longest + 1) for at in range(len(said) - size + 1))
        found.update({tuple(span) for span in spans if telling(span)})
    return found


def telling(span: Sequence[str]) -> bool:
    """Whether a run of units says what a caller wants."""
    if any(unit in STOP or unit in STOP_HAN or unit.isdecimal() for unit in span):
        return False
    return len(span) > 1 or len(span[0]) > 2


def best(counts: Counter[tuple[str, ...]], everywhere: Counter[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Phrases of one intent, best first: said often here and seldom elsewhere, longer ones before their parts."""

    def worth(phrase: tuple[str, ...]) -> float:
        here = counts[phrase]
        return here * here / everywhere[phrase] * (0.5 + 0.5 * len(phrase))

    return sorted(
        (phrase for phrase, count in counts.items() if count >= 2), key=lambda phrase: (-worth(phrase), phrase)
    )
