"""What the flows that are loaded serve: their numbers and their queues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.calls.carry import routing_queue
from gateway.core.errors import ConfigError
from gateway.flow.model import Flow
from gateway.routing import model as routing


@dataclass(frozen=True, slots=True)
class Number:
    """A number callers dial: the flow it leads to and the language spoken there (None: the flow's first)."""

    flow: str
    language: str | None = None


def by_id(flows: Iterable[Flow]) -> dict[str, Flow]:
    """Raises ConfigError where two have the same id."""
    found: dict[str, Flow] = {}
    for flow in flows:
        if flow.id in found:
            raise ConfigError("two flows have the same id", read=flow.id, do=f"give {flow.file} an id of its own")
        found[flow.id] = flow
    return found


def numbers(flows: Iterable[Flow]) -> dict[str, Number]:
    """Which number leads to which flow, in which language. Raises ConfigError where two flows claim one."""
    found: dict[str, Number] = {}
    for flow in flows:
        for number, language in flow.numbers.items():
            if number in found:
                raise ConfigError(f"number {number} leads to two flows", read=f"{found[number].flow} and {flow.id}")
            found[number] = Number(flow.id, language or None)
    return found


def queues(flows: Iterable[Flow]) -> list[routing.Queue]:
    """The flows' queues as routing knows them."""
    return [
        routing.Queue(routing_queue(f, q.id), dict(q.skills), q.priority, q.ring_s, q.announce_s, q.wrap_up_s)
        for f in flows
        for q in f.queues.values()
    ]
