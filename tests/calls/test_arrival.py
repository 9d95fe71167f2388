"""The first line of a call's record: who calls, by whom, and from where the call was diverted."""

from __future__ import annotations

from gateway.calls.exchange import arrival
from gateway.sip.events import CallOffered
from gateway.sip.identity import ANONYMOUS, Identity
from gateway.sip.place import Place


def offered(who: Identity) -> CallOffered:
    place = Place("192.0.2.1", 5060)
    return CallOffered("c", who.number, who.display, "1001", "carrier", None, None, place, identity=who)


def test_what_a_trusted_peer_asserts_and_diversions_are_kept() -> None:
    who = Identity("+4930123456", "Anna", "+4930123456", (), ("<sip:+4940555666@x>;reason=user-busy",))
    assert arrival(offered(who)) == {
        "caller": "+4930123456",
        "dialled": "1001",
        "from": "carrier",
        "asserted": "+4930123456",
        "diverted": [{"number": "+4940555666", "reason": "user-busy"}],
    }


def test_a_withheld_number_is_not_in_the_record() -> None:
    line = arrival(offered(Identity(ANONYMOUS, "", "+4930123456", ("id",))))
    assert "4930123456" not in str(line)
    assert line["caller"] == ANONYMOUS
