"""A Say's segments as phrases the prompt store can find or render."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.flow.turn import Segment, Text
from gateway.media.prompts import Phrase
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
