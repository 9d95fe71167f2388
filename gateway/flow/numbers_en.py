"""English numbers as callers say them and recognizers write them: runs of digits and amounts of money."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_TEENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
UNITS = {word: i for i, word in enumerate(f"{_TEENS} eighteen nineteen".split())}
UNITS |= {"oh": 0, "o": 0, "nought": 0, "naught": 0, "nil": 0, "niner": 9}
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SCALES = {"hundred": 100, "thousand": 1000, "grand": 1000, "k": 1000, "million": 1_000_000}
TIMES = {"double": 2, "triple": 3, "treble": 3, "quadruple": 4}
_SOUNDS = {
    "one": "won wan", "two": "to too tu", "three": "tree free", "four": "for fore", "five": "fife v",
    "six": "sex sick sics", "seven": "sevens", "eight": "ate hate", "nine": "nein nines", "oh": "owe", "zero": "aught",
}  # fmt: skip
ALIKE = {word: digit for digit, words in _SOUNDS.items() for word in words.split()}
FILLERS = {
    "um",
    "uh",
    "er",
    "erm",
    "and",
    "then",
    "dash",
    "hyphen",
    "space",
    "comma",
    "followed",
    "by",
    "well",
    "ah",
    "hmm",
}
_DOLLARS, _YUAN = ("dollar", "dollars", "buck", "bucks", "usd", "$"), ("yuan", "rmb", "renminbi", "kuai", "cny", "¥")
CURRENCY = {**dict.fromkeys(_DOLLARS, "dollars"), **dict.fromkeys(_YUAN, "yuan")}
_CORRECTION = re.compile(r"\b(?:no wait|no sorry|sorry|i mean|actually|wait|correction|no)\b")
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[a-z']+|[$¥]")


def digits(text: str, length: int = 0) -> str:
    """The digits said, as a string, or "" when there are none.

    `text` is normalised (gateway.flow.words.normal). What follows a correction ("no, sorry") comes first. With
    `length`, an unbroken run of exactly that length wins, then all runs together when they make it up; else the
    longest run.
    """
    for part in reversed(_CORRECTION.split(text)):
        runs = _runs(part, alike=False)
        exact = _exact(runs, length)
        if exact:
            return exact
        if length:
            exact = _exact(_runs(part, alike=True), length) or _spelled(part, length)
        if exact:
            return exact
    runs = _runs(text, alike=False)
    if not runs:
        return ""
    joined = "".join(runs)
    return joined if length and len(joined) <= length else max(runs, key=len)


def _exact(runs: list[str], length: int) -> str:
    if not length:
        return ""
    whole = [run for run in runs if len(run) == length]
    if whole:
        return whole[-1]
    joined = "".join(runs)
    return joined if len(joined) == length else ""


def _spelled(text: str, length: int) -> str:
    """A number said as one, such as "four thousand and seventy two" for 4072."""
    value = number(re.findall(r"[a-z]+", text))
    return str(value[0]) if value and value[0] == int(value[0]) and len(str(value[0])) == length else ""


def _runs(text: str, alike: bool) -> list[str]:
    runs: list[str] = []
    run, times, tens = "", 1, ""
    for token in [*_TOKEN.findall(text.replace("-", " ")), ""]:
        if (alike and run and token in ALIKE) or (alike and token in ALIKE and len(text.split()) <= 12):
            token = ALIKE[token]
        if token in FILLERS:
            continue
        if tens and not (token in UNITS and 1 <= UNITS[token] <= 9):
            run, tens = run + tens + "0", ""
        if token in TIMES:
            times = TIMES[token]
            continue
        if token in TENS:
            tens = str(TENS[token] // 10)
            continue
        piece = _piece(token)
        if piece:
            run, times, tens = run + tens + piece * times, 1, ""
        elif run:
            runs.append(run)
            run, times = "", 1
    return runs


def _piece(token: str) -> str:
    if token.isdigit():
        return token
    if token[:1].isdigit():
        return token.replace(",", "").replace(".", "")
    return str(UNITS[token]) if token in UNITS else ""


def number(words: list[str]) -> tuple[Decimal, int] | None:
    """The cardinal number at the start of `words` with how many words it took; None when none stands there.

    Reads 240, two hundred and forty, twenty five hundred, a thousand, one and a half thousand, three point five.
    """
    total, current, used, seen = Decimal(0), Decimal(0), 0, False
    for i, word in enumerate(words):
        value = _plain(word)
        if value is not None:
            if seen and not _fits(current, value):
                break
            current += value
        elif word in SCALES and (seen or (i > 0 and words[i - 1] in ("a", "an", "half"))):
            scale = SCALES[word]
            current = (current or Decimal(1)) * scale
            if scale >= 1000:
                total, current = total + current, Decimal(0)
        elif word in ("a", "an") and not seen and i + 1 < len(words) and words[i + 1] in SCALES:
            seen = True
            used = i + 1
            continue
        elif word == "and" and seen and i + 1 < len(words):
            if words[i + 1 : i + 3] == ["a", "half"]:
                current += Decimal("0.5")
            continue
        elif word == "half" and seen and words[i - 1] == "a":
            used = i + 1
            continue
        elif word == "a" and seen and words[i + 1 : i + 2] == ["half"]:
            continue
        elif word == "point" and seen:
            decimals, took = _decimals(words[i + 1 :])
            if took:
                current += Decimal("0." + decimals)
                used = i + 1 + took
                if words[used : used + 1] and words[used] in SCALES:
                    current, used = current * SCALES[words[used]], used + 1
            break
        else:
            break
        seen, used = True, i + 1
    return (total + current, used) if seen else None


def _plain(word: str) -> Decimal | None:
    if word[:1].isdigit():
        try:
            return Decimal(word.replace(",", ""))
        except InvalidOperation:
            return None
    value = UNITS.get(word, TENS.get(word))
    return None if value is None or word in ("oh", "o") else Decimal(value)


def _fits(current: Decimal, value: Decimal) -> bool:
    """Whether a number goes on with this value: forty + two, two hundred + forty, but not twelve + fifty."""
    if current == 0:
        return True
    if current % 100 == 0:
        return value < 100
    return current % 100 >= 20 and current % 10 == 0 and value < 10


def _decimals(words: list[str]) -> tuple[str, int]:
    found, took = "", 0
    for word in words:
        if word.isdigit():
            found += word
        elif word in UNITS and UNITS[word] < 10:
            found += str(UNITS[word])
        elif word in TENS:
            found += str(TENS[word])
        else:
            break
        took += 1
    return found, took


def amount(text: str) -> tuple[Decimal, str] | None:
    """(amount, currency) of the first sum of money; currency is "dollars", "yuan" or "" when none is said."""
    words = _TOKEN.findall(text.replace("-", " "))
    for part_start in _starts(words):
        found = _sum(words[part_start:])
        if found is not None:
            before = CURRENCY.get(words[part_start - 1], "") if part_start else ""
            return found[0], found[1] or before
    return None


def _starts(words: list[str]) -> list[int]:
    return [i for i, w in enumerate(words) if w in ("a", "half") or _plain(w) is not None]


def _sum(words: list[str]) -> tuple[Decimal, str] | None:
    if words[:2] == ["half", "a"] and words[2:3] and words[2] in SCALES:
        return Decimal(SCALES[words[2]]) / 2, CURRENCY.get((words[3:4] or [""])[0], "")
    if words[0] == "a" and words[1:2] and words[1] in CURRENCY:
        return Decimal(1), CURRENCY[words[1]]
    first = number(words)
    if first is None:
        return None
    value, used = first
    rest = words[used:]
    if rest[:1] and rest[0] in ("cent", "cents"):
        return value / 100, "dollars"
    currency = CURRENCY.get(rest[0], "") if rest else ""
    if rest[:2] == ["us", "dollars"]:
        currency, rest = "dollars", rest[1:]
    after = rest[1:] if currency else rest
    if after[:1] == ["and"]:
        after = after[1:]
    small = number(after) if after else None
    if small is None or not 0 < small[0] < 100 or small[0] != int(small[0]):
        return value, currency
    tail = after[small[1] :]
    if currency and (not tail or tail[0] in ("cent", "cents")):
        return value + small[0] / 100, currency
    fifty = not currency and value < 1000 and value == int(value) and small[0] >= 10
    if fifty and (not tail or tail[0] in CURRENCY):
        return value + small[0] / 100, CURRENCY.get((tail or [""])[0], "")
    return value, currency
