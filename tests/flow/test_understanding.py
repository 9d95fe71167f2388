"""Numbers a caller dictates inside a sentence say nothing about what is wanted."""

from __future__ import annotations

import pytest

from gateway.flow.understanding import without_numbers


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("track my order one two three four five six seven eight", "track my order"),
        ("where is order double oh seven four one nine five three please", "where is order please"),
        ("订单一二三四五六七八到哪了", "订单 到哪了"),
        ("my card 4417 was stolen", "my card was stolen"),
        ("one two three four", "one two three four"),
        ("two people want one account", "two people want one account"),
        ("我有两张卡", "我有两张卡"),
    ],
)
def test_dictated_numbers_are_left_out(said: str, left: str) -> None:
    assert without_numbers(said) == left
