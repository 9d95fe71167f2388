"""The Via header: which way a request came, where its response goes, which transaction it is (RFC 3261 20.42)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.uri import hostport

_TOKEN = grammar.TOKEN.pattern
_SENT_BY = r"\[[0-9A-Fa-f:.]+\]|[^\s;:,\[\]]+"
_VIA = re.compile(
    rf"SIP\s*/\s*2\.0\s*/\s*({_TOKEN})\s+({_SENT_BY})(?:\s*:\s*([0-9]{{1,5}}))?\s*(;.*)?", re.I | re.A | re.S
)
_LIKE_VIA = re.compile(
    rf"SIP\s*/\s*[0-9.]+\s*/\s*({_TOKEN})\s+({_SENT_BY})(?:\s*:\s*([0-9]{{1,5}}))?(?=[\s;,]|$)([^,]*)", re.I | re.A
)


COOKIE = "z9hG4bK"
"""What a branch starts with that tells its transaction alone (RFC 3261 section 8.1.1.7)."""


class Via(NamedTuple):
    """The topmost Via: where a response goes and which transaction it belongs to."""

    transport: str
    host: str
    port: int | None
    params: grammar.Params

    @property
    def branch(self) -> str:
        return grammar.find(self.params, "branch") or ""

    @property
    def sent_by(self) -> str:
        return hostport(self.host.lower(), self.port or 5060)

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {hostport(self.host, self.port)}{grammar.show_params(self.params)}"


def read_via(value: str) -> Via:
    """Raises SipError. For what is read once: each request has a branch of its own."""
    match = _VIA.fullmatch(value)
    if match:
        transport, host, port, tail = match.groups()
        number = int(port) if port else None
        if number is None or 0 < number < 65536:
            return Via(transport.upper(), host, number, grammar.params(tail) if tail else ())
    raise SipError("Not a Via header", read=value[:80])


parse_via = lru_cache(maxsize=1024)(read_via)
"""`read_via` for what comes again: our own Via in responses, proxies' below the top."""


def salvage(value: str) -> Via:
    """What of a malformed topmost Via tells where a 400 may go; parameters that can't be read are left out. Raises
    SipError where not even its sent-by can be read."""
    match = _LIKE_VIA.match(value)
    if match is None or not 0 < int(match[3] or 5060) < 65536:
        raise SipError("Not a Via header", read=value[:80])
    kept: list[tuple[str, str | None]] = []
    for part in grammar.split(match[4], ";"):
        try:
            kept.extend(grammar.params(part))
        except SipError:
            continue
    return Via(match[1].upper(), match[2], int(match[3]) if match[3] else None, tuple(kept))
