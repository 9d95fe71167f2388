"""Phones as rows of plain JSON, so that a gateway that starts again knows those of its last run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gateway.core.errors import SipError
from gateway.sip.place import Place
from gateway.sip.registrar import Binding
from gateway.sip.uri import ip_of, parse_uri

MAX_KNOWN = 20_000

Row = dict[str, object]


def rows(bindings: Sequence[Binding], now: float) -> list[Row]:
    """What outlives a restart: contacts over UDP, straight from the phone. A connection ends with the process."""
    kept = [b for b in bindings if not b.source.reliable and not b.path and b.expires_at > now]
    return [
        {
            "aor": b.aor,
            "contact": str(b.contact),
            "ip": b.source.ip,
            "port": b.source.port,
            "expires_in": round(b.expires_at - now, 1),
            "call_id": b.call_id,
            "cseq": b.cseq,
            "q": b.q,
            "instance": b.instance,
            "gruu": b.gruu,
            "agent": b.agent,
        }
        for b in kept[:MAX_KNOWN]
    ]


def bindings(found: Iterable[object], ago: float, now: float) -> list[Binding]:
    """The contacts of rows that were written `ago` seconds before `now`; rows that can't be read are left out."""
    read = (_binding(row, ago, now) for row in found if isinstance(row, dict))
    return [b for b in read if b is not None][:MAX_KNOWN]


def _binding(row: Row, ago: float, now: float) -> Binding | None:
    aor, contact, ip, port, left, call_id, cseq, q = (
        row.get(key) for key in ("aor", "contact", "ip", "port", "expires_in", "call_id", "cseq", "q")
    )
    texts = isinstance(aor, str) and isinstance(contact, str) and isinstance(ip, str) and isinstance(call_id, str)
    whole = isinstance(port, int) and 0 < port < 65536 and isinstance(cseq, int) and 0 <= cseq < 2**31
    numbers = isinstance(left, int | float) and math.isfinite(left) and isinstance(q, int | float) and 0 <= q <= 1
    if not (texts and whole and numbers and ip_of(str(ip))):
        return None
    try:
        uri = parse_uri(str(contact))
    except SipError:
        return None
    instance, gruu, agent = (row.get(key) for key in ("instance", "gruu", "agent"))
    return Binding(
        str(aor),
        uri,
        Place(str(ip), int(str(port))),
        now + float(str(left)) - ago,
        str(call_id),
        int(str(cseq)),
        float(str(q)),
        instance if isinstance(instance, str) else None,
        gruu=gruu if isinstance(gruu, str) else "",
        agent=agent if isinstance(agent, str) else "",
    )
