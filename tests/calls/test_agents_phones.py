"""An agent whose phone vanished is offered no call, however it vanished: from REGISTER on the wire to the routing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from gateway.calls.exchange import Exchange
from gateway.calls.switchboard import Switchboard
from gateway.core.clock import FakeClock
from gateway.observe.metrics import Metrics
from gateway.routing import policy
from gateway.routing.model import Agent, AgentOffer, CallQueued, NobodyThere, Queue
from gateway.sip.place import Place
from gateway.sip.registrar import RegistrarSettings
from tests.sip.phone import AOR, Phone
from tests.sip.raw import reply
from tests.sip.wire import peek

NAT = Place("198.51.100.7", 40000)
CONNECTION = Place("10.0.0.9", 50001, "tcp", 7)


def staffed(source: Place) -> tuple[Phone, Exchange]:
    """A gateway with one agent, told by SIP alone who is there."""
    phone = Phone(source, registrar=RegistrarSettings(whom="nat"))
    exchange = Exchange(**_parts())
    phone.node.on_event = exchange.on_sip
    return phone, exchange


def _parts() -> dict[str, Any]:
    """What an exchange needs to hear of phones; the rest of it is not there."""
    needed = [f.name for f in fields(Exchange) if f.init and f.default is MISSING and f.default_factory is MISSING]
    parts: dict[str, Any] = dict.fromkeys(needed)
    agent = Agent("ann", "Ann", AOR, {"en": 3})
    started = policy.start([Queue("general")])
    board = MagicMock(spec=Switchboard)
    parts |= {"clock": FakeClock(), "metrics": Metrics(), "switchboard": board}
    return parts | {"agents": {"ann": agent}, "routing_state": started}


def offered(exchange: Exchange) -> str | None:
    """Whom a call would be offered to now; None where there is nobody."""
    state = exchange.routing_state
    _, decisions = policy.step(state, CallQueued("call", "general", "en-US"), exchange.clock.now().mono)
    for decision in decisions:
        if isinstance(decision, AgentOffer):
            return decision.agent
    assert any(isinstance(decision, NobodyThere) for decision in decisions), decisions
    return None


def leaves(phone: Phone) -> None:
    phone.send(Contact="*", Expires="0")


def expires(phone: Phone) -> None:
    phone.wire.run(601)


def falls_silent_behind_its_nat(phone: Phone) -> None:
    phone.wire.run(110)


def loses_its_connection(phone: Phone) -> None:
    phone.node.disconnected(phone.source)


def is_gone_when_it_is_pinged(phone: Phone) -> None:
    phone.wire.run(26)
    phone.node.unreachable(phone.source)


@pytest.mark.parametrize(
    ("source", "vanishes"),
    [
        (Place("10.0.0.9", 5060), leaves),
        (Place("10.0.0.9", 5060), expires),
        (CONNECTION, expires),
        (CONNECTION, loses_its_connection),
        (NAT, falls_silent_behind_its_nat),
        (NAT, is_gone_when_it_is_pinged),
    ],
)
def test_an_agent_whose_phone_vanished_is_offered_no_call(source: Place, vanishes: Callable[[Phone], None]) -> None:
    phone, exchange = staffed(source)
    assert offered(exchange) is None
    phone.send(Contact="<sip:ann@10.0.0.9:5060>", Expires="600")
    assert offered(exchange) == "ann"
    vanishes(phone)
    assert offered(exchange) is None
    phone.send(Contact="<sip:ann@10.0.0.9:5060>", Expires="600", Call_ID="again")
    assert offered(exchange) == "ann"


def test_an_agent_with_a_second_phone_still_is() -> None:
    phone, exchange = staffed(CONNECTION)
    phone.send(Contact="<sip:ann@10.0.0.9:5060;transport=tcp>")
    phone.source = Place("10.0.0.9", 5060)
    phone.send(Contact="<sip:ann@10.0.0.9:5060>", Call_ID="desk")
    phone.node.disconnected(CONNECTION)
    assert offered(exchange) == "ann"


def test_a_phone_that_answers_its_pings_stays() -> None:
    phone, exchange = staffed(NAT)
    phone.send(Contact="<sip:ann@192.168.1.5>", Expires="600")
    for _ in range(100):
        phone.wire.run(4)
        for data in phone.wire.raw.pop(NAT, [])[-1:]:
            phone.node.receive(reply(cast(Any, peek(data)), 200), NAT)
    assert offered(exchange) == "ann"
