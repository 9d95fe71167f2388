"""Names of header fields: compact forms, and how each is written in full (RFC 3261 section 7.3.3, IANA's registry)."""

from __future__ import annotations

from gateway.sip import grammar

COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""Every one-letter name that IANA has given away."""

_SPELLED = {
    name.lower(): name
    for name in (
        "AlertMsg-Error",
        "Call-ID",
        "Content-ID",
        "CSeq",
        "Min-SE",
        "MIME-Version",
        "P-Asserted-Identity",
        "P-DCS-Billing-Info",
        "P-DCS-LAES",
        "P-DCS-OSPS",
        "P-DCS-Redirect",
        "P-DCS-Trace-Party-ID",
        "RAck",
        "Remote-Party-ID",
        "RSeq",
        "Session-ID",
        "SIP-ETag",
        "SIP-If-Match",
        "User-to-User",
        "WWW-Authenticate",
    )
}
"""Names that are not simply written with a capital after each hyphen."""

_MOST = 2048
_LONGEST = 64
_known: dict[str, str] = {}


def canonical(name: str) -> str | None:
    """A header's name as it is written in full: `v` -> Via, `call-id` -> Call-ID, `x-trunk` -> X-Trunk. None where it
    is no token. Blanks before the colon are passed over (RFC 3261 section 7.3.1)."""
    found = _known.get(name)
    if found is None:
        bare = name.rstrip(" \t")
        if not grammar.is_token(bare):
            return None
        low = bare.lower()
        found = COMPACT.get(low) or _SPELLED.get(low) or "-".join(part.capitalize() for part in low.split("-"))
        if len(_known) < _MOST and len(name) <= _LONGEST:
            _known[name] = found
    return found
