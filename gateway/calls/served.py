"""What the flows that are loaded serve: each by its id, and their queues."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.calls.carry import routing_queue
from gateway.core.errors import ConfigError
from gateway.flow.model import Flow
from gateway.routing import model as routing


def by_id(flows: Iterable[Flow]) -> dict[str, Flow]:
    """Raises ConfigError where two have the same id."""
    found: dict[str, Flow] = {}
    for flow in flows:
        if flow.id in found:
            raise ConfigError("two flows have the same id", read=flow.id, do=f"give {flow.file} an id of its own")
        found[flow.id] = flow
    return found


def queues(flows: Iterable[Flow]) -> list[routing.Queue]:
    """The flows' queues as routing knows them."""
    return [
        routing.Queue(routing_queue(f, q.id), dict(q.skills), q.priority, q.ring_s, q.announce_s, q.wrap_up_s)
        for f in flows
        for q in f.queues.values()
    ]
