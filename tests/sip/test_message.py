"""Messages and URIs: what is taken, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import pytest

from gateway.sip.headers import canonical
from gateway.sip.message import (
    MAX_BODY,
    MAX_ELEMENTS,
    MAX_HEADERS,
    MAX_LINE,
    MAX_URI,
    MessageError,
    Request,
    parse,
    respond,
)
from gateway.sip.stack import HERE
from gateway.sip.statuses import REASONS
from tests.sip.raw import PHONE, ask, invite, request, status
from tests.sip.wire import Wire

TORTUOUS = b"""INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 3
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

abcd"""


def test_a_short_but_tortuous_invite() -> None:
    message = parse(TORTUOUS.replace(b"\n", b"\r\n"))
    assert isinstance(message, Request)
    assert message.to.tag == "1918181833n"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.from_.tag == "98asjd8"
    assert message.cseq == (9, "INVITE")
    assert message.get("Max-Forwards") == "0068"
    assert message.body == b"abc"
    assert message.get("Subject") == ""
    assert [v.split("branch")[1].strip(" =") for v in message.items("Via")[1:]] == ["z9hG4bK9ikj8", "z9hG4bK30239"]
    assert message.contacts[0].display == 'Quoted string ""'
    assert message.contacts[0].param("q") == "0.33"


TAKEN = {
    "a wide range of characters in the method": request("!interesting-Method0123456789_*+`.%indeed'~"),
    "escaped characters in the URI": request("OPTIONS", uri="sip:sips%3Auser%40example.com@10.0.0.2"),
    "a name in another script": request("OPTIONS", From='"\u8a79\u59c6\u65af" <sip:a@b>;tag=1'),
    "bytes that are no UTF-8 in a name": request("OPTIONS").replace(b"From: ", b'From: "\xff\xfe" '),
    "a leading empty line": b"\r\n\r\n" + request("OPTIONS"),
    "compact names": request("OPTIONS").replace(b"Via:", b"v:").replace(b"Call-ID:", b"i:").replace(b"From:", b"f:"),
    "line ends without carriage return": request("OPTIONS").replace(b"\r\n", b"\n"),
    "more bytes than Content-Length": request("OPTIONS") + b"trailing",
    "a header nobody knows": request("OPTIONS", X_Strange="\u2603 ;;,,"),
    "no Max-Forwards": request("OPTIONS", drop=("Max-Forwards",)),
    "semicolons in the user part": request("OPTIONS", uri="sip:user;par=u%40example.net@10.0.0.2"),
    "an empty display name": request("OPTIONS", From='"" <sip:a@b>;tag=1'),
    "no tag in From": request("OPTIONS", From="<sip:a@b>"),
    "an address of IPv6": request(
        "OPTIONS", uri="sip:[2001:db8::10]", Via="SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKx"
    ),
    "IPv6 with a port": request("OPTIONS", uri="sip:user@[2001:db8::10]:5070;transport=udp"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_unusual_but_proper(name: str) -> None:
    message = parse(TAKEN[name])
    again = parse(message.encode())
    assert (again.headers[:-1], again.body) == (
        [h for h in message.headers if h[0] != "Content-Length"],
        message.body,
    )


BROKEN = {
    "Content-Length beyond the datagram": request("OPTIONS").replace(b"Length: 0", b"Length: 9999"),
    "a negative Content-Length": request("OPTIONS").replace(b"Length: 0", b"Length: -999"),
    "a Content-Length that is no number": request("OPTIONS").replace(b"Length: 0", b"Length: none"),
    "two Content-Lengths": request("OPTIONS").replace(b"Max-", b"l: 0\r\nMax-"),
    "a CSeq beyond 31 bits": request("OPTIONS", CSeq="36893488147419103232 OPTIONS"),
    "a CSeq without method": request("OPTIONS", CSeq="1"),
    "a CSeq of another method": request("OPTIONS", CSeq="8 INVITE"),
    "no Call-ID": request("OPTIONS", drop=("Call-ID",)),
    "an empty Call-ID": request("OPTIONS", Call_ID=""),
    "no From": request("OPTIONS", drop=("From",)),
    "no To": request("OPTIONS", drop=("To",)),
    "no CSeq": request("OPTIONS", drop=("CSeq",)),
    "an empty tag": request("OPTIONS", To="<sip:c@d>;tag="),
    "a tag without a value": request("OPTIONS", From="<sip:a@b>;tag"),
    "two Froms": request("OPTIONS").replace(b"Max-", b"f: <sip:x@y>;tag=2\r\nMax-"),
    "a quote that never ends": request("OPTIONS", To='"Mr. J. User <sip:j.user@example.com>'),
    "a URI in angles": request("OPTIONS", uri="<sip:user@10.0.0.2>"),
    "spaces in the URI": request("OPTIONS", uri="sip:user@10.0.0.2; lr"),
    "two spaces in the first line": request("OPTIONS").replace(b"OPTIONS sip", b"OPTIONS  sip", 1),
    "trailing space in the first line": request("OPTIONS").replace(b"SIP/2.0\r\n", b"SIP/2.0 \r\n", 1),
    "headers in the Request-URI": request("OPTIONS", uri="sip:user@10.0.0.2?Route=%3Csip:example.com%3E"),
    "a From without angles and a ?": request("OPTIONS", From="sip:a@b?x=y;tag=1"),
    "a port beyond 16 bits": request("OPTIONS", uri="sip:user@10.0.0.2:70000"),
    "a line without a colon": request("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards 70"),
    "a space in a header's name": request("OPTIONS").replace(b"Max-Forwards:", b"Max Forwards:"),
    "a Record-Route that is no address": request("OPTIONS", Record_Route="<sip:10.0.0.9;lr>, x"),
    "a NUL": request("OPTIONS", X="a\0b"),
    "a response of status 42": b"SIP/2.0 042 No\r\n" + request("OPTIONS").split(b"\r\n", 1)[1],
    "a response of status 4294967301": b"SIP/2.0 4294967301 No\r\n" + request("OPTIONS").split(b"\r\n", 1)[1],
    "headers without end": request("OPTIONS").split(b"\r\n\r\n")[0],
    "no Via": request("OPTIONS", drop=("Via",)),
    "a Via that is none": request("OPTIONS", Via="SIP/2.0 10.0.0.9"),
    "a Via with an impossible port": request("OPTIONS", Via="SIP/2.0/UDP 10.0.0.9:0;branch=z9hG4bKx"),
    "another protocol": request("OPTIONS").replace(b"SIP/2.0\r\n", b"HTTP/1.1\r\n", 1),
}
UNANSWERABLE = {
    "no Via", "a Via that is none", "a Via with an impossible port",
    "another protocol", "a response of status 42", "a response of status 4294967301",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_messages_get_400_or_silence_and_the_next_one_an_answer(name: str) -> None:
    with pytest.raises(MessageError):
        parse(BROKEN[name])
    wire = Wire()
    node = wire.node("10.0.0.2")
    answers = ask(wire, node, BROKEN[name])
    assert [a.status for a in answers] == ([] if name in UNANSWERABLE else [400])
    assert node.endpoint.counters["garbage" if name in UNANSWERABLE else "malformed"] == 1
    assert status(wire, node, request("OPTIONS", uri="sip:10.0.0.2", branch="z9hG4bKnext", call_id="next")) == 200


def test_a_broken_ack_is_never_answered() -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    assert ask(wire, node, request("ACK", CSeq="1 INVITE")) == []


@pytest.mark.parametrize("odd", [b"\rX-Forged: yes", b"\0", HERE.encode()])
def test_what_could_break_a_line_is_not_echoed(odd: bytes) -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    node.endpoint.receive(request("OPTIONS").replace(b"call-1", b"call" + odd + b"-1"), PHONE, wire.now)
    ((data, _),) = node.endpoint.take_messages()
    assert data.startswith(b"SIP/2.0 400 A header holds a control character\r\n")
    assert b"call" not in data
    assert odd not in data


def test_a_request_is_built_as_it_is_read() -> None:
    data = invite()
    message = parse(data)
    assert parse(message.encode()).headers == message.headers


# --- limits -------------------------------------------------------------------------------------------------------


def lines(name: str, value: str, count: int) -> bytes:
    return request("OPTIONS").replace(b"Max-Forwards: 70\r\n", f"{name}: {value}\r\n".encode() * count)


OVER = {
    "header lines": (lines("X", "y", MAX_HEADERS), 400, "too_many_headers"),
    "the length of a header": (request("OPTIONS", X_Long="x" * MAX_LINE), 400, "too_long_header"),
    "the length of a folded header": (
        request("OPTIONS", X_Long=("x" * 99 + "\r\n ") * (MAX_LINE // 99)),
        400,
        "too_long_header",
    ),
    "the length of the Request-URI": (
        request("OPTIONS", uri="sip:" + "x" * MAX_URI + "@10.0.0.2"),
        414,
        "too_long_uri",
    ),
    "the length of the body": (request("OPTIONS", body="x" * (MAX_BODY + 1)), 413, "too_large_body"),
    "Vias": (lines("Via", "SIP/2.0/UDP h", MAX_ELEMENTS), 400, "too_many_values"),
    "Vias in a line": (lines("Via", ", ".join(["SIP/2.0/UDP h"] * MAX_ELEMENTS), 1), 400, "too_many_values"),
    "contacts": (lines("Contact", "<sip:a@b>", MAX_ELEMENTS), 400, "too_many_values"),
    "routes": (lines("Route", "<sip:a;lr>", MAX_ELEMENTS + 1), 400, "too_many_values"),
    "recorded routes": (lines("Record-Route", "<sip:a;lr>, <sip:b;lr>", MAX_ELEMENTS), 400, "too_many_values"),
    "the whole message": (request("OPTIONS", **{f"X_{n}": "x" * 8000 for n in range(5)}), 513, "too_large"),
}


@pytest.mark.parametrize("name", OVER)
def test_what_is_beyond_a_limit_is_refused_and_counted(name: str) -> None:
    data, code, counter = OVER[name]
    wire = Wire()
    node = wire.node("10.0.0.2")
    assert status(wire, node, data) == code
    assert (node.endpoint.counters[counter], node.endpoint.counters[f"refused_{code}"]) == (1, 1)
    assert ask(wire, node, data.replace(b"OPTIONS", b"ACK")) == [], "nobody answers an ACK"
    assert status(wire, node, request("OPTIONS", uri="sip:10.0.0.2", branch="z9hG4bKnext", call_id="next")) == 200


WITHIN = {
    "header lines": lines("X", "y", MAX_HEADERS - 7),
    "the length of a header": request("OPTIONS", X_Long="x" * (MAX_LINE - len("X-Long: "))),
    "the length of the Request-URI": request("OPTIONS", uri="sip:" + "x" * (MAX_URI - 13) + "@10.0.0.2"),
    "the length of the body": request("OPTIONS", body="x" * MAX_BODY),
    "Vias": lines("Via", "SIP/2.0/UDP h", MAX_ELEMENTS - 1),
}


@pytest.mark.parametrize("name", WITHIN)
def test_what_is_at_a_limit_is_taken(name: str) -> None:
    parse(WITHIN[name])


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "full"),
    [
        ("v", "Via"), ("I", "Call-ID"), ("cseq", "CSeq"), ("RACK", "RAck"), ("rseq", "RSeq"), ("min-se", "Min-SE"),
        ("x", "Session-Expires"), ("b", "Referred-By"), ("r", "Refer-To"), ("k", "Supported"), ("o", "Event"),
        ("p-asserted-identity", "P-Asserted-Identity"), ("history-info", "History-Info"), ("path", "Path"),
        ("service-route", "Service-Route"), ("diversion", "Diversion"), ("replaces", "Replaces"),
        ("www-authenticate", "WWW-Authenticate"), ("sip-etag", "SIP-ETag"), ("user-to-user", "User-to-User"),
        ("X-tRunk  ", "X-Trunk"), ("two words", None), ("", None), ("ü", None),
    ],
)  # fmt: skip
def test_header_names_are_written_in_full(given_name: str, full: str | None) -> None:
    assert canonical(given_name) == full


def test_every_status_that_may_be_met_has_its_phrase() -> None:
    met = {181, 182, 199, 202, 301, 302, 305, 380, 402, 406, 410, 412, 413, 414, 421, 422, 428, 429, 433, 436, 437, 438}
    met |= {439, 440, 469, 470, *range(481, 490), 493, 494, 502, 504, 513, 580, 600, 603, 604, 606, 607}
    assert met <= set(REASONS)
    request_ = parse(request("OPTIONS"))
    assert isinstance(request_, Request)
    assert (respond(request_, 607).reason, respond(request_, 699).reason) == ("Unwanted", "Unknown")
