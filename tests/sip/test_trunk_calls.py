"""Calls by trunks: who is let in as whom, and where a call goes that goes out."""

from __future__ import annotations

import pytest

from gateway.sip.auth import Account
from gateway.sip.config import Trunk
from gateway.sip.events import CallOffered
from gateway.sip.message import Response
from gateway.sip.sdp import parse
from tests.sip.raw import PHONE, SDP, ask, invite, request
from tests.sip.wire import Node, Wire, peek


def gateway(*trunks: Trunk, **config: object) -> tuple[Wire, Node]:
    wire = Wire()
    return wire, wire.node("10.0.0.2", **{"trunks": trunks, "destinations": ("*",), **config})


def pbx(**more: object) -> Trunk:
    return Trunk("pbx", ("10.0.0.9",), **more)


def status(wire: Wire, node: Node, data: bytes) -> int:
    """The status of the first answer; 100 where the user is asked."""
    return ask(wire, node, data, 0.3)[0].status


PAI = "<sip:+49301112222@carrier.example>"

# --- in -------------------------------------------------------------------------------------------------------------


def test_numbers_are_read_as_the_trunks_country_dials_them() -> None:
    wire, node = gateway(pbx(country="DE"))
    ask(wire, node, invite(uri="sip:040123456@10.0.0.2", From="<sip:030123456@10.0.0.9>;tag=a"))
    offered = node.last(CallOffered)
    assert (offered.caller, offered.dialled, offered.requested) == ("+4930123456", "+4940123456", "040123456")
    ask(wire, node, invite(uri="sip:112@10.0.0.2", branch="z9hG4bKb", call_id="2"))
    assert (node.last(CallOffered).dialled, node.last(CallOffered).caller) == ("112", "1001")


@pytest.mark.parametrize(("trust", "caller"), [(True, "+49301112222"), (False, "1001")])
def test_only_a_trusted_trunk_is_believed(trust: bool, caller: str) -> None:
    wire, node = gateway(pbx(trust=trust))
    ask(wire, node, invite(P_Asserted_Identity=PAI, Diversion="<sip:+4940555666@x>;reason=user-busy"))
    offered = node.last(CallOffered)
    assert offered.caller == caller
    assert [(each.number, each.reason) for each in offered.identity.diverted] == [("+4940555666", "user-busy")]


@pytest.mark.parametrize(("allowed", "code"), [(True, 100), (False, 433)])
def test_anonymous_callers_are_taken_or_not(allowed: bool, code: int) -> None:
    wire, node = gateway(pbx(anonymous=allowed))
    assert status(wire, node, invite(Privacy="id")) == code


def test_a_full_trunk_says_when_to_try_again() -> None:
    wire, node = gateway(pbx(max_calls=1))
    ask(wire, node, invite())
    (answer,) = ask(wire, node, invite(branch="z9hG4bKb", call_id="2", tag="b"))
    assert isinstance(answer, Response)
    assert answer.status == 503
    assert 1 <= int(answer.get("Retry-After") or 0) <= 5
    node.reject(node.last(CallOffered).call, 486)
    wire.run(0.05)
    assert status(wire, node, invite(branch="z9hG4bKc", call_id="3", tag="c")) == 100


def test_calls_a_second_are_limited_and_counted() -> None:
    wire, node = gateway(pbx(per_second=3))
    for n in range(5):
        node.receive(invite(branch=f"z9hG4bK{n}", call_id=str(n), tag=str(n)), PHONE)
    wire.run(0.3)
    assert {peek(data).via.branch: peek(data).status for data in wire.raw[PHONE]} == {
        f"z9hG4bK{n}": 100 if n < 3 else 503 for n in range(5)
    }
    assert node.endpoint.counters["trunk_full"] == 2
    wire.run(1.0)
    node.receive(invite(branch="z9hG4bK9", call_id="9", tag="9"), PHONE)
    assert len(node.of(CallOffered)) == 4


def test_a_trunk_may_prove_itself_with_a_password() -> None:
    account = Account("pbx1", "secret")
    wire, node = gateway(Trunk("pbx", account=account), domain="gw")
    caller = wire.node("10.0.0.9", user="1001", credentials=(account,))
    offer = parse(SDP.encode())
    caller.invite("sip:8000@10.0.0.2", offer, from_user="5551234")
    wire.run(1.0)
    offered = node.last(CallOffered)
    assert (offered.trunk, offered.caller, offered.aor) == ("pbx", "5551234", None)
    stranger = wire.node("10.0.0.8", user="x", credentials=(Account("pbx1", "wrong"),))
    stranger.invite("sip:8000@10.0.0.2", offer)
    wire.run(1.0)
    assert len(node.of(CallOffered)) == 1


def test_options_of_a_peer_are_answered() -> None:
    wire, node = gateway(pbx())
    assert status(wire, node, request("OPTIONS", uri="sip:10.0.0.2")) == 200
