"""How an endpoint stands with phones, trunks and callers it refused: what a person is told who looks for a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.message import Request
from gateway.sip.place import Place
from gateway.sip.statuses import REASONS
from gateway.sip.uri import hostport

if TYPE_CHECKING:
    from gateway.sip.register import RegisterServer
    from gateway.sip.stack import Stack

KEPT = 30
"""Refused calls and registrations that are remembered."""
MOST_PHONES = 1000
_SHOWN = 2
_SHORT = 5


class Refusal(NamedTuple):
    """One INVITE or REGISTER that was turned down, at `at` in monotonic seconds. `wanted`: the number dialled, masked,
    or the user to be registered; `agent`: the User-Agent."""

    at: float
    method: str
    source: Place | None
    wanted: str
    status: int
    reason: str
    agent: str


def refusal(request: Request, status: int, reason: str | None, now: float) -> Refusal | None:
    """What to remember of a request that is refused; None where that tells nobody anything."""
    if request.method not in ("INVITE", "REGISTER") or request.to.tag:
        return None
    try:
        uri = request.to.uri if request.method == "REGISTER" else request.target
    except SipError:
        return None
    wanted = grammar.clean(uri.number)[:64] if request.method == "REGISTER" else masked(uri.number)
    agent = grammar.clean(request.get("User-Agent") or "")[:120]
    return Refusal(now, request.method, request.source, wanted, status, reason or REASONS.get(status, ""), agent)


def masked(number: str) -> str:
    """A number as it may be shown: short ones are our own, of long ones the last digits are enough to know it by."""
    shown = grammar.clean(number)[:64]
    return shown if len(shown) <= _SHORT else "•••" + shown[-_SHOWN:]


def where(place: Place) -> str:
    return f"{hostport(place.ip, place.port)} {place.transport}"


def report(stack: Stack, register: RegisterServer, now: float) -> dict[str, object]:
    """Everything as plain JSON; times in seconds, `rtt_ms` in milliseconds."""
    bindings = sorted(register.registrar.all(), key=lambda b: b.aor)
    phones = []
    for b in bindings[:MOST_PHONES]:
        ping = register.keepalive.of(b)
        rtt = ping.rtt if ping else None
        phones.append(
            {
                "aor": b.aor,
                "from": where(b.source),
                "agent": b.agent,
                "expires_in": round(b.expires_at - now),
                "behind_nat": b.behind_nat,
                "rtt_ms": None if rtt is None else round(rtt * 1000, 1),
                "missed": ping.misses if ping else 0,
            }
        )
    refused = [
        {
            "ago": round(now - r.at),
            "method": r.method,
            "from": where(r.source) if r.source else "?",
            "wanted": r.wanted,
            "status": r.status,
            "reason": r.reason,
            "agent": r.agent,
        }
        for r in reversed(stack.refusals)
    ]
    locked = [{"source": source, "for": round(until - now)} for source, until in stack.guard.locked_out(now)]
    trunks = {name: state.words(now) for name, state in stack.trunks.states.items()}
    return {"phones": phones, "registered": len(bindings), "refused": refused, "locked_out": locked, "trunks": trunks}
