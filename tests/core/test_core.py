"""Marks, errors, ids and clocks."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audio import Audio
from gateway.core.clock import FakeClock, Moment, SystemClock
from gateway.core.errors import Findings, FlowError, Mark, nearest
from gateway.core.ids import uuid7


def test_an_error_says_where_what_was_read_and_what_to_do() -> None:
    error = FlowError(
        "unknown prompt",
        where=Mark("bank.yaml", 12, 5),
        read="welcom",
        expected="a name under `prompts`",
        near="welcome",
    )
    assert str(error).splitlines() == [
        "bank.yaml:12:5: unknown prompt",
        "  read: welcom",
        "  expected: a name under `prompts`",
        "  did you mean: welcome",
    ]


def test_findings_stand_in_the_order_of_the_file() -> None:
    late, early = FlowError("b", where=Mark("f", 9)), FlowError("a", where=Mark("f", 2))
    assert [e.what for e in Findings("2 errors", [late, early]).items] == ["a", "b"]


def test_nearest_finds_a_slip_of_the_finger_and_nothing_else() -> None:
    assert nearest("welcom", ["welcome", "goodbye"]) == "welcome"
    assert nearest("zzz", ["welcome", "goodbye"]) is None


@given(st.integers(min_value=0, max_value=(1 << 48) - 2))
def test_uuid7_is_a_uuid_and_sorts_by_time(ms: int) -> None:
    first, second = uuid7(ms), uuid7(ms + 1)
    assert first < second
    parsed = uuid.UUID(first)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == ms


def test_moments_move_both_clocks_alike() -> None:
    moment = Moment(5.0, datetime(2026, 11, 16, tzinfo=UTC)).plus(90)
    assert (moment.mono, moment.utc) == (95.0, datetime(2026, 11, 16, 0, 1, 30, tzinfo=UTC))
    clock = FakeClock()
    before = clock.now()
    assert clock.advance(2.5).mono - before.mono == 2.5
    assert SystemClock().now().utc.tzinfo is UTC


def test_audio_knows_its_length() -> None:
    assert Audio(b"\0\0" * 8000, 16000).seconds == 0.5
