"""Messages of every method, in and out of a dialog, and damage done to them: what a hostile or broken network sends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.sip.raw import SDP
from tests.sip.test_damaged import damage

METHODS = (
    *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "UPDATE", "PRACK", "INFO", "REFER", "SUBSCRIBE"),
    *("NOTIFY", "MESSAGE", "PUBLISH", "TELEPORT"),
)
STATUSES = (100, 180, 183, 200, 202, 302, 401, 407, 422, 481, 486, 487, 491, 500, 503, 603)
BODIES = {"INVITE": SDP, "UPDATE": SDP, "INFO": "Signal=5\r\nDuration=160\r\n", "MESSAGE": "hello"}
BODIES |= {"NOTIFY": "SIP/2.0 200 OK\r\n"}
TYPES = {"INFO": "application/dtmf-relay", "MESSAGE": "text/plain", "NOTIFY": "message/sipfrag;version=2.0"}
MORE = {
    "REGISTER": "Expires: 600\r\nContact: <sip:ann@{ip}:{port};transport=udp>;expires=60;q=0.5\r\n",
    "SUBSCRIBE": "Event: reg\r\nExpires: 600\r\n",
    "NOTIFY": "Event: refer;id=1\r\nSubscription-State: active;expires=60\r\n",
    "REFER": "Refer-To: <sip:ann@{host}?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>\r\nReferred-By: <sip:x@y>\r\n",
    "PRACK": "RAck: 1 1 INVITE\r\n",
    "INVITE": "Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nSupported: timer, 100rel, replaces\r\n"
    "P-Asserted-Identity: <tel:+49301234>\r\nPrivacy: id\r\nDiversion: <sip:a@b>;reason=busy\r\n"
    'Authorization: Digest username="ann", realm="x", nonce="1", uri="sip:x", response="0"\r\n',
}


@dataclass(frozen=True)
class Side:
    """Whoever sends: its address, and the gateway's as a URI's host."""

    ip: str
    port: int
    host: str
    transport: str = "UDP"


@dataclass(frozen=True)
class Talk:
    """A dialog as the sender sees it; no `to_tag`: none yet."""

    call_id: str = "trash"
    from_tag: str = "t"
    to_tag: str = ""


def request(method: str, side: Side, talk: Talk, number: int) -> bytes:
    """A proper request."""
    body = BODIES.get(method, "")
    to_tag = f";tag={talk.to_tag}" if talk.to_tag else ""
    more = MORE.get(method, "").format(ip=side.ip, port=side.port, host=side.host)
    contact = "" if method == "REGISTER" else f"Contact: <sip:ann@{side.ip}:{side.port}>\r\n"
    kind = f"Content-Type: {TYPES.get(method, 'application/sdp')}\r\n" if body else ""
    return (
        f"{method} sip:8000@{side.host} SIP/2.0\r\n"
        f"Via: SIP/2.0/{side.transport} {side.ip}:{side.port};branch=z9hG4bK{talk.call_id}{number};rport\r\n"
        f'Max-Forwards: 70\r\nFrom: "Ann" <sip:ann@{side.host}>;tag={talk.from_tag}\r\n'
        f"To: <sip:8000@{side.host}>{to_tag}\r\nCall-ID: {talk.call_id}\r\nCSeq: {number} {method}\r\n"
        f"{contact}{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def response(status: int, to: bytes) -> bytes:
    """A response to what the gateway sent, with all that makes it be looked at."""
    head = to.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")[1:]
    kept = [line for line in head if line.startswith(("Via:", "From:", "To:", "Call-ID:", "CSeq:"))]
    kept = [f"{line};tag=gone" if line.startswith("To:") and ";tag=" not in line else line for line in kept]
    kept += ["Contact: <sip:peer@10.0.0.9:5060>", "RSeq: 1", "Require: 100rel", "Session-Expires: 90;refresher=uas"]
    kept += ['WWW-Authenticate: Digest realm="x", nonce="1", qop="auth"', "Content-Type: application/sdp"]
    return "\r\n".join([f"SIP/2.0 {status} Said", *kept, f"Content-Length: {len(SDP)}", "", SDP]).encode()


def trash(rng: random.Random, side: Side, talks: Sequence[Talk], heard: Sequence[bytes], number: int) -> bytes:
    """One more message, damaged as often as not. `talks`: dialogs that stand; `heard`: requests of the gateway that may
    be answered; `number`: a CSeq that is not too old."""
    if heard and rng.random() < 0.3:
        data = response(rng.choice(STATUSES), rng.choice(heard))
    else:
        talk = rng.choice(talks) if talks and rng.random() < 0.7 else Talk(f"c{rng.randrange(500)}")
        data = request(rng.choice(METHODS), side, talk, max(1, number - rng.choice((0, 0, 0, 1, 50))))
    return damage(data, rng) if rng.random() < 0.5 else data
