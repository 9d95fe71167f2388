"""What the fuzzer tries on gateway/sip: messages, session descriptions, digest headers, and a whole endpoint in a call.

Each function takes any bytes and raises nothing. The first three read the bytes as they are; `endpoint` reads them as a
script of steps: proper messages that were damaged, verbs, and time that passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from gateway.core.errors import SipError
from gateway.observe.mask import masked
from gateway.sip import auth, offer_answer, sdp
from gateway.sip.auth import Account, Authenticator
from gateway.sip.body import session_of
from gateway.sip.codecs import CODECS
from gateway.sip.config import SipConfig
from gateway.sip.crypto import POLICIES, Srtp
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import CallOffered, OfferChanged, TransferAsked
from gateway.sip.framing import Fault, FrameLimits, Framer
from gateway.sip.message import MessageError, Request, Response, parse, respond
from gateway.sip.place import Place
from gateway.sip.stack import HERE
from gateway.sip.trunks import Trunk
from gateway.sip.uri import parse_address, parse_uri
from gateway.sip.websocket import WebSocket
from tests.fuzz.scripts import Script
from tests.sip import raw
from tests.sip.wire import Wire

ANN = Account("ann", "secret")
ELSEWHERE = Place("192.0.2.7", 5060)
EVERY = tuple(CODECS)
MOST_STEPS = 24


# --- one message --------------------------------------------------------------------------------------------------


def message(data: bytes) -> None:
    """What is taken is written as it was read; what is refused can be answered; an endpoint bears either."""
    try:
        found = parse(data)
    except MessageError as error:
        if error.request:
            error.request.received_from(ELSEWHERE)
            error.request.reply_to(ELSEWHERE)
            proper(respond(error.request, error.status, error.what, tag="t").encode())
    else:
        again = parse(found.encode())
        assert type(again) is type(found)
        assert again.index | {"Content-Length": []} == found.index | {"Content-Length": []}
        assert again.body == found.body
        read(found)
    assert len(masked(data)) == len(data)
    node = Endpoint(CONFIG)
    node.receive(data, ELSEWHERE, 1.0)
    node.tick(400.0)
    assert node.calls == ()


CONFIG = SipConfig(domain="10.0.0.2", host="10.0.0.2", port=5060, accounts=(ANN,))


def proper(data: bytes) -> None:
    """Nothing that is echoed breaks a line or stands for our own address."""
    head = data.partition(b"\r\n\r\n")[0]
    assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n")
    assert HERE.encode() not in head


def read(found: Request | Response) -> None:
    """Everything that is read of a message again and again."""
    for address in (found.from_, found.to, *(found.contacts if found.get("Contact") != "*" else ())):
        assert parse_address(str(address)).uri == parse_uri(str(address.uri)) == address.uri
        assert address.uri.same(address.uri)
    with contextlib.suppress(SipError):
        session_of(found)
    if isinstance(found, Request):
        assert parse_uri(str(found.target)) == found.target
        found.received_from(ELSEWHERE)
        assert found.reply_to(ELSEWHERE).ip == ELSEWHERE.ip
        data = respond(found, 200, tag="t").encode()
        proper(data)
        answer = parse(data)
        assert answer.call_id == found.call_id
        assert answer.to.tag
        assert answer.via == found.via


# --- session descriptions -----------------------------------------------------------------------------------------


def description(data: bytes) -> None:
    """What is taken is written as it was read, and can be answered by the rules or refused."""
    try:
        found = sdp.parse(data)
    except SipError:
        return
    assert sdp.parse(found.encode()).encode() == found.encode()
    masked(data)
    for policy in POLICIES:
        with contextlib.suppress(SipError):
            changed(found, Srtp(policy, octets=bytes))
    with contextlib.suppress(SipError):
        offer_answer.agreed(offer_answer.offer("10.0.0.2", 4000), found)


def changed(theirs: sdp.SessionDescription, srtp: Srtp) -> None:
    """An offer that begins a call, our change to it, and the same offer again. Raises SipError where it is refused."""
    mine = offer_answer.answer(theirs, "10.0.0.2", 4000, EVERY, srtp=srtp)
    assert [m.kind for m in mine.media] == [m.kind for m in theirs.media]
    with contextlib.suppress(SipError):  # a phone that says our own key
        offer_answer.agreed(sdp.parse(mine.encode()), theirs, EVERY)
    ours = offer_answer.offer("10.0.0.2", 4000, EVERY, srtp=srtp, before=(mine, theirs))
    assert sdp.parse(ours.encode()).encode() == sdp.parse(sdp.parse(ours.encode()).encode()).encode()
    again = offer_answer.answer(theirs, "10.0.0.2", 4000, EVERY, srtp=srtp, before=(mine, theirs))
    assert again == mine, "what is said twice is answered twice alike"


# --- digest -------------------------------------------------------------------------------------------------------


def digest(data: bytes) -> None:
    """No header lets anybody in who has no password, whatever it says."""
    text = data.decode("utf-8", "surrogateescape").replace("\r", "").replace("\n", "")
    guard = Authenticator("10.0.0.2", [ANN], lambda: "0123456789abcdef")
    verdict, _ = guard.check([text, f"Digest {text}"], "INVITE", 1.0)
    assert verdict is not auth.Verdict.GOOD
    for challenge in auth.read_challenges([text, f"Digest {text}"], [f"Digest {text}"]):
        value = auth.credentials(challenge, ANN, "INVITE", "sip:8000@10.0.0.2", 1, "c")
        if value:
            given = auth.fields(value)
            assert (given["username"], given["uri"]) == ("ann", "sip:8000@10.0.0.2")
            guard.check([value], "INVITE", 1.0)


# --- an endpoint --------------------------------------------------------------------------------------------------

METHODS = ("ACK", "BYE", "INVITE", "UPDATE", "INFO", "PRACK", "REFER", "NOTIFY", "SUBSCRIBE", "OPTIONS", "CANCEL")
METHODS += ("MESSAGE", "REGISTER", "PUBLISH", "invite", "NEW")
STATUSES = (100, 180, 183, 199, 200, 202, 204, 302, 401, 407, 422, 481, 486, 488, 491, 503)
BODIES = (
    ("", ""),
    (raw.SDP, "application/sdp"),
    (raw.SDP.replace("RTP/AVP 0 8 101", "RTP/AVP 0\r\na=sendonly"), "application/sdp"),
    ("Signal=5\r\nDuration=160\r\n", "application/dtmf-relay"),
    ("SIP/2.0 180 Ringing\r\n", "message/sipfrag;version=2.0"),
)
EXTRAS = (
    {},
    {"Require": "100rel", "Supported": "100rel, timer, replaces"},
    {"Session-Expires": "90;refresher=uac", "Supported": "timer", "Min-SE": "90"},
    {"RAck": "1 1 INVITE"},
    {"Refer-To": "<sip:9@10.0.0.9?Replaces=call-1%3Bto-tag%3Da%3Bfrom-tag%3Dphone>", "Event": "refer"},
    {"Replaces": "call-1;to-tag=a;from-tag=phone"},
    {"Event": "refer", "Subscription-State": "terminated;reason=noresource"},
    {"Contact": '<sip:1001@10.0.0.9:5060>;expires=60;+sip.instance="<urn:uuid:1>";reg-id=1'},
    {"Contact": "<sip:1001@10.0.0.9:5060;ob>;expires=0;q=0.5", "Supported": "path, outbound, gruu"},
    {"Path": "<sip:10.0.0.8;lr>, <sip:10.0.0.7;lr;ob>", "Supported": "path", "Expires": "60"},
    {"Contact": "*", "Expires": "0"},
)


class Peer:
    """A phone that sends what it is told, damaged where it is told so."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.wire = Wire(script.number())
        trunk = Trunk("pbx", ("10.0.0.0/24",))
        self.node = self.wire.node("10.0.0.2", accounts=(ANN,), trunks=(trunk,), destinations=("8000",))
        self.seq = 1
        self.count = 0

    def step(self) -> None:
        op = self.script.number()
        kind = op & 7
        if kind == 0:
            self.send(self.request("INVITE", to_tag=""), op)
        elif kind in (1, 2):
            method = METHODS[self.script.number() % len(METHODS)]
            data = self.request(method, to_tag=self.tag() if kind == 1 else "")
            self.send(self.register(data) if method == "REGISTER" else data, op)
        elif kind == 3:
            self.respond(op)
        elif kind in (4, 5):
            self.act(self.script.number())
        elif kind == 6:
            self.wire.run((self.script.number() + 1) * 0.05 * (1 if op & 8 else 20))
        else:
            self.send(self.script.chunk(), op)

    def request(self, method: str, to_tag: str) -> bytes:
        style = self.script.number()
        body, type_ = BODIES[style % len(BODIES)]
        if method != "ACK":
            self.seq += style & 1
        extra = EXTRAS[style // 8 % len(EXTRAS)]
        branch = f"z9hG4bK{self.seq}{style >> 6}"
        data = raw.request(method, branch=branch, cseq=self.seq, to_tag=to_tag, body=body, kind=type_)
        if "Contact" in extra:
            data = data.replace(b"Contact: <sip:1001@10.0.0.9:5060>\r\n", b"")
        added = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
        return data.replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\n" + added.encode())

    def register(self, data: bytes) -> bytes:
        """A REGISTER of Ann's, with her password once it was asked for."""
        challenges = [m for _, _, _, m in self.wire.log if isinstance(m, Response) and m.status == 401]
        login = ""
        if challenges:
            self.count += 1
            challenge = auth.read_challenges(challenges[-1].all("WWW-Authenticate"), ())[0]
            value = auth.credentials(challenge, ANN, "REGISTER", "sip:10.0.0.2", self.count, "c")
            login = f"Authorization: {value}\r\n"
        for old, new in (
            ("REGISTER sip:8000@10.0.0.2", "REGISTER sip:10.0.0.2"),
            ("From: <sip:1001@10.0.0.9>", "From: <sip:ann@10.0.0.2>"),
            ("To: <sip:8000@10.0.0.2>", "To: <sip:ann@10.0.0.2>"),
            ("Max-Forwards: 70\r\n", f"Max-Forwards: 70\r\n{login}"),
        ):
            data = data.replace(old.encode(), new.encode(), 1)
        return data

    def tag(self) -> str:
        """The tag of our dialog, as the last response to this phone had it."""
        for _, source, _, found in reversed(self.wire.log):
            if isinstance(found, Response) and source == self.node.place:
                with contextlib.suppress(SipError):
                    return found.to.tag
        return "none"

    def send(self, data: bytes, op: int) -> None:
        if op & 16:
            at, gone, put = self.script.wide() % (len(data) + 1), self.script.number() % 32, self.script.chunk()
            data = data[:at] + put + data[at + gone :]
        source = ELSEWHERE if op & 32 else raw.PHONE
        self.node.endpoint.receive(data, source, self.wire.now)
        self.wire.collect(self.node)
        self.wire.run(0.05)

    def respond(self, op: int) -> None:
        asked = [m for _, s, _, m in self.wire.log if isinstance(m, Request) and s == self.node.place]
        choice = self.script.number()
        if asked:
            body = BODIES[1 + choice % 2][0] if choice & 64 else ""
            status = STATUSES[choice % len(STATUSES)]
            extra = {"RSeq": "1", "Require": "100rel"} if choice & 32 else {}
            last = asked[-1 - (choice >> 7)] if len(asked) > 1 else asked[-1]
            self.send(raw.reply(last, status, "peer", body, **extra), op)

    def act(self, choice: int) -> None:
        """A verb. What a user may not do now raises SipError."""
        node, mine = self.node, offer_answer.offer("10.0.0.2", 6000)
        calls = node.endpoint.calls or ("none",)
        call = calls[choice // 16 % len(calls)]
        offered, changed, transfers = node.of(CallOffered), node.of(OfferChanged), node.of(TransferAsked)
        with contextlib.suppress(SipError):
            if offered and offered[-1].offer and choice & 1:
                mine = offer_answer.answer(offered[-1].offer, "10.0.0.2", 6000)
            verbs: tuple[Callable[[], object], ...] = (
                lambda: node.ring(call),
                lambda: node.ring(call, mine),
                lambda: node.answer(call, mine),
                lambda: node.reject(call, 486),
                lambda: node.hangup(call),
                lambda: node.change(call, mine),
                lambda: node.change(call, mine, update=True),
                lambda: node.accept_change(changed[-1].call if changed else call, mine),
                lambda: node.reject_change(call),
                lambda: node.invite("sip:1001@10.0.0.9", mine),
                lambda: node.register("sip:10.0.0.9", "sip:us@10.0.0.9", ANN),
                lambda: node.options("sip:10.0.0.9"),
                lambda: node.refer(call, "sip:2@10.0.0.9"),
                lambda: node.accept_transfer(transfers[-1].transfer if transfers else "none"),
                lambda: node.reject_transfer(transfers[-1].transfer if transfers else "none"),
                lambda: node.info(call, "5"),
            )
            verbs[choice % 16]()

    def leave(self) -> None:
        """Everybody goes; then nothing may be left."""
        endpoint = self.node.endpoint
        for _ in range(4):
            self.node.close("the script ends")
            self.node.drop_contacts("sip:ann@10.0.0.2", "the script ends")
            self.wire.run(100)
        assert endpoint.calls == ()
        assert not endpoint.busy
        assert len(endpoint._stack.transactions) == 0
        assert endpoint._stack.dialogs == {}
        for event in self.node.events:
            repr(event).encode()


def endpoint(data: bytes) -> None:
    peer = Peer(Script(data))
    for _ in range(MOST_STEPS):
        if not peer.script:
            break
        peer.step()
    peer.leave()


# --- connections --------------------------------------------------------------------------------------------------

FRAMES = FrameLimits(head=1024, message=2048)
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


def streams(data: bytes) -> None:
    """A byte stream gives the same however it is cut, and a Fault only as the last; a WebSocket bears anything, before
    and after its handshake. The first byte says which, the second where to cut."""
    kind, step, data = data[:1], 1 + sum(data[1:2]), data[2:]
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    if kind < b"\x80":
        whole, cut = (Framer(lambda: "t", FRAMES, kind < b"\x40") for _ in range(2))
        expected = whole.feed(data, 0.0)
        assert [framed for piece in pieces for framed in cut.feed(piece, 0.0)] == expected
        assert cut.output == whole.output
        assert sum(isinstance(framed, Fault) for framed in expected) == sum(map(bool, (whole.over,)))
        assert all(len(framed) <= FRAMES.message for framed in expected if isinstance(framed, bytes))
        whole.late(1000.0)
        return
    web = WebSocket(FRAMES, ("https://a.test",) if kind >= b"\xf0" else ())
    found = web.feed(HANDSHAKE, 0.0) if kind < b"\xe0" else []
    for piece in pieces:
        found += web.feed(piece, 0.0)
        web.wrap(b"SIP/2.0 200 OK\r\n\r\n")
        web.output = b""
    assert sum(isinstance(framed, Fault) for framed in found) <= 1
    assert not web.ready or all(len(framed) <= FRAMES.message for framed in found if isinstance(framed, bytes))
    web.late(1000.0)
    web.leave()


SIP_TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "message": message,
    "description": description,
    "digest": digest,
    "endpoint": endpoint,
    "streams": streams,
}
