"""A caller's steps as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.errors import TrunklineError
from gateway.lab.script import Amid, Exchange, Listen, Outcome, Press, Speak, Stay, Wait, step


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("listen", Listen()),
        ("listen:1.5", Listen(1.5)),
        ("amid:2", Amid(2.0)),
        ("say:a/b.wav", Speak(Path("a/b.wav"))),
        ("keys:12#", Press("12#")),
        ("wait:0.5", Wait(0.5)),
        ("stay", Stay()),
    ],
)
def test_steps_as_written(text: str, wanted: object) -> None:
    assert step(text) == wanted


def test_a_wrong_step_says_what_was_meant() -> None:
    with pytest.raises(TrunklineError, match="did you mean: listen") as caught:
        step("lisen:2")
    assert caught.value.read == "lisen:2"
    with pytest.raises(TrunklineError, match="number of seconds"):
        step("wait:soon")


def test_an_outcome_is_plain_json_with_rounded_numbers() -> None:
    outcome = Outcome("sip:1@h", 200, setup_ms=12.34567, exchanges=[Exchange("keys 1", 1.23456, 2.0, 700.00049)])
    plain = outcome.as_json()
    assert (plain["setup_ms"], plain["exchanges"][0]["started"], plain["exchanges"][0]["reply_ms"]) == (
        12.346,
        1.235,
        700.0,
    )
    assert plain["exchanges"][0]["stop_ms"] is None
