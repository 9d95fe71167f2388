"""`trunkline understand`: sentences in, what the flow would make of them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gateway.core.ports import Ranked
from gateway.flow.bands import band

LONGEST = 1000
"""Characters of a line that are looked at: nobody says more in one turn."""


def understand(
    lines: Iterable[str], rank: Callable[[str], Ranked], thresholds: tuple[float, float, float]
) -> Iterator[dict[str, Any]]:
    """One dict a line that holds words: text, intent, score, band, runner_up. `thresholds`: accept, confirm, margin.

    `intent` is the best one also where the band is reject: the flow would ask again then.
    """
    for line in lines:
        text = line.strip()[:LONGEST]
        if not text:
            continue
        ranked = rank(text)
        intent, score = ranked.best
        yield {
            "text": text,
            "intent": intent,
            "score": score,
            "band": band(ranked, *thresholds),
            "runner_up": ranked.runner_up[0],
        }
