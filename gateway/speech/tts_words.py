"""A value as the words that are spoken for it: digits, numbers, amounts, dates and ordinals in English and Mandarin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation

from gateway.core.errors import TrunklineError, nearest

_EN_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_EN_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_EN_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_EN_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_EN_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_EN_MONEY = {"dollars": ("dollar", "cent"), "yuan": ("yuan", "fen")}

_ZH_DIGITS = "零一二三四五六七八九"
_ZH_KEYS = "零幺二三四五六七八九"
_ZH_MONEY = {"dollars": "美元", "yuan": "元"}

_CODES = {"usd": "dollars", "$": "dollars", "dollar": "dollars", "cny": "yuan", "rmb": "yuan", "¥": "yuan", "": ""}


def english_number(n: int) -> str:
    """1234 -> one thousand two hundred thirty-four (no 'and')."""
    if n < 0:
        return "minus " + english_number(-n)
    for scale, name in _EN_SCALES:
        if n >= scale:
            rest = f" {english_number(n % scale)}" if n % scale else ""
            return f"{english_number(n // scale)} {name}{rest}"
    if n >= 100:
        return f"{_EN_DIGITS[n // 100]} hundred" + (f" {english_number(n % 100)}" if n % 100 else "")
    if n >= 20:
        return _EN_TENS[n // 10] + (f"-{_EN_DIGITS[n % 10]}" if n % 10 else "")
    return _EN_TEENS[n - 10] if n >= 10 else _EN_DIGITS[n]


def english_ordinal(n: int) -> str:
    """21 -> twenty-first."""
    words = english_number(n)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[cut:]
    if last in _EN_ORDINALS:
        return words[:cut] + _EN_ORDINALS[last]
    return words[:cut] + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def mandarin_number(n: int) -> str:
    """1050 -> 一千零五十; 200 -> 二百; 2000 -> 两千; 20000 -> 两万. Below 10**16."""
    if n < 0:
        return "负" + mandarin_number(-n)
    if n < 10:
        return _ZH_DIGITS[n]
    for scale, unit in ((10**8, "亿"), (10**4, "万")):
        if n >= scale:
            high, low = divmod(n, scale)
            zero = "零" if low and low < scale // 10 else ""
            lead = "两" if high == 2 else mandarin_number(high)
            return lead + unit + zero + (_mandarin_rest(low) if low else "")
    return _mandarin_group(n, first=True)


def _mandarin_rest(n: int) -> str:
    """What follows 万 or 亿: 10 is 一十 here, not 十."""
    return ("一" if 10 <= n < 20 else "") + mandarin_number(n)


def _mandarin_group(n: int, first: bool) -> str:
    """1..9999. `first`: nothing was said before it, so 10..19 begin with 十 alone."""
    spoken = ""
    gap = False
    for scale, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, scale)
        if not digit:
            gap = gap or bool(spoken)
            continue
        spoken += "零" if gap else ""
        gap = False
        if scale == 10 and digit == 1 and first and not spoken:
            spoken += unit
        else:
            spoken += ("两" if digit == 2 and scale == 1000 else _ZH_DIGITS[digit]) + unit
    return spoken


def _grouped(value: str) -> list[str]:
    """Digit strings are read in groups, as people dictate them: 8 in two fours, 11 as 3-4-4, others in fours."""
    n = len(value)
    if n <= 5:
        return [value] if value else []
    sizes = {6: (3, 3), 7: (3, 4), 10: (3, 3, 4), 11: (3, 4, 4)}.get(n) or (4,) * (n // 4) + ((n % 4,) if n % 4 else ())
    out, at = [], 0
    for size in sizes:
        out.append(value[at : at + size])
        at += size
    return out


def _decimal(value: str) -> Decimal:
    try:
        found = Decimal(value.replace(",", "").replace("，", "").strip().lstrip("$¥"))
    except InvalidOperation:
        raise _unreadable("number", value, "a decimal number such as 1234.50") from None
    if not found.is_finite() or abs(found) >= 10**15:
        raise _unreadable("number", value, "a number below 10 to the 15th")
    return found


def _unreadable(kind: str, value: str, expected: str) -> TrunklineError:
    return TrunklineError(f"A value can't be spoken as {kind}.", read=value, expected=expected)


def _digits(value: str) -> str:
    found = "".join(c for c in value if c.isascii() and c.isdigit())
    if not found:
        raise _unreadable("digits", value, "the digits 0 to 9")
    return found


def _fraction(number: Decimal) -> str:
    return format(number.normalize(), "f").partition(".")[2]


def _english_digits(value: str, currency: str, today: date | None) -> str:
    return ", ".join(" ".join(_EN_DIGITS[int(d)] for d in group) for group in _grouped(_digits(value)))


def _mandarin_digits(value: str, currency: str, today: date | None) -> str:
    return "，".join("".join(_ZH_KEYS[int(d)] for d in group) for group in _grouped(_digits(value)))


def _english_decimal(value: str, currency: str, today: date | None) -> str:
    number = _decimal(value.rstrip("%％"))
    tail = _fraction(number)
    words = ("minus " if number < 0 else "") + english_number(int(abs(number)))
    words += f" point {' '.join(_EN_DIGITS[int(d)] for d in tail)}" if tail else ""
    return words + (" percent" if value.strip().endswith(("%", "％")) else "")


def _mandarin_decimal(value: str, currency: str, today: date | None) -> str:
    number = _decimal(value.rstrip("%％"))
    tail = _fraction(number)
    words = ("负" if number < 0 else "") + mandarin_number(int(abs(number)))
    words += "点" + "".join(_ZH_DIGITS[int(d)] for d in tail) if tail else ""
    return ("百分之" if value.strip().endswith(("%", "％")) else "") + words


def _cents(value: str) -> tuple[str, int, int]:
    number = _decimal(value)
    total = int((abs(number) * 100).to_integral_value())
    return ("-" if number < 0 else ""), total // 100, total % 100


def _currency(currency: str, table: dict[str, object]) -> str:
    name = _CODES.get(currency.lower(), currency.lower())
    if name and name not in table:
        raise TrunklineError(
            "A currency has no words.",
            read=currency,
            expected=", ".join(sorted(table)),
            near=nearest(name, table),
        )
    return name


def _english_amount(value: str, currency: str, today: date | None) -> str:
    name = _currency(currency, dict(_EN_MONEY))
    if not name:
        return _english_decimal(value, "", None)
    sign, whole, cents = _cents(value)
    big, small = _EN_MONEY[name]
    parts = []
    if whole or not cents:
        parts.append(f"{english_number(whole)} {big}" + ("s" if whole != 1 and big != "yuan" else ""))
    if cents:
        parts.append(f"{english_number(cents)} {small}" + ("s" if cents != 1 and small != "fen" else ""))
    return ("minus " if sign else "") + " and ".join(parts)


def _mandarin_amount(value: str, currency: str, today: date | None) -> str:
    name = _currency(currency, dict(_ZH_MONEY))
    if name != "yuan":
        return _mandarin_decimal(value, "", None) + (_ZH_MONEY[name] if name else "")
    sign, whole, cents = _cents(value)
    jiao, fen = divmod(cents, 10)
    lead = "两" if whole == 2 else mandarin_number(whole)
    words = f"{lead}元" if whole or not cents else ""
    words += f"{_ZH_DIGITS[jiao]}角" if jiao else "零" if fen and whole else ""
    words += f"{_ZH_DIGITS[fen]}分" if fen else ""
    return ("负" if sign else "") + words


def _date(value: str) -> date:
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise _unreadable("date", value, "an ISO date such as 2026-11-16") from None


def _english_date(value: str, currency: str, today: date | None) -> str:
    day = _date(value)
    words = f"{_WEEKDAYS[day.weekday()]}, {_MONTHS[day.month - 1]} {english_ordinal(day.day)}"
    return words if today and day.year == today.year else f"{words}, {_english_year(day.year)}"


def _english_year(year: int) -> str:
    high, low = divmod(year, 100)
    if year < 1000 or 2000 <= year < 2010 or year % 1000 == 0:
        return english_number(year)
    if not low:
        return f"{english_number(high)} hundred"
    return f"{english_number(high)} {english_number(low) if low >= 10 else 'oh ' + _EN_DIGITS[low]}"


def _mandarin_date(value: str, currency: str, today: date | None) -> str:
    day = _date(value)
    words = f"{mandarin_number(day.month)}月{mandarin_number(day.day)}号，星期{'一二三四五六日'[day.weekday()]}"
    if today and day.year == today.year:
        return words
    return "".join(_ZH_DIGITS[int(d)] for d in str(day.year)) + "年" + words


def _whole(value: str) -> int:
    number = _decimal(value)
    if number != int(number) or number < 0:
        raise _unreadable("ordinal", value, "a whole number such as 3")
    return int(number)


def _english_place(value: str, currency: str, today: date | None) -> str:
    return english_ordinal(_whole(value))


def _mandarin_place(value: str, currency: str, today: date | None) -> str:
    return "第" + mandarin_number(_whole(value))


def _as_is(value: str, currency: str, today: date | None) -> str:
    return value


_SPOKEN: dict[str, dict[str, Callable[[str, str, date | None], str]]] = {
    "en": {
        "digits": _english_digits,
        "number": _english_decimal,
        "amount": _english_amount,
        "date": _english_date,
        "ordinal": _english_place,
        "text": _as_is,
    },
    "zh": {
        "digits": _mandarin_digits,
        "number": _mandarin_decimal,
        "amount": _mandarin_amount,
        "date": _mandarin_date,
        "ordinal": _mandarin_place,
        "text": _as_is,
    },
}


def spoken(kind: str, value: str, language: str, *, currency: str = "", today: date | None = None) -> str:
    """The words for a value in `language` (BCP 47; en and zh are known).

    `kind`: digits, number (a trailing % is percent), amount (`currency` dollars or yuan, or none), date (ISO; the year
    is left out when it is `today`'s), ordinal, text (as it is). Raises TrunklineError for what can't be read so.
    """
    tables = _SPOKEN.get(language.split("-")[0])
    if tables is None:
        raise TrunklineError("Values have no words in this language.", read=language, expected=", ".join(_SPOKEN))
    if kind not in tables:
        raise TrunklineError(
            "This is not a kind of value.", read=kind, expected=", ".join(tables), near=nearest(kind, tables)
        )
    return tables[kind](value, currency, today)
