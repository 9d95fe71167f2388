"""The understanding of every flow a gateway serves, in one object for one worker process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.core.ports import Ranked
from gateway.flow.embedding import default_embedder
from gateway.flow.intents import Examples, FlowUnderstanding
from gateway.flow.model import Flow
from gateway.flow.templates import expand


def examples(flow: Flow) -> dict[str, dict[str, list[tuple[str, ...]]]]:
    """{language: {intent: [the variants of each utterance template]}}: what an intent model learns from."""
    return {
        language: {
            intent.id: [tuple(expand(template)) for template in intent.utterances.get(language, ())]
            for intent in flow.intents.values()
        }
        for language in flow.languages
    }


class Understanding:
    """Ranks a sentence by the models of one of several flows."""

    def __init__(self, flows: Mapping[str, FlowUnderstanding]) -> None:
        self.flows = flows

    def rank(self, flow: str, text: str, language: str) -> Ranked:
        """`flow` is a flow's id. Raises ConfigError for a flow that was not loaded."""
        if flow not in self.flows:
            raise ConfigError("no model for this flow", read=flow, expected=", ".join(self.flows))
        return self.flows[flow].rank(text, language)


def serve(flows: Mapping[str, Mapping[str, Examples]], cache: str | None = None) -> Understanding:
    """The factory for a worker process; `flows` is {flow id: examples(flow)}."""
    embedder = default_embedder(Path(cache) if cache else None)
    return Understanding({flow: FlowUnderstanding(of_flow, embedder) for flow, of_flow in flows.items()})
