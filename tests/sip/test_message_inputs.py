"""Messages and URIs of any kind: whatever comes is read or refused, in time that grows with its length alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import auth, grammar, sdp
from gateway.sip.message import Request, Response, parse, respond
from gateway.sip.uri import Address, Uri, parse_address, parse_uri
from gateway.sip.via import read_via, salvage
from tests.sip.raw import ask, invite, request, status
from tests.sip.test_message import TORTUOUS
from tests.sip.wire import Wire

LONG = 200_000
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
    "/",
)
AROUND = (
    ("", ""),
    ("a", "<"),
    ("<sip:a@b>", ""),
    ('"a" <sip:', "@b>"),
    ("SIP/2.0/UDP ", " x"),
    ("SIP/2.0/UDP a;", ";b"),
    ("INVITE sip:a", " x"),
    ("SIP/2.0 200 ", " x"),
    ("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a", "x"),
)
READERS = (
    lambda given_text: parse(given_text.encode()),
    lambda given_text: parse(f"{given_text}\r\n\r\n".encode()),
    lambda given_text: sdp.parse(f"v=0\n{given_text}".encode()),
    lambda given_text: auth.fields(f"Digest {given_text}"),
    parse_uri,
    parse_address,
    read_via,
    salvage,
    grammar.split,
    grammar.params,
    grammar.unquote,
    grammar.clean,
)


@pytest.mark.parametrize("piece", WEARY)
@pytest.mark.parametrize("around", AROUND)
def test_the_time_that_reading_takes_grows_with_the_length_alone(piece: str, around: tuple[str, str]) -> None:
    """Two hundred thousand characters would take minutes where it grew with their square."""
    given_text = around[0] + piece * (LONG // len(piece)) + around[1]
    for read in READERS:
        try:
            read(given_text)
        except SipError:
            continue


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
    text.filter(bool),
    host,
    st.none() | st.integers(1, 65535),
    parameters,
    st.sampled_from(["", "Subject=a%20b&Priority=urgent"]),
    st.none() | text,
) | st.builds(
    Uri,
    st.sampled_from(["sip", "sips"]),
    st.none(),
    host,
    st.none() | st.integers(1, 65535),
    parameters,
    headers=st.just(""),
    password=st.none(),
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


@settings(max_examples=40, deadline=None)
@given(st.lists(addresses, min_size=1, max_size=5))
def test_a_list_of_addresses_is_read_as_it_was_written(given_list: list[Address]) -> None:
    parts = grammar.split(", ".join(map(str, given_list)))
    assert [parse_address(part) for part in parts] == given_list


@settings(max_examples=40, deadline=None)
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
    uris.map(lambda uri: uri._replace(headers="")),
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
