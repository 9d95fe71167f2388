"""What actions answer: tables kept in the flow, and how returned values are spoken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from gateway.flow.model import Action, Result
from gateway.flow.turn import ActionDone, Segment, Text, Value

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")


def look_up(action: Action, slots: Mapping[str, str]) -> ActionDone:
    """The answer of an action that is a table; for any other action, or an unknown value, one with `error`."""
    if action.table is None:
        return ActionDone(action.id, error="not a table")
    row = action.table.rows.get(slots.get(action.table.by or "", ""), action.table.other)
    return ActionDone(action.id, error="nothing found") if row is None else ActionDone(action.id, dict(row))


def spoken(action: Action, result: Mapping[str, str], language: str) -> dict[str, Segment]:
    """How each value an action returned is spoken in a language. Values the flow does not describe are left out."""
    return {
        name: segment(kind, result[name], language)
        for name, kind in action.returns.items()
        if result.get(name) is not None
    }


def segment(kind: Result, value: str, language: str) -> Segment:
    """One value; one that does not fit its kind (a date that is none) is spoken as plain text."""
    if kind.kind == "word":
        return Text(kind.words.get(value, {}).get(language, value))
    if kind.kind == "amount" and _NUMBER.match(value):
        return Value("amount", f"{float(value):.2f}", kind.currency)
    fits = {"number": bool(_NUMBER.match(value)), "ordinal": value.isdecimal(), "digits": value.isalnum()}
    if kind.kind == "date":
        fits["date"] = _is_date(value)
    return Value(kind.kind if fits.get(kind.kind) else "text", value)


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
