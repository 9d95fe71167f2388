"""Registrations as XML, the body of NOTIFY for the event package "reg" (RFC 3680; GRUUs by RFC 5628)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from gateway.sip import grammar
from gateway.sip.registrar import Binding, Change

CONTENT_TYPE = "application/reginfo+xml"

_NO_XML = re.compile(r"[\ufffe\uffff]")
_EVENTS = {
    "registered": "registered",
    "refreshed": "refreshed",
    "moved": "refreshed",
    "restored": "created",
    "expired": "expired",
    "unregistered": "unregistered",
}
"""A change's reason as RFC 3680 section 5.2 calls it; any other end is `deactivated`."""


def reginfo(
    aor: str, bindings: Sequence[Binding], version: int, now: float, changes: Sequence[Change] | None = None
) -> str:
    """The document. `bindings` are what the address of record has now; `changes` None tells all of them (state full),
    else only what changed (partial). `version` counts the documents of one subscription from 0; `now` in monotonic
    seconds."""
    if changes is None:
        rows = [_contact(b, "active", "registered", now) for b in bindings]
    else:
        rows = [
            _contact(c.binding, "active" if c.up else "terminated", _EVENTS.get(c.reason, "deactivated"), now)
            for c in changes
        ]
    standing = "active" if bindings else "terminated" if changes else "init"
    whole = "full" if changes is None else "partial"
    name = quoteattr(_plain(aor))
    return (
        '<?xml version="1.0"?>\n'
        '<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" xmlns:gr="urn:ietf:params:xml:ns:gruuinfo"'
        f' version="{version}" state="{whole}">\n'
        f' <registration aor={name} id="r" state="{standing}">\n' + "".join(rows) + " </registration>\n</reginfo>\n"
    )


def _contact(binding: Binding, state: str, event: str, now: float) -> str:
    left = max(0, round(binding.expires_at - now)) if state == "active" else 0
    gruu = f"   <gr:pub-gruu uri={quoteattr(binding.gruu)}/>\n" if binding.gruu else ""
    return (
        f'  <contact id="c{binding.number}" state="{state}" event="{event}"'
        f' duration-registered="{max(0, round(now - binding.registered))}" expires="{left}" q="{binding.q:g}"'
        f' callid={quoteattr(_plain(binding.call_id))} cseq="{binding.cseq}">\n'
        f"   <uri>{escape(_plain(str(binding.contact)))}</uri>\n{gruu}  </contact>\n"
    )


def _plain(text: str) -> str:
    """Text that may stand in XML, whatever a phone put into it."""
    return _NO_XML.sub("", grammar.clean(text))
