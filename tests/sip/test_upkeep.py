"""Trunks that are kept up: registered at, asked, lost and found again."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip import offer_answer
from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.events import CallOffered, ContactDown, ContactUp, Registered, RegisterFailed, TrunkChanged
from gateway.sip.message import Request, parse
from gateway.sip.place import Place
from gateway.sip.registrar import RegistrarSettings
from gateway.sip.trunks import RegisterAs
from tests.sip.raw import reply
from tests.sip.wire import Node, Wire

LINE = Account("4930123", "secret")
CARRIER = Place("10.0.0.9", 5060)


def trunk(name: str = "carrier", server: str = "sip:10.0.0.9", **more: object) -> Trunk:
    return Trunk(name, server=server, **{"register": RegisterAs("4930123", LINE, 120), **more})


def two(ours: Trunk, **carrier: object) -> tuple[Wire, Node, Node]:
    """A gateway with a trunk, and the carrier it registers at."""
    wire = Wire()
    gateway = wire.node("10.0.0.2", trunks=(ours,), destinations=("*",))
    return wire, gateway, wire.node("10.0.0.9", **{"accounts": (LINE,), "domain": "10.0.0.9", **carrier})


def lone(ours: Trunk, **config: object) -> tuple[Wire, Node]:
    """A gateway whose carrier is played by the test."""
    wire = Wire()
    return wire, wire.node("10.0.0.2", trunks=(ours,), destinations=("*",), **config)


def heard(wire: Wire, place: Place = CARRIER) -> list[Request]:
    found = [parse(data) for data in wire.raw.pop(place, [])]
    return [message for message in found if isinstance(message, Request)]


def state(node: Node):
    return node.endpoint.trunks["carrier"]


def test_a_trunk_registers_is_refreshed_is_called_and_leaves() -> None:
    wire, gateway, carrier = two(trunk())
    assert not state(gateway).up
    gateway.connect_trunks()
    wire.run(1)
    assert gateway.last(TrunkChanged) == TrunkChanged("carrier", True, "registered")
    assert gateway.last(Registered) == Registered("carrier", 120)
    since = state(gateway).registered_since
    wire.run(1000)
    assert carrier.of(ContactDown) == []
    assert len(gateway.of(Registered)) == 10
    assert state(gateway).registered_since == since
    assert len(gateway.of(TrunkChanged)) == 1
    contact = carrier.last(ContactUp).contact
    assert contact.startswith("sip:4930123@10.0.0.2:5060;line=")
    carrier.invite("4930123", offer_answer.offer("10.0.0.9", 6000), from_user="5551234")
    wire.run(0.1)
    offered = gateway.last(CallOffered)
    assert (offered.trunk, offered.caller, offered.dialled) == ("carrier", "5551234", "4930123")
    gateway.reject(offered.call, 486)
    gateway.close()
    wire.run(1)
    assert carrier.last(ContactDown).reason == "unregistered"
    wire.run(100)
    assert not gateway.endpoint.busy


def test_the_domain_may_be_another_than_the_server() -> None:
    wire, gateway = lone(trunk(domain="carrier.example"))
    gateway.connect_trunks()
    wire.run(0.1)
    (request,) = heard(wire)
    assert request.uri == "sip:carrier.example"
    assert request.to.uri.host == "carrier.example"
    assert request.get("Route") is None


def test_an_outbound_proxy_gets_the_request_and_a_route() -> None:
    wire, gateway = lone(trunk("carrier", "sip:carrier.example", outbound_proxy="sip:10.0.0.9:5070"))
    gateway.connect_trunks()
    wire.run(0.1)
    (request,) = heard(wire, Place("10.0.0.9", 5070))
    assert (request.uri, request.get("Route")) == ("sip:carrier.example", "<sip:10.0.0.9:5070;lr>")
    assert "path" in request.tokens("Supported")


def test_the_next_server_of_a_name_is_registered_at_where_the_first_is_silent() -> None:
    first, second = Place("10.0.0.7", 5060), Place("10.0.0.8", 5060)
    wire, gateway = lone(trunk("carrier", "sip:carrier.example"))
    wire.names["carrier.example"] = [first, second]
    gateway.connect_trunks()
    wire.run(33)
    assert heard(wire, first)
    request = heard(wire, second)[-1]
    gateway.receive(reply(request, 401, WWW_Authenticate='Digest realm="x", nonce="n", qop="auth"'), second)
    wire.run(0.1)
    assert heard(wire, first) == []
    again = heard(wire, second)[-1]
    assert again.get("Authorization")
    gateway.receive(reply(again, 200, Contact=f"{again.get('Contact')};expires=100"), second)
    assert state(gateway).up
    assert gateway.last(Registered).expires == 100
    wire.run(95)
    assert heard(wire, second)  # the first is passed over for a while


def test_the_service_route_is_kept() -> None:
    wire, gateway = lone(trunk())
    gateway.connect_trunks()
    wire.run(0.1)
    (request,) = heard(wire)
    routes = "<sip:10.0.0.5;lr>, <sip:10.0.0.6;lr>"
    gateway.receive(reply(request, 200, Contact=f"{request.get('Contact')};expires=100", Service_Route=routes), CARRIER)
    assert state(gateway).routes == ("<sip:10.0.0.5;lr>", "<sip:10.0.0.6;lr>")
    assert state(gateway).place == CARRIER


def test_a_refused_registration_takes_the_trunk_down_until_it_stands_again() -> None:
    wire, gateway, carrier = two(trunk())
    gateway.connect_trunks()
    wire.run(1)
    carrier.endpoint.registrar.drop("sip:4930123@10.0.0.9", "administrator")
    nobody = carrier.endpoint._uas.admission.authenticator
    kept, nobody.accounts = nobody.accounts, {}
    wire.run(120)
    assert gateway.last(TrunkChanged).up is False
    assert gateway.last(TrunkChanged).why.startswith("403 ")
    assert state(gateway).failure.startswith("403 ")
    nobody.accounts = kept
    wire.run(gateway.last(RegisterFailed).retry_s + 1)
    assert state(gateway).up


def test_a_busy_registrar_is_left_alone_for_as_long_as_it_asks() -> None:
    wire, gateway = lone(trunk())
    gateway.connect_trunks()
    wire.run(0.1)
    gateway.receive(reply(heard(wire)[0], 503, Retry_After="200 (maintenance)"), CARRIER)
    assert gateway.last(RegisterFailed).retry_s >= 200
    wire.run(199)
    assert heard(wire) == []
    wire.run(20)
    assert heard(wire)


def test_a_lost_connection_is_registered_over_anew_at_once() -> None:
    wire, gateway = lone(trunk("carrier", "sip:10.0.0.9;transport=tcp"), ports={"tcp": 5060})
    place = Place("10.0.0.9", 5060, "tcp")
    gateway.connect_trunks()
    wire.run(0.1)
    (request,) = heard(wire, place)
    assert ";transport=tcp;line=" in str(request.get("Contact"))
    gateway.receive(reply(request, 200, Contact=f"{request.get('Contact')};expires=3600"), place._replace(flow=7))
    assert state(gateway).up
    gateway.disconnected(Place("10.0.0.4", 5060, "tcp", 3))
    assert state(gateway).up
    gateway.disconnected(place._replace(flow=7))
    assert gateway.last(TrunkChanged).why == "430 Connection Lost"
    assert not state(gateway).up
    wire.run(1.1)
    assert len(heard(wire, place)) == 1


def test_a_short_registration_is_refreshed_before_it_ends() -> None:
    wire, gateway, carrier = two(trunk(), registrar=RegistrarSettings(min_expires=1, max_expires=5))
    gateway.connect_trunks()
    wire.run(60)
    assert carrier.of(ContactDown) == []
    assert gateway.last(Registered).expires == 5


# --- OPTIONS --------------------------------------------------------------------------------------------------------


def pinged(**more: object) -> tuple[Wire, Node]:
    wire, gateway = lone(Trunk("carrier", server="sip:10.0.0.9", ping_s=30.0, **more))
    gateway.connect_trunks()
    return wire, gateway


@pytest.mark.parametrize(("status", "up"), [(200, True), (404, True), (405, True), (483, True), (503, False)])
def test_any_answer_but_503_is_a_sign_of_life(status: int, up: bool) -> None:
    wire, gateway = pinged()
    for _ in range(4):
        wire.run(31)
        for request in heard(wire):
            gateway.receive(reply(request, status), CARRIER)
    assert state(gateway).up is up


def test_silence_is_doubted_once_and_believed_twice() -> None:
    wire, gateway = pinged()
    wire.run(0.1)
    gateway.receive(reply(heard(wire)[0], 200), CARRIER)
    wire.run(31)
    assert {r.method for r in heard(wire)} == {"OPTIONS"}
    wire.run(32)  # the first is given up
    assert state(gateway).up
    wire.run(5 + 32)
    changed = gateway.last(TrunkChanged)
    assert (changed.up, changed.why) == (False, "OPTIONS: 408 Request Timeout")
    heard(wire)
    for _ in range(2):
        wire.run(31)
        gateway.receive(reply(heard(wire)[-1], 200), CARRIER)
    assert gateway.last(TrunkChanged) == TrunkChanged("carrier", True, "answers OPTIONS")


def test_nobody_is_asked_once_the_gateway_closes() -> None:
    wire, gateway = pinged()
    wire.run(0.1)
    gateway.receive(reply(heard(wire)[0], 200), CARRIER)
    gateway.close()
    wire.run(200)
    assert heard(wire) == []
    assert not gateway.endpoint.busy


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spells=st.lists(st.tuples(st.sampled_from(["up", "lossy", "dead", "refusing"]), st.integers(5, 4000)), max_size=6),
)
def test_whatever_the_registrar_went_through_the_trunk_comes_back(seed: int, spells: list[tuple[str, int]]) -> None:
    """Nothing is sent without end meanwhile, one alarm at most waits, and all is silent after the end."""
    wire, gateway, carrier = two(trunk(ping_s=30.0))
    random_ = random.Random(seed)
    authenticator = carrier.endpoint._uas.admission.authenticator
    known = authenticator.accounts
    share = {"up": 0.0, "lossy": 0.5, "dead": 1.0, "refusing": 0.0}
    gateway.connect_trunks()
    sent = 0
    for spell, seconds in [*spells, ("up", 4000)]:
        authenticator.accounts = {} if spell == "refusing" else known
        wire.fate = lambda *_, spell=spell: [] if random_.random() < share[spell] else [0.01]
        wire.run(seconds)
        wire.raw.clear()
        now = len(wire.starts(gateway))
        assert now - sent <= 60 + seconds, spell  # a datagram a second at most, retransmissions included
        sent = now
    assert state(gateway).up
    changes = [event.up for event in gateway.of(TrunkChanged)]
    assert all(a != b for a, b in pairwise(changes))
    gateway.close()
    wire.run(100)
    assert not gateway.endpoint.busy
    assert gateway.endpoint.next_timer() is None
