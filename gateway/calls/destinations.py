"""Where a conversation may be taken: to a colleague, a queue, a flow's number, or a number outside that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from gateway.flow.dialled import Number
from gateway.flow.model import Flow


@dataclass(frozen=True, slots=True)
class ToAgent:
    agent: str

    def __str__(self) -> str:
        return self.agent


@dataclass(frozen=True, slots=True)
class ToQueue:
    """`flow` has the queue, and the words its callers hear."""

    flow: Flow
    queue: str

    def __str__(self) -> str:
        return f"queue {self.flow.id}.{self.queue}"


@dataclass(frozen=True, slots=True)
class ToNumber:
    """The flow behind a number, from its beginning. `language` None: the caller's own."""

    flow: Flow
    number: str
    language: str | None

    def __str__(self) -> str:
        return self.number


@dataclass(frozen=True, slots=True)
class ToOutside:
    """A number that a trunk takes. `refer`: the URI that the caller's own side is asked to call first, if any."""

    number: str
    refer: str = ""

    def __str__(self) -> str:
        return self.number


Destination = ToAgent | ToQueue | ToNumber | ToOutside


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be reached. `outside` gives the number outside that a dialled one means, None where it may not be
    called."""

    agents: Collection[str]
    flows: Mapping[str, Flow]
    numbers: Mapping[str, Number]
    outside: Callable[[str], str | None] = lambda dialled: None

    def find(self, dialled: str, own: Flow | None = None) -> Destination | None:
        """What a dialled user part means: an agent, a queue of the caller's `own` flow, `flow.queue`, the only queue of
        that name, a number of ours, a number outside. None where it is none of them, or not allowed."""
        if dialled in self.agents:
            return ToAgent(dialled)
        if queue := self.queue(dialled, own):
            return queue
        number = self.numbers.get(dialled)
        if number and number.flow in self.flows:
            return ToNumber(self.flows[number.flow], dialled, number.language)
        outside = self.outside(dialled)
        return ToOutside(outside) if outside else None

    def queue(self, name: str, own: Flow | None = None) -> ToQueue | None:
        """A queue by its name alone or as `flow.queue`."""
        if own and name in own.queues:
            return ToQueue(own, name)
        flow, _, queue = name.rpartition(".")
        if flow in self.flows and queue in self.flows[flow].queues:
            return ToQueue(self.flows[flow], queue)
        holders = [flow for flow in self.flows.values() if name in flow.queues]
        return ToQueue(holders[0], name) if len(holders) == 1 else None
