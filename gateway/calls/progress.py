"""How long a phone that is called may say nothing."""

from __future__ import annotations

from gateway.sip.dialling import is_number

NO_PROGRESS_S = 4.0
OUTSIDE_PROGRESS_S = 30.0
"""A phone, of an agent or outside, that has not even said it rings by then is taken for gone. A call that goes out
may try several trunks."""


def progress_s(target: str) -> float:
    """Seconds until a phone at `target`, a URI or a number outside, has to ring."""
    return OUTSIDE_PROGRESS_S if is_number(target) else NO_PROGRESS_S
