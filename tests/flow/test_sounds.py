"""Keys by sound, plain text, and Mandarin written again with a flow's own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flow.respell import Respelling, sound_cost
from gateway.flow.sounds import content, plain, sound, syllables


@pytest.mark.parametrize(
    ("one", "other"),
    [("会率", "汇率"), ("语恶", "余额"), ("快遞", "快递"), ("知道", "资道"), ("是的", "四的"), ("你们", "李们")],
)
def test_mandarin_homophones_share_a_key(one: str, other: str) -> None:
    assert sound(one, "zh-CN") == sound(other, "zh-CN")


@pytest.mark.parametrize(("one", "other"), [("night phone", "knight fone"), ("which", "witch"), ("write", "right")])
def test_english_homophones_share_a_key(one: str, other: str) -> None:
    assert sound(one, "en-US") == sound(other, "en-US")


@pytest.mark.parametrize(("one", "other"), [("pin", "loan"), ("refund", "repair")])
def test_different_words_have_different_keys(one: str, other: str) -> None:
    assert sound(one, "en-US") != sound(other, "en-US")


def test_plain_text_is_what_a_recognizer_writes() -> None:
    assert plain("What's my  BALANCE, please?", "en-US") == "whats my balance please"
    assert plain("我的 订单，12345678 到哪了？", "zh-CN") == "我的订单0到哪了"


def test_politeness_and_hesitation_are_no_content() -> None:
    assert content("um hello i lost it please", "en-US") == "i lost it"
    assert content("喂你好那个查余额谢谢", "zh-CN") == "查余额"
    assert content("hello", "en-US") == ""


@given(st.text(max_size=40))
def test_any_text_has_keys_without_raising(text: str) -> None:
    for language in ("en-US", "zh-CN", "ko-KR"):
        assert plain(plain(text, language), language) == plain(text, language)
        sound(text, language)
        content(text, language)


def test_syllables_are_one_a_character_or_none() -> None:
    assert len(syllables("银行卡")) == 3
    assert syllables("转a账") == []


def test_sound_cost_grows_with_the_difference() -> None:
    assert sound_cost("zan", "zan") == 0
    assert 0 < sound_cost("zen", "zan") < sound_cost("li", "zan") <= 1


@pytest.fixture(scope="module")
def respelling() -> Respelling:
    said = [["我要查汇率"], ["今天汇率多少"], ["帮我转账"], ["我要转账给他"], ["我要转账"]]
    return Respelling(said, ["转正了没有", "今天开会"])


@pytest.mark.parametrize(
    ("heard", "meant"), [("今天会率多少", "今天汇率多少"), ("我要专账", "我要转账"), ("我要转正", "我要转账")]
)
def test_a_misheard_word_becomes_the_flows_word(respelling: Respelling, heard: str, meant: str) -> None:
    assert respelling(heard) == meant


@pytest.mark.parametrize("text", ["今天汇率多少", "转正了没有", "我爱吃苹果", "", "转", "pin码", "今天开会"])
def test_what_people_do_say_is_left_alone(respelling: Respelling, text: str) -> None:
    assert respelling(text) == text
