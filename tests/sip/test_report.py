"""What an endpoint tells a person who looks for a fault."""

from __future__ import annotations

import json

from gateway.sip.config import Trunk
from gateway.sip.report import KEPT, masked
from tests.sip.phone import Phone
from tests.sip.raw import PHONE, ask, invite, request, status
from tests.sip.wire import pair


def test_numbers_are_masked_unless_they_are_our_own_short_ones() -> None:
    assert [masked(n) for n in ("8000", "+4930123456", "", "a\x1bb")] == ["8000", "•••56", "", "a b"]


def test_phones_with_their_way_and_their_pulse() -> None:
    phone = Phone()
    phone.send(Contact="<sip:ann@192.168.1.5>", User_Agent="Desk 1", Expires="600")
    told = phone.node.endpoint.report(phone.wire.now)
    assert json.loads(json.dumps(told)) == told
    (found,) = told["phones"]
    assert found == {
        "aor": "sip:ann@10.0.0.2",
        "from": "10.0.0.9:5060 udp",
        "agent": "Desk 1",
        "expires_in": 600,
        "behind_nat": True,
        "rtt_ms": None,
        "missed": 0,
    }
    assert told["registered"] == 1


def test_who_was_refused_and_why_the_newest_first() -> None:
    wire, _, node = pair()
    assert status(wire, node, invite(uri="sip:+4930123456@10.0.0.2", User_Agent="Phone 2")) == 404
    wire.run(60)
    assert status(wire, node, request("OPTIONS", uri="sip:nobody@10.0.0.2", branch="z9hG4bKo", call_id="o")) == 404
    phone = Phone(trunks=(Trunk("pbx", ("10.0.0.0/24",)),))
    assert phone.send(password="wrong").status == 403
    (refused,) = node.endpoint.report(wire.now)["refused"]
    assert refused == {
        "ago": 60,
        "method": "INVITE",
        "from": "10.0.0.9:5060 udp",
        "wanted": "•••56",
        "status": 404,
        "reason": "Not Found",
        "agent": "Phone 2",
    }
    (refused,) = phone.node.endpoint.report(phone.wire.now)["refused"]
    assert (refused["method"], refused["wanted"], refused["status"]) == ("REGISTER", "ann", 403)


def test_only_so_many_are_remembered() -> None:
    wire, _, node = pair()
    for n in range(KEPT + 5):
        ask(wire, node, invite(uri=f"sip:{n:04}@10.0.0.2", branch=f"z9hG4bK{n}", call_id=str(n)))
        wire.run(1)
    refused = node.endpoint.report(wire.now)["refused"]
    assert len(refused) == KEPT
    assert refused[0]["wanted"] == f"{KEPT + 4:04}"


def test_who_is_locked_out_and_for_how_long() -> None:
    phone = Phone()
    assert phone.send(password="wrong").status == 403
    (locked,) = phone.node.endpoint.report(phone.wire.now)["locked_out"]
    assert (locked["source"], locked["for"]) == (PHONE.ip, 1)
