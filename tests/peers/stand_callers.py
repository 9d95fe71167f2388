"""Callers that sipp plays, and what the gateway does with their calls."""

from __future__ import annotations

import asyncio

from gateway.sip.events import (
    CallCancelled,
    CallConfirmed,
    CallEnded,
    ChangeAnswered,
    OfferChanged,
)
from tests.peers.script import (
    HELD,
    SDP,
    TRYING,
    ack,
    ask,
    cancel,
    hears,
    hung_up,
    invite,
    nack,
    ok,
    sdp,
    wait,
)
from tests.peers.stand import Line, Scenario, described, ended, never_hears_of_it


async def answers(line: Line) -> None:
    await line.answer()
    await line.event(CallConfirmed)
    assert (await line.event(CallEnded)).by_peer


async def refuses(line: Line) -> None:
    await line.offered()
    line.edge.reject(line.call, 486)
    await ended(line)


async def rings_twice(line: Line) -> None:
    await line.offered()
    line.edge.ring(line.call)
    await asyncio.sleep(0.1)
    line.edge.ring(line.call)
    await line.event(CallCancelled)


async def rings_only(line: Line) -> None:
    await line.offered()
    line.edge.ring(line.call)
    assert (await line.event(CallCancelled)).call == line.call


async def says_nothing(line: Line) -> None:
    await line.event(CallCancelled)


async def takes_changes(line: Line) -> None:
    await line.answer()
    await line.event(CallConfirmed)
    while not isinstance(event := await line.event((CallEnded, OfferChanged)), CallEnded):  # type: ignore[arg-type]
        line.edge.accept_change(line.call, described(event.offer, 6002))


async def thinks_about_changes(line: Line) -> None:
    await line.answer()
    await line.event(OfferChanged)
    assert (await line.event(CallEnded)).by_peer


async def plays_early(line: Line) -> None:
    offered = await line.offered()
    line.edge.ring(line.call, described(offered.offer))
    line.edge.answer(line.call)
    if offered.offer is None:
        assert (await line.event(ChangeAnswered)).media.payload == 0
    await line.event(CallConfirmed)
    await ended(line)


async def runs_out(line: Line) -> None:
    await line.answer()
    over = await line.event(CallEnded)
    assert (over.by_peer, over.reason, over.cause) == (False, "the session expired", 102)


async def hangs_up(line: Line) -> None:
    await line.answer()
    await line.event(CallConfirmed)
    line.edge.hangup(line.call, "goodbye", cause=16)
    await ended(line)


async def holds(line: Line) -> None:
    await line.answer()
    await line.event(CallConfirmed)
    line.edge.change(line.call, described(None, 6002, "sendonly"))
    await line.event(ChangeAnswered)
    assert (await line.event(CallEnded)).by_peer


REINVITE = "z9hG4bKagain[pid]x[call_number]"
TIMER = ("Supported: timer", "Session-Expires: 4;refresher=uac")

CALLERS: dict[str, Scenario] = {
    "losses": Scenario([invite(), TRYING, hears("200"), ack(), wait(3000), *hung_up()], answers, calls=8, lossy=True),
    "losses_of_a_refused_call": Scenario([invite(), hears("486"), nack(), wait(3000)], refuses, lossy=True),
    "losses_of_a_cancelled_call": Scenario(
        [invite(), TRYING, hears("180"), cancel(), hears("200", optional=True), hears("487"), nack(), wait(3000)],
        rings_twice,
        lossy=True,
    ),
    "cancel_after_100": Scenario([invite(), hears("100"), cancel(), hears("200"), hears("487"), nack()], says_nothing),
    "cancel_while_ringing": Scenario(
        [invite(), TRYING, hears("180"), wait(100), cancel(), hears("200"), hears("487"), nack()], rings_only
    ),
    "cancel_after_200": Scenario(
        [invite(), TRYING, hears("200"), cancel(), hears("200", "CSeq: 1 CANCEL"), ack(), *hung_up()], answers
    ),
    "cancel_of_reinvite": Scenario(
        [
            *[invite(), TRYING, hears("200"), ack()],
            ask("INVITE", 2, body=HELD, branch=REINVITE),
            hears("100"),
            cancel(2, REINVITE, "[peer_tag_param]", "[next_url]"),
            hears("200"),
            hears("487"),
            nack(2, REINVITE, "[next_url]"),
            *hung_up(3),
        ],
        thinks_about_changes,
    ),
    "bye_over_reinvite": Scenario(
        [
            *[invite(), TRYING, hears("200"), ack()],
            ask("INVITE", 2, body=HELD, branch=REINVITE),
            hears("100"),
            ask("BYE", 3),
            hears("200"),
            hears("487"),
            nack(2, REINVITE, "[next_url]"),
        ],
        thinks_about_changes,
    ),
    "hold_by_reinvite_and_back_by_update": Scenario(
        [
            *[invite(), TRYING, hears("200"), ack()],
            ask("INVITE", 2, body=HELD),
            TRYING,
            hears("200", "a=recvonly"),
            ack(2),
            ask("UPDATE", 3, body=sdp(3)),
            hears("200", "a=sendrecv"),
            *hung_up(4),
        ],
        takes_changes,
    ),
    "held_by_the_gateway": Scenario(
        [
            *[invite(), TRYING, hears("200"), ack()],
            hears("INVITE", "a=sendonly"),
            ok(body=sdp(2, "recvonly")),
            hears("ACK"),
            *hung_up(),
        ],
        holds,
    ),
    "second_reinvite_too_early": Scenario(
        [
            *[invite(), TRYING, hears("200"), ack()],
            ask("INVITE", 2, body=HELD, branch=REINVITE),
            hears("100"),
            ask("UPDATE", 3, body=HELD),
            hears("500", "Retry-After: "),
            ask("BYE", 4),
            hears("200"),
            hears("487"),
            nack(2, REINVITE, "[next_url]"),
        ],
        thinks_about_changes,
    ),
    "late_offer": Scenario([invite(body=""), TRYING, hears("200", "m=audio 6000"), ack(body=SDP), *hung_up()], answers),
    "late_offer_in_a_reliable_183": Scenario(
        [
            invite("Require: 100rel", body=""),
            hears("183", "m=audio 6000", "Require: 100rel", saves=["rseq"]),
            ask("PRACK", 2, "RAck:[$rseq] 1 INVITE", body=SDP),
            hears("200"),
            hears("200", "Content-Length: 0"),
            ack(),
            *hung_up(3),
        ],
        plays_early,
    ),
    "early_media_acknowledged": Scenario(
        [
            invite("Supported: 100rel"),
            hears("183", "m=audio 6000", lost=50, saves=["rseq"]),
            ask("PRACK", 2, "RAck:[$rseq] 1 INVITE"),
            hears("200"),
            hears("200", "Content-Length: 0"),
            ack(),
            *hung_up(3),
        ],
        plays_early,
    ),
    "session_expires": Scenario(
        [
            *[invite(*TIMER), TRYING, hears("200", "Session-Expires: 4;refresher=uac", "Require: timer"), ack()],
            wait(2000),
            ask("UPDATE", 2, *TIMER),
            hears("200", "Session-Expires: 4;refresher=uac"),
            hears("BYE", "Reason: Q.850;cause=102", ms=4000),
            ok(),
        ],
        runs_out,
        timed=True,
    ),
    "session_refreshed_by_the_gateway": Scenario(
        [
            invite("Supported: timer", "Allow: UPDATE, INVITE", "Session-Expires: 4;refresher=uas"),
            TRYING,
            hears("200", "Session-Expires: 4;refresher=uas"),
            ack(),
            hears("UPDATE", "Session-Expires: 4;refresher=uac", ms=4000),
            ok("Session-Expires: 4;refresher=uac"),
            hears("UPDATE", ms=4000),
            ok("Session-Expires: 4;refresher=uac"),
            *hung_up(),
        ],
        answers,
        timed=True,
    ),
    "session_too_short": Scenario(
        [invite("Supported: timer", "Session-Expires: 1"), hears("422", "Min-SE: 2"), nack()],
        never_hears_of_it,
        timed=True,
    ),
    "strict_route": Scenario(
        [
            invite("Record-Route: <sip:[local_ip]:[local_port];strict>"),
            TRYING,
            hears("200", "Record-Route: "),
            ack(),
            hears("BYE", "BYE sip:[0-9.:]+;strict SIP", "Route: .sip:1001@", "Reason: Q.850;cause=16"),
            ok(),
        ],
        hangs_up,
    ),
    "unknown_extension": Scenario(
        [invite("Require: timer, teleport"), hears("420", "Unsupported: teleport"), nack()], never_hears_of_it
    ),
    "no_hops_left_for_options": Scenario(
        [
            ask("OPTIONS", 1, uri="sip:[remote_ip]:[remote_port]", to="", hops=0),
            hears("200", "Supported: timer, 100rel"),
        ]
    ),
    "no_hops_left_for_elsewhere": Scenario(
        [
            ask("INVITE", 1, body=SDP, uri="sip:x@elsewhere.example", to="", hops=0, branch=REINVITE),
            hears("483"),
            nack(1, REINVITE, "sip:x@elsewhere.example"),
        ],
    ),
}
