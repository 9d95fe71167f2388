"""Slot values in both languages. The shared cases are read from shared/callers and must all be right."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import Moment
from gateway.flow.slots import continued, from_keys, parse, passing, yes_no
from gateway.flow.turn import Value

NOW = Moment(0.0, datetime(2026, 11, 16, 2, 0, tzinfo=UTC))
SHARED = Path(os.environ.get("TRUNKLINE_SHARED") or Path(__file__).parents[2].parent / "shared")
KINDS = {"order_no": ("digits", 8), "card_last4": ("digits", 4), "amount": ("amount", 0), "date": ("date", 0)}


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_shared_callers(language: str) -> None:
    path = SHARED / "callers" / f"slots.{language}.tsv"
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip(f"{path} is not there")
    wrong = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        text, slot, value = line.split("\t")
        kind, length = KINDS[slot]
        found = parse(kind, text, language, NOW, length)  # type: ignore[arg-type]
        if found is None or found.value != value:
            wrong.append((text, value, found))
    assert wrong == []


DIGITS = [
    # text, length, digits
    ("nine oh three one", 4, "9031"),
    ("my card ends with 9 0 3 1", 4, "9031"),
    ("it's 4417 thanks", 4, "4417"),
    ("four four seventeen", 4, "4417"),
    ("forty four seventeen", 4, "4417"),
    ("twenty twenty", 4, "2020"),
    ("four thousand four hundred seventeen", 4, "4417"),
    ("double nine double zero", 4, "9900"),
    ("triple seven one", 4, "7771"),
    ("one two three four no sorry one two three five", 4, "1235"),
    ("55310278", 8, "55310278"),
    ("5531-0278", 8, "55310278"),
    ("5531 0278.", 8, "55310278"),
    ("five five three one, oh two seven eight", 8, "55310278"),
    ("okay so it's seven zero two um six four four one nine", 8, "70264419"),
    ("seven zero to six for for one nine", 8, "70264419"),
    ("I have one question about order five five three one zero two seven eight", 8, "55310278"),
    ("five five three one", 8, "5531"),
    ("4-1-2-4-3-4-1-2-9", 8, None),
    ("8, 7, 8, 3, 3, 4, 6, 1", 8, "87833461"),
    ("12:34, 56, 78", 8, "12345678"),
    ("eight triple nine double four oh two", 8, "89994402"),
    ("zero zero double five twenty three sixty one", 8, "00552361"),
    ("the last digits are five five no wait five six two one", 4, "5621"),
    ("forty oh seven", 4, "4007"),
    ("twelve hundred", 4, "1200"),
    ("where is it", 8, None),
    ("四四幺七", 4, "4417"),
    ("后四位四四一七", 4, "4417"),
    ("尾号是4417", 4, "4417"),
    ("是四千四百一十七", 4, "4417"),
    ("两个四一七", 4, "4417"),
    ("九九零零不对是九九零一", 4, "9901"),
    ("五五三幺零二七八", 8, "55310278"),
    ("五五三一，零二七八。", 8, "55310278"),
    ("订单号是 5531 0278", 8, "55310278"),
    ("嗯 七零二六 然后 四四一九", 8, "70264419"),
    ("五五三要零二七八", 8, "55310278"),
    ("五五三一林二七巴", 8, "55310278"),
    ("三个五零零一二三", 8, "555001 23".replace(" ", "")),
    ("就五五三一零二七八", 8, "55310278"),
    ("散个九零零一二三", 8, "99900123"),
    ("不知道", 8, None),
]


@pytest.mark.parametrize(("text", "length", "digits"), DIGITS)
def test_digits(text: str, length: int, digits: str | None) -> None:
    language = "zh-CN" if any(ord(c) > 0x3000 for c in text) else "en-US"
    found = parse("digits", text, language, NOW, length)
    assert (found.value if found else None) == digits


AMOUNTS = [
    ("a hundred dollars", "100.00", "dollars"),
    ("one hundred and five dollars", "105.00", "dollars"),
    ("twenty five hundred", "2500.00", ""),
    ("two thousand three hundred and forty one yuan", "2341.00", "yuan"),
    ("about 75 bucks", "75.00", "dollars"),
    ("$1,050.50", "1050.50", "dollars"),
    ("1,200 dollars", "1200.00", "dollars"),
    ("five dollars and twenty cents", "5.20", "dollars"),
    ("twelve fifty", "12.50", ""),
    ("ninety nine cents", "0.99", "dollars"),
    ("three point five million", "3500000.00", ""),
    ("a thousand", "1000.00", ""),
    ("two grand", "2000.00", ""),
    ("one and a half thousand", "1500.00", ""),
    ("half a million yuan", "500000.00", "yuan"),
    ("i want to send 800", "800.00", ""),
    ("fifteen k", "15000.00", ""),
    ("not fifty fifteen dollars", "15.00", "dollars"),
    ("one thousand two hundred and thirty four dollars fifty", "1234.50", "dollars"),
    ("RMB five hundred", "500.00", "yuan"),
    ("1.2k", "1200.00", ""),
    ("i don't know", None, ""),
    ("三千块", "3000.00", "yuan"),
    ("一百二", "120.00", ""),
    ("一百二十块", "120.00", "yuan"),
    ("三千五百元", "3500.00", "yuan"),
    ("三千五", "3500.00", ""),
    ("两万三", "23000.00", ""),
    ("一万零五百", "10500.00", ""),
    ("十二万块钱", "120000.00", "yuan"),
    ("三块五", "3.50", "yuan"),
    ("三块五毛二", "3.52", "yuan"),
    ("五毛钱", "0.50", "yuan"),
    ("十块零五分", "10.05", "yuan"),
    ("两千多块", "2000.00", "yuan"),
    ("500块", "500.00", "yuan"),
    ("3.5万", "35000.00", ""),
    ("三点五万元", "35000.00", "yuan"),
    ("1,200元", "1200.00", "yuan"),
    ("￥88.80", "88.80", "yuan"),
    ("两百美元", "200.00", "dollars"),
    ("我想转八百块钱", "800.00", "yuan"),
    ("两万块", "20000.00", "yuan"),
    ("不是五百是三百块", "300.00", "yuan"),
    ("八十八块八", "88.80", "yuan"),
    ("一百块零五毛", "100.50", "yuan"),
    ("一万二千块", "12000.00", "yuan"),
    ("不清楚", None, ""),
]


@pytest.mark.parametrize(("text", "amount", "currency"), AMOUNTS)
def test_amounts(text: str, amount: str | None, currency: str) -> None:
    language = "zh-CN" if any(0x3400 < ord(c) < 0x9FFF or c == "￥" for c in text) else "en-US"
    found = parse("amount", text, language, NOW)
    assert (found.value if found else None) == amount
    assert found is None or found.currency == currency


DATES = [
    # 2026-11-16 is a Monday
    ("today", "2026-11-16"),
    ("the day after tomorrow please", "2026-11-18"),
    ("yesterday", "2026-11-15"),
    ("friday", "2026-11-20"),
    ("this friday", "2026-11-20"),
    ("next friday", "2026-11-27"),
    ("on monday", "2026-11-23"),
    ("next monday", "2026-11-23"),
    ("last friday", "2026-11-13"),
    ("friday next week", "2026-11-27"),
    ("in three days", "2026-11-19"),
    ("in two weeks", "2026-11-30"),
    ("a week from today", "2026-11-23"),
    ("ten days from now", "2026-11-26"),
    ("in a month", "2026-12-16"),
    ("two days ago", "2026-11-14"),
    ("november twentieth", "2026-11-20"),
    ("the twenty first of december", "2026-12-21"),
    ("december 24th", "2026-12-24"),
    ("january 5", "2027-01-05"),
    ("february third twenty twenty seven", "2027-02-03"),
    ("the fifth of next month", "2026-12-05"),
    ("next month on the fifth", "2026-12-05"),
    ("the twentieth", "2026-11-20"),
    ("the tenth", "2026-12-10"),
    ("12/24", "2026-12-24"),
    ("2026-12-01", "2026-12-01"),
    ("this weekend", "2026-11-21"),
    ("at the end of the month", "2026-11-30"),
    ("next week tuesday", "2026-11-24"),
    ("tuesday of next week", "2026-11-24"),
    ("this coming wednesday", "2026-11-18"),
    ("no not friday thursday", "2026-11-19"),
    ("in a couple of days", "2026-11-18"),
    ("on christmas eve", "2026-12-24"),
    ("20 november", "2026-11-20"),
    ("may i come on the third", "2026-12-03"),
    ("i am not sure", None),
    ("february thirtieth", None),
    ("今天下午", "2026-11-16"),
    ("明天上午十点", "2026-11-17"),
    ("大后天", "2026-11-19"),
    ("昨天", "2026-11-15"),
    ("前天", "2026-11-14"),
    ("周五", "2026-11-20"),
    ("这周五", "2026-11-20"),
    ("下周五", "2026-11-27"),
    ("下星期天", "2026-11-29"),
    ("下下周一", "2026-11-30"),
    ("星期一", "2026-11-23"),
    ("上周三", "2026-11-11"),
    ("三天后", "2026-11-19"),
    ("两周以后", "2026-11-30"),
    ("过十天", "2026-11-26"),
    ("一个月后", "2026-12-16"),
    ("十二月二十四号", "2026-12-24"),
    ("12月24日", "2026-12-24"),
    ("一月五号", "2027-01-05"),
    ("明年二月三号", "2027-02-03"),
    ("2027年2月3日", "2027-02-03"),
    ("二零二七年二月三号", "2027-02-03"),
    ("下个月十五号", "2026-12-15"),
    ("这个月三十号", "2026-11-30"),
    ("二十号", "2026-11-20"),
    ("十号", "2026-12-10"),
    ("月底", "2026-11-30"),
    ("这个周末", "2026-11-21"),
    ("半个月后", "2026-12-01"),
    ("不是后天是明天", "2026-11-17"),
    ("后天不行大后天吧", "2026-11-19"),
    ("元旦", "2027-01-01"),
    ("一个星期以后", "2026-11-23"),
    ("十一月二十", "2026-11-20"),
    ("随便哪天", None),
]


@pytest.mark.parametrize(("text", "day"), DATES)
def test_dates(text: str, day: str | None) -> None:
    language = "zh-CN" if any(ord(c) > 0x3000 for c in text) else "en-US"
    found = parse("date", text, language, NOW)
    assert (found.value if found else None) == day


ANSWERS = [
    (True, "yes|yeah that's right|yep|um yes|correct|that is correct|sure|right|ok|yes please|no problem|uh huh"),
    (True, "是的|对|对的|没错|嗯|嗯对|好的|可以|是|行|没问题|正确|当然|就是这个|对没错|呃是的"),
    (False, "no|nope|no thanks|that's wrong|not really|no that's all|it's not right|no no|thanks that's all"),
    (False, "不|不是|不对|不用了谢谢|没有了|不需要|错了|不是的|没了|不要|不用|这个不对|没有|不，谢谢"),
    (None, "i would like to borrow money for a car|the blue one|hello|maybe|我想查账单|你好|等一下"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "text"), [(a, t) for a, texts in ANSWERS for t in texts.split("|")])
def test_yes_no(answer: bool | None, text: str) -> None:
    assert yes_no(text) is answer


def test_values_in_passing_count_only_when_sure() -> None:
    assert passing("digits", "where is order 55310278", "en-US", NOW, 8) == Value("digits", "55310278")
    assert passing("digits", "my order 5531 is late", "en-US", NOW, 8) is None
    assert passing("digits", "i have two orders and one parcel", "en-US", NOW, 8) is None
    assert passing("amount", "send two hundred yuan to mum", "en-US", NOW) == Value("amount", "200.00", "yuan")
    assert passing("amount", "send it to my two kids", "en-US", NOW) is None
    assert passing("date", "can i come tomorrow", "en-US", NOW) == Value("date", "2026-11-17")
    assert passing("yesno", "yes i want a refund", "en-US", NOW) is None
    assert passing("digits", "帮我查一下订单五五三幺零二七八", "zh-CN", NOW, 8) == Value("digits", "55310278")


def test_digits_in_two_breaths() -> None:
    assert continued("5531", "oh two seven eight", 8) == Value("digits", "55310278")
    assert continued("5531", "零二七八", 8) == Value("digits", "55310278")
    assert continued("5531", "oh two", 8) is None
    assert continued("", "oh two seven eight", 8) is None


def test_keys() -> None:
    assert from_keys("digits", "4417", NOW, 4) == Value("digits", "4417")
    assert from_keys("digits", "441", NOW, 4) is None
    assert from_keys("amount", "12*5", NOW, currency="yuan") == Value("amount", "12.50", "yuan")
    assert from_keys("date", "1224", NOW) == Value("date", "2026-12-24")
    assert from_keys("date", "0101", NOW) == Value("date", "2027-01-01")
    assert from_keys("date", "0230", NOW) is None
    assert from_keys("date", "20270230", NOW) is None
    assert from_keys("yesno", "2", NOW) == Value("text", "no")


EN = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZH = "零一二三四五六七八九"


@given(st.text("0123456789", min_size=3, max_size=12))
def test_every_digit_string_is_understood_in_every_spelling(digits: str) -> None:
    spellings = {
        "en-US": [" ".join(EN[int(d)] for d in digits), " ".join(digits), digits],
        "zh-CN": ["".join(ZH[int(d)] for d in digits), digits],
    }
    for language, texts in spellings.items():
        for text in texts:
            assert parse("digits", text, language, NOW, len(digits)) == Value("digits", digits), text


@given(st.text(max_size=60), st.sampled_from(["digits", "amount", "date", "yesno"]), st.integers(0, 12))
def test_no_text_raises(text: str, kind: str, length: int) -> None:
    for language in ("en-US", "zh-CN"):
        parse(kind, text, language, NOW, length)  # type: ignore[arg-type]
        passing(kind, text, language, NOW, length)  # type: ignore[arg-type]


GLUE = ["hundred", "thousand", "million", "and", "a", "half", "point", "double", "dollars", "next", "month", "the"]
GLUE += ["in", "third", "weeks", "december", "12", "3.5", "$"]
WORDS = [*EN, *ZH, *GLUE, *"十百千万亿个点块毛分月号年周散要双", "下个月"]


@given(st.lists(st.sampled_from(WORDS), max_size=9), st.sampled_from(["digits", "amount", "date"]), st.integers(0, 9))
def test_no_mix_of_number_words_raises(words: list[str], kind: str, length: int) -> None:
    for glue in ("", " "):
        for language in ("en-US", "zh-CN"):
            parse(kind, glue.join(words), language, NOW, length)  # type: ignore[arg-type]
