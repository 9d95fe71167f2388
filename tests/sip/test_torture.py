"""The torture messages of RFC 4475 and RFC 5118 against an endpoint: each gets what the RFC wants, and an OPTIONS after
each is answered as ever. `torture/README.md` tells the table."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.sip.auth import Account, digest, fields, response
from gateway.sip.body import description_of
from gateway.sip.config import SipConfig, Trunk
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.events import CallOffered, SipEvent
from gateway.sip.message import MessageError, Request, Response, parse
from gateway.sip.place import Place
from gateway.sip.via import parse_via
from tests.sip.raw import request
from tests.sip.wire import Node, Wire

HERE = Path(__file__).resolve().parent / "torture"
TABLE: dict[str, dict[str, Any]] = YAML(typ="safe").load(HERE / "expected.yaml")
SOURCE = Place("192.0.2.9", 5060)
USERS = ("user", "j.user", "watson", "null-\0-null")
CONFIG: dict[str, Any] = {
    "domain": "example.com",
    "aliases": ("chair-dnrc.example.com", "example.net", "example.org", "company.com", "host.example.net"),
    "accounts": tuple(Account(user, "secret") for user in USERS),
    "trunks": (Trunk("rfc", ("192.0.2.0/24", "127.0.0.0/8")),),
    "destinations": ("*",),
}


def stored(name: str) -> bytes:
    return (HERE / f"{name}.dat").read_bytes()


def travelling(name: str) -> bytes:
    """A message as it travels: in CRLF, with an end to its header; of RFC 5118 with its length counted anew."""
    data = stored(name)
    if b"\r\n" in data:
        return data if b"\r\n\r\n" in data else data + b"\r\n"
    head, _, body = data.replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
    return head.removesuffix(b"\r\n") + b"\r\n\r\n" + body


def answers(wire: Wire, node: Node, data: bytes) -> list[Response]:
    """What is sent for a message, to wherever it is sent: 100 comes late."""
    said = len(wire.log)
    node.endpoint.receive(data, SOURCE, wire.now)
    wire.collect(node)
    wire.run(0.3)
    return [message for _, _, _, message in wire.log[said:] if isinstance(message, Response)]


def result(heard: list[Response]) -> str | int:
    codes = [message.status for message in heard]
    return "dropped" if not codes else "offered" if codes == [100] else codes[0] if len(codes) == 1 else str(codes)


def signed(data: bytes, challenge: Response) -> bytes:
    """The same REGISTER with credentials of whoever its To names. NUL in the user name is quoted."""
    asked = fields(challenge.get("WWW-Authenticate") or "")
    message = parse(data)
    assert isinstance(message, Request)
    user = message.to.uri.user or ""
    ha1 = digest("MD5", f"{user}:{asked['realm']}:secret")
    answer = response(ha1, "MD5", "REGISTER", message.uri, asked["nonce"], "auth", "00000001", "c")
    quoted = user.replace("\0", "\\\0")
    value = (
        f'Digest username="{quoted}", realm="{asked["realm"]}", nonce="{asked["nonce"]}", uri="{message.uri}", '
        f'response="{answer}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"'
    )
    start, _, rest = data.partition(b"\r\n")
    return start + b"\r\nAuthorization: " + value.encode() + b"\r\n" + rest


def gateway() -> tuple[Wire, Node]:
    wire = Wire()
    return wire, wire.node("10.0.0.2", **CONFIG)


def leave(wire: Wire, node: Node) -> None:
    """Refuses what was offered and lets every timer run out; then nothing may be left, and the endpoint answers."""
    for call in node.endpoint.calls:
        node.reject(call, 486)
    wire.run(70)
    assert node.endpoint.calls == ()
    assert not node.endpoint.busy
    assert len(node.endpoint._stack.transactions) == 0
    assert node.endpoint._stack.dialogs == {}
    assert node.endpoint.counters["internal_errors"] == 0
    after = request("OPTIONS", uri="sip:example.com", branch=f"z9hG4bK{wire.now}", call_id=f"after{wire.now}")
    assert result(answers(wire, node, after)) == 200
    wire.run(40)


def test_the_files_are_the_rfcs() -> None:
    assert {path.stem for path in HERE.glob("*.dat")} == set(TABLE)
    assert [sum(row["section"].startswith(f"RFC {rfc}") for row in TABLE.values()) for rfc in (4475, 5118)] == [49, 12]
    for name, row in TABLE.items():
        assert hashlib.sha256(stored(name)).hexdigest() == row["sha256"], name


@pytest.mark.parametrize("name", TABLE)
def test_each_message_gets_what_the_rfc_wants(name: str) -> None:
    row = TABLE[name]
    wire, node = gateway()
    heard = answers(wire, node, travelling(name))
    assert result(heard) == row["result"]
    assert row.get("reason") in (None, *(message.reason for message in heard))
    assert all(heard[0].get(header) for header in row.get("headers", ()))
    assert node.endpoint.counters[row.get("counter", "")] == ("counter" in row)
    assert len(node.of(CallOffered)) == (row["result"] == "offered")
    assert len(node.endpoint.registrar) == 0
    leave(wire, node)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if "signed" in row])
def test_registers_go_through_with_credentials(name: str) -> None:
    data = travelling(name)
    wire, node = gateway()
    (challenge,) = answers(wire, node, data)
    (answer,) = answers(wire, node, signed(re.sub(rb"CSeq: (\d+)", rb"CSeq: 9\1", data), challenge))
    assert answer.status == TABLE[name]["signed"]
    assert [str(contact.uri) for contact in answer.contacts] == [str(c.uri) for c in parse(data).contacts]
    wire.run(70)
    sent = [message for _, _, _, message in wire.log if isinstance(message, Request)]
    assert {message.method for message in sent} == {"OPTIONS"}, "each phone is asked whether it is there"
    assert all(message.to.uri.user == parse(data).to.uri.user for message in sent)
    for aor in {binding.aor for binding in node.endpoint.registrar.all()}:
        node.drop_contacts(aor, "the test is over")
    leave(wire, node)


@pytest.mark.parametrize("name", [name for name in TABLE if stored(name) != travelling(name)])
def test_what_the_archives_miscopied_is_borne_as_well(name: str) -> None:
    wire, node = gateway()
    assert result(answers(wire, node, stored(name))) == TABLE[name].get("as_is", TABLE[name]["result"])
    leave(wire, node)


def test_all_of_them_to_one_endpoint() -> None:
    wire, node = gateway()
    for name in TABLE:
        answers(wire, node, travelling(name))
        leave(wire, node)
    assert len(node.endpoint.registrar) == 0


# --- what the messages mean ---------------------------------------------------------------------------------------


def taken(name: str) -> Request:
    message = parse(travelling(name))
    assert isinstance(message, Request)
    return message


def test_escapes_are_undone_once_and_only_where_they_are_escapes() -> None:
    message = taken("esc01")
    assert (message.target.user, message.target.host) == ("sips:user@example.com", "example.net")
    assert (message.to.uri.user, message.from_.uri.user) == ("user", "I have spaces")
    assert message.contacts[0].uri.user == "caller"
    message = taken("esc02")
    assert (message.method, message.to.display) == ("RE%47IST%45R", "%Z%45")
    assert [contact.uri.user for contact in message.contacts] == ["alias1", "alias3"]
    assert message.get("C%6fntact") == "<sip:alias2@host2.example.com>"


def test_nulls_shorten_nothing() -> None:
    message = taken("escnull")
    assert message.to.uri.user == "null-\0-null"
    assert [contact.uri.user for contact in message.contacts] == ["\0", "\0\0"]
    message = taken("intmeth")
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.param("fromparam''~+*_!.-%") == '"работающий"'
    assert message.target.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"


def test_names_and_blanks() -> None:
    message = taken("wsinv")
    assert (message.to.tag, message.from_.tag) == ("1918181833n", "98asjd8")
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.cseq == (9, "INVITE")
    assert [parse_via(value).branch for value in message.items("Via")][1:] == ["z9hG4bK9ikj8", "z9hG4bK30239"]
    assert message.contacts[0].param("q") == "0.33"
    assert taken("baddn").from_.display == "Bell, Alexander"
    assert taken("semiuri").target.user == "user;par=u@example.net"
    assert len(taken("longreq").all("Via")) == 34


def test_parameters_belong_to_the_header_or_to_the_uri() -> None:
    (header,) = taken("cparam01").contacts
    (uri,) = taken("cparam02").contacts
    assert (header.uri.params, header.params) == ((), (("unknownparam", None),))
    assert (uri.uri.params, uri.params) == ((("unknownparam", None),), ())
    assert taken("regescrt").contacts[0].uri.headers == "Route=%3Csip:sip.example.com%3E"


def test_reason_phrases() -> None:
    unusual, empty = parse(stored("unreason")), parse(stored("noreason"))
    assert isinstance(unusual, Response)
    assert isinstance(empty, Response)
    assert unusual.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    assert (empty.status, empty.reason) == (100, "")


def test_ports_and_addresses_of_ipv6() -> None:
    assert (taken("port-ambiguous").target.host, taken("port-ambiguous").target.port) == ("[2001:db8::10:5070]", None)
    assert (taken("port-unambiguous").target.host, taken("port-unambiguous").target.port) == ("[2001:db8::10]", 5070)
    assert taken("ipv6-bug-abnf-3-colons").target == taken("ipv6-correct-abnf-2-colons").target
    both = description_of(taken("mult-ip-in-sdp"))
    assert [both.address_of(media) for media in both.media] == ["192.0.2.1", "2001:db8::1"]
    assert description_of(taken("ipv6-in-sdp")).address == "2001:db8::20"
    assert description_of(taken("ipv4-mapped-ipv6")).address == "::ffff:192.0.2.2"


def test_unsupported_names_what_endpoints_are_asked_for() -> None:
    wire, node = gateway()
    (answer,) = answers(wire, node, stored("bext01"))
    assert answer.items("Unsupported") == ["nothingSupportsThis", "nothingSupportsThisEither"]


@pytest.mark.parametrize("name", TABLE)
def test_what_is_taken_is_written_as_it_was_read(name: str) -> None:
    try:
        message = parse(travelling(name))
    except MessageError:
        assert TABLE[name]["result"] in (400, 501, 505, "dropped")
        return
    again = parse(message.encode())
    length = [("Content-Length", str(len(message.body)))]
    assert [h for h in again.headers if h not in length] == [h for h in message.headers if h[0] != "Content-Length"]
    assert again.body == message.body
    assert type(again) is type(message)


# --- over a socket ------------------------------------------------------------------------------------------------


def repeats() -> list[str]:
    """Messages with the branch and the CSeq of one before."""
    keys: set[object] = set()
    found = []
    for name in TABLE:
        try:
            message = parse(travelling(name))
        except MessageError:
            continue
        key = message.via.branch, message.via.sent_by, message.cseq
        if isinstance(message, Request) and key in keys:
            found.append(name)
        keys.add(key)
    return found


async def test_all_of_them_over_udp() -> None:
    endpoint = Endpoint(SipConfig(host="127.0.0.1", **CONFIG))
    offered: list[str] = []

    def hear(event: SipEvent) -> None:
        if isinstance(event, CallOffered):
            offered.append(event.call)
            edge.reject(event.call, 486)

    edge = await Edge.open(endpoint, [Listen("udp", "127.0.0.1")], hear)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        place, mine = ("127.0.0.1", edge.ports["udp"]), sock.getsockname()[1]
        for number, name in enumerate(TABLE):
            await loop.sock_sendto(sock, travelling(name), place)
            via = f"SIP/2.0/UDP 127.0.0.1:{mine};branch=z9hG4bKafter{number};rport"
            after = request("OPTIONS", uri="sip:example.com", call_id=f"after{number}", Via=via)
            await loop.sock_sendto(sock, after, place)
            while True:
                answer = parse(await asyncio.wait_for(loop.sock_recv(sock, 65535), 20))
                if answer.call_id == f"after{number}":
                    assert isinstance(answer, Response)
                    assert answer.status == 200
                    break
    counters = endpoint.counters
    assert counters["internal_errors"] == 0
    due = Counter(TABLE[name]["result"] for name in TABLE if name not in repeats())
    assert counters["repeats_absorbed"] == len(repeats())
    assert (len(offered), counters["auth_missing"]) == (due["offered"], due[401])
    for code in (400, 405, 406, 415, 416, 420, 481, 488, 501, 505):
        assert counters[f"refused_{code}"] == due[code], code
    await edge.close(patience=0)
