"""Reliable provisional responses as values: repeated until their PRACK, in order, given up in time."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request, Response
from gateway.sip.reliable import Order, Provisional, Provisionals, RAck, rack, rseq
from gateway.sip.states import Base
from gateway.sip.timers import Timers

RINGING = Provisional(180, (), b"")
EARLY = Provisional(183, (("Content-Type", "application/sdp"),), b"v=0")


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.timers = Timers()
        self.sent: list[Provisional] = []
        self.tape: list[tuple[float, bytes]] = []
        self.failed = 0
        self.answered = False
        self.line = Provisionals(7, 100, Base(), self.timers, self._send, self._again, self._fail)

    def _send(self, provisional: Provisional) -> bytes | None:
        if self.answered:
            return None
        self.sent.append(provisional)
        self._again(str(provisional.status).encode())
        return str(provisional.status).encode()

    def _again(self, data: bytes) -> None:
        self.tape.append((self.now, data))

    def _fail(self) -> None:
        self.failed += 1

    def to(self, seconds: float) -> None:
        while (at := self.timers.next()) is not None and at <= seconds:
            self.now = at
            self.timers.fire(at)
        self.now = seconds

    def prack(self, number: int, cseq: int = 7, method: str = "INVITE") -> Provisional | None:
        found = self.line.acknowledge(RAck(number, cseq, method))
        self.line.go_on(self.now)
        return found


def test_it_is_repeated_at_doubling_intervals_until_its_prack() -> None:
    bench = Bench()
    bench.line.say(RINGING, 0)
    assert bench.sent[0].headers == (("Require", "100rel"), ("RSeq", "100"))
    bench.to(4)
    assert [at for at, _ in bench.tape] == [0, 0.5, 1.5, 3.5]
    assert bench.prack(100) == RINGING
    bench.to(100)
    assert len(bench.tape) == 4
    assert bench.failed == 0
    assert bench.timers.next() is None


def test_without_a_prack_it_is_given_up_after_64_t1() -> None:
    bench = Bench()
    bench.line.say(RINGING, 0)
    bench.line.say(EARLY, 0)
    bench.to(100)
    assert [at for at, _ in bench.tape] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert bench.failed == 1
    assert bench.timers.next() is None


def test_the_next_waits_for_the_one_before_and_counts_on() -> None:
    bench = Bench()
    for each in (RINGING, EARLY, RINGING):
        assert bench.line.say(each, 0)
    assert len(bench.sent) == 1
    assert bench.line.described
    assert bench.prack(100) == RINGING
    assert bench.sent[1].headers[1] == ("RSeq", "101")
    assert bench.line.described
    assert bench.prack(101) == EARLY
    assert not bench.line.described
    assert bench.sent[2].headers[1] == ("RSeq", "102")


@pytest.mark.parametrize(("number", "cseq", "method"), [(99, 7, "INVITE"), (100, 8, "INVITE"), (100, 7, "UPDATE")])
def test_a_prack_for_something_else_acknowledges_nothing(number: int, cseq: int, method: str) -> None:
    bench = Bench()
    bench.line.say(RINGING, 0)
    assert bench.prack(number, cseq, method) is None
    assert bench.prack(100) == RINGING
    assert bench.prack(100) is None


def test_after_the_final_response_nothing_is_repeated_but_a_prack_still_counts() -> None:
    bench = Bench()
    bench.line.say(RINGING, 0)
    bench.line.say(EARLY, 0)
    bench.answered = True
    bench.line.stop()
    bench.to(100)
    assert len(bench.tape) == 1
    assert bench.prack(100) == RINGING
    assert len(bench.sent) == 1
    assert bench.failed == 0


def test_too_many_are_not_kept() -> None:
    bench = Bench()
    assert [bench.line.say(RINGING, 0) for _ in range(20)].count(True) == 17


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("776656 1 INVITE", RAck(776656, 1, "INVITE")),
        ("4294967295 0 INVITE", RAck(4294967295, 0, "INVITE")),
        ("4294967296 1 INVITE", None),
        ("0 1 INVITE", None),
        ("1 INVITE", None),
        ("x 1 INVITE", None),
        ("", None),
    ],
)
def test_rack_is_read(value: str, expected: RAck | None) -> None:
    assert rack(Request("PRACK", "sip:x", [("RAck", value)])) == expected


@pytest.mark.parametrize(
    ("status", "require", "number", "expected"),
    [
        (183, "100rel", "1", 1),
        (183, "foo, 100REL", "4294967295", 4294967295),
        (183, "", "1", None),
        (100, "100rel", "1", None),
        (200, "100rel", "1", None),
        (183, "100rel", "0", None),
        (183, "100rel", "one", None),
    ],
)
def test_rseq_is_read(status: int, require: str, number: str, expected: int | None) -> None:
    headers = [("Require", require), ("RSeq", number)] if require else [("RSeq", number)]
    assert rseq(Response(status, "", headers)) == expected


def test_the_client_takes_them_in_order_and_each_once() -> None:
    order = Order()
    assert [order.takes(n) for n in (5, 5, 7, 6, 6, 7, 5)] == [True, False, False, True, False, True, False]
