"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One examined thing. An `optional` one that is missing does not make the doctor say no."""

    what: str
    ok: bool
    found: str
    optional: bool = False
