"""Emergency phrases: found in any utterance, and in partial ones while the caller still speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.flow.model import Flow, Intent
from gateway.flow.templates import expand
from gateway.flow.words import is_mandarin, normal

_EN_GUARD = re.compile(
    r"\b(?:not|never|no|nobody|without|if|unless|in case|(?:is|was|has|have|are|were|do|does|did|ai)n't)"
    r"(?:\s+\w+){0,2}\s*\Z"
)
_ZH_GUARD = re.compile(
    r"(?:没有|没|不是|并未|未|并没有|不会|别|不怕|如果|要是|万一|假如|怕|防止|避免)[\u3400-\u9fff]{0,2}\Z"
)


@lru_cache(maxsize=64)
def _phrases(templates: tuple[str, ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    found: dict[str, re.Pattern[str]] = {}
    for template in templates:
        for sentence in expand(template):
            words = normal(sentence)
            if words:
                edge = "" if is_mandarin(words) else r"\b"
                found[words] = re.compile(edge + re.escape(words) + edge)
    return tuple(found.items())


def phrase_in(text: str, templates: Iterable[str]) -> str | None:
    """The first phrase in the text that is not negated ("not stolen", 没有被盗) nor supposed ("if it was stolen")."""
    text = normal(text)
    for words, pattern in _phrases(tuple(templates)):
        if words not in text:
            continue
        guard = _ZH_GUARD if is_mandarin(words) else _EN_GUARD
        if any(not guard.search(text[: match.start()]) for match in pattern.finditer(text)):
            return words
    return None


def emergency_in(flow: Flow, text: str) -> tuple[Intent, str] | None:
    """The intent whose emergency phrase stands in the text, in any language of the flow, with the phrase."""
    for intent in flow.intents.values():
        for templates in intent.emergency.values():
            phrase = phrase_in(text, templates)
            if phrase:
                return intent, phrase
    return None
