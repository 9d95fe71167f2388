"""Slot values out of what callers say or key in: digits, amounts, dates, yes or no, in English and Mandarin.

Every function is pure and gives None where nothing fits. Dates are relative to the day of `now` in the time zone its
`utc` carries; weeks start on Monday.
"""

from __future__ import annotations

import re
from datetime import date

from gateway.core.clock import Moment
from gateway.flow import dates_en, dates_zh, numbers_en, numbers_zh
from gateway.flow.model import SlotKind
from gateway.flow.turn import Value
from gateway.flow.words import is_mandarin, normal

_YES_EN = (
    r"yes|yeah|yep|yup|ya|yea|aye|sure|correct|right|exactly|absolutely|definitely|certainly|affirmative|indeed|ok|"
    r"okay|fine|that'?s it|that is it|that'?s right|that is right|that'?s correct|that is correct|of course|please do|"
    r"go ahead|it is|it does|it has|i do|i am|mhm|uh huh|no problem"
)
_NO_EN = (
    r"no|nope|nah|not|wrong|incorrect|negative|never|neither|that'?s all|that is all|that'll be all|nothing|"
    r"(?:do|does|is|has)n't|i'?m good|i am good|i'?m fine|i'?m done|all set|goodbye|bye"
)
_YES_ZH = (
    "没错|没问题|没有问题|没有错|是的|对的|对呀|对啊|好的|好啊|可以|正确|确认|确定|当然|就是|有的|要的|行的|需要|拆了|"
    "已经|是|对|好|行|嗯|有|要|恩|哎|成|中"
)
_NO_ZH = (
    "不是|不对|不要|不用|不需要|不行|不可以|不好|不正确|不确定|没有|没了|没拆|没|否|错了|错|不|算了|再见|拜拜|"
    "就这样|就这些"
)
_YES = re.compile(rf"(?:{_YES_EN})\b")
_NO = re.compile(rf"(?:{_NO_EN})\b")
_FILLER_EN = re.compile(
    r"\A(?:(?:um|uh(?! huh)|er|erm|well|oh|ah|so|hmm|and|i think|i guess|i mean|"
    r"thanks|thank you|cheers|great|perfect)\s+)+"
)
_FILLER_ZH = re.compile(r"\A(?:呃|额|那个|就是说|哦|噢|啊|谢谢(?:你|您|啊)?|嗯(?=[^嗯]))+")

_DENIED = re.compile(r"\bnot\s+(?:on\s+)?(?:the\s+)?(?:next\s+|this\s+)?\w+|不是.{1,9}?(?=是|，|应该)")
"""What a caller takes back: "not friday, thursday", 不是五百是三百."""


def parse(kind: SlotKind, text: str, language: str, now: Moment, length: int = 0, currency: str = "") -> Value | None:
    """The value an answer holds, in either language, the call's own first.

    `length`: digits expected (0 any); fewer are given as they are, for the caller to go on, more are no answer.
    `currency`: used where none is said.
    """
    text = normal(text)
    mandarin = [True, False] if language.startswith("zh") else [False, True]
    for zh in mandarin:
        value = _parse(kind, text, zh, now, length, currency)
        if value is not None:
            return value
    return None


def _parse(kind: SlotKind, text: str, zh: bool, now: Moment, length: int, currency: str) -> Value | None:
    if kind == "yesno":
        answer = yes_no(text)
        return None if answer is None else Value("text", "yes" if answer else "no")
    if kind in ("date", "amount"):
        text = _DENIED.sub(" ", text)
    if kind == "date":
        found = (dates_zh if zh else dates_en).find(text, now.utc.date())
        return None if found is None else Value("date", found.isoformat())
    if kind == "amount":
        money = (numbers_zh if zh else numbers_en).amount(text)
        return None if money is None else Value("amount", f"{money[0]:.2f}", money[1] or currency)
    digits = (numbers_zh if zh else numbers_en).digits(text, length)
    return None if not digits or 0 < length < len(digits) else Value("digits", digits)


def passing(kind: SlotKind, text: str, language: str, now: Moment, length: int = 0, currency: str = "") -> Value | None:
    """A value standing in a sentence that said something else as well: only what can't be mistaken counts, which is
    digits of the full length, money with its currency, and dates."""
    if kind == "yesno" or (kind == "digits" and not length):
        return None
    value = parse(kind, text, language, now, length, "")
    if value is None or (value.kind == "digits" and len(value.value) != length):
        return None
    return None if value.kind == "amount" and not value.currency else value


def continued(before: str, text: str, length: int) -> Value | None:
    """Digits said in two breaths: those of `before` and of `text` together, when they make up the full length."""
    if not before or not length:
        return None
    for numbers in (numbers_en, numbers_zh):
        more = numbers.digits(normal(text), length - len(before))
        if more and len(before) + len(more) == length:
            return Value("digits", before + more)
    return None


def from_keys(kind: SlotKind, keys: str, now: Moment, length: int = 0, currency: str = "") -> Value | None:
    """A value keyed in. `*` is an amount's decimal point; dates are MMDD (the next such day) or YYYYMMDD; 1 is yes."""
    if kind == "yesno":
        return {"1": Value("text", "yes"), "2": Value("text", "no")}.get(keys)
    if kind == "amount":
        match = re.fullmatch(r"([0-9]{1,9})(?:\*([0-9]{1,2}))?", keys)
        return Value("amount", f"{match[1]}.{(match[2] or '0'):0<2}", currency) if match else None
    if kind == "date":
        return _date_of_keys(keys, now.utc.date())
    return Value("digits", keys) if keys.isdecimal() and (not length or len(keys) == length) else None


def _date_of_keys(keys: str, today: date) -> Value | None:
    try:
        if len(keys) == 8:
            return Value("date", date(int(keys[:4]), int(keys[4:6]), int(keys[6:])).isoformat())
        day = date(today.year, int(keys[:2]), int(keys[2:])) if len(keys) == 4 else None
        if day is not None and day < today:
            day = day.replace(year=today.year + 1)
    except ValueError:
        return None
    return None if day is None else Value("date", day.isoformat())


def yes_no(text: str) -> bool | None:
    """True for yes, False for no, None for anything else. What comes first counts: "no, that's wrong", "对，没错"."""
    text = normal(text)
    if is_mandarin(text):
        return _yes_no_zh(_FILLER_ZH.sub("", text, count=1) or text)
    text = _FILLER_EN.sub("", text + " ", count=1).strip() or text
    if re.match(r"(?:that's |that is |it's |it is |this is )?(?:not|wrong|incorrect)\b", text):
        return False
    yes, no = _YES.match(text), _NO.match(text)
    if yes and re.match(r"(?:no problem)\b", text):
        return True
    if no:
        return False
    if yes:
        return not re.match(r".*\b(?:not|wrong)\b", text) if len(text.split()) <= 5 else True
    if len(text.split()) <= 5:
        words = set(text.split())
        if words & {"no", "nope", "not", "wrong", "incorrect"} or "n't" in text:
            return False
        if words & {"yes", "yeah", "yep", "right", "correct", "exactly", "sure"}:
            return True
    return None


def _yes_no_zh(text: str) -> bool | None:
    if re.match(r"(?:没错|没问题|没有问题|没有错|不错|不要紧)", text):
        return True
    if re.match(rf"(?:{_NO_ZH})", text) or re.search(
        r"(?:不对|不是|错了|不要|不用|没有了)(?:的|吧|啊|呀|谢谢|了)*\Z", text
    ):
        return False
    if re.match(rf"(?:{_YES_ZH})", text) or (
        len(text) <= 6 and re.search(r"(?:对|是的|没错|好的)(?:的|吧|啊|呀|了)*\Z", text)
    ):
        return True
    return None
