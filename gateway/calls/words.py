"""Between the flow's words and the voices and recognizers: what is spoken for a Say, and what callers may say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.flow.intents import lessons
from gateway.flow.model import Flow
from gateway.flow.turn import Segment, Text
from gateway.media.prompts import Phrase
from gateway.speech.hints import hints
from gateway.speech.tts_words import spoken


def phrases(segments: Sequence[Segment], language: str) -> list[Phrase]:
    """Fixed words as they are; values as words, rendered live.

    A Mandarin sentence is put together from recorded fragments and number pieces. Elsewhere a sentence that holds a
    value is rendered whole, so that it keeps its melody.
    """
    parts = [
        Phrase(s.text) if isinstance(s, Text) else Phrase(spoken(s.kind, s.value, language, currency=s.currency), True)
        for s in segments
    ]
    if language.startswith("zh") or not any(p.live for p in parts):
        return parts
    return [Phrase("".join(p.text for p in parts), True)]


def expected(flows: Iterable[Flow], language: str) -> tuple[str, ...]:
    """Words a recognizer may expect from callers of these flows, out of the flows' own utterances."""
    sentences = {
        f"{flow.id}.{intent}": [sentence for variants in said for sentence in variants]
        for flow in flows
        if language in flow.languages
        for intent, said in lessons(flow)[0][language].items()
    }
    return hints(sentences, language) if sentences else ()
