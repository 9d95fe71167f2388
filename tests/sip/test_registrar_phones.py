"""Phones behind NATs, on connections, behind proxies: outbound, Path, GRUU, pings, restarts, and what others see."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.events import CallFailed, ContactDown, ContactUp
from gateway.sip.message import Request
from gateway.sip.offer_answer import offer
from gateway.sip.place import Place
from gateway.sip.reginfo import reginfo
from gateway.sip.registrar import Binding, Change, RegistrarSettings
from gateway.sip.uri import parse_uri
from tests.sip.phone import AOR, Phone
from tests.sip.raw import PHONE, reply
from tests.sip.wire import peek

INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'
BROWSER = {
    "Contact": f"<sip:x7@abc.invalid;transport=ws>;{INSTANCE};reg-id=1;expires=600",
    "Supported": "outbound, gruu, path",
}
SECOND = {**BROWSER, "Contact": BROWSER["Contact"].replace("reg-id=1", "reg-id=2"), "Call_ID": "other"}
NAT = Place("198.51.100.7", 40000)
OFFER = offer("10.0.0.2", 6000)


def connected(flow: int) -> Phone:
    phone = Phone(Place("10.0.0.9", 50000 + flow, "ws", flow))
    return phone


def inbox(phone: Phone, source: Place | None = None) -> list[Request]:
    """Requests that came to the phone, or to one of its places, since it was last looked."""
    got = [peek(data) for data in phone.wire.raw.pop(source or phone.source, [])]
    return [message for message in got if isinstance(message, Request)]


def test_a_browser_registers_by_its_connection_and_is_called_over_it() -> None:
    phone = connected(3)
    answer = phone.send(**BROWSER)
    assert answer.status == 200
    assert "outbound" in answer.tokens("Supported")
    assert (answer.get("Require"), answer.get("Flow-Timer")) == ("outbound", "90")
    (contact,) = answer.contacts
    assert str(contact.uri) == "sip:x7@abc.invalid;transport=ws"
    assert contact.param("reg-id") == "1"
    assert contact.param("+sip.instance") == '"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'
    assert contact.param("pub-gruu") == f'"{AOR};gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"'
    phone.node.invite("ann", OFFER)
    phone.wire.run(0.1)
    assert inbox(phone)[0].uri == "sip:x7@abc.invalid;transport=ws"


def test_a_lost_connection_takes_its_phone_with_it() -> None:
    phone = connected(3)
    phone.send(**BROWSER)
    phone.node.disconnected(phone.source._replace(flow=4))
    assert phone.node.of(ContactDown) == []
    phone.node.disconnected(phone.source)
    down = phone.node.last(ContactDown)
    assert (down.reason, down.left) == ("connection lost", 0)
    phone.node.invite("ann", OFFER)
    assert phone.node.last(CallFailed).status == 480
    phone.wire.run(4000)
    assert phone.node.endpoint.next_timer() is None


def test_of_two_flows_the_newest_rings_and_the_other_stands_in() -> None:
    phone = connected(1)
    phone.send(**BROWSER)
    first, second = phone.source, phone.source._replace(port=50002, flow=2)
    phone.wire.run(1)
    phone.source = second
    answer = phone.send(**SECOND)
    assert sorted(c.param("reg-id") for c in answer.contacts) == ["1", "2"]
    call = phone.node.invite("ann", OFFER)
    phone.wire.run(0.1)
    assert (len(inbox(phone, second)), len(inbox(phone, first))) == (1, 0)
    phone.node.unreachable(second)
    phone.wire.run(0.1)
    assert [m.method for m in inbox(phone, first)] == ["INVITE"]
    assert phone.node.last(ContactDown).left == 1
    assert phone.node.endpoint.calls == (call,)


def test_a_phone_that_answers_430_is_called_by_its_other_flow() -> None:
    phone = connected(1)
    phone.send(**BROWSER)
    first, second = phone.source, phone.source._replace(port=50002, flow=2)
    phone.wire.run(1)
    phone.source = second
    phone.send(**SECOND)
    phone.node.invite("ann", OFFER)
    phone.wire.run(0.1)
    (invite,) = inbox(phone, second)
    phone.node.receive(reply(invite, 430), second)
    phone.wire.run(0.1)
    assert [m.method for m in inbox(phone, first)] == ["INVITE"]


@pytest.mark.parametrize(
    ("more", "done"),
    [
        ({}, True),
        ({"Supported": "path"}, False),
        ({"Contact": "<sip:x7@abc.invalid>;reg-id=1"}, False),
        ({"Via": "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKp, SIP/2.0/WS abc.invalid;branch=z9hG4bKq"}, False),
        (
            {
                "Via": "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKp, SIP/2.0/WS abc.invalid;branch=z9hG4bKq",
                "Path": "<sip:10.0.0.5;lr;ob>",
            },
            True,
        ),
    ],
)
def test_when_outbound_is_done(more: dict[str, str], done: bool) -> None:
    phone = Phone()
    answer = phone.send(**{**BROWSER, **more})
    assert answer.status == 200
    assert (answer.get("Require") == "outbound") is done
    assert answer.get("Flow-Timer") is None  # over UDP a phone keeps its mapping by other means


def test_a_path_is_kept_told_and_taken() -> None:
    phone = Phone()
    path = ("<sip:10.0.0.5;lr>", "<sip:edge.example.com;lr>")
    answer = phone.send(Path=", ".join(path), Supported="path")
    assert answer.items("Path") == list(path)
    proxy = Place("10.0.0.5", 5060)
    call = phone.node.invite("ann", OFFER)
    phone.wire.run(0.1)
    (invite,) = inbox(phone, proxy)
    assert invite.uri == "sip:1001@10.0.0.9:5060"
    assert invite.items("Route") == list(path)
    phone.node.receive(reply(invite, 180), proxy)
    phone.node.hangup(call)
    phone.wire.run(0.1)
    (cancel,) = inbox(phone, proxy)
    assert (cancel.method, cancel.items("Route")) == ("CANCEL", list(path))


@pytest.mark.parametrize(
    "path", ["<mailto:x@y;lr>", "<sip:10.0.0.5>", "nonsense", ", ".join(["<sip:10.0.0.5;lr>"] * 9)]
)
def test_a_path_nobody_could_follow_is_refused(path: str) -> None:
    phone = Phone()
    assert phone.send(Path=path).status == 400
    assert phone.node.contacts(AOR) == []


def test_a_gruu_reaches_that_phone_alone_wherever_it_is() -> None:
    phone = connected(1)
    phone.send(**BROWSER)
    phone.source = PHONE
    phone.send(Contact="<sip:desk@10.0.0.9:5060>", Call_ID="desk")
    gruu = f"{AOR};gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
    browser = Place("10.0.0.9", 50001, "ws", 1)
    phone.node.invite(gruu, OFFER)
    phone.wire.run(0.1)
    assert (len(inbox(phone, browser)), len(inbox(phone, PHONE))) == (1, 0)
    moved = phone.source = browser._replace(port=50002, flow=2)  # the page was loaded anew
    phone.send(**BROWSER)
    found: list[tuple[Place, ...]] = []
    phone.node.endpoint._stack.locate(parse_uri(gruu), found.append)
    assert found == [(moved,)]
    phone.node.invite(f"{AOR};gr=urn:uuid:ffff", OFFER)
    assert phone.node.last(CallFailed).status == 480


def test_a_gruu_is_given_to_who_asks_and_has_a_name_for_it() -> None:
    phone = Phone()
    assert phone.send(Contact=f"<sip:a@10.0.0.9:1>;{INSTANCE}").contacts[0].param("pub-gruu") is None
    bad = '<sip:a@10.0.0.9:1>;+sip.instance="<urn:x y>"'
    assert phone.send(Contact=bad, Supported="gruu", Call_ID="2").contacts[0].param("pub-gruu") is None


def test_phones_liked_less_ring_when_those_liked_more_have_failed() -> None:
    phone = Phone()
    phone.send(Contact="<sip:a@10.0.0.9:5060>;q=0.9", Call_ID="a")
    other = Place("10.0.0.10", 5060)
    phone.source = other
    phone.send(Contact="<sip:b@10.0.0.10:5060>;q=0.4", Call_ID="b")
    phone.node.invite("ann", OFFER)
    phone.wire.run(0.1)
    (invite,) = inbox(phone, PHONE)
    assert inbox(phone, other) == []
    phone.node.receive(reply(invite, 486), PHONE)
    phone.wire.run(0.1)
    (second,) = inbox(phone, other)
    phone.node.receive(reply(second, 480), other)
    assert phone.node.last(CallFailed).status == 480


def test_a_registration_for_somebody_else_needs_leave() -> None:
    phone = Phone()
    assert phone.send(sender="bob").status == 403
    assert phone.send(To="<sip:bob@10.0.0.2>").status == 403
    phone = Phone(registrar=RegistrarSettings(third_party=("ann",)))
    assert phone.send(To="<sip:bob@10.0.0.2>").status == 200
    assert phone.node.last(ContactUp).aor == "sip:bob@10.0.0.2"
    assert phone.send(To="<sip:nobody@10.0.0.2>").status == 403
    assert phone.send("bob", "pw", To="<sip:ann@10.0.0.2>").status == 403


def test_too_many_contacts_at_once_are_refused() -> None:
    phone = Phone(registrar=RegistrarSettings(contacts=2))
    assert phone.send(Contact=", ".join(f"<sip:a@10.0.0.9:{n}>" for n in range(1, 4))).status == 403
    assert phone.node.contacts(AOR) == []


def test_sips_needs_tls() -> None:
    assert Phone().send(Contact="<sips:a@10.0.0.9>").status == 400
    assert Phone(Place("10.0.0.9", 50001, "tls", 1)).send(Contact="<sips:a@10.0.0.9>").status == 200


@pytest.mark.parametrize(
    ("agent", "algorithms", "offered"),
    [
        ("baresip v1.0.0 (x86_64/linux)", (), ["MD5"]),
        ("baresip v3.10.1 (x86_64/Linux)", (), ["MD5"]),
        ("baresip v3.11.0 (x86_64/Linux)", (), ["SHA-256"]),
        ("LinphoneiOS/4.3.1 (phone) LinphoneSDK/4.4.0", (), ["SHA-256"]),
        ("Linphonec/5.1.65", (), ["SHA-256"]),
        ("Linphone/3.12.0 (belle-sip/1.6.3)", (), ["MD5"]),
        ("JsSIP 3.10.1", (), ["MD5"]),
        ("", (), ["MD5"]),
        ("", ("SHA-256", "MD5"), ["SHA-256", "MD5"]),
        ("baresip v1.0.0", ("SHA-256",), ["SHA-256"]),
    ],
)
def test_each_phone_is_offered_a_digest_it_takes(agent: str, algorithms: tuple[str, ...], offered: list[str]) -> None:
    phone = Phone(registrar=RegistrarSettings(algorithms=algorithms))
    assert phone.send(User_Agent=agent).status == 200
    challenge = next(m for _, _, _, m in phone.wire.log if getattr(m, "status", 0) == 401)
    assert [
        value.partition("algorithm=")[2].partition(",")[0] for value in challenge.all("WWW-Authenticate")
    ] == offered


# --- pings --------------------------------------------------------------------------------------------------------


def behind_nat(**settings: object) -> Phone:
    phone = Phone(NAT, registrar=RegistrarSettings(**settings))
    phone.send(Contact="<sip:ann@192.168.1.5:5060>")
    return phone


def test_a_phone_behind_a_nat_is_pinged_and_answers_keep_it() -> None:
    phone = behind_nat()
    heard = 0
    for _ in range(1500):
        phone.wire.run(0.4)
        for request in inbox(phone):
            assert (request.method, request.uri, request.call_id) == (
                "OPTIONS",
                "sip:ann@192.168.1.5:5060",
                request.call_id,
            )
            heard += 1
            phone.wire.run(0.02)
            phone.node.receive(reply(request, 404), NAT)
    assert 22 <= heard <= 26
    assert phone.node.of(ContactDown) == []
    (binding,) = phone.node.contacts(AOR)
    ping = phone.node.endpoint._register.keepalive.of(binding)
    assert ping is not None
    assert ping.rtt is not None
    assert 0 < ping.rtt < 0.5


def test_a_phone_behind_a_nat_that_falls_silent_goes_down() -> None:
    phone = behind_nat()
    phone.wire.run(25 * 4.1)
    down = phone.node.last(ContactDown)
    assert (down.reason, down.left) == ("does not answer", 0)
    phone.node.invite("ann", OFFER)
    assert phone.node.last(CallFailed).status == 480
    phone.wire.run(4000)
    assert phone.node.endpoint.next_timer() is None
    assert not phone.node.endpoint.busy


def test_two_lost_pings_are_forgiven() -> None:
    phone = behind_nat()
    for _ in range(20):
        phone.wire.run(25 * 2.2)
        for request in inbox(phone)[-1:]:
            phone.node.receive(reply(request, 200), NAT)
    assert phone.node.of(ContactDown) == []


def test_a_phone_that_the_network_calls_gone_goes_down_at_once() -> None:
    phone = behind_nat()
    phone.wire.run(26)
    assert inbox(phone)
    phone.node.unreachable(NAT)
    assert phone.node.last(ContactDown).reason == "unreachable"


@pytest.mark.parametrize(
    ("settings", "contact", "source", "pinged"),
    [
        ({}, "<sip:1001@10.0.0.9:5060>", PHONE, ""),
        ({"whom": "all"}, "<sip:1001@10.0.0.9:5060>", PHONE, "OPTIONS"),
        ({"keepalive": "off", "whom": "all"}, "<sip:ann@192.168.1.5>", NAT, ""),
        ({"keepalive": "crlf"}, "<sip:ann@192.168.1.5>", NAT, "crlf"),
        ({}, "<sip:ann@192.168.1.5;transport=tcp>", NAT._replace(transport="tcp", flow=1), ""),
    ],
)
def test_who_is_pinged_and_how(settings: dict[str, object], contact: str, source: Place, pinged: str) -> None:
    phone = Phone(source, registrar=RegistrarSettings(**settings))
    sent: list[bytes] = []
    phone.wire.fate = lambda data, come, target: sent.append(data) or [0.01] if target == source else [0.01]
    phone.send(Contact=contact)
    sent.clear()
    phone.wire.run(30)
    kinds = {"crlf" if not data.strip() else peek(data).method for data in sent}
    assert kinds == ({pinged} if pinged else set())
    assert phone.node.of(ContactDown) == []


def test_a_phone_that_leaves_or_moves_out_of_its_nat_is_pinged_no_more() -> None:
    phone = behind_nat()
    assert len(phone.node.endpoint._register.keepalive) == 1
    phone.send(Contact="<sip:ann@198.51.100.7:40000>", Expires="0")
    phone.send(Contact="*", Expires="0")
    assert len(phone.node.endpoint._register.keepalive) == 0
    phone.wire.run(100)
    assert phone.node.endpoint.next_timer() is None


# --- restarts -----------------------------------------------------------------------------------------------------


def restarted(after_s: float, **contact: str) -> Phone:
    """A gateway that took over what another one knew `after_s` seconds ago."""
    old = Phone(**{"source": NAT} if not contact else {})
    old.send(
        **(contact or {"Contact": f"<sip:ann@192.168.1.5>;{INSTANCE};q=0.5", "Expires": "600", "Supported": "gruu"})
    )
    rows = old.node.endpoint.known_phones(old.wire.now)
    new = Phone(old.source)
    new.node.restore_phones(rows, after_s)
    new.cseq = 50
    return new


def test_phones_are_known_after_a_restart() -> None:
    phone = restarted(100.0)
    up = phone.node.last(ContactUp)
    assert (up.aor, up.contact, up.source) == (AOR, "sip:ann@192.168.1.5", NAT)
    assert 495 <= up.expires <= 500
    (binding,) = phone.node.contacts(AOR)
    assert (binding.q, binding.gruu) == (0.5, f"{AOR};gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF")
    phone.send(Contact=f"<sip:ann@192.168.1.5>;{INSTANCE}", Expires="600")
    assert len(phone.node.contacts(AOR)) == 1
    assert len(phone.node.of(ContactUp)) == 1


def test_a_phone_that_did_not_outlive_the_restart_is_found_out() -> None:
    phone = restarted(1.0, Contact="<sip:1001@10.0.0.9:5060>")
    phone.wire.run(5)
    assert [m.method for m in inbox(phone)][:1] == ["OPTIONS"]
    phone.wire.run(100)
    assert phone.node.last(ContactDown).reason == "does not answer"


def test_a_phone_that_outlived_it_is_asked_once() -> None:
    phone = restarted(1.0, Contact="<sip:1001@10.0.0.9:5060>")
    phone.wire.run(5.1)
    asked = inbox(phone)
    phone.node.receive(reply(asked[-1], 200), PHONE)
    phone.wire.run(200)
    assert inbox(phone) == []
    assert phone.node.of(ContactDown) == []


def test_what_can_not_be_known_after_a_restart_is_left_out() -> None:
    assert restarted(700.0).node.events == []
    browser = connected(1)
    browser.send(**BROWSER)
    assert browser.node.endpoint.known_phones(browser.wire.now) == []
    phone = Phone()
    phone.node.restore_phones([{"aor": AOR}, {}, {"aor": "sip:stranger@10.0.0.2"}, "no row", 7], 0.0)
    assert phone.node.events == []


ROWS = st.dictionaries(
    st.sampled_from(["aor", "contact", "ip", "port", "expires_in", "call_id", "cseq", "q"]),
    st.one_of(st.none(), st.text(), st.integers(), st.floats()),
)


@given(st.lists(ROWS))
def test_any_file_of_phones_is_survived(rows: list[dict[str, object]]) -> None:
    phone = Phone()
    phone.node.restore_phones(rows, 1.0)


# --- reg-event ----------------------------------------------------------------------------------------------------

NS = {"r": "urn:ietf:params:xml:ns:reginfo", "gr": "urn:ietf:params:xml:ns:gruuinfo"}


def test_a_registration_as_xml_whole_and_by_changes() -> None:
    phone = Phone()
    told: list[tuple[str, list[Change]]] = []
    phone.node.endpoint._register.on_change = lambda aor, changes: told.append((aor, list(changes)))
    phone.send(Contact=f"<sip:a&b@10.0.0.9:5060>;{INSTANCE};q=0.5", Supported="gruu", Expires="300")
    phone.wire.run(100)
    bindings = phone.node.contacts(AOR)
    whole = fromstring(reginfo(AOR, bindings, 0, phone.wire.now))
    assert (whole.get("version"), whole.get("state")) == ("0", "full")
    registration = whole.find("r:registration", NS)
    assert (registration.get("aor"), registration.get("state")) == (AOR, "active")
    contact = registration.find("r:contact", NS)
    assert {k: contact.get(k) for k in ("state", "event", "expires", "q")} == {
        "state": "active",
        "event": "registered",
        "expires": "200",
        "q": "0.5",
    }
    assert contact.find("r:uri", NS).text == "sip:a&b@10.0.0.9:5060"
    assert contact.find("gr:pub-gruu", NS).get("uri") == bindings[0].gruu
    phone.send(Contact="*", Expires="0")
    assert [(aor, [c.reason for c in changes]) for aor, changes in told] == [
        (AOR, ["registered"]),
        (AOR, ["unregistered"]),
    ]
    partial = fromstring(reginfo(AOR, [], 1, phone.wire.now, told[1][1]))
    assert partial.get("state") == "partial"
    assert partial.find("r:registration", NS).get("state") == "terminated"
    gone = partial.find("r:registration/r:contact", NS)
    assert (gone.get("state"), gone.get("event"), gone.get("id")) == ("terminated", "unregistered", contact.get("id"))
    assert fromstring(reginfo(AOR, [], 0, 0.0)).find("r:registration", NS).get("state") == "init"


@given(user=st.text(), call_id=st.text(), reason=st.text())
def test_whatever_a_phone_is_called_the_xml_can_be_read(user: str, call_id: str, reason: str) -> None:
    uri = parse_uri("sip:x@10.0.0.9")
    binding = Binding(AOR, type(uri)("sip", user, "10.0.0.9"), PHONE, 10.0, call_id, 1)
    fromstring(reginfo(AOR, [binding], 0, 0.0, [Change(True, binding, reason, 1)]))


@pytest.mark.parametrize("tag", ["path", "outbound", "gruu", "timer"])
def test_what_is_announced_may_be_required(tag: str) -> None:
    assert Phone().send(Require=tag).status == 200


def test_an_extension_nobody_knows_may_not_be_required_of_a_registrar() -> None:
    refused = Phone().send(Require="gruu, warp")
    assert (refused.status, refused.get("Unsupported")) == (420, "warp")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('"abc\\\\"', '"abc\\\\"'),
        ('"a\\"b"', '"a\\"b"'),
        ('"\\\0here\\\0"', '"here"'),
        ('"<urn:uuid:1>"', '"<urn:uuid:1>"'),
    ],
)
def test_whatever_an_instance_is_called_the_answer_can_be_read(written: str, told: str) -> None:
    phone = Phone()
    answer = phone.send(Contact=f"<sip:ann@10.0.0.9:5060>;+sip.instance={written}")
    assert answer.contacts[0].param("+sip.instance") == told
    assert b"10.0.0.2:5060" not in phone.wire.raw[PHONE][-1]


def test_after_a_restart_a_phone_from_a_new_port_is_heard_through_a_flood() -> None:
    phone = restarted(60)
    for n in range(2000):
        phone.node.endpoint.hears(b"REGISTER sip:10.0.0.2", Place(f"203.0.{n >> 8}.{n & 255}", 5060), phone.wire.now)
    assert phone.node.endpoint.counters["dropped_strangers"] > 1000
    home = phone.node.endpoint.registrar.all()[0].source
    assert phone.node.endpoint.hears(b"REGISTER sip:10.0.0.2", home._replace(port=9999), phone.wire.now)
