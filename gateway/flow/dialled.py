"""Where a dialled number leads: to which flow, in which language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.errors import ConfigError, Mark
from gateway.flow.fields import Report
from gateway.flow.model import Flow

Dids = Mapping[str, "Number"]
"""Numbers, or their beginnings with a trailing *, and where they lead. `*` alone is any other number."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number callers dial: the flow it leads to and the language spoken there (None: the flow's first). `where`: the
    place in a file that says so, if it is no flow's own."""

    flow: str
    language: str | None = None
    where: Mark | None = field(default=None, compare=False)


def numbers(flows: Iterable[Flow]) -> dict[str, Number]:
    """Which number leads to which flow, in which language. Raises ConfigError where two flows claim one."""
    found: dict[str, Number] = {}
    for flow in flows:
        for number, language in flow.numbers.items():
            if number in found:
                raise ConfigError(f"number {number} leads to two flows", read=f"{found[number].flow} and {flow.id}")
            found[number] = Number(flow.id, language or None)
    return found


def lead(spellings: Sequence[str], flows: Dids, trunk: Dids | None = None) -> Number | None:
    """Where a number, as it is spelled in one or several ways, leads when it comes by a trunk: the trunk's own numbers
    first, the longest beginning that fits; then the flows' numbers; then the trunk's and the flows' `*`."""
    own: Dids = trunk or {}
    exact = [number for dids in (own, flows) for text in spellings if (number := dids.get(text))]
    longest = [number for text in spellings if (number := _longest(text, own))]
    if exact and (not longest or any(text in own for text in spellings)):
        return exact[0]
    return (longest and longest[0]) or own.get("*") or flows.get("*")


def _longest(dialled: str, dids: Dids) -> Number | None:
    """The longest beginning of at least one character."""
    fits = [text for text in dids if len(text) > 1 and text[-1] == "*" and dialled.startswith(text[:-1])]
    return dids[max(fits, key=len)] if fits else None


def check(dids: Iterable[Dids], flows: Mapping[str, Flow], file: str) -> None:
    """Raises Findings where a number leads to a flow that is not served or that does not speak its language."""
    report = Report(ConfigError)
    for each in dids:
        for number in each.values():
            flow = flows.get(number.flow)
            if flow is None:
                report.unknown("flow", number.flow, flows, number.where)
            elif number.language and number.language not in flow.languages:
                report.unknown(f"language of flow {flow.id}:", number.language, flow.languages, number.where)
    report.settle(file)
