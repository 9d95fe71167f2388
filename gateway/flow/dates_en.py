"""English dates as callers say them, relative to a given day.

Weeks start on Monday; a day that has passed means the next one.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta

from gateway.flow.numbers_en import number

MAX_AHEAD = 4000
"""Units of time a caller can sensibly mean."""

HOLIDAYS = {"christmas eve": (12, 24), "christmas": (12, 25), "new year's eve": (12, 31), "new year's": (1, 1)}
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30,
}  # fmt: skip
_TEENS = "eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_UNITS = "one|two|three|four|five|six|seven|eight|nine"
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ORDINAL = (
    r"(?P<day>(?:twenty|thirty)[ -](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|"
    + "|".join(sorted(_ORDINALS, key=len, reverse=True))
    + r"|[0-9]{1,2}(?:st|nd|rd|th)"
)
_CARDINAL = rf"|(?:twenty|thirty)[ -](?:{_UNITS})|twenty|thirty|{_TEENS}|ten|{_UNITS}|[0-9]{{1,2}}(?![0-9])"
_YEAR = r"(?:\s+(?P<year>20[0-9]{2}|twenty twenty[ -](?:six|seven|eight|nine)))?"
_MONTH_DAY = re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_ORDINAL}{_CARDINAL})\b{_YEAR}")
_DAY_MONTH = re.compile(rf"\b(?:the\s+)?{_ORDINAL}{_CARDINAL})\s+(?:day\s+)?(?:of\s+)?{_MONTH}\b{_YEAR}")
_DAY_NEXT_MONTH = re.compile(rf"\b(?:the\s+)?{_ORDINAL})\s+(?:of\s+)?(?P<which>next|this)\s+month\b")
_NEXT_MONTH_DAY = re.compile(rf"\b(?P<which>next|this)\s+month\s+(?:on\s+)?(?:the\s+)?{_ORDINAL})\b")
_DAY = re.compile(rf"\bthe\s+{_ORDINAL})(?!\s+(?:one|time|floor))\b")
_ONLY = re.compile(rf"{_ORDINAL})\Z")
_WEEKDAY = re.compile(
    rf"\b(?:(?P<which>this|next|last|coming)\s+)?(?P<weekday>{'|'.join(DAYS)})s?\b"
    r"(?P<later>\s+(?:(?:of\s+)?next week|after next|week))?"
)
_AHEAD = re.compile(
    r"\b(?:in\s+)?(?P<count>(?:[a-z0-9]+\s+){1,3}?)(?P<unit>day|week|month|fortnight)s?(?:'s)?(?:\s+time)?"
    r"(?P<from>\s+from\s+(?:now|today|tomorrow)|\s+later|\s+ago)?\b"
)
_ISO = re.compile(r"\b(20[0-9]{2})[ /-]([0-9]{1,2})[ /-]([0-9]{1,2})\b")
_SLASHED = re.compile(r"\b([0-9]{1,2})[ /]([0-9]{1,2})(?:[ /](20[0-9]{2}))?\b")


def find(text: str, today: date) -> date | None:
    """The day a sentence names, or None. `text` is normalised (lower case, no punctuation)."""
    for reader in (_iso, _named_days, _with_month, _month_relative, _weekday, _ahead, _weekend, _day_alone, _slashed):
        found = reader(text, today)
        if found is not None:
            return found
    return None


def make(year: int, month: int, day: int) -> date | None:
    """The date, or None where the calendar has none."""
    try:
        return date(year, month, day)
    except ValueError:
        return None


def upcoming(today: date, month: int, day: int, year: int | None = None) -> date | None:
    """This day of the year when it is still to come, else next year's."""
    if year:
        return make(year, month, day)
    for candidate_year in range(today.year, today.year + 9):
        found = make(candidate_year, month, day)
        if found is not None and found >= today:
            return found
    return None


def months_on(day: date, months: int) -> date:
    """The same day so many months later, or the month's last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _iso(text: str, today: date) -> date | None:
    match = _ISO.search(text)
    return make(int(match[1]), int(match[2]), int(match[3])) if match else None


def _named_days(text: str, today: date) -> date | None:
    for phrase, days in (
        ("day after tomorrow", 2), ("day before yesterday", -2), ("tomorrow", 1), ("tonight", 0), ("today", 0),
        ("this morning", 0), ("this afternoon", 0), ("this evening", 0), ("right now", 0), ("yesterday", -1),
    ):  # fmt: skip
        match = re.search(rf"\b{phrase}\b", text)
        if match and not re.search(r"from \Z", text[: match.start()]):
            return today + timedelta(days)
    for holiday, (month, day) in HOLIDAYS.items():
        if re.search(rf"\b{holiday}\b", text):
            return upcoming(today, month, day)
    if re.search(r"\bend of (?:the|this) month\b", text):
        return today.replace(day=monthrange(today.year, today.month)[1])
    return None


def _with_month(text: str, today: date) -> date | None:
    for match in [*_MONTH_DAY.finditer(text), *_DAY_MONTH.finditer(text)]:
        month = next(i for i, name in enumerate(MONTHS, 1) if name.startswith(match["month"][:3]))
        day, year = ordinal(match["day"]), _year(match["year"])
        if day:
            return upcoming(today, month, day, year)
    return None


def _year(text: str | None) -> int | None:
    if not text:
        return None
    return (
        int(text)
        if text.isdigit()
        else 2020 + {"six": 6, "seven": 7, "eight": 8, "nine": 9}[re.split("[ -]", text)[-1]]
    )


def _month_relative(text: str, today: date) -> date | None:
    match = _DAY_NEXT_MONTH.search(text) or _NEXT_MONTH_DAY.search(text)
    if not match:
        return None
    first = months_on(today.replace(day=1), 1 if match["which"] == "next" else 0)
    return make(first.year, first.month, ordinal(match["day"]) or 0)


def _weekday(text: str, today: date) -> date | None:
    match = _WEEKDAY.search(text)
    if not match:
        return None
    monday = today - timedelta(today.weekday())
    index, which, later = DAYS.index(match["weekday"]), match["which"], (match["later"] or "").strip()
    before = text[: match.start()]
    if which == "last":
        found = monday + timedelta(index)
        return found if found < today else found - timedelta(7)
    if which == "next" or later.endswith("next week") or re.search(r"\bnext week(?: on)?\s*\Z", before):
        return monday + timedelta(7 + index)
    if later in ("after next", "week"):
        return monday + timedelta(14 + index) if later == "after next" else _strictly_after(today, index) + timedelta(7)
    if which == "this":
        return monday + timedelta(index)
    return _strictly_after(today, index)


def _strictly_after(today: date, weekday: int) -> date:
    return today + timedelta((weekday - today.weekday() - 1) % 7 + 1)


def _ahead(text: str, today: date) -> date | None:
    for match in _AHEAD.finditer(text):
        lead, origin = match.group().startswith("in "), (match["from"] or "").strip()
        if not lead and not origin:
            continue
        words = match["count"].split()
        while words and words[0] == "in":
            words = words[1:]
        count = (
            1 if words in (["a"], ["one"], ["an"]) else 2 if words in (["a", "couple", "of"], ["a", "couple"]) else None
        )
        if count is None:
            value = number(words)
            if value is None or value[1] != len(words):
                continue
            count = min(int(value[0]), MAX_AHEAD)
        count = -count if origin == "ago" else count
        base = today + timedelta(1 if origin.endswith("tomorrow") else 0)
        if match["unit"] == "month":
            return months_on(base, count)
        return base + timedelta(count * {"day": 1, "week": 7, "fortnight": 14}[match["unit"]])
    return None


def _weekend(text: str, today: date) -> date | None:
    match = re.search(r"\b(?:(this|next|the)\s+)?weekend\b", text)
    if not match:
        return None
    monday = today - timedelta(today.weekday())
    return monday + timedelta(5 + (7 if match[1] == "next" else 0))


def _day_alone(text: str, today: date) -> date | None:
    match = _DAY.search(text) or _ONLY.match(text)
    day = ordinal(match["day"]) if match else None
    if not day:
        return None
    first = today.replace(day=1)
    for months in range(0, 3):
        month = months_on(first, months)
        found = make(month.year, month.month, day)
        if found is not None and found >= today:
            return found
    return None


def _slashed(text: str, today: date) -> date | None:
    match = _SLASHED.search(text)
    if not match:
        return None
    return (
        upcoming(today, int(match[1]), int(match[2]), int(match[3]) if match[3] else None)
        if 1 <= int(match[1]) <= 12
        else None
    )


def ordinal(text: str) -> int | None:
    """1..31 of `third`, `3rd`, `twenty first`, `twenty one` or `3`; None for anything else."""
    match = re.match(r"[0-9]+", text)
    if match:
        value = int(match.group())
        return value if 1 <= value <= 31 else None
    words = re.split("[ -]", text)
    if words[-1] in _ORDINALS:
        total = _ORDINALS[words[-1]] + ({"twenty": 20, "thirty": 30}[words[0]] if len(words) > 1 else 0)
    else:
        spelled = number(words)
        total = int(spelled[0]) if spelled else 0
    return total if 1 <= total <= 31 else None
