"""Who calls: what is believed of it, what is withheld, and what is passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.auth import Account
from gateway.sip.identity import ANONYMOUS, Diverted, Identity, dialled, introduce, read
from gateway.sip.message import Request
from gateway.sip.trunks import RegisterAs, Trunk


def invite(*headers: tuple[str, str], sender: str = '"Anna B" <sip:030123456@pbx.example>;tag=1', uri: str = "sip:1@h"):
    return Request("INVITE", uri, [("From", sender), ("To", "<sip:+4940111@h>"), *headers])


PAI = ("P-Asserted-Identity", '"Berg" <sip:+49301112222@carrier.example>, <tel:+49301112222>')


def test_an_untrusted_peer_is_known_by_from_alone() -> None:
    who = read(invite(PAI, ("Remote-Party-ID", "<sip:+491@x>;party=calling")), trusted=False, country="DE")
    assert (who.number, who.display, who.asserted) == ("+4930123456", "Anna B", "")


def test_a_trusted_peer_is_believed() -> None:
    who = read(invite(PAI), trusted=True, country="DE")
    assert (who.number, who.display, who.asserted) == ("+49301112222", "Berg", "+49301112222")


def test_a_number_is_preferred_to_a_name() -> None:
    who = read(invite(("P-Asserted-Identity", "<sip:anna@x>, <tel:+49-30-123456>")), trusted=True)
    assert who.number == "+4930123456"


def test_remote_party_id_counts_where_nothing_is_asserted() -> None:
    header = ("Remote-Party-ID", '"B" <sip:+49301112222@x>;party=calling;screen=yes;privacy=off')
    assert read(invite(header), trusted=True).number == "+49301112222"
    called = ("Remote-Party-ID", "<sip:+49301112222@x>;party=called")
    assert read(invite(called), trusted=True).number == "030123456"


@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        ([PAI, ("Privacy", "id")], "<sip:+49301112222@x>;tag=1"),
        ([PAI, ("Privacy", "header; user;critical")], "<sip:+49301112222@x>;tag=1"),
        ([PAI, ("Privacy", "id")], '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'),
        ([("Remote-Party-ID", "<sip:+49301112222@x>;privacy=full")], "<sip:+49301112222@x>;tag=1"),
        ([], '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'),
        ([], "<sip:Restricted@pbx>;tag=1"),
    ],
)
def test_a_withheld_number_is_nowhere_to_be_seen(headers: list[tuple[str, str]], sender: str) -> None:
    who = read(invite(*headers, sender=sender), trusted=True)
    assert who.withheld
    assert (who.number, who.display) == (ANONYMOUS, "")
    assert who.asserted == ("+49301112222" if headers else "")


def test_privacy_none_asks_for_nothing() -> None:
    assert read(invite(("Privacy", "none")), trusted=True).number == "030123456"


def test_diversions_are_kept_newest_first() -> None:
    who = read(
        invite(
            ("Diversion", '"Desk" <sip:030222333@x>;reason="user-busy";counter=1, <tel:+4930444555>;reason=no-answer'),
            ("Diversion", "<sip:+4930666777@x>;reason=unconditional;privacy=full"),
        ),
        trusted=False,
        country="DE",
    )
    assert who.diverted == (
        Diverted("+4930222333", "user-busy"),
        Diverted("+4930444555", "no-answer"),
        Diverted(ANONYMOUS, "unconditional"),
    )


def test_history_info_tells_diversions_too() -> None:
    entries = (
        "<sip:+4930111222@x?Reason=SIP%3Bcause%3D302&Privacy=none>;index=1,"
        "<sip:+4930333444@x;cause=486>;index=1.1;mp=1, <sip:+4930555666@x>;index=1.1.1"
    )
    who = read(invite(("History-Info", entries)), trusted=False)
    assert who.diverted == (Diverted("+4930333444", "486"), Diverted("+4930111222", "302"))
    private = read(invite(("History-Info", "<sip:+4930111222@x;cause=302?Privacy=history>;index=1")), trusted=False)
    assert private.diverted == (Diverted(ANONYMOUS, "302"),)


def test_the_dialled_number_of_a_registered_contact_stands_elsewhere() -> None:
    trunk = Trunk("t", server="sip:x", register=RegisterAs("line7", Account("line7", "p")))
    to_contact = invite(uri="sip:line7@10.0.0.1:5060;line=abc")
    assert dialled(to_contact, trunk) == "+4940111"
    called = invite(("P-Called-Party-ID", "<sip:+4940222@x>"), uri="sip:line7@10.0.0.1")
    assert dialled(called, trunk) == "+4940222"
    assert dialled(invite(uri="sip:+4940333@10.0.0.1"), trunk) == "+4940333"
    assert dialled(to_contact, None) == "line7"


# --- out ------------------------------------------------------------------------------------------------------------

CALLER = Identity("+4930123456", "Anna Müller", "+4930999")
HIDDEN = Identity(
    ANONYMOUS, "", "+4930999", ("id",), ("<sip:+1@x>;reason=user-busy",), ("<sip:+2@x>;index=1",), trusted=True
)


def told(who: Identity | None, mode: str, own: str = "", **more: object):
    made = introduce(
        who,
        mode=mode,
        own=own,
        user="trunkline",
        domain="gw",
        shown=who.number if who else "",
        asserted=who.asserted if who else "",
        **more,
    )
    return str(made.sender), [f"{name}: {value}" for name, value in made.headers]


@pytest.mark.parametrize(
    ("mode", "own", "sender", "headers"),
    [
        ("from", "", '"Anna Müller" <sip:+4930123456@gw>', []),
        ("from", "+4940", '"Anna Müller" <sip:+4930123456@gw>', []),
        ("none", "+4940", "<sip:+4940@gw>", []),
        ("none", "", "<sip:trunkline@gw>", []),
        (
            "pai",
            "",
            '"Anna Müller" <sip:+4930123456@gw>',
            ['P-Asserted-Identity: "Anna Müller" <sip:+4930999@gw>'],
        ),
        (
            "ppi",
            "+4940",
            '"Anna Müller" <sip:+4930123456@gw>',
            ['P-Preferred-Identity: "Anna Müller" <sip:+4940@gw>'],
        ),
        (
            "rpid",
            "",
            '"Anna Müller" <sip:+4930123456@gw>',
            ['Remote-Party-ID: "Anna Müller" <sip:+4930999@gw>;party=calling;screen=yes;privacy=off'],
        ),
    ],
)
def test_a_caller_is_introduced(mode: str, own: str, sender: str, headers: list[str]) -> None:
    assert told(CALLER, mode, own) == (sender, headers)


@pytest.mark.parametrize("mode", ["pai", "ppi", "rpid"])
def test_nobody_is_vouched_for_whom_nobody_vouched_for(mode: str) -> None:
    stranger = Identity("+49110", "Police", "", (), ("<sip:+1@x>;reason=user-busy",), ("<sip:+2@x>;index=1",))
    assert told(stranger, mode) == ('"Police" <sip:+49110@gw>', [])
    _, headers = told(stranger, mode, "+4940")
    assert len(headers) == 1
    assert "<sip:+4940@gw>" in headers[0]
    assert "Police" not in headers[0]


@pytest.mark.parametrize(
    ("mode", "headers"),
    [
        ("from", ["Privacy: id"]),
        ("pai", ["P-Asserted-Identity: <sip:+4930999@gw>", "Privacy: id"]),
        ("rpid", ["Remote-Party-ID: <sip:+4930999@gw>;party=calling;screen=yes;privacy=full", "Privacy: id"]),
    ],
)
def test_a_withheld_caller_stays_withheld(mode: str, headers: list[str]) -> None:
    diverted = ["Diversion: <sip:+1@x>;reason=user-busy", "History-Info: <sip:+2@x>;index=1"]
    sender, found = told(HIDDEN, mode)
    assert sender == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert found == headers + diverted


def test_the_callers_number_is_not_told_a_peer_that_gets_none() -> None:
    sender, headers = told(HIDDEN, "none", "+4940")
    assert sender == "<sip:+4940@gw>"
    assert "4930999" not in "".join(headers)


def test_everybody_may_be_withheld() -> None:
    sender, headers = told(CALLER, "pai", "+4940", withhold=True)
    assert "anonymous.invalid" in sender
    assert headers[-1] == "Privacy: id"


def test_a_call_that_goes_on_elsewhere_says_from_where() -> None:
    _, headers = told(HIDDEN, "from", left="+4940777")
    assert headers[1:3] == [
        "Diversion: <sip:+4940777@gw>;reason=deflection;counter=1",
        "Diversion: <sip:+1@x>;reason=user-busy",
    ]


def test_a_call_of_our_own() -> None:
    assert told(None, "pai", "+4940") == ("<sip:+4940@gw>", ["P-Asserted-Identity: <sip:+4940@gw>"])
    assert told(None, "from") == ("<sip:trunkline@gw>", [])


NAMES = ["P-Asserted-Identity", "Remote-Party-ID", "Privacy", "Diversion", "History-Info", "P-Called-Party-ID"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=60)), max_size=6), st.booleans())
def test_damaged_headers_are_passed_over(headers: list[tuple[str, str]], trusted: bool) -> None:
    request = invite(*headers)
    who = read(request, trusted, "DE")
    made = introduce(who, mode="pai", own="", user="u", domain="gw", shown=who.number, asserted=who.asserted)
    assert len(who.diverted) <= 10
    shown = str(made.sender) + "".join(name + value for name, value in made.headers)
    assert not set(shown) & {"\r", "\n", "\0"}
    dialled(request, Trunk("t", server="sip:x", register=RegisterAs("1", Account("1", "p"))))
