"""The three bands of confidence a flow acts on (design, section 9)."""

from __future__ import annotations

from typing import Literal

from gateway.core.ports import Ranked

Band = Literal["accept", "confirm", "reject"]


def band(ranked: Ranked, accept: float, confirm: float, margin: float) -> Band:
    """What to do with a ranking: act on it, ask the caller to confirm the best one, or ask again.

    The best intent is accepted when its probability reaches `accept` and leads the runner-up by `margin`; it is worth a
    confirming question from `confirm` on. All three are 0..1. An empty ranking is rejected.
    """
    _, score = ranked.best
    if not ranked.scores or score < confirm:
        return "reject"
    _, second = ranked.runner_up
    return "accept" if score >= accept and score - second >= margin else "confirm"
