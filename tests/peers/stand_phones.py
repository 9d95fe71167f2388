"""Phones that sipp plays, and what the gateway says to them."""

from __future__ import annotations

import asyncio

from gateway.sip.events import (
    CallAnswered,
    CallEnded,
    CallFailed,
    CallProgress,
    ChangeAnswered,
    ChangeFailed,
    OfferChanged,
)
from tests.peers.script import (
    HELD,
    SDP,
    answer,
    called,
    hears,
    ok,
    phone_asks,
    sdp,
    wait,
)
from tests.peers.stand import Hall, Scenario, described, ended


async def calls_and_hangs_up(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    line.edge.hangup(line.call, "goodbye")
    await ended(line)


async def calls_later(hall: Hall, port: int) -> None:
    """Hangs up when the other fork has had its say."""
    line = hall.dial(port)
    await line.event(CallAnswered)
    await asyncio.sleep(0.3)
    line.edge.hangup(line.call, "goodbye")
    await ended(line)


async def calls_and_hangs_up_later(hall: Hall, port: int) -> None:
    """Hangs up when all the repeats are through."""
    line = hall.dial(port)
    await line.event(CallAnswered)
    await asyncio.sleep(4)
    line.edge.hangup(line.call, "goodbye")
    await ended(line)


async def gives_up_at_once(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    line.edge.hangup(line.call, "never mind")
    assert (await line.event(CallFailed)).status == 487


async def gives_up_while_it_rings(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallProgress)
    line.edge.hangup(line.call, "never mind")
    assert (await line.event(CallFailed)).status == 487


async def lets_it_ring_a_second(hall: Hall, port: int) -> None:
    line = hall.dial(port, ring_timeout=1.0)
    failed = await line.event(CallFailed)
    assert (failed.status, failed.cause) == (408, 19)


async def hears_early_media(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    assert (await line.event(CallProgress)).media.encoding == "PCMU"
    await line.event(CallAnswered)
    line.edge.hangup(line.call)
    await ended(line)


async def asks_for_an_offer(hall: Hall, port: int) -> None:
    line = hall.dial(port, offer=None)
    offered = await line.event(OfferChanged)
    line.edge.accept_change(line.call, described(offered.offer))
    assert (await line.event(CallAnswered)).media.encoding == "PCMU"
    line.edge.hangup(line.call)
    await ended(line)


async def changes(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    line.edge.change(line.call, described(None, 6002))
    await line.event(ChangeAnswered)
    assert (await line.event(CallEnded)).by_peer


async def changes_by_update(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    line.edge.change(line.call, described(None, 6002), update=True)
    await line.event(ChangeAnswered)
    assert (await line.event(CallEnded)).by_peer


async def is_refused_a_change(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    line.edge.change(line.call, described(None, 6002))
    assert (await line.event(ChangeFailed)).status == 488
    line.edge.hangup(line.call)
    await ended(line)


async def finds_the_call_gone(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    line.edge.change(line.call, described(None, 6002))
    assert "no longer knows" in (await line.event(CallEnded)).reason


async def stays(hall: Hall, port: int) -> None:
    line = hall.dial(port)
    await line.event(CallAnswered)
    assert (await line.event(CallEnded)).by_peer


async def follows(hall: Hall, port: int) -> None:
    line = hall.dial(port, redirects=1)
    assert "second" in (await line.event(CallAnswered)).contact
    line.edge.hangup(line.call)
    await ended(line)


BYE_COMES = [hears("BYE"), ok()]
FORK = ";tag=fork[call_number]"
PHONES: dict[str, Scenario] = {
    "losses_of_a_phone": Scenario(
        [called(), answer("180 Ringing"), answer("200 OK", SDP, retrans=500), hears("ACK"), wait(3000), *BYE_COMES],
        dials=calls_and_hangs_up_later,
        lossy=True,
    ),
    "cancel_before_any_response": Scenario(
        [
            called(),
            wait(700),
            answer("100 Trying", tag=""),
            hears("CANCEL", "Reason: SIP;text=.never mind."),
            ok(),
            answer("487 Request Terminated", retrans=500),
            hears("ACK"),
        ],
        dials=gives_up_at_once,
    ),
    "cancel_while_the_phone_rings": Scenario(
        [
            called(),
            answer("180 Ringing"),
            hears("CANCEL"),
            ok(),
            answer("487 Request Terminated", retrans=500),
            hears("ACK"),
        ],
        dials=gives_up_while_it_rings,
    ),
    "cancel_crosses_the_answer": Scenario(
        [called(), answer("180 Ringing"), hears("CANCEL"), ok(), answer("200 OK", SDP), hears("ACK"), *BYE_COMES],
        dials=gives_up_while_it_rings,
    ),
    "a_phone_that_rings_for_ever": Scenario(
        [
            called(),
            answer("180 Ringing"),
            hears("CANCEL", "Reason: Q.850;cause=19", ms=5000),
            ok(),
            answer("487 Request Terminated", retrans=500),
            hears("ACK"),
        ],
        dials=lets_it_ring_a_second,
    ),
    "forks": Scenario(
        [
            called(),
            answer("180 Ringing"),
            answer("180 Ringing", tag=FORK),
            answer("200 OK", SDP),
            hears("ACK"),
            answer("200 OK", SDP, tag=FORK),
            hears("ACK", "To: .*tag=fork"),
            hears("BYE", "To: .*tag=fork"),
            ok(),
            *BYE_COMES,
        ],
        dials=calls_later,
    ),
    "reliable_183": Scenario(
        [
            called("Supported: .*100rel"),
            answer("183 Session Progress", SDP, "Require: 100rel", "RSeq: 9", retrans=500, lost=50),
            hears("PRACK", "RAck: 9 1 INVITE"),
            ok(),
            answer("200 OK"),
            hears("ACK"),
            *BYE_COMES,
        ],
        dials=hears_early_media,
    ),
    "unreliable_183": Scenario(
        [called(), answer("183 Session Progress", SDP), answer("200 OK", SDP), hears("ACK"), *BYE_COMES],
        dials=hears_early_media,
    ),
    "late_offer_of_a_phone": Scenario(
        [called("Content-Length: 0"), answer("200 OK", SDP), hears("ACK", "m=audio 6000"), *BYE_COMES],
        dials=asks_for_an_offer,
    ),
    "glare": Scenario(
        [
            *[called(), answer("200 OK", SDP), hears("ACK")],
            called("m=audio 6002"),
            answer("491 Request Pending", tag=""),
            hears("ACK"),
            called(
                "m=audio 6002",
            ),
            answer("200 OK", sdp(2), tag=""),
            hears("ACK"),
            phone_asks("BYE", 1),
            hears("200"),
        ],
        dials=changes,
    ),
    "glare_of_the_gateway": Scenario(
        [
            *[called(), answer("200 OK", SDP), hears("ACK")],
            called("m=audio 6002"),
            phone_asks("UPDATE", 1, body=HELD),
            hears("491"),
            answer("200 OK", sdp(2), tag=""),
            hears("ACK"),
            phone_asks("BYE", 2),
            hears("200"),
        ],
        dials=changes,
    ),
    "update": Scenario(
        [
            *[called(), answer("200 OK", SDP, "Allow: INVITE, ACK, BYE, UPDATE"), hears("ACK")],
            hears("UPDATE", "m=audio 6002"),
            ok(body=sdp(2)),
            phone_asks("BYE", 1),
            hears("200"),
        ],
        dials=changes_by_update,
    ),
    "change_refused": Scenario(
        [
            *[called(), answer("200 OK", SDP), hears("ACK")],
            called(),
            answer("488 Not Acceptable Here", tag="", retrans=500),
            hears("ACK"),
            *BYE_COMES,
        ],
        dials=is_refused_a_change,
    ),
    "change_finds_the_call_gone": Scenario(
        [
            *[called(), answer("200 OK", SDP), hears("ACK")],
            called(),
            answer("481 Call/Transaction Does Not Exist", tag="", retrans=500),
            hears("ACK"),
            *BYE_COMES,
        ],
        dials=finds_the_call_gone,
    ),
    "session_refreshed_by_reinvite": Scenario(
        [
            *[called("Session-Expires: 4"), answer("200 OK", SDP), hears("ACK")],
            called("m=audio 6000", "o=- [0-9]* 1 "),
            answer("200 OK", SDP, tag=""),
            hears("ACK"),
            phone_asks("BYE", 1),
            hears("200"),
        ],
        dials=stays,
        timed=True,
    ),
    "redirected": Scenario(
        [
            called(),
            answer("302 Moved", "", "Contact: <sip:second@[local_ip]:[contact]>", retrans=500),
            hears("ACK"),
            called("INVITE sip:second@", "CSeq: 2 INVITE"),
            answer("200 OK", SDP),
            hears("ACK"),
            *BYE_COMES,
        ],
        dials=follows,
    ),
}
