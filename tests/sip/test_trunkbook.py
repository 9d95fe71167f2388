"""Which trunk a call comes by, which it goes out by, and what each may carry."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigError, SipError
from gateway.sip.auth import Account
from gateway.sip.dialling import number_outside
from gateway.sip.numbers import FORMATS, e164, written
from gateway.sip.trunkbook import Bucket, TrunkBook, goes_on
from gateway.sip.trunks import Destinations, RegisterAs, Trunk
from gateway.sip.uri import parse_uri

HERE = parse_uri("sip:8000@10.0.0.1")


def book(*trunks: Trunk, **destinations: object) -> TrunkBook:
    return TrunkBook(trunks, Destinations(**destinations), random.Random(1))


def out(name: str, **more: object) -> Trunk:
    return Trunk(name, server=f"sip:{name}.example", **more)


def names(trunks: list[Trunk]) -> list[str]:
    return [trunk.name for trunk in trunks]


def test_an_address_or_a_server_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="none"):
        Trunk("x", ("nowhere",))
    with pytest.raises(SipError):
        Trunk("x", server="nowhere")


def test_the_smallest_network_wins() -> None:
    trunks = book(Trunk("all", ("127.0.0.0/8", "2001:db8::/32")), Trunk("one", ("127.0.0.9",)))
    assert trunks.caller("127.0.0.9", HERE).name == "one"
    assert trunks.caller("127.0.0.8", HERE).name == "all"
    assert trunks.caller("2001:db8::5", HERE).name == "all"
    assert trunks.caller("192.0.2.1", HERE) is None


def test_strangers_take_no_memory() -> None:
    trunks = book(Trunk("one", ("127.0.0.9",)))
    for n in range(20_000):
        assert trunks.caller(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", HERE) is None
    assert len(trunks._peers) <= 4096


def registering(name: str, user: str) -> Trunk:
    return out(name, register=RegisterAs(user, Account(user, "p")))


def test_calls_come_from_where_we_registered() -> None:
    trunks = book(registering("a", "line1"), registering("b", "line2"), Trunk("near", ("192.0.2.0/24",)))
    assert trunks.caller("192.0.2.5", HERE).name == "near"
    trunks.registered("a", 600, 0.0, ips=["192.0.2.5"], line="abc")
    trunks.registered("b", 600, 0.0, ips=["192.0.2.5"], line="def")
    assert trunks.caller("192.0.2.5", HERE).name == "a"
    assert trunks.caller("192.0.2.5", parse_uri("sip:line2@10.0.0.1")).name == "b"
    assert trunks.caller("198.51.100.1", parse_uri("sip:x@10.0.0.1;line=def")).name == "b"
    assert trunks.caller("198.51.100.1", parse_uri("sip:x@10.0.0.1;line=xyz")) is None
    trunks.unregistered("a", "403 Forbidden", 1.0)
    trunks.unregistered("b", "403 Forbidden", 1.0)
    assert trunks.caller("192.0.2.5", HERE).name == "near"
    assert trunks.caller("198.51.100.1", parse_uri("sip:x@10.0.0.1;line=def")) is None


def test_a_trunk_stands_where_it_is_listed_called_or_registered_at() -> None:
    trunk = Trunk("a", ("192.0.2.0/24",), server="sip:198.51.100.1", register=RegisterAs("u", Account("u", "p")))
    trunks = book(trunk)
    assert [trunks.stands_at(trunk, ip) for ip in ("192.0.2.9", "198.51.100.1", "203.0.113.5")] == [True, True, False]
    trunks.registered("a", 600, 0.0, ips=["203.0.113.5"], line="abc")
    assert trunks.stands_at(trunk, "203.0.113.5")


def test_a_digest_account_is_of_its_trunk() -> None:
    trunks = book(Trunk("pbx", account=Account("pbx1", "p")))
    assert trunks.by_account("pbx1").name == "pbx"
    assert trunks.by_account("anna") is None


# --- limits ---------------------------------------------------------------------------------------------------------


def test_calls_at_once_are_counted_in_both_directions() -> None:
    trunks = book(out("t", max_calls=2))
    assert trunks.admit("t", "a", 0.0) == 0
    assert trunks.take("t", "b", 0.0)
    assert trunks.admit("t", "c", 0.0) > 0
    assert not trunks.take("t", "d", 0.0)
    trunks.release("c")  # never counted
    assert trunks["t"].full
    trunks.release("a")
    trunks.release("a")
    assert (trunks["t"].calls_in, trunks["t"].calls_out) == (0, 1)
    assert trunks.admit("t", "e", 0.0) == 0


def test_new_calls_a_second_wait_their_turn() -> None:
    trunks = book(out("t", per_second=2.0))
    assert [trunks.admit("t", str(n), 10.0) > 0 for n in range(3)] == [False, False, True]
    wait = trunks.admit("t", "x", 10.0)
    assert wait == pytest.approx(0.5)
    assert trunks.admit("t", "y", 10.0 + wait) == 0
    assert trunks.take("t", "z", 10.0)  # outward has a bucket of its own


@given(st.floats(0.1, 50), st.lists(st.floats(0, 2), max_size=80))
def test_a_bucket_never_lets_more_through(rate: float, gaps: list[float]) -> None:
    bucket, now, passed = Bucket(rate), 100.0, 0
    for gap in gaps:
        now += gap
        passed += not bucket.wait(now)
    assert passed <= max(1.0, rate) + (now - 100.0) * rate + 1e-6


def test_a_call_that_goes_on_by_another_trunk_leaves_the_first() -> None:
    trunks = book(out("a"), out("b"), max_calls=1)
    assert trunks.spends(0.0)
    assert trunks.take("a", "call", 0.0)
    assert trunks.take("b", "call", 0.0)
    assert (trunks["a"].calls_out, trunks["b"].calls_out) == (0, 1)
    assert not trunks.spends(0.0)
    trunks.release("call")
    assert trunks.spends(0.0)


def test_what_is_spent_in_a_minute_is_limited() -> None:
    trunks = book(out("a"), per_minute=2)
    assert trunks.spends(0.0)
    assert trunks.spends(0.0)
    assert not trunks.spends(1.0)
    assert trunks.spends(31.0)
    assert not trunks.spends(32.0)


@given(st.lists(st.tuples(st.sampled_from(["in", "out", "over"]), st.integers(0, 5)), max_size=60))
def test_counts_are_those_of_calls_that_last(steps: list[tuple[str, int]]) -> None:
    trunks = book(out("t", max_calls=3))
    lasting: set[str] = set()
    for step, number in steps:
        call = str(number)
        if step == "over":
            trunks.release(call)
            lasting.discard(call)
        elif call not in lasting:
            taken = trunks.admit("t", call, 0.0) == 0 if step == "in" else trunks.take("t", call, 0.0)
            assert taken == (len(lasting) < 3)
            if taken:
                lasting.add(call)
        assert trunks["t"].calls_in + trunks["t"].calls_out == len(lasting)


# --- where a call goes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "permitted"),
    [
        ("+4930123456", True),
        ("+499001234567", False),
        ("+499005123456", True),
        ("+442071234567", True),
        ("+12025550100", False),
        ("112", False),
        ("", False),
    ],
)
def test_nothing_is_dialled_but_what_is_listed(number: str, permitted: bool) -> None:
    rules = Destinations(allow=("+49", "+44", "+499005"), deny=("+49900", "+449"))
    assert rules.permits(number) is permitted
    assert not Destinations().permits(number)


def test_all_may_be_allowed_but_some() -> None:
    rules = Destinations(allow=("*",), deny=("+49900*", "*"))
    assert not rules.permits("+4930123456")  # as long a deny holds
    assert Destinations(allow=("*",), deny=("+49900*",)).permits("112")
    assert not Destinations(allow=("*",), deny=("+49900*",)).permits("+499001234567")


DENIED = ("+49900", "+49137", "+1900")


@pytest.mark.parametrize("allow", [("*",), ("+49", "+1", "0")])
@pytest.mark.parametrize(
    "dialled",
    [
        *("+499001234567", "+4909001234567", "+4900900123456", "+49 900 123456", "+119005551234", "09001234567"),
        *("0900123", "00499001234567", "004900900123456", "tel:+49-0900-1234567", "tel:0900-1234567;phone-context=+49"),
        *("tel:09001234567;phone-context=+49", "+49 (0) 900 1234567", "+490137123456"),
    ],
)
def test_no_way_of_writing_a_number_gets_round_what_is_denied(allow: tuple[str, ...], dialled: str) -> None:
    assert number_outside(book(out("a"), allow=allow, deny=DENIED, country="DE"), dialled) is None


def test_what_is_no_number_with_a_plus_is_dialled_only_where_it_is_listed_itself() -> None:
    assert number_outside(book(allow=("+49",)), "+49301") is None
    assert number_outside(book(allow=("+49301",)), "+49301") == "+49301"
    assert number_outside(book(allow=("+49",)), "+49030123456") == "+4930123456"


DIALLED = st.one_of(
    st.text(max_size=20),
    st.text("+0149 ()-./*#", max_size=20),
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["+49", "0049", "+1", "49", "0", ""]),
            st.sampled_from(["", "0", "00", "1", " (0) "]),
            st.sampled_from(["900", "137", "30", "20", "202"]),
            st.text("0123456789 ", max_size=9),
        ),
    ),
)


@given(DIALLED, st.sampled_from(FORMATS), st.sampled_from([None, "DE", "US", "IT"]))
def test_whatever_is_dialled_is_allowed_and_not_denied(text: str, form: str, country: str | None) -> None:
    outside = book(allow=("*",), deny=DENIED, country=country)
    if text.startswith("tel:") or (number := number_outside(outside, text)) is None:
        return
    sent = written(number, form, country)
    for way in (sent, "+" + sent, "+" + number):
        assert not e164(way, country).startswith(DENIED)


def test_the_order_is_named_routed_or_drawn() -> None:
    trunks = book(
        out("a", priority=2, failover=("c",)),
        out("b", priority=1),
        out("c", priority=2),
        Trunk("in-only", ("10.0.0.1",)),
        routes={"+44": ("c", "b"), "+4420": ("a",)},
    )
    assert names(trunks.choose("+49301", "a", 0.0)) == ["a", "c"]
    assert names(trunks.choose("+44301", None, 0.0)) == ["c", "b"]
    assert names(trunks.choose("+44201", None, 0.0)) == ["a", "c"]
    drawn = names(trunks.choose("+49301", None, 0.0))
    assert drawn[0] == "b"
    assert {*drawn} == {"a", "b", "c"}
    assert trunks.choose("+49", "in-only", 0.0) == []
    assert trunks.choose("+49", "unknown", 0.0) == []


def test_weight_shares_among_equals() -> None:
    trunks = book(out("a", weight=3), out("b", weight=1))
    first = [names(trunks.choose("+49", None, 0.0))[0] for _ in range(2000)]
    assert 0.70 < first.count("a") / 2000 < 0.80


def test_a_trunk_that_failed_rests_ever_longer() -> None:
    trunks = book(out("a", failover=("b",)), out("b"))
    trunks.failed("a", "408 silence", 0.0)
    assert names(trunks.choose("1", "a", 9.0)) == ["b", "a"]
    assert names(trunks.choose("1", "a", 10.0)) == ["a", "b"]
    trunks.failed("a", "408 silence", 10.0)
    assert names(trunks.choose("1", "a", 29.0)) == ["b", "a"]
    trunks.worked("a")
    assert names(trunks.choose("1", "a", 29.0)) == ["a", "b"]
    trunks.failed("a", "503", 30.0, retry_after=120)
    assert names(trunks.choose("1", "a", 149.0)) == ["b", "a"]
    for n in range(50):
        trunks.failed("a", "503", 200.0 + n, retry_after=1e9)
    assert trunks["a"].rests_until <= 249.0 + 3600


@pytest.mark.parametrize(
    ("status", "on"),
    [(503, True), (408, True), (500, True), (504, True), (407, True), (401, True), (430, True)]
    + [(status, False) for status in (403, 404, 480, 484, 486, 487, 488, 600, 603)],
)
def test_what_another_trunk_may_do_better(status: int, on: bool) -> None:
    assert goes_on(status) is on


# --- up and down ----------------------------------------------------------------------------------------------------


def test_one_lost_answer_takes_no_trunk_down() -> None:
    trunks = book(out("t", ping_s=30))
    assert trunks["t"].up
    assert not trunks.heard("t", True, "", 0.0)
    assert not trunks.heard("t", False, "no answer", 30.0)
    assert trunks["t"].up
    assert not trunks.heard("t", True, "", 60.0)
    assert not trunks.heard("t", False, "no answer", 90.0)
    assert trunks.heard("t", False, "no answer", 95.0)
    assert not trunks["t"].up
    assert trunks.choose("1", "t", 95.0) == []
    assert not trunks.heard("t", True, "", 125.0)
    assert not trunks["t"].up
    assert trunks.heard("t", True, "", 130.0)
    assert trunks["t"].up
    assert (trunks["t"].failure, trunks["t"].failed_at) == ("no answer", 95.0)


def test_a_trunk_that_never_answered_is_taken_for_down_after_two() -> None:
    trunks = book(out("t", ping_s=30))
    assert not trunks.heard("t", False, "no answer", 0.0)
    assert trunks.heard("t", False, "no answer", 5.0)


def test_a_registering_trunk_is_up_while_its_registration_stands() -> None:
    trunks = book(registering("a", "u"))
    assert not trunks["a"].up
    assert trunks.registered("a", 600, 5.0)
    assert not trunks.registered("a", 600, 400.0)
    assert (trunks["a"].registered_since, trunks["a"].expires_at) == (5.0, 1000.0)
    assert trunks.unregistered("a", "403 Forbidden", 500.0)
    assert not trunks.unregistered("a", "403 Forbidden", 501.0)
    assert not trunks["a"].up
