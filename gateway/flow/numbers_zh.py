"""Mandarin numbers as callers say them and recognizers write them: runs of digits and amounts of money."""

from __future__ import annotations

import re
from decimal import Decimal

DIGITS = {
    "零": 0, "〇": 0, "洞": 0, "一": 1, "幺": 1, "壹": 1, "二": 2, "两": 2, "俩": 2, "三": 3, "四": 4, "五": 5, "六": 6,
    "七": 7, "拐": 7, "八": 8, "九": 9, "勾": 9, **{str(i): i for i in range(10)},
}  # fmt: skip
TENS = {"十": 10, "百": 100, "千": 1000}
SCALES = {**TENS, "万": 10_000, "亿": 100_000_000}
_SOUNDS = {
    "零": "灵林另铃领", "幺": "要腰妖邀么夭吆", "一": "伊衣依医", "二": "儿而耳尔", "三": "散伞山", "四": "死寺思",
    "五": "武舞无吴午", "六": "流留刘溜", "七": "期起气妻齐", "八": "巴爸吧拔", "九": "酒久就救旧",
}  # fmt: skip
ALIKE = {char: digit for digit, chars in _SOUNDS.items() for char in chars}
_RUN = re.compile(
    "(?:[二两三四234]个(?=[零〇一幺二三四五六七八九0-9])|双(?=[零一幺二三四五六七八九0-9])|"
    "[零〇洞一幺壹二两俩三四五六七拐八九勾0-9])+"
)
_SPELLED = re.compile(r"[零〇一二两三四五六七八九十百千万亿0-9]+")
_GAP = re.compile(r"[\s,，、。\-嗯呃额啊哦噢]|然后|那个|后面|接着|再来")
_CORRECTION = re.compile(r"不对|错了|不是|说错|应该是|重来|我是说")
_ZH = "零〇一二两俩三四五六七八九"
_MONEY = re.compile(
    r"(?P<sign>[¥￥$])?"
    rf"(?P<main>[0-9]+(?:\.[0-9]+)?(?:[十百千万亿]+[0-9]*)*|半|[{_ZH}十百千万亿]+(?:点[{_ZH}]+[万千百亿]?)?)"
    r"(?P<half>半)?(?:来|多|个)?"
    r"(?P<unit>美元|美金|刀|人民币|[千万]块|块钱|块|元|圆|毛钱|毛|角|分钱|分|rmb|yuan|dollars?)?"
    rf"(?P<rest>[0-9{_ZH}]+[毛角](?:[0-9{_ZH}]分?)?|零?[0-9{_ZH}]分|半|[0-9{_ZH}](?![十百千万0-9个]))?"
)
_DOLLARS = ("美元", "美金", "刀", "dollar", "dollars")


def digits(text: str, length: int = 0) -> str:
    """The digits said, as a string, or "" when there are none; same rules as numbers_en.digits."""
    for part in reversed(_CORRECTION.split(text)):
        runs = _runs(_GAP.sub("", part))
        exact = _exact(runs, length)
        if exact:
            return exact
        if length:
            exact = _spelled(part, length) or _sounding(part, length)
        if exact:
            return exact
    runs = [run for run in _runs(_GAP.sub("", text)) if len(run) > 1 or len(text) <= 4]
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
    long = [run for run in runs if len(run) > 1]
    for tried in (runs, long):
        if sum(map(len, tried)) == length:
            return "".join(tried)
    return ""


def _runs(text: str) -> list[str]:
    return [_plain(match.group()) for match in _RUN.finditer(text)]


def _plain(run: str) -> str:
    """Digits of a run; 三个九 is 999 and 双八 is 88."""
    out, i = "", 0
    while i < len(run):
        if run[i + 1 : i + 2] == "个":
            out, i = out + str(DIGITS[run[i + 2]]) * DIGITS[run[i]], i + 3
        elif run[i] == "双":
            out, i = out + str(DIGITS[run[i + 1]]) * 2, i + 2
        else:
            out, i = out + str(DIGITS.get(run[i], "")), i + 1
    return out


def _spelled(text: str, length: int) -> str:
    """A number said as one, such as 八千零一十三 for 8013."""
    for match in _SPELLED.finditer(text):
        value = number(match.group())
        if value is not None and len(str(value)) == length:
            return str(value)
    return ""


def _sounding(text: str, length: int) -> str:
    """Digits among which a recognizer wrote other characters of the same sound; at least half must be real digits.

    A character before the first real digit may be a digit or a word (要, 就): it counts when the length wants it.
    """
    heard = _GAP.sub("", text)
    swapped = "".join(ALIKE.get(char, char) for char in heard)
    for run in _RUN.finditer(swapped):
        start, end = run.span()
        while start < end:
            plain = _plain(swapped[start:end])
            if len(plain) == length:
                real = sum(char in DIGITS for char in heard[start:end])
                return plain if real * 2 >= length else ""
            if heard[start] in DIGITS:
                break
            start += 1
    return ""


def number(text: str) -> int | None:
    """A whole number such as 一千零五十, 两万三 (23,000), 一百二 (120), 3千; None when it is none."""
    total, section, current, last = 0, 0, 0, 1
    seen_unit = zero = False
    for char in text:
        if char in DIGITS:
            current = current * 10 + DIGITS[char] if char.isascii() or not (char.isascii() or current) else DIGITS[char]
            zero = zero or DIGITS[char] == 0
        elif char in TENS:
            section += (current or 1) * TENS[char]
            last, current, seen_unit, zero = TENS[char], 0, True, False
        elif char in "万亿":
            scale = 10_000 if char == "万" else 100_000_000
            total = (total + section + current) * scale if total + section + current else scale
            section, current, last, seen_unit, zero = 0, 0, scale, True, False
        else:
            return None
    if current and seen_unit and last >= 100 and not zero and current < 10:
        current *= last // 10
    if not seen_unit and len(text) > 1 and not text.isascii():
        return None
    return total + section + current


def _decimal(text: str) -> Decimal | None:
    """A number that may have decimals: 3.5万, 1050.5, 三点五万, 3千5."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([十百千万亿]*)([0-9]?)", text)
    if match:
        value, scale = Decimal(match[1]), 1
        for unit in match[2]:
            value, scale = value * SCALES[unit], SCALES[unit]
        return value + Decimal(int(match[3]) * scale) / 10 if match[2] and match[3] else value
    whole, _, decimals = text.partition("点")
    unit_after = SCALES.get(decimals[-1:], 1)
    decimals = decimals[:-1] if unit_after > 1 else decimals
    value_of_whole = number(whole)
    if value_of_whole is None:
        return None
    fraction = Decimal("0." + "".join(str(DIGITS[c]) for c in decimals)) if decimals else Decimal(0)
    return (value_of_whole + fraction) * unit_after


def amount(text: str) -> tuple[Decimal, str] | None:
    """(amount, currency) of the first sum with a unit, else of the first number; currency: "yuan", "dollars", ""."""
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", text).replace(" ", "")
    best: tuple[Decimal, str] | None = None
    for match in _MONEY.finditer(text):
        found = _sum(match)
        if found is None:
            continue
        if found[1]:
            return found
        best = best or found
    return best


def _sum(match: re.Match[str]) -> tuple[Decimal, str] | None:
    unit, rest = match["unit"] or "", match["rest"] or ""
    main = Decimal("0.5") if match["main"] == "半" else _decimal(match["main"])
    if main is None or (match["main"] == "半" and not unit):
        return None
    if match["half"]:
        main += Decimal(_step(match["main"])) / 2
    if unit in ("千块", "万块"):
        main, unit = main * (1000 if unit[0] == "千" else 10_000), "块"
    currency = {"美元": "dollars", "美金": "dollars", "刀": "dollars", "dollar": "dollars", "dollars": "dollars"}.get(
        unit, "yuan" if unit else ""
    )
    if match["sign"]:
        currency = "dollars" if match["sign"] == "$" else "yuan"
    if unit[:1] in "毛角" and unit:
        return main / 10 + (_small(rest) / 10 if rest in DIGITS else Decimal(0)), "yuan"
    if unit[:1] == "分" and unit:
        return main / 100, "yuan"
    return main + (_small(rest) if unit else 0), currency


def _step(main: str) -> int:
    """The unit a trailing 半 halves: 两万半 is 25,000, 三块半 3.5."""
    return SCALES.get(main[-1:], 1)


def _small(rest: str) -> Decimal:
    """What follows 块: 五 and 五毛 are 0.50, 五毛二 0.52, 零五分 0.05, 半 0.50."""
    if rest == "半":
        return Decimal("0.5")
    digits = [DIGITS[char] for char in rest if char in DIGITS]
    if not digits:
        return Decimal(0)
    if rest.endswith("分") and "毛" not in rest and "角" not in rest:
        return Decimal(digits[-1]) / 100
    jiao = [d for d in digits if d or len(digits) == 1]
    return Decimal(jiao[0] if jiao else 0) / 10 + (Decimal(jiao[1]) / 100 if len(jiao) > 1 else 0)
