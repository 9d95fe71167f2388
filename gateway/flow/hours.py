"""Opening hours. Pure: the instant is an argument."""

from __future__ import annotations

import re
from datetime import datetime

from gateway.flow.model import Hours

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})\Z")


def is_open(hours: Hours, utc: datetime) -> bool:
    """Whether the place is open at an aware instant. A holiday is closed all day, in the place's own time zone."""
    local = utc.astimezone(hours.tz)
    minute = local.hour * 60 + local.minute
    if local.date() in hours.holidays:
        return False
    return any(start <= minute < end for start, end in hours.week[local.weekday()])


def days_of(text: str) -> list[int] | None:
    """Weekdays (Monday is 0) of `mon`, `mon-fri` or `fri-mon` (over the weekend); None when it can't be read."""
    first, _, last = text.strip().lower().partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        return None
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [(begin + i) % 7 for i in range((end - begin) % 7 + 1)]


def spans_of(text: str) -> list[tuple[int, int]] | None:
    """Minutes (from, to) of `09:00-12:00, 13:00-18:00`; an empty list for `closed`; None when it can't be read."""
    if text.strip().lower() == "closed":
        return []
    spans = []
    for part in text.split(","):
        match = _SPAN.match(part.strip())
        if not match:
            return None
        begin, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if int(match[2]) > 59 or int(match[4]) > 59 or not begin < end <= 24 * 60:
            return None
        spans.append((begin, end))
    return spans
