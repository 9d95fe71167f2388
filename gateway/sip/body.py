"""The session description in a message's body (RFC 3261 section 7.4, RFC 5621): alone or a part of several."""

from __future__ import annotations

from gateway.core.errors import SipError
from gateway.sip import grammar, offer_answer, sdp
from gateway.sip.crypto import Srtp
from gateway.sip.headers import canonical
from gateway.sip.message import Header, Message, Request
from gateway.sip.offer_answer import NotAcceptable, Pair
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import SDP_TYPE, Stack

Problem = tuple[int, str | None, list[Header]]
"""Status, reason phrase and headers of a refusal."""

MULTIPART = ("multipart/mixed", "multipart/alternative", "multipart/related")
ACCEPTED = f"{SDP_TYPE}, {MULTIPART[0]}"
"""What an Accept header of ours names."""

_MOST_PARTS = 16
_DEEPEST = 3


class Unreadable(SipError):
    """A body that can't be taken. `headers`: those of the 415 that says what can."""

    def __init__(self, what: str, headers: tuple[Header, ...]) -> None:
        super().__init__(what)
        self.headers = headers


def session_of(message: Message) -> bytes | None:
    """The text of a message's session description; None where it has none. Raises Unreadable."""
    if not message.body:
        return None
    return _session(message, 0)


def description_of(message: Message) -> SessionDescription:
    """A message's session description, read. Raises SipError where there is none or it is broken."""
    text = session_of(message)
    if text is None:
        raise SipError("A session description was expected")
    return sdp.parse(text)


def read_offer(
    stack: Stack, request: Request, before: Pair | None = None
) -> tuple[SessionDescription | None, Problem | None]:
    """The offer in a request's body, or why it gets refused: 415, 400 or 488. `before`: what holds in the call that it
    would change."""
    try:
        text = session_of(request)
        offer = sdp.parse(text) if text is not None else None
    except Unreadable as error:
        return None, (415, None, list(error.headers))
    except SipError as error:
        stack.count("bad_sdp")
        return None, (400, f"Bad SDP: {error.what}", [])
    if offer is None:
        return None, None
    try:
        offer_answer.take(offer, stack.config.codecs, Srtp(stack.config.srtp), before)
    except NotAcceptable as error:
        warning = f"{error.warning} {stack.config.host} {grammar.quote(f'{error.what}; {error.expected} can')}"
        return None, (488, None, [("Warning", warning)])
    return offer, None


def _session(part: Message, depth: int) -> bytes | None:
    kind = part.content_type
    disposition, handling = _disposition(part)
    if (part.get("Content-Encoding") or "identity").lower() != "identity":
        if handling == "optional":
            return None
        raise Unreadable("A body is encoded", (("Accept-Encoding", "identity"),))
    if kind == SDP_TYPE and disposition in ("", "session"):
        return part.body
    if kind in MULTIPART and depth < _DEEPEST:
        return _among(part, depth)
    if handling == "optional" or (depth and handling != "required"):
        return None
    raise Unreadable("A body is of a kind that nobody here reads", (("Accept", ACCEPTED),))


def _among(whole: Message, depth: int) -> bytes | None:
    """The first description of several parts. Other parts are passed over unless they insist on being read."""
    found: bytes | None = None
    for part in _parts(whole):
        text = _session(part, depth + 1)
        found = text if found is None else found
    if found is None and _disposition(whole)[1] != "optional":
        raise Unreadable("No part of a body is a session description", (("Accept", ACCEPTED),))
    return found


def _disposition(part: Message) -> tuple[str, str]:
    """Content-Disposition: its type and `handling`, in lower case; empty where it names none."""
    kind, _, rest = (part.get("Content-Disposition") or "").partition(";")
    try:
        handling = grammar.find(grammar.params(rest), "handling") or ""
    except SipError:
        handling = ""
    return kind.strip().lower(), handling.lower()


def _parts(whole: Message) -> list[Message]:
    """The parts of a multipart body (RFC 2046 section 5.1), at most a few. Raises Unreadable without a boundary."""
    _, _, rest = (whole.get("Content-Type") or "").partition(";")
    try:
        boundary = grammar.unquote(grammar.find(grammar.params(rest), "boundary") or "")
    except SipError:
        boundary = ""
    if not 1 <= len(boundary) <= 70:
        raise Unreadable("A multipart body has no boundary", (("Accept", ACCEPTED),))
    mark = b"--" + boundary.encode("utf-8", "surrogateescape")
    inside, _, _ = (b"\r\n" + whole.body).partition(b"\r\n" + mark + b"--")
    return [_part(text) for text in inside.split(b"\r\n" + mark)[1 : _MOST_PARTS + 1]]


def _part(text: bytes) -> Message:
    """One part: what follows its boundary line."""
    head, _, body = text.partition(b"\r\n\r\n")
    headers: list[Header] = []
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        name, colon, value = line.partition(":")
        full = canonical(name) if colon else None
        if full:
            headers.append((full, value.strip()))
    return Message(headers, body)
