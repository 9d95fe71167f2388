"""Text: tidied, counted, read as digits; partials that only grow; hints; repetition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speech.asr_whisper import repeats
from gateway.speech.hints import hints
from gateway.speech.language import Agreement, digits_in, primer, tidy, units


def test_mandarin_is_written_in_simplified_characters_without_gaps() -> None:
    pytest.importorskip("opencc")
    assert tidy(" 我的快遞 到 哪了？ ", "zh-CN") == "我的快递到哪了？"
    assert tidy("金额是１２３元", "zh-CN") == "金额是123元"


def test_english_is_left_as_people_write_it() -> None:
    assert tidy("  What's  my balance? ", "en-US") == "What's my balance?"


def test_units_are_words_or_characters() -> None:
    assert units("I'd like 2 tickets, please!") == ["i'd", "like", "2", "tickets", "please"]
    assert units("我要退货，OK？") == ["我", "要", "退", "货", "ok"]
    assert units("...!") == []


@pytest.mark.parametrize(
    ("text", "language", "digits"),
    [
        ("82459151.", "en-US", "82459151"),
        ("8-2-4-5-9-1-5-1", "en-US", "82459151"),
        ("8 2459 151", "en-US", "82459151"),
        ("eight two oh four", "en-US", "8204"),
        ("It's double five, triple zero 7", "en-US", "550007"),
        ("八二四五九幺五一", "zh-CN", "82459151"),
        ("号码是4 7 0 9", "zh-CN", "4709"),
        ("我不知道", "zh-CN", ""),
        ("I don't know", "en-US", ""),
    ],
)
def test_dictated_digits_are_read_however_they_are_written(text: str, language: str, digits: str) -> None:
    assert digits_in(text, language) == digits


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), max_size=12))
def test_what_is_settled_only_grows(decodings: list[list[str]]) -> None:
    agreement = Agreement()
    told = [found for words in decodings if (found := agreement.update(" ".join(words))) is not None]
    lengths = [len(units(found)) for found in told]
    assert lengths == sorted(set(lengths))


def test_a_word_is_settled_when_two_decodings_agree() -> None:
    agreement = Agreement()
    assert agreement.update("I want") is None
    assert agreement.update("I want to") == "I want"
    assert agreement.update("I want two") is None
    assert agreement.update("I want to transfer") is None
    assert agreement.update("I want to transfer money") == "I want to transfer"


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("please hold the line please hold the line", "en-US", True),
        ("press one to go on. press two to stop. press one to go on. press two to", "en-US", True),
        ("你们几点开门你们几点开门", "zh-CN", True),
        ("I lost my card and I want to lock my card", "en-US", False),
        ("no no no", "en-US", False),
        ("4 7 4 7 4 7 4 7", "en-US", False),
        ("", "en-US", False),
    ],
)
def test_a_decoder_that_goes_round_in_circles_is_noticed(text: str, language: str, found: bool) -> None:
    assert repeats(text, 6.0, language) is found


def test_more_words_than_anyone_can_say_are_noticed() -> None:
    assert repeats("so many different words can never be said within half of one single second", 0.5, "en-US")


def test_hints_are_what_one_intent_says_and_others_do_not() -> None:
    said = {
        "parcel": ["where is my parcel", "has my parcel left", "track my parcel please"],
        "refund": ["i want a refund", "a refund please", "refund for my shoes"],
    }
    found = hints(said, "en-US", 4)
    assert {"parcel", "refund"} <= set(found)
    assert not {"my", "i", "please", "want"} & set(found)


def test_hints_of_mandarin_are_whole_words() -> None:
    said = {
        "parcel": ["我的包裹在哪里", "包裹到了吗", "查一下包裹"],
        "refund": ["我要退款", "退款多久到账", "怎么退款"],
    }
    assert set(hints(said, "zh-CN", 2)) == {"包裹", "退款"}


@given(st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=20), max_size=5), max_size=4), st.integers(0, 9))
def test_hints_never_exceed_their_limit(said: dict[str, list[str]], limit: int) -> None:
    assert len(hints(said, "zh-CN", limit)) <= limit


def test_digits_are_primed_where_the_flow_gives_no_hints() -> None:
    assert primer("en-US", "digits") != ()
    assert primer("zh-CN", "digits") != ()
    assert primer("en-US", "menu") == ()
