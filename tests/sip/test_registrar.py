"""Registrations as phones make them, and what becomes of them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.events import (
    CallAnswered,
    CallFailed,
    CallOffered,
    ContactDown,
    ContactUp,
    Registered,
    RegisterFailed,
)
from gateway.sip.message import parse
from gateway.sip.place import Place
from gateway.sip.registrar import Refused, Registrar, RegistrarSettings
from tests.sip.phone import ANN, AOR, Phone
from tests.sip.raw import PHONE, request
from tests.sip.wire import Node, Wire


def test_a_phone_registers_refreshes_and_leaves() -> None:
    phone = Phone()
    answer = phone.send(Expires="120", User_Agent="Desk 1")
    assert answer.status == 200
    assert answer.items("Contact") == ["<sip:1001@10.0.0.9:5060>;expires=120"]
    up = phone.node.last(ContactUp)
    assert (up.aor, up.contact, up.expires, up.source, up.agent) == (
        AOR,
        "sip:1001@10.0.0.9:5060",
        120,
        PHONE,
        "Desk 1",
    )
    phone.wire.run(100)
    phone.send(Expires="120")
    assert len(phone.node.of(ContactUp)) == 1
    phone.wire.run(100)
    assert phone.node.of(ContactDown) == []
    assert phone.send(Expires="0").items("Contact") == []
    down = phone.node.last(ContactDown)
    assert (down.aor, down.reason, down.left) == (AOR, "unregistered", 0)


def test_a_phone_that_falls_silent_expires() -> None:
    phone = Phone()
    phone.send(Expires="60")
    phone.wire.run(59.5)
    assert phone.node.of(ContactDown) == []
    phone.wire.run(1)
    assert phone.node.last(ContactDown).reason == "expired"
    assert phone.node.endpoint.next_timer() is None


def test_several_phones_the_wildcard_and_a_query() -> None:
    phone = Phone()
    phone.send(Contact="<sip:a@10.0.0.9:1>;q=0.5, <sip:a@10.0.0.9:2>;expires=300", Expires="200")
    assert phone.send(drop=("Contact",)).items("Contact") == [
        "<sip:a@10.0.0.9:2>;expires=300",
        "<sip:a@10.0.0.9:1>;expires=200;q=0.5",
    ]
    assert phone.send(Contact="*").status == 400
    assert phone.send(Contact="*", Expires="10").status == 400
    assert len(phone.node.contacts(AOR)) == 2
    assert phone.send(Contact="*", Expires="0").status == 200
    assert [d.left for d in phone.node.of(ContactDown)] == [1, 0]


def test_a_phone_with_an_instance_replaces_itself_when_its_port_changes() -> None:
    phone = Phone()
    for port in (1, 2):
        phone.send(Contact=f'<sip:a@10.0.0.9:{port}>;+sip.instance="<urn:uuid:1>"')
    assert [str(b.contact) for b in phone.node.contacts(AOR)] == ["sip:a@10.0.0.9:2"]
    assert len(phone.node.of(ContactUp)) == 2
    assert phone.node.of(ContactDown) == []


def test_too_short_a_time_and_too_long_a_time() -> None:
    phone = Phone(registrar=RegistrarSettings(600, 60, 600))
    answer = phone.send(Expires="10")
    assert (answer.status, answer.get("Min-Expires")) == (423, "60")
    assert phone.send(Expires="99999").items("Contact") == ["<sip:1001@10.0.0.9:5060>;expires=600"]


def test_one_phone_too_many_pushes_the_oldest_out() -> None:
    phone = Phone()
    for port in range(1, RegistrarSettings().contacts + 2):
        phone.send(Contact=f"<sip:a@10.0.0.9:{port}>")
    assert len(phone.node.contacts(AOR)) == RegistrarSettings().contacts
    assert phone.node.last(ContactDown).contact == "sip:a@10.0.0.9:1"


def test_an_old_register_that_comes_late_changes_nothing() -> None:
    phone = Phone()
    phone.send(cseq=10, Expires="100")
    assert phone.send(cseq=4, Expires="0").status == 500
    assert len(phone.node.contacts(AOR)) == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"password": "wrong"}, 403),
        ({"user": "nobody"}, 403),
        ({"To": "<sip:bob@10.0.0.2>"}, 403),
        ({"To": "<sip:ann@elsewhere>"}, 403),
        ({"Contact": "<mailto:a@b>"}, 400),
    ],
)
def test_registrations_that_are_refused(more: dict[str, str], expected: int) -> None:
    phone = Phone()
    assert phone.send(**more).status == expected
    assert phone.node.events == []


# --- our own registration at another endpoint ---------------------------------------------------------------------


def two(**config: object) -> tuple[Wire, Node, Node]:
    wire = Wire()
    return (
        wire,
        wire.node("10.0.0.1", destinations=("ann",), trunks=(Trunk("gw", ("10.0.0.2",)),)),
        wire.node("10.0.0.2", accounts=(ANN,), **config),
    )


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256",), ("SHA-256", "MD5")])
def test_we_register_refresh_are_called_and_leave(algorithms: tuple[str, ...]) -> None:
    wire, phone, gateway = two(registrar=RegistrarSettings(algorithms=algorithms, nonce_life=60.0))
    handle = phone.register("sip:10.0.0.2", AOR, ANN, 120)
    wire.run(1)
    assert phone.last(Registered) == Registered(handle, 120)
    wire.run(1000)
    assert gateway.of(ContactDown) == []
    assert len(phone.of(Registered)) == 10
    call = gateway.invite("ann", offer_answer.offer("10.0.0.2", 6000), headers={"X-Trunkline-Intent": "loan"})
    wire.run(0.1)
    offered = phone.last(CallOffered)
    assert (offered.dialled, offered.headers["X-Trunkline-Intent"]) == ("ann", "loan")
    phone.answer(offered.call, offer_answer.answer(offered.offer, "10.0.0.1", 4000))
    wire.run(0.1)
    assert gateway.last(CallAnswered).call == call
    gateway.hangup(call)
    phone.close()
    wire.run(1)
    assert gateway.last(ContactDown).reason == "unregistered"
    wire.run(100)
    assert not phone.endpoint.busy


def test_a_wrong_password_is_tried_seldom() -> None:
    wire, phone, _ = two()
    phone.register("sip:10.0.0.2", AOR, Account("ann", "wrong"))
    wire.run(4000)
    failed = phone.last(RegisterFailed)
    assert failed.status == 403
    assert failed.retry_s >= 600
    assert wire.starts(phone).count("REGISTER") <= 14


def test_a_registrar_that_is_away_is_asked_again_ever_later() -> None:
    wire, phone, _gateway = two()
    wire.fate = lambda data, source, target: []
    phone.register("sip:10.0.0.2", AOR, ANN)
    wire.run(600)
    waits = [e.retry_s for e in phone.of(RegisterFailed)]
    assert len(waits) >= 4
    assert all(w for w in waits)
    assert waits[-1] > waits[0]
    wire.fate = lambda data, source, target: [0.01]
    wire.run(2000)
    assert phone.of(Registered)


def test_too_short_an_expiry_is_corrected() -> None:
    wire, phone, _ = two(registrar=RegistrarSettings(min_expires=90))
    phone.register("sip:10.0.0.2", AOR, ANN, 20)
    wire.run(1)
    assert phone.last(Registered).expires == 90


# --- calls to phones ----------------------------------------------------------------------------------------------


def ringing() -> tuple[Wire, Node, Node, Node, str]:
    """Two phones of ann ring."""
    wire = Wire()
    gateway = wire.node("10.0.0.2", accounts=(ANN,))
    phones = []
    for ip in ("10.0.0.11", "10.0.0.12"):
        phone = wire.node(ip, destinations=("ann",), trunks=(Trunk("gw", ("10.0.0.2",)),))
        phone.register("sip:10.0.0.2", AOR, ANN)
        phones.append(phone)
    wire.run(1)
    call = gateway.invite("sip:ann@10.0.0.2", offer_answer.offer("10.0.0.2", 6000))
    wire.run(0.1)
    for phone in phones:
        phone.ring(phone.last(CallOffered).call)
    wire.run(0.1)
    return wire, gateway, phones[0], phones[1], call


def test_all_phones_ring_and_the_first_answer_wins() -> None:
    wire, gateway, one, two, call = ringing()
    offered = two.last(CallOffered)
    two.answer(offered.call, offer_answer.answer(offered.offer, "10.0.0.12", 4000))
    wire.run(0.2)
    answered = gateway.last(CallAnswered)
    assert (answered.call, answered.media.ip) == (call, "10.0.0.12")
    assert one.endpoint.calls == ()
    assert gateway.endpoint.calls == (call,)


def test_two_answers_at_once_keep_one() -> None:
    wire, gateway, one, two, _call = ringing()
    for phone in (one, two):
        offered = phone.last(CallOffered)
        phone.answer(offered.call, offer_answer.answer(offered.offer, phone.place[0], 4000))
    wire.run(1)
    assert len(gateway.of(CallAnswered)) == 1
    assert sorted(len(phone.endpoint.calls) for phone in (one, two)) == [0, 1]


def test_the_call_fails_when_the_last_phone_refuses() -> None:
    wire, gateway, one, two, _call = ringing()
    one.reject(one.last(CallOffered).call, 486)
    wire.run(0.1)
    assert gateway.of(CallFailed) == []
    two.reject(two.last(CallOffered).call, 603)
    wire.run(0.1)
    assert gateway.last(CallFailed).status == 603


def test_giving_up_cancels_every_phone() -> None:
    wire, gateway, one, two, call = ringing()
    gateway.hangup(call, "ring time is over")
    wire.run(0.2)
    assert one.endpoint.calls == two.endpoint.calls == ()
    assert gateway.last(CallFailed).status == 487


def test_a_phone_that_vanished_is_taken_off_the_book_when_it_is_called() -> None:
    wire, gateway, one, two, call = ringing()
    gateway.hangup(call)
    wire.run(1)
    del wire.nodes[one.place]
    second = gateway.invite("ann", offer_answer.offer("10.0.0.2", 6000))
    gateway.unreachable(one.place)
    down = gateway.last(ContactDown)
    assert (down.contact, down.reason, down.left) == ("sip:ann@10.0.0.11:5060", "unreachable", 1)
    assert gateway.of(CallFailed)[1:] == []
    wire.run(0.1)
    two.reject(two.last(CallOffered).call, 486)
    wire.run(0.1)
    assert gateway.last(CallFailed) == CallFailed(second, 486, "Busy Here")


# --- 24 hours, as a value -----------------------------------------------------------------------------------------


def test_a_day_of_refreshes_leaves_nothing_behind() -> None:
    wire = Wire()
    gateway = wire.node("10.0.0.2", accounts=(ANN,))
    phone = wire.node("10.0.0.1")
    phone.register("sip:10.0.0.2", AOR, ANN, 300)
    wire.run(3600)
    wire.log.clear()
    stack = gateway.endpoint._stack
    before = (
        len(stack.transactions),
        len(gateway.endpoint.registrar),
        len(gateway.endpoint._uas.admission.authenticator._counts),
    )
    wire.run(82_800)
    wire.log.clear()
    assert (len(stack.transactions), len(gateway.endpoint.registrar)) == before[:2]
    assert len(gateway.endpoint._uas.admission.authenticator._counts) <= before[2] + 1
    assert len(stack.timers._heap) < 20
    assert gateway.of(ContactDown) == []


class Bindings(RuleBasedStateMachine):
    """Any order of registrations keeps the book straight: as many ups as downs and live contacts, none twice."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Registrar(RegistrarSettings(50, 1, 100))
        self.now = 0.0
        self.cseq = 0
        self.balance = 0

    def count(self, changes: list) -> None:
        for change in changes:
            if change.up and change.reason == "registered":
                self.balance += 1
            elif not change.up:
                self.balance -= 1

    @rule(port=st.integers(1, 12), expires=st.integers(0, 120), instance=st.sampled_from(["", "a", "b"]))
    def register(self, port: int, expires: int, instance: str) -> None:
        self.cseq += 1
        contact = f"<sip:x@10.0.0.9:{port}>" + (f';+sip.instance="<{instance}>"' if instance else "")
        data = request("REGISTER", cseq=self.cseq, Contact=contact, Expires=str(expires))
        self.count(self.book.register(AOR, parse(data), Place("10.0.0.9", port), self.now))

    @rule()
    def old(self) -> None:
        if self.book.all():
            contact = f"<{self.book.all()[0].contact}>"
            data = parse(request("REGISTER", cseq=self.book.all()[0].cseq, Contact=contact))
            with pytest.raises(Refused):
                self.book.register(AOR, data, Place("10.0.0.9", 1), self.now)

    @rule()
    def wildcard(self) -> None:
        self.cseq += 1
        data = request("REGISTER", cseq=self.cseq, Contact="*", Expires="0")
        self.count(self.book.register(AOR, parse(data), Place("10.0.0.9", 1), self.now))
        assert self.book.all() == []

    @rule(seconds=st.integers(1, 60))
    def time(self, seconds: int) -> None:
        self.now += seconds
        self.count(self.book.expire(self.now))

    @invariant()
    def straight(self) -> None:
        live = self.book.lookup(AOR, self.now)
        assert len(live) == len(self.book.all()) == self.balance <= RegistrarSettings().contacts
        assert len({str(b.contact) for b in live if not b.instance}) == len([b for b in live if not b.instance])
        assert len({b.instance for b in live if b.instance}) == len([b for b in live if b.instance])


Bindings.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBindings = Bindings.TestCase
