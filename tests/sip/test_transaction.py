"""Every transaction timer, on a clock that tests move."""

from __future__ import annotations

import pytest

from gateway.sip.message import Response, parse
from gateway.sip.place import Place
from gateway.sip.states import TABLE, TIMERS, Base, Kind, State
from gateway.sip.timers import Timers
from gateway.sip.transaction import Transaction, Transactions
from tests.sip.raw import invite, reply, request

PEER = Place("10.0.0.9", 5060)
STREAM = PEER._replace(transport="tcp")


class Bench:
    """Transactions with a clock and a tape of what was sent when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = Timers()
        self.tape: list[tuple[float, bytes]] = []
        self.heard: list[Response] = []
        self.layer = Transactions(
            Base(),
            self.timers,
            lambda: self.now,
            lambda data, place: self.tape.append((self.now, data)),
            lambda name: None,
        )

    def to(self, seconds: float) -> None:
        while (at := self.timers.next()) is not None and at <= seconds:
            self.now = at
            self.timers.fire(at)
        self.now = seconds

    def client(self, data: bytes, reliable: bool = False) -> Transaction:
        return self.layer.client(parse(data), STREAM if reliable else PEER, self.heard.append)

    def server(self, data: bytes, reliable: bool = False) -> Transaction:
        return self.layer.server(parse(data), STREAM if reliable else PEER, "tag")

    def hear(self, transaction: Transaction, status: int) -> bool:
        return self.layer.response(parse(reply(transaction.request, status)))

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.tape]

    @property
    def starts(self) -> list[str]:
        return [data.split(b"\r\n")[0].decode() for _, data in self.tape]


def test_a_and_b_an_invite_is_repeated_at_doubling_intervals_and_given_up_after_64_t1() -> None:
    bench = Bench()
    transaction = bench.client(invite())
    bench.to(100)
    assert bench.times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert [(r.status, r.local) for r in bench.heard] == [(408, True)]
    assert transaction.state is State.TERMINATED
    assert len(bench.layer) == 0


def test_a_provisional_response_stops_repetition_and_the_time_limit() -> None:
    bench = Bench()
    transaction = bench.client(invite())
    bench.to(0.7)
    bench.hear(transaction, 180)
    bench.to(1000)
    assert bench.times == [0, 0.5]
    assert transaction.state is State.PROCEEDING
    assert [r.status for r in bench.heard] == [180]


def test_d_a_refusal_is_acknowledged_each_time_it_comes_for_32_seconds() -> None:
    bench = Bench()
    transaction = bench.client(invite())
    bench.hear(transaction, 486)
    bench.to(1)
    bench.hear(transaction, 486)
    assert bench.starts[1:] == ["ACK sip:8000@10.0.0.2 SIP/2.0"] * 2
    ack = parse(bench.tape[1][1])
    assert ack.via.branch == transaction.request.via.branch
    assert ack.to.tag == "peer"
    assert ack.cseq == (1, "ACK")
    assert [r.status for r in bench.heard] == [486]
    bench.to(31.9)
    assert transaction.state is State.COMPLETED
    bench.to(32)
    assert transaction.state is State.TERMINATED
    assert not bench.hear(transaction, 486)


def test_m_every_2xx_reaches_the_user_for_64_t1() -> None:
    bench = Bench()
    transaction = bench.client(invite())
    bench.hear(transaction, 200)
    bench.to(20)
    bench.hear(transaction, 200)
    assert [r.status for r in bench.heard] == [200, 200]
    bench.to(32)
    assert transaction.state is State.TERMINATED
    assert bench.timers.next() is None


def test_e_and_f_other_requests_are_repeated_up_to_t2() -> None:
    bench = Bench()
    bench.client(request("OPTIONS"))
    bench.to(100)
    assert bench.times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert [r.status for r in bench.heard] == [408]


def test_e_after_a_provisional_response_other_requests_are_repeated_each_t2() -> None:
    bench = Bench()
    transaction = bench.client(request("OPTIONS"))
    bench.to(0.1)
    bench.hear(transaction, 100)
    bench.to(13)
    assert bench.times == [0, 0.5, 4.5, 8.5, 12.5]


def test_k_repeated_final_responses_are_absorbed_for_t4() -> None:
    bench = Bench()
    transaction = bench.client(request("OPTIONS"))
    bench.hear(transaction, 200)
    bench.to(4.9)
    assert bench.hear(transaction, 200)
    bench.to(5)
    assert not bench.hear(transaction, 200)
    assert [r.status for r in bench.heard] == [200]


def test_g_and_h_a_refusal_is_repeated_until_64_t1_when_no_ack_comes() -> None:
    bench = Bench()
    transaction = bench.server(invite())
    transaction.answer(486)
    bench.to(100)
    assert bench.times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert transaction.state is State.TERMINATED


def test_i_an_ack_stops_the_refusal_and_later_ones_are_absorbed_for_t4() -> None:
    bench = Bench()
    transaction = bench.server(invite())
    transaction.answer(486)
    bench.to(0.2)
    transaction.step("ack")
    assert transaction.state is State.CONFIRMED
    transaction.step("ack")
    bench.to(5.1)
    assert transaction.state is State.CONFIRMED
    bench.to(5.2)
    assert transaction.state is State.TERMINATED
    assert bench.times == [0]


def test_j_a_repeated_request_gets_the_same_answer_for_64_t1() -> None:
    bench = Bench()
    transaction = bench.server(request("OPTIONS"))
    transaction.step("request")
    assert bench.tape == []
    transaction.answer(200)
    transaction.step("request")
    assert bench.tape[0][1] == bench.tape[1][1]
    bench.to(32)
    assert transaction.state is State.TERMINATED


def test_l_an_answered_invite_absorbs_its_repetitions() -> None:
    bench = Bench()
    transaction = bench.server(invite())
    transaction.answer(100)
    transaction.step("request")
    assert bench.starts == ["SIP/2.0 100 Trying"] * 2
    transaction.answer(200)
    transaction.step("request")
    assert len(bench.tape) == 3
    bench.to(32)
    assert transaction.state is State.TERMINATED


@pytest.mark.parametrize("final", [200, 486])
def test_no_provisional_after_a_final_and_no_second_final(final: int) -> None:
    bench = Bench()
    transaction = bench.server(invite())
    transaction.answer(180)
    transaction.answer(final)
    assert transaction.answer(180) is None
    assert transaction.answer(487) is None
    assert transaction.answer(200) is None
    assert [int(s.split()[1]) for s in bench.starts] == [180, final]


def test_over_a_reliable_transport_nothing_is_repeated_and_nothing_lingers() -> None:
    bench = Bench()
    bench.client(invite(), reliable=True)
    bench.to(31.9)
    assert bench.times == [0]
    bench.to(32)
    assert [r.status for r in bench.heard] == [408]
    transaction = bench.server(invite(branch="z9hG4bKb"), reliable=True)
    transaction.answer(486)
    transaction.step("ack")
    bench.to(bench.now)
    assert transaction.state is State.TERMINATED


def test_an_unreachable_place_fails_open_requests_at_once() -> None:
    bench = Bench()
    bench.client(invite())
    bench.client(request("OPTIONS", branch="z9hG4bKb"))
    bench.layer.unreachable(Place("10.0.0.8", 5060))
    assert bench.heard == []
    bench.layer.unreachable(PEER)
    assert [(r.status, r.local) for r in bench.heard] == [(503, True)] * 2
    assert bench.timers.next() is None


def test_a_branch_without_the_magic_cookie_is_matched_by_rfc_2543s_rule() -> None:
    bench = Bench()
    transaction = bench.server(invite(branch="1"))
    assert bench.layer.match(parse(invite(branch="1"))) is transaction
    assert bench.layer.match(parse(invite(branch="1", tag="other"))) is None
    assert bench.layer.match(parse(invite(branch="1", call_id="other"))) is None


def test_every_timer_of_the_table_leads_somewhere() -> None:
    started = {a[1] for rows in TABLE.values() for _, actions in rows.values() for a in actions if a[0] == "+"}
    rung = {event for rows in TABLE.values() for _, event in rows if event in TIMERS}
    assert started == rung == set(TIMERS)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_state_of_the_table_can_be_left(kind: Kind) -> None:
    rows = TABLE[kind]
    for state in {state for state, _ in rows} | {row[0] for row in rows.values()} - {State.TERMINATED}:
        if state is not State.TERMINATED:
            assert any(row[0] is not state for (at, _), row in rows.items() if at is state), state
