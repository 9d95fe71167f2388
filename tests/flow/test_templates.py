"""Utterance templates, prompt templates, opening hours, and flows drawn."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flow.actions import look_up, segment, spoken
from gateway.flow.draw import draw
from gateway.flow.hours import days_of, is_open, spans_of
from gateway.flow.model import Hours, Result
from gateway.flow.templates import (
    MAX_EXPANSIONS,
    TemplateError,
    expand,
    fixed_texts,
    names,
    position_values,
    prompt,
    segments,
)
from gateway.flow.turn import Text, Value
from tests.flow.flows import shipped


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("plain words", ("plain words",)),
        ("(a|b) c", ("a c", "b c")),
        ("[very] good", ("very good", "good")),
        ("x [a|b] y", ("x a y", "x b y", "x y")),
        ("(a [b]|c) d", ("a b d", "a d", "c d")),
        ("我要(转|查)[一下]账", ("我要转一下账", "我要转账", "我要查一下账", "我要查账")),
        ("(a|a)", ("a",)),
    ],
)
def test_utterances_expand(template: str, sentences: tuple[str, ...]) -> None:
    assert expand(template) == sentences


@pytest.mark.parametrize(("template", "at"), [("a (b", 2), ("a b)", 3), ("a | b", 2), ("[a (b]", 3), ("a]", 1)])
def test_broken_templates_say_where(template: str, at: int) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(template)
    assert caught.value.at == at


def test_a_template_can_not_explode() -> None:
    with pytest.raises(TemplateError, match=f"more than {MAX_EXPANSIONS}"):
        expand("(a|b|c|d|e|f|g|h|i|j)" * 6)


@given(st.text(alphabet="ab()[]| ", max_size=30))
def test_any_template_expands_or_says_why(template: str) -> None:
    try:
        sentences = expand(template)
    except TemplateError as problem:
        assert 0 <= problem.at <= len(template)  # noqa: PT017  either outcome is right
        return
    assert len(set(sentences)) == len(sentences) >= 1
    assert not any(re.search(r"[()\[\]|]", s) for s in sentences)


def test_prompts_split_at_values_and_merge_fixed_words() -> None:
    two = {"n": Value("digits", "12"), "w": Text("on its way")}
    assert segments("Order {n} is {w}. Bye.", two) == (
        Text("Order "),
        Value("digits", "12"),
        Text(" is on its way. Bye."),
    )
    assert segments("{n}. Right?", two) == (Value("digits", "12"), Text(". Right?"))
    assert segments("订单{n}，{w}。", two) == (Text("订单"), Value("digits", "12"), Text("on its way。"))
    assert segments("金额是{n}。", two) == (Text("金额是"), Value("digits", "12"))
    assert segments("No {such} thing", {}) == (Text("No thing"),)
    assert segments("", {}) == ()
    assert names("a {b} c {d}") == ["b", "d"]


def test_queue_prompts_speak_place_and_minutes() -> None:
    flow = shipped("bank")
    values = position_values(3, 61.0)
    assert prompt(flow, "position", "en-US", values)[1] == Value("ordinal", "3")
    assert prompt(flow, "wait", "zh-CN", values) == (Text("预计等待"), Value("number", "2"), Text("分钟。"))
    assert flow.prompt_for("fraud", "hold") == "hold"
    assert flow.prompt_for("cards", "nobody") == "nobody"


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_everything_fixed_that_can_be_said_is_listed_for_rendering(name: str) -> None:
    flow = shipped(name)
    listed = set(fixed_texts(flow))
    labels = [("you are calling about " + i.label["en-US"] + ". is that right?") for i in flow.intents.values()]
    assert {text.lower() for text, _ in listed} >= {label.lower() for label in labels}
    assert all(text.strip() == text and text and "{" not in text for text, _ in listed)
    assert not any("Your balance" in text or text.startswith(".") for text, _ in listed)
    if name == "shop":
        assert ("您的订单正在打包，预计送达日期是", "zh-CN") in listed


def test_results_are_spoken_by_kind_and_oddities_as_they_are() -> None:
    assert segment(Result("amount", "yuan"), "12.5", "en-US") == Value("amount", "12.50", "yuan")
    assert segment(Result("amount", "yuan"), "lots", "en-US") == Value("text", "lots")
    assert segment(Result("date"), "2026-11-20", "en-US") == Value("date", "2026-11-20")
    assert segment(Result("date"), "soon", "en-US") == Value("text", "soon")
    assert segment(Result("number"), "7.12", "zh-CN") == Value("number", "7.12")
    word = Result("word", words={"a": {"en-US": "apple", "zh-CN": "苹果"}})
    assert segment(word, "a", "zh-CN") == Text("苹果")
    assert segment(word, "b", "zh-CN") == Text("b")


def test_tables_answer_by_slot_or_other() -> None:
    track = shipped("shop").actions["track"]
    assert look_up(track, {"order_no": "55310278"}).result["status"] == "packed"
    assert look_up(track, {"order_no": "1"}).result["status"] == "shipped"
    assert set(spoken(track, {"status": "packed", "secret": "x"}, "en-US")) == {"status"}


def test_opening_hours_in_their_own_time_zone() -> None:
    week = tuple(tuple(spans_of("09:00-12:00, 13:00-18:00") or ()) if d < 5 else () for d in range(7))
    hours = Hours("h", ZoneInfo("Asia/Shanghai"), week, frozenset({datetime(2026, 11, 18).date()}))

    def at(day: int, hour: int, minute: int = 0) -> bool:
        return is_open(hours, datetime(2026, 11, day, hour, minute, tzinfo=UTC))

    assert at(16, 1)  # Monday 09:00 in Shanghai
    assert not at(16, 0, 59)
    assert not at(16, 4, 30)
    assert at(16, 9, 59)
    assert not at(16, 10)
    assert not at(18, 2)  # a holiday
    assert not at(20, 17)  # Saturday 01:00
    assert at(19, 1)


@pytest.mark.parametrize(
    ("text", "days"),
    [("mon", [0]), ("mon-fri", [0, 1, 2, 3, 4]),
      ("Sat-Sun", [5, 6]), ("fri-mon", [4, 5, 6, 0]), ("monday", None), ("", None)],
)  # fmt: skip
def test_days(text: str, days: list[int] | None) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["9-5", "18:00-09:00", "09:00-24:01", "09:70-10:00", "always", "", "09:00-12:00;"])
def test_spans_that_are_none(text: str) -> None:
    assert spans_of(text) is None


def test_spans() -> None:
    assert spans_of("00:00-24:00") == [(0, 1440)]
    assert spans_of("closed") == []


def test_drawing_names_every_menu_intent_and_queue() -> None:
    flow = shipped("bank")
    dot, mermaid = draw(flow), draw(flow, "mermaid")
    for name in [*flow.menus, *flow.intents, *flow.actions, *flow.queues]:
        assert f'label="{name}"' in dot
        assert f'"{name}"' in mermaid
    assert '"menu:cards" -> "menu:card_service" [label="3"];' in dot
    assert dot.count("{") == dot.count("}")
