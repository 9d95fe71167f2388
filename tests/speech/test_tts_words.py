"""Values as words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import TrunklineError
from gateway.speech.tts_words import english_number, english_ordinal, mandarin_number, spoken


@pytest.mark.parametrize(
    ("kind", "value", "currency", "english", "mandarin"),
    [
        ("digits", "4417", "", "four four one seven", "四四幺七"),
        ("digits", "10086235", "", "one zero zero eight, six two three five", "幺零零八，六二三五"),
        ("digits", "13800138000", "", "one three eight, zero zero one three, eight zero zero zero", None),
        ("digits", "555-0199", "", "five five five, zero one nine nine", "五五五，零幺九九"),
        ("number", "0", "", "zero", "零"),
        ("number", "12", "", "twelve", "十二"),
        ("number", "105", "", "one hundred five", "一百零五"),
        ("number", "1050", "", "one thousand fifty", "一千零五十"),
        ("number", "1005", "", "one thousand five", "一千零五"),
        ("number", "2200", "", "two thousand two hundred", "两千二百"),
        ("number", "10010", "", "ten thousand ten", "一万零一十"),
        ("number", "110000", "", "one hundred ten thousand", "十一万"),
        ("number", "30000500", "", "thirty million five hundred", "三千万零五百"),
        ("number", "200000000", "", "two hundred million", "两亿"),
        ("number", "-3.5", "", "minus three point five", "负三点五"),
        ("number", "7.12", "", "seven point one two", "七点一二"),
        ("number", "4.35%", "", "four point three five percent", "百分之四点三五"),
        ("number", "1,234", "", "one thousand two hundred thirty-four", "一千二百三十四"),
        ("amount", "1240.50", "yuan", "one thousand two hundred forty yuan and fifty fen", "一千二百四十元五角"),
        ("amount", "58.00", "yuan", "fifty-eight yuan", "五十八元"),
        ("amount", "2", "CNY", "two yuan", "两元"),
        ("amount", "100.05", "yuan", None, "一百元零五分"),
        ("amount", "0.37", "yuan", "thirty-seven fen", "三角七分"),
        ("amount", "0", "yuan", "zero yuan", "零元"),
        ("amount", "1.01", "dollars", "one dollar and one cent", "一点零一美元"),
        ("amount", "862.30", "USD", "eight hundred sixty-two dollars and thirty cents", "八百六十二点三美元"),
        ("amount", "-5", "yuan", "minus five yuan", "负五元"),
        ("amount", "12.5", "", "twelve point five", "十二点五"),
        ("ordinal", "1", "", "first", "第一"),
        ("ordinal", "12", "", "twelfth", "第十二"),
        ("ordinal", "23", "", "twenty-third", "第二十三"),
        ("date", "2026-11-16", "", "Monday, November sixteenth, twenty twenty-six", "二零二六年十一月十六号，星期一"),
        ("date", "2005-01-02", "", "Sunday, January second, two thousand five", "二零零五年一月二号，星期日"),
        ("text", "已经发货", "", "已经发货", "已经发货"),
    ],
)
def test_spoken(kind: str, value: str, currency: str, english: str | None, mandarin: str | None) -> None:
    for language, words in (("en-US", english), ("zh-CN", mandarin)):
        if words is not None:
            assert spoken(kind, value, language, currency=currency) == words


def test_the_year_is_left_out_when_it_is_this_one() -> None:
    today = date(2026, 3, 1)
    assert spoken("date", "2026-12-05", "zh-CN", today=today) == "十二月五号，星期六"
    assert spoken("date", "2026-12-05", "en-US", today=today) == "Saturday, December fifth"
    assert "twenty twenty-seven" in spoken("date", "2027-01-01", "en-US", today=today)


@pytest.mark.parametrize(
    ("kind", "value", "language", "currency"),
    [
        ("date", "tomorrow", "en-US", ""),
        ("number", "lots", "zh-CN", ""),
        ("number", "NaN", "zh-CN", ""),
        ("number", "1e30", "en-US", ""),
        ("digits", "none", "en-US", ""),
        ("ordinal", "1.5", "en-US", ""),
        ("amount", "5", "zh-CN", "florins"),
        ("amout", "5", "zh-CN", ""),
        ("number", "5", "fr-FR", ""),
    ],
)
def test_what_has_no_words_says_so(kind: str, value: str, language: str, currency: str) -> None:
    with pytest.raises(TrunklineError) as caught:
        spoken(kind, value, language, currency=currency)
    assert caught.value.expected


ZH = dict(zip("零一二三四五六七八九两", [*range(10), 2], strict=True))
ZH_UNITS = {"十": 10, "百": 100, "千": 1000}


def mandarin_value(words: str) -> int:
    """The number that Mandarin words name, read by the rules of the language rather than by the speaker's code."""
    for unit, scale in (("亿", 10**8), ("万", 10**4)):
        if unit in words:
            high, _, low = words.rpartition(unit)
            return mandarin_value(high) * scale + (mandarin_value(low) if low else 0)
    total, digit = 0, 0
    for i, c in enumerate(words):
        if c in ZH:
            digit = ZH[c]
        else:
            total += (digit if i and words[i - 1] in ZH and words[i - 1] != "零" else 1) * ZH_UNITS[c]
            digit = 0
    return total + digit


EN = {english_number(n): n for n in range(100)}
EN_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def english_value(words: str) -> int:
    total, group = 0, 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in EN_SCALES:
            total, group = total + group * EN_SCALES[word], 0
        else:
            group += EN[word]
    return total + group


@given(st.integers(0, 10**15 - 1))
def test_numbers_come_back_from_their_words(n: int) -> None:
    assert mandarin_value(mandarin_number(n)) == n
    assert english_value(english_number(n)) == n
    assert "零零" not in mandarin_number(n)
    assert not mandarin_number(n).endswith("零") or n == 0


@given(st.decimals(0, 99999, places=2))
def test_amounts_come_back_from_their_words(amount: Decimal) -> None:
    words = spoken("amount", str(amount), "zh-CN", currency="yuan")
    yuan, jiao, fen = words.rpartition("元")[0], 0, 0
    rest = words.rpartition("元")[2].lstrip("零")
    if "角" in rest:
        jiao, rest = ZH[rest[0]], rest[2:]
    if "分" in rest:
        fen = ZH[rest[0]]
    assert mandarin_value(yuan or "零") * 100 + jiao * 10 + fen == int(amount * 100)


@given(st.integers(1, 10**6))
def test_ordinals_end_as_they_are_written(n: int) -> None:
    written = {1: "st", 2: "nd", 3: "rd"}.get(n % 10 if n % 100 not in (11, 12, 13) else 0, "th")
    assert english_ordinal(n).endswith(written)
