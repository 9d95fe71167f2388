"""Mandarin dates as callers say them, relative to a given day.

Weeks start on Monday; a day that has passed means the next one.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta

from gateway.flow.dates_en import MAX_AHEAD, make, months_on, upcoming
from gateway.flow.numbers_zh import number

_N = r"[零〇一二两三四五六七八九十0-9]+"
_NAMED = {
    "大后天": 3, "大前天": -3, "后天": 2, "前天": -2, "昨天": -1, "昨晚": -1,
    **dict.fromkeys(("明天", "明儿", "明日", "明早", "明晚"), 1),
    **dict.fromkeys(("今天", "今儿", "今日", "今早", "今晚"), 0),
}  # fmt: skip
_NAMED_DAY = re.compile("|".join(_NAMED))
_HOLIDAYS = {"平安夜": (12, 24), "圣诞": (12, 25), "元旦": (1, 1), "劳动节": (5, 1), "国庆": (10, 1)}
_FULL = re.compile(
    r"(?P<year>20[0-9]{2}年?|[零〇一二三四五六七八九]{2,4}年|明年|今年|后年)?"
    rf"(?P<month>{_N})月(?:份)?(?P<day>{_N})(?:号|日)?"
)
_ISO = re.compile(r"(20[0-9]{2})[ /\-.]([0-9]{1,2})[ /\-.]([0-9]{1,2})")
_MONTH = re.compile(rf"(?P<which>下下个?|下个?|这个?|本)月(?:的)?(?P<day>{_N})(?:号|日)?")
_WEEKDAY = re.compile(r"(?P<which>下下个?|下个?|这个?|本|上个?)?(?:周|星期|礼拜)(?P<day>[一二三四五六日天1-7末])")
_AHEAD = re.compile(rf"(?P<count>{_N}|半)(?P<unit>天|周|个?星期|个?礼拜|个?月)(?P<way>之?后|以后|过后|之?前|以前)")
_PAST = re.compile(rf"(?:再)?过(?P<count>{_N})(?P<unit>天|周|个?星期|个?礼拜|个?月)")
_DAY = re.compile(rf"(?<![月0-9])(?P<day>{_N})(?:号|日)(?!线|楼|店|门|店)")


def find(text: str, today: date) -> date | None:
    """The day a sentence names, or None."""
    for reader in (_iso, _full, _month, _ends, _weekday, _ahead, _named, _day):
        found = reader(text, today)
        if found is not None:
            return found
    return None


def count_of(text: str) -> int | None:
    """A whole number up to a few thousand, in characters or in digits."""
    return int(text) if text.isdecimal() and text.isascii() else number(text)


def _iso(text: str, today: date) -> date | None:
    match = _ISO.search(text)
    return make(int(match[1]), int(match[2]), int(match[3])) if match else None


def _full(text: str, today: date) -> date | None:
    match = _FULL.search(text)
    if not match:
        return None
    month, day = count_of(match["month"]), count_of(match["day"])
    if not month or not day or not 1 <= month <= 12:
        return None
    return upcoming(today, month, day, _year(match["year"], today))


def _year(text: str | None, today: date) -> int | None:
    if not text:
        return None
    if text in ("今年", "明年", "后年"):
        return today.year + ("今年", "明年", "后年").index(text)
    digits = "".join(
        c if c.isascii() else str("零一二三四五六七八九".find(c.replace("〇", "零"))) for c in text.rstrip("年")
    )
    return int(digits) if len(digits) == 4 else 2000 + int(digits)


def _month(text: str, today: date) -> date | None:
    match = _MONTH.search(text)
    day = count_of(match["day"]) if match else None
    if not match or not day:
        return None
    months = 2 if match["which"].startswith("下下") else 1 if match["which"].startswith("下") else 0
    first = months_on(today.replace(day=1), months)
    return make(first.year, first.month, day)


def _ends(text: str, today: date) -> date | None:
    match = re.search(r"(下个?月|这个?月|本月)?(?:月底|月末|底)", text) if "月" in text else None
    if not match or not re.search(r"月底|月末", text):
        return None
    first = months_on(today.replace(day=1), 1 if (match[1] or "").startswith("下") else 0)
    return first.replace(day=monthrange(first.year, first.month)[1])


def _weekday(text: str, today: date) -> date | None:
    match = _WEEKDAY.search(text)
    if not match:
        return None
    index = {"日": 6, "天": 6, "末": 5, "7": 6}.get(match["day"])
    if index is None:
        index = "一二三四五六".find(match["day"]) if not match["day"].isascii() else int(match["day"]) - 1
    monday, which = today - timedelta(today.weekday()), match["which"] or ""
    if which:
        weeks = 2 if which.startswith("下下") else 1 if which[0] == "下" else -1 if which[0] == "上" else 0
        return monday + timedelta(7 * weeks + index)
    return today + timedelta((index - today.weekday() - 1) % 7 + 1)


def _ahead(text: str, today: date) -> date | None:
    match = _AHEAD.search(text) or _PAST.search(text)
    if not match:
        return None
    if match["count"] == "半":
        return today + timedelta(15) if "月" in match["unit"] else None
    count = count_of(match["count"])
    if count is None or count > MAX_AHEAD:
        return None
    if "way" in match.groupdict() and "前" in (match["way"] or ""):
        count = -count
    unit = match["unit"]
    return months_on(today, count) if "月" in unit else today + timedelta(count * (1 if unit == "天" else 7))


def _named(text: str, today: date) -> date | None:
    words = _NAMED_DAY.findall(text)
    if words:
        return today + timedelta(_NAMED[words[-1]])
    return next((upcoming(today, *day) for word, day in _HOLIDAYS.items() if word in text), None)


def _day(text: str, today: date) -> date | None:
    match = _DAY.search(text)
    day = count_of(match["day"]) if match else None
    if not day or not 1 <= day <= 31:
        return None
    for months in range(0, 3):
        month = months_on(today.replace(day=1), months)
        found = make(month.year, month.month, day)
        if found is not None and found >= today:
            return found
    return None
