"""Calls between two endpoints, and calls with PHONE, which a test speaks for word by word."""

from __future__ import annotations

from gateway.sip import offer_answer, sdp
from gateway.sip.config import Trunk
from gateway.sip.events import CallAnswered, CallCancelled, CallConfirmed, CallEnded, CallFailed, CallOffered
from gateway.sip.message import Request, Response, parse
from tests.sip.raw import PHONE, SDP, ask, invite, reply, request
from tests.sip.wire import Node, Wire, pair

OFFER = offer_answer.offer("10.0.0.1", 4000)
MOVED = SDP.replace("a 1 1", "a 1 2").replace("4000", "4002")
"""PHONE's description after a change."""


def ours(port: int = 6000, direction: str = "sendrecv", ip: str = "10.0.0.2") -> sdp.SessionDescription:
    return offer_answer.offer(ip, port, direction=direction)


def answer(offer: sdp.SessionDescription | None, port: int = 6000, ip: str = "10.0.0.2") -> sdp.SessionDescription:
    assert offer is not None
    return offer_answer.answer(offer, ip, port)


def two(caller: dict[str, object] | None = None, **gateway: object) -> tuple[Wire, Node, Node]:
    """A caller at 10.0.0.1 and a gateway at 10.0.0.2, each with settings of its own."""
    wire = Wire(1)
    node = wire.node("10.0.0.1", user="alice", **(caller or {}))
    settings = {"trunks": (Trunk("pbx", ("10.0.0.0/24",)),), "destinations": ("8000",), **gateway}
    return wire, node, wire.node("10.0.0.2", **settings)


def talking(caller: dict[str, object] | None = None, **gateway: object) -> tuple[Wire, Node, Node, str, str]:
    """A call up between two endpoints: (wire, caller, gateway, the caller's handle, the gateway's)."""
    wire, node, other = two(caller, **gateway)
    call = node.invite("sip:8000@10.0.0.2", OFFER)
    wire.run(0.3)
    offered = other.last(CallOffered)
    other.answer(offered.call, answer(offered.offer))
    wire.run(0.3)
    node.last(CallAnswered)
    other.last(CallConfirmed)
    return wire, node, other, call, offered.call


class Phone:
    """PHONE in a dialog with the gateway, whoever called. `say` gives what the gateway answers."""

    def __init__(self, wire: Wire, gateway: Node, sent: Request | None = None, tag: str = "", **more: object) -> None:
        self.wire, self.gateway, self.sent, self.tag = wire, gateway, sent, tag
        self.more = more
        self.cseq = 1

    def say(self, method: str, body: str = "", wait: float = 0.05, **more: str) -> list[Request | Response]:
        """A request inside the dialog."""
        self.cseq += method not in ("ACK", "CANCEL")
        named = dict(self.more)
        if self.sent is not None:
            named |= {"call_id": self.sent.call_id, "tag": "peer"}
        named |= {"to_tag": self.tag, "cseq": self.cseq, "branch": f"z9hG4bK{method}{self.cseq}", "body": body}
        data = request(method, **{**named, **more})
        return ask(self.wire, self.gateway, data, wait)

    def reply(
        self, to: Request, code: int, body: str = "", wait: float = 0.05, **more: str
    ) -> list[Request | Response]:
        return ask(self.wire, self.gateway, reply(to, code, body=body, **more), wait)

    def heard(self) -> list[Request | Response]:
        return [parse(data) for data in self.wire.raw.get(PHONE, [])]


def called(**more: object) -> tuple[Wire, Node, CallOffered]:
    """PHONE calls the gateway; nothing was answered yet."""
    gateway_settings = more.pop("config", {})
    wire, _, gateway = pair(**gateway_settings)
    ask(wire, gateway, invite(**more))
    return wire, gateway, gateway.last(CallOffered)


def phone_talking(**more: object) -> tuple[Phone, str]:
    """A call from PHONE that is up: the phone, and the gateway's handle."""
    wire, gateway, offered = called(**more)
    gateway.answer(offered.call, answer(offered.offer) if offered.offer else ours())
    wire.run(0.05)
    ok = parse(wire.raw[PHONE][-1])
    phone = Phone(wire, gateway, tag=ok.to.tag)
    phone.say("ACK")
    gateway.last(CallConfirmed)
    return phone, offered.call


def dialling(offer: bool = True, **more: object) -> tuple[Wire, Node, str, Request]:
    """The gateway calls PHONE, which has not answered: (wire, gateway, handle, the INVITE)."""
    config = more.pop("config", {})
    wire = Wire()
    node = wire.node("10.0.0.2", **config)
    call = node.invite("sip:x@10.0.0.9", ours() if offer else None, **more)
    wire.run(0.02)
    return wire, node, call, parse(wire.raw[PHONE][0])


def phone_called(**more: object) -> tuple[Phone, str]:
    """A call to PHONE that is up: the phone, and the gateway's handle."""
    wire, node, call, sent = dialling(**more)
    ask(wire, node, reply(sent, 200, body=SDP, Allow="INVITE, ACK, BYE, UPDATE"))
    node.last(CallAnswered)
    return Phone(wire, node, sent, tag=sent.from_.tag), call


def settled(wire: Wire, *nodes: Node) -> None:
    """Time passes; nothing lingers: no dialog, no transaction, no alarm; each call ended exactly once."""
    wire.run(200)
    for node in nodes:
        assert not node.endpoint.busy
        assert node.endpoint.calls == ()
        assert node.endpoint.next_timer() is None
        ends = [e.call for e in node.events if isinstance(e, (CallEnded, CallFailed, CallCancelled))]
        assert len(ends) == len(set(ends))


def methods(messages: list[Request | Response]) -> list[str]:
    """What came, in short."""
    return [m.method if isinstance(m, Request) else f"{m.status} {m.cseq[1]}" for m in messages]
