"""What gets in, what is turned away, and with which status."""

from __future__ import annotations

import pytest

from gateway.sip.config import Account, Trunk
from gateway.sip.events import CallOffered
from gateway.sip.message import Response, parse
from tests.sip.raw import PHONE, SDP, ask, invite, request, status
from tests.sip.wire import Node, Wire

VIDEO_ONLY = SDP.replace("m=audio 4000 RTP/AVP 0 8 101", "m=video 4000 RTP/AVP 96")
G729_ONLY = SDP.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
T38 = SDP.replace("m=audio 4000 RTP/AVP 0 8 101", "m=image 4000 udptl t38")
SRTP_ONLY = SDP.replace("RTP/AVP", "RTP/SAVP")


def gateway(**config: object) -> tuple[Wire, Node]:
    wire = Wire()
    settings = {"trunks": (Trunk("pbx", ("10.0.0.9",)),), "destinations": ("8000", "85*"), **config}
    return wire, wire.node("10.0.0.2", **settings)


REFUSED = {
    "a number nobody configured": (invite(uri="sip:8001@10.0.0.2"), 404),
    "another host: we are no relay": (invite(uri="sip:8000@example.com"), 404),
    "another host, no hops left": (invite(uri="sip:8000@example.com", Max_Forwards="0"), 483),
    "an unknown scheme": (invite(uri="mailto:8000@10.0.0.2"), 416),
    "sips over UDP": (invite(uri="sips:8000@10.0.0.2"), 416),
    "an extension nobody knows": (invite(Require="100rel, warp"), 420),
    "a body that is no SDP": (invite(body="hello", kind="text/plain"), 415),
    "a packed body": (invite(Content_Encoding="gzip"), 415),
    "an SDP that is none": (invite(body="nonsense"), 400),
    "video only": (invite(body=VIDEO_ONLY), 488),
    "a codec we lack": (invite(body=G729_ONLY), 488),
    "fax": (invite(body=T38), 488),
    "SRTP only": (invite(body=SRTP_ONLY), 488),
    "no Contact": (invite(drop=("Contact",)), 400),
    "a dialog that isn't": (invite(to_tag="gone"), 481),
    "BYE from nowhere": (request("BYE"), 481),
    "BYE to a dialog that isn't": (request("BYE", to_tag="gone"), 481),
    "CANCEL of nothing": (request("CANCEL"), 481),
    "INFO from nowhere": (request("INFO"), 481),
    "PRACK from nowhere": (request("PRACK"), 481),
    "SUBSCRIBE": (request("SUBSCRIBE", Event="presence"), 489),
    "REFER outside a call": (request("REFER", Refer_To="<sip:x@y>"), 403),
    "Replaces by a trunk's call of a dialog that isn't": (invite(Replaces="x;to-tag=1;from-tag=2"), 481),
    "Replaces without a tag": (invite(Replaces="x;to-tag=1"), 400),
    "PUBLISH": (request("PUBLISH"), 405),
    "a method nobody knows": (request("TELEPORT"), 501),
    "OPTIONS for nobody": (request("OPTIONS", uri="sip:nobody@10.0.0.2"), 404),
    "a wrong Max-Forwards": (invite(Max_Forwards="300"), 400),
    "a CSeq of another method": (request("INVITE", CSeq="1 BYE"), 400),
    "a version to come": (invite().replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1), 505),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_is_refused(name: str) -> None:
    data, expected = REFUSED[name]
    wire, node = gateway()
    assert status(wire, node, data) == expected
    assert node.endpoint.counters[f"refused_{expected}"] == 1
    assert node.endpoint.calls == ()
    assert node.events == []


def test_a_message_is_taken_from_those_we_know_and_never_read() -> None:
    wire, node = gateway()
    assert status(wire, node, request("MESSAGE", body="hi", kind="text/plain")) == 200
    assert node.endpoint.counters["messages_ignored"] == 1
    wire, node = gateway(trunks=())
    assert status(wire, node, request("MESSAGE", body="hi", kind="text/plain")) == 501
    assert "messages_ignored" not in node.endpoint.counters


def test_refusals_say_what_would_have_been_right() -> None:
    wire, node = gateway()
    said = {
        name: ask(wire, node, data)[0]
        for name, data in {
            "allow": request("PUBLISH", branch="z9hG4bK1", call_id="1"),
            "accept": invite(body="hello", kind="text/plain", branch="z9hG4bK2", call_id="2"),
            "unsupported": invite(Require="warp", branch="z9hG4bK3", call_id="3"),
            "warning": invite(body=G729_ONLY, branch="z9hG4bK4", call_id="4"),
        }.items()
    }
    assert "invite" in said["allow"].tokens("Allow")
    assert said["accept"].get("Accept").split(",")[0] == "application/sdp"
    assert said["unsupported"].get("Unsupported") == "warp"
    assert said["warning"].all("Warning")[0].startswith("305 ")


def test_an_invite_is_offered_once_and_gets_trying_where_nobody_answers_for_200_ms() -> None:
    wire, node = gateway()
    assert not ask(wire, node, invite(X_Account="gold", User_Agent="Box"), wait=0.19)
    wire.run(0.02)
    answers = [parse(data) for data in wire.raw[PHONE]]
    assert [a.status for a in answers] == [100]
    assert ";tag=" not in answers[0].get("To")
    ask(wire, node, invite(X_Account="gold", User_Agent="Box"))
    (offered,) = node.of(CallOffered)
    assert (offered.caller, offered.dialled, offered.trunk, offered.aor) == ("1001", "8000", "pbx", None)
    assert offered.headers == {"X-Account": "gold", "User-Agent": "Box"}
    assert offered.offer.media[0].port == 4000


def test_a_destination_may_be_a_prefix_and_a_tel_uri() -> None:
    wire, node = gateway()
    ask(wire, node, invite(uri="sip:8555@10.0.0.2"))
    ask(wire, node, invite(uri="tel:8500;phone-context=x", branch="z9hG4bKb", call_id="2"))
    assert [o.dialled for o in node.of(CallOffered)] == ["8555", "8500"]


def test_the_same_request_by_another_path_is_merged() -> None:
    wire, node = gateway()
    ask(wire, node, invite())
    assert status(wire, node, invite(branch="z9hG4bKother")) == 482
    assert len(node.of(CallOffered)) == 1


def test_an_answer_goes_to_the_source_and_its_port_where_rport_asks() -> None:
    wire, node = gateway()
    node.endpoint.receive(request("OPTIONS", Via="SIP/2.0/UDP 192.168.1.5:5061;branch=z9hG4bKr;rport"), PHONE, wire.now)
    wire.collect(node)
    wire.run(0.1)
    answer = parse(wire.raw[PHONE][0])
    assert answer.get("Via") == "SIP/2.0/UDP 192.168.1.5:5061;branch=z9hG4bKr;received=10.0.0.9;rport=5060"
    node.endpoint.receive(request("OPTIONS", Via="SIP/2.0/UDP box.local:5071;branch=z9hG4bKs"), PHONE, wire.now)
    wire.collect(node)
    wire.run(0.1)
    assert len(wire.raw[PHONE._replace(port=5071)]) == 1


def test_full_and_draining_gateways_say_when_to_come_back() -> None:
    wire, node = gateway(max_calls=1)
    ask(wire, node, invite())
    (answer,) = ask(wire, node, invite(branch="z9hG4bKb", call_id="2"))
    assert answer.status == 503
    assert int(answer.get("Retry-After")) > 0
    wire, node = gateway()
    node.endpoint.drain()
    assert status(wire, node, invite()) == 503
    assert status(wire, node, request("OPTIONS", branch="z9hG4bKo", call_id="o")) == 503


def test_options_tells_what_is_possible() -> None:
    wire, node = gateway()
    (answer,) = ask(wire, node, request("OPTIONS", uri="sip:10.0.0.2"))
    assert answer.status == 200
    assert {"invite", "bye", "cancel", "info", "update", "options"} <= answer.tokens("Allow")
    assert answer.get("Accept").split(",")[0] == "application/sdp"


def test_garbage_is_counted_and_never_raises() -> None:
    wire, node = gateway()
    for data in (b"", b"\r\n\r\n", b"\0", b"\x80\x00" * 40, b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        assert ask(wire, node, data) == []
    assert node.endpoint.counters["keepalives"] == 3
    assert node.endpoint.counters["garbage"] == 3


def test_too_large_and_too_many_headers() -> None:
    wire, node = gateway()
    assert status(wire, node, invite(X_Long="x" * 40_000)) == 513
    many = invite().replace(b"Max-Forwards: 70\r\n", b"X: y\r\n" * 300)
    assert status(wire, node, many) == 400
    assert node.events == []


# --- digest -------------------------------------------------------------------------------------------------------

ANN = Account("ann", "secret")
FROM_ANN = {"From": "<sip:ann@10.0.0.2>;tag=phone"}


def signed(answer: Response, method: str, user: str = "ann", password: str = "secret", nc: int = 1) -> str:
    from gateway.sip.auth import credentials, read_challenges

    challenge = read_challenges(answer.all("WWW-Authenticate"), ())[0]
    value = credentials(challenge, Account(user, password), method, "sip:8000@10.0.0.2", nc, "cnonce")
    assert value
    return value


def test_without_a_trunk_a_caller_must_be_a_phone_of_ours() -> None:
    wire, node = gateway(trunks=(), accounts=(ANN,))
    (challenge,) = ask(wire, node, invite(**FROM_ANN))
    assert challenge.status == 401
    value = signed(challenge, "INVITE")
    answers = ask(wire, node, invite(cseq=2, branch="z9hG4bKb", Authorization=value, **FROM_ANN), wait=0.3)
    assert [a.status for a in answers] == [100]
    assert node.last(CallOffered).aor == "sip:ann@10.0.0.2"


@pytest.mark.parametrize(
    ("user", "password", "sender"),
    [("ann", "wrong", "ann"), ("nobody", "secret", "nobody"), ("ann", "secret", "bob"), ("bob", "pw", "ann")],
)
def test_wrong_passwords_unknown_users_and_borrowed_names_fare_alike(user: str, password: str, sender: str) -> None:
    wire, node = gateway(trunks=(), accounts=(ANN, Account("bob", "pw")))
    origin = {"From": f"<sip:{sender}@10.0.0.2>;tag=phone"}
    (challenge,) = ask(wire, node, invite(**origin))
    value = signed(challenge, "INVITE", user, password)
    assert status(wire, node, invite(cseq=2, branch="z9hG4bKb", Authorization=value, **origin)) == 403
    assert node.events == []


def test_a_registered_phone_at_a_trunks_address_is_still_a_phone() -> None:
    wire, node = gateway(accounts=(ANN,))
    (challenge,) = ask(wire, node, invite(Authorization='Digest realm="10.0.0.2"', **FROM_ANN))
    assert challenge.status == 400
    (answer,) = ask(wire, node, request("REGISTER", uri="sip:10.0.0.2", To="<sip:ann@10.0.0.2>", **FROM_ANN))
    value = signed(answer, "REGISTER")
    again = request(
        "REGISTER",
        uri="sip:10.0.0.2",
        cseq=2,
        branch="z9hG4bK2",
        To="<sip:ann@10.0.0.2>",
        Authorization=value,
        **FROM_ANN,
    )
    assert status(wire, node, again) == 200
    assert status(wire, node, invite(branch="z9hG4bK3", call_id="3", **FROM_ANN)) == 401
