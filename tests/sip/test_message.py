"""Messages and URIs: what is taken, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.headers import canonical
from gateway.sip.message import (
    MAX_BODY,
    MAX_ELEMENTS,
    MAX_HEADERS,
    MAX_LINE,
    MAX_URI,
    MessageError,
    Request,
    Response,
    parse,
    respond,
)
from gateway.sip.statuses import REASONS
from gateway.sip.uri import Address, Uri, parse_address, parse_uri
from gateway.sip.via import read_via, salvage
from tests.sip.raw import ask, invite, request, status
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
    "the length of a folded header": (request("OPTIONS", X_Long="x\r\n " * (MAX_LINE // 2)), 400, "too_long_header"),
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


LONG = 400_000
WEARY = (
    '"',
    '"\\',
    "<",
    " ",
    ";",
    ",",
    ";a",
    ';"',
    "a;",
    "=",
    "\\",
    "<>",
    '" <',
    "sip:",
    "%",
    "@",
    ":",
    "[",
    "\0",
    "(",
    "/",
)


@pytest.mark.parametrize("piece", WEARY)
@pytest.mark.parametrize(
    "around", [("", ""), ("<sip:a@b>", ""), ('"a" <sip:', "@b>"), ("SIP/2.0/UDP a;", ";b"), ("a", "<")]
)
def test_the_time_that_reading_takes_grows_with_the_length_alone(piece: str, around: tuple[str, str]) -> None:
    """Four hundred thousand characters would take minutes where it grew with their square."""
    given_text = around[0] + piece * (LONG // len(piece)) + around[1]
    for read in (
        parse_uri,
        parse_address,
        grammar.split,
        grammar.params,
        grammar.unquote,
        grammar.clean,
        read_via,
        salvage,
    ):
        try:
            read(given_text)
        except SipError:
            continue


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


# --- any input ----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=600))
def test_any_bytes_are_answered_or_dropped(data: bytes) -> None:
    wire = Wire()
    node = wire.node("10.0.0.2")
    ask(wire, node, data)


@given(st.data())
def test_a_message_damaged_anywhere_is_answered_or_dropped(data: st.DataObject) -> None:
    good = data.draw(
        st.sampled_from([invite(), request("REGISTER", Contact="*", Expires="0"), TORTUOUS, request("BYE")])
    )
    at = data.draw(st.integers(0, len(good) - 1))
    damage = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"\r\n", b'"', b"<", b";", b",", b"%", b"\r\n\r\n", b":"])
    )
    cut = data.draw(st.integers(0, 3))
    wire = Wire()
    node = wire.node("10.0.0.2", destinations=("*",))
    ask(wire, node, good[:at] + damage + good[at + cut :])
    assert node.endpoint.counters["internal_errors"] == 0
    assert status(wire, node, request("OPTIONS", uri="sip:10.0.0.2", branch="z9hG4bKnext", call_id="next")) == 200


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), max_size=12)
token = st.from_regex(r"[A-Za-z0-9\-.!%*_+`'~]{1,10}", fullmatch=True)
host = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,5}){0,2}", fullmatch=True) | st.sampled_from(["[::1]", "10.0.0.1"])
parameters = st.dictionaries(
    token.map(str.lower), st.none() | st.from_regex(r"[A-Za-z0-9\-.]{1,8}", fullmatch=True), max_size=3
).map(lambda d: tuple(d.items()))
uris = st.builds(
    Uri,
    st.sampled_from(["sip", "sips"]),
    st.none() | text.filter(bool),
    host,
    st.none() | st.integers(1, 65535),
    parameters,
)


@given(uris)
def test_a_uri_is_read_as_it_was_written(uri: Uri) -> None:
    assert parse_uri(str(uri)) == uri
    assert parse_uri(str(uri)).same(uri)


@given(text.map(str.strip), uris, parameters)
def test_an_address_is_read_as_it_was_written(display: str, uri: Uri, params: grammar.Params) -> None:
    assert parse_address(str(Address(display, uri, params))) == Address(display, uri, params)


values = st.none() | st.from_regex(r"[A-Za-z0-9\-.:]{1,8}", fullmatch=True) | text.map(grammar.quote)
header_parameters = st.lists(st.tuples(token.map(str.lower), values), max_size=4, unique_by=lambda p: p[0]).map(tuple)
addresses = st.builds(Address, text.map(str.strip), uris, header_parameters)


@given(header_parameters)
def test_parameters_are_read_as_they_were_written(params: grammar.Params) -> None:
    assert grammar.params(grammar.show_params(params)) == params
    spaced = grammar.show_params(params).replace(";", " ; ") if not any('"' in (v or "") for _, v in params) else ""
    assert grammar.params(spaced) in (params, ())


@given(st.lists(addresses, min_size=1, max_size=5))
def test_a_list_of_addresses_is_read_as_it_was_written(given_list: list[Address]) -> None:
    parts = grammar.split(", ".join(map(str, given_list)))
    assert [parse_address(part) for part in parts] == given_list


@given(addresses, addresses, st.lists(addresses, min_size=1, max_size=3), st.binary(max_size=40))
def test_a_message_of_addresses_comes_back_from_the_wire(
    sender: Address, to: Address, contacts: list[Address], body: bytes
) -> None:
    headers = [
        ("Via", "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx;rport"),
        ("From", str(sender)),
        ("To", str(to)),
        ("Call-ID", "x"),
        ("CSeq", "1 INVITE"),
        ("Contact", ", ".join(map(str, contacts))),
    ]
    message = parse(Request("INVITE", "sip:8000@10.0.0.2", headers, body).encode())
    assert isinstance(message, Request)
    assert (message.from_, message.to, message.contacts, message.body) == (sender, to, contacts, body)
    answer = parse(respond(message, 200, tag="ours").encode())
    assert (answer.from_, answer.to.uri, answer.via) == (sender, to.uri, message.via)
    assert answer.to.tag == (to.tag or "ours")


@given(st.text(max_size=40))
def test_any_text_is_a_uri_or_not(given_text: str) -> None:
    for read in (parse_uri, parse_address, grammar.split, grammar.params):
        try:
            read(given_text)
        except SipError:
            continue


@given(st.text(max_size=40))
def test_a_quoted_name_stays_one_line_and_one_string(name: str) -> None:
    quoted = grammar.quote(name)
    assert "\r" not in quoted
    assert "\n" not in quoted
    assert grammar.unquote(quoted) == grammar.clean(name)
    assert grammar.split(f"{quoted}, b") == [quoted, "b"]


@given(
    token.filter(lambda t: t.upper() not in ("ACK", "SIP")),
    uris,
    st.lists(st.tuples(st.just("X-Any"), text), max_size=4),
    st.binary(max_size=40),
)
def test_a_request_comes_back_from_the_wire(method: str, uri: Uri, extra: list[tuple[str, str]], body: bytes) -> None:
    headers = [
        ("Via", "SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", "x"),
        ("CSeq", f"1 {method}"),
        *extra,
    ]
    message = parse(Request(method, str(uri), headers, body).encode())
    assert isinstance(message, Request)
    assert (message.method, message.target, message.body) == (method, uri, body)
    assert [(n, v) for n, v in message.headers if n == "X-Any"] == [(n, v.strip()) for n, v in extra]


@given(st.integers(100, 699), text)
def test_a_response_comes_back_from_the_wire(code: int, reason: str) -> None:
    headers = parse(request("OPTIONS")).headers
    message = parse(Response(code, reason, headers).encode())
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (code, reason)
