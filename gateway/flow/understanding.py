"""The understanding of every flow a gateway serves, in one object for one worker process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.core.ports import Ranked
from gateway.flow import intents
from gateway.flow.embedding import default_embedder
from gateway.flow.intents import Examples, FlowUnderstanding
from gateway.flow.model import Flow

Lessons = tuple[Mapping[str, Examples], Mapping[str, Sequence[str]]]

_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple|\d+)"
_DICTATED = re.compile(
    rf"\b{_DIGIT}(?:[\s,-]+{_DIGIT}){{2,}}\b|\d{{3,}}|[零〇一二三四五六七八九幺两]{{3,}}", re.IGNORECASE
)


def lessons(flow: Flow, languages: Sequence[str] = ()) -> Lessons:
    """What a flow teaches its models, in the languages named (all of them where none is)."""
    said, unsaid = intents.lessons(flow)
    wanted = languages or flow.languages
    return {tag: said[tag] for tag in wanted}, {tag: unsaid[tag] for tag in wanted}


def without_numbers(text: str) -> str:
    """The sentence without dictated numbers, which say nothing about what is wanted; as it is where nothing is left."""
    rest = " ".join(_DICTATED.sub(" ", text).split())
    return rest if any(c.isalpha() for c in rest) else text


class Understanding:
    """Ranks a sentence by the models of one of several flows."""

    def __init__(self, flows: Mapping[str, FlowUnderstanding]) -> None:
        self.flows = flows

    def rank(self, flow: str, text: str, language: str) -> Ranked:
        """`flow` is a flow's id. Raises ConfigError for a flow or a language that was not loaded."""
        if flow not in self.flows:
            raise ConfigError("no model for this flow", read=flow, expected=", ".join(self.flows))
        return self.flows[flow].rank(without_numbers(text), language)


def serve(flows: Mapping[str, Lessons], cache: str | None = None) -> Understanding:
    """The factory for a worker process; `flows` is {flow id: lessons(flow)}."""
    embedder = default_embedder(Path(cache) if cache else None)
    return Understanding({flow: FlowUnderstanding(said, embedder, unsaid) for flow, (said, unsaid) in flows.items()})
