"""Session timers as values: what is asked, what is answered, who refreshes, when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.message import Request, Response
from gateway.sip.session_timer import Expires, SessionTimer, expires


def request(**headers: str) -> Request:
    return Request("INVITE", "sip:x@y", [(name.replace("_", "-"), value) for name, value in headers.items()])


def ok(**headers: str) -> Response:
    return Response(200, "OK", [(name.replace("_", "-"), value) for name, value in headers.items()])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1800", Expires(1800)),
        (" 90 ; Refresher = UAS", Expires(90, "uas")),
        ("90;refresher=other;x=1", Expires(90)),
        ("0", None),
        ("-1", None),
        ("soon", None),
        ("99999999999", None),
        ("90;=", None),
        ("2147483647;refresher=uac", Expires(7 * 86400, "uac")),
    ],
)
def test_the_header_is_read(value: str, expected: Expires | None) -> None:
    assert expires(request(Session_Expires=value)) == expected
    assert expires(request()) is None


@pytest.mark.parametrize(
    ("asked", "supported", "minimum", "interval", "refreshing", "headers"),
    [
        ("1800", "timer", "", 1800, False, ["timer", "1800;refresher=uac"]),
        ("1800;refresher=uas", "timer", "", 1800, True, ["1800;refresher=uas"]),
        ("1800;refresher=uac", "timer", "", 1800, False, ["timer", "1800;refresher=uac"]),
        ("3600", "timer", "", 1800, False, ["timer", "1800;refresher=uac"]),
        ("3600", "timer", "2400", 2400, False, ["timer", "2400;refresher=uac"]),
        ("120", "timer", "", 120, False, ["timer", "120;refresher=uac"]),
        ("", "timer", "", 1800, False, ["timer", "1800;refresher=uac"]),
        ("", "timer", "7200", 7200, False, ["timer", "7200;refresher=uac"]),
        ("", "", "", 1800, True, ["1800;refresher=uas"]),
        ("1800;refresher=uac", "", "", 1800, True, ["1800;refresher=uas"]),
    ],
)
def test_a_call_that_comes_in(
    asked: str, supported: str, minimum: str, interval: int, refreshing: bool, headers: list[str]
) -> None:
    timer = SessionTimer(1800)
    given = {"Session_Expires": asked, "Supported": supported, "Min_SE": minimum}
    assert [value for _, value in timer.answer(request(**{k: v for k, v in given.items() if v}))] == headers
    assert (timer.interval, timer.refreshing) == (interval, refreshing)
    assert timer.refresh_after == (interval / 2 if refreshing else None)


def test_without_a_wish_of_ours_the_peers_holds_and_none_means_none() -> None:
    timer = SessionTimer(0)
    assert timer.ask() == []
    assert timer.answer(request()) == []
    assert (timer.refresh_after, timer.ends_after) == (None, None)
    assert timer.answer(request(Session_Expires="600", Supported="timer"))[-1] == (
        "Session-Expires",
        "600;refresher=uac",
    )
    assert timer.ends_after == 568
    timer.answered(ok())
    assert (timer.interval, timer.ends_after) == (0, None)


def test_too_small_is_told_only_to_a_peer_that_knows_timers() -> None:
    timer = SessionTimer(1800, 90)
    assert timer.too_small(request(Session_Expires="60", Supported="100rel, Timer"))
    assert not timer.too_small(request(Session_Expires="60"))
    assert not timer.too_small(request(Session_Expires="90", Supported="timer"))
    assert timer.min_se == ("Min-SE", "90")
    assert timer.answer(request(Session_Expires="60"))[-1] == ("Session-Expires", "90;refresher=uas")


def test_a_call_that_goes_out() -> None:
    timer = SessionTimer(1800)
    assert timer.ask() == [("Session-Expires", "1800")]
    timer.answered(ok(Session_Expires="1200;refresher=uac", Require="timer"))
    assert (timer.refresh_after, timer.ends_after) == (600, 1168)
    assert timer.ask() == [("Session-Expires", "1200;refresher=uac")]
    timer.answered(ok(Session_Expires="1200;refresher=uas"))
    assert (timer.refresh_after, timer.ends_after) == (None, 1168)
    assert timer.ask() == [("Session-Expires", "1200;refresher=uas")]


def test_a_peer_without_timers_is_asked_by_us_and_never_runs_out() -> None:
    timer = SessionTimer(1800)
    timer.answered(ok())
    assert (timer.refresh_after, timer.ends_after) == (900, None)
    assert timer.ask() == [("Session-Expires", "1800")]
    server = SessionTimer(1800)
    server.answer(request())
    assert (server.refresh_after, server.ends_after) == (900, None)


def test_422_raises_what_is_asked_once_for_each_larger_minimum() -> None:
    timer = SessionTimer(300)
    assert timer.refused(ok(Min_SE="1800"))
    assert timer.ask() == [("Session-Expires", "1800"), ("Min-SE", "1800")]
    assert not timer.refused(ok(Min_SE="1800"))
    assert not timer.refused(ok())
    assert not timer.refused(ok(Min_SE="many"))
    assert timer.refused(ok(Min_SE="2000"))


def test_what_a_peer_asks_for_below_the_usual_least_stays_as_it_is() -> None:
    timer = SessionTimer(4, 2)
    assert timer.answer(request(Session_Expires="4;refresher=uas", Supported="timer"))[-1][1] == "4;refresher=uas"
    assert timer.ask() == [("Session-Expires", "4;refresher=uac"), ("Min-SE", "2")]
    assert timer.answer(request(Supported="timer"))[-1][1] == "90;refresher=uas"


def test_a_refresh_keeps_its_refresher_unless_told_otherwise() -> None:
    timer = SessionTimer(1800)
    timer.answer(request(Session_Expires="1800;refresher=uas", Supported="timer"))
    assert timer.refreshing
    timer.answer(request(Session_Expires="1800", Supported="timer"))
    assert timer.refreshing
    timer.answer(request(Session_Expires="1800;refresher=uac", Supported="timer"))
    assert not timer.refreshing


seconds = st.integers(min_value=1, max_value=10_000)
role = st.sampled_from(["", ";refresher=uac", ";refresher=uas"])
refreshes = st.tuples(st.booleans(), role)


@given(seconds, seconds, seconds, seconds, st.lists(refreshes, max_size=8))
def test_two_timers_agree_on_the_interval_and_on_one_refresher(
    wish: int, least: int, other_wish: int, other_least: int, turns: list[tuple[bool, str]]
) -> None:
    one, two = SessionTimer(wish, least), SessionTimer(other_wish, other_least)
    for mine, _ in [(True, ""), *turns]:
        asks, answers = (one, two) if mine else (two, one)
        for _ in range(3):
            sent = Request("INVITE", "sip:x@y", [("Supported", "timer"), *asks.ask()])
            if not answers.too_small(sent):
                break
            assert asks.refused(Response(422, "", [answers.min_se]))
        else:
            raise AssertionError("422 without end")
        asks.answered(Response(200, "OK", answers.answer(sent)))
        assert one.interval == two.interval > 0
        assert one.refreshing is not two.refreshing
        assert one.ends_after == two.ends_after
