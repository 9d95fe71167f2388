"""SIP messages: parsing, the checks every element makes, serialising (RFC 3261 sections 7, 8.2, 18.2, 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.place import Place
from gateway.sip.uri import Address, Uri, hostport, ip_of, parse_address, parse_uri

Header = tuple[str, str]

_COMPACT = {
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
_SPELLED = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "www-authenticate": "WWW-Authenticate",
    "mime-version": "MIME-Version",
    "rseq": "RSeq",
    "rack": "RAck",
}
_ONCE = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type")

MAX_HEADERS = 200
"""More header lines than this are refused with 400."""

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    423: "Interval Too Brief",
    433: "Anonymity Disallowed",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
}


class MessageError(SipError):
    """A datagram is no proper SIP message. `request` is what could be read of a request, for a 400; None: drop it."""

    def __init__(self, what: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.request = request


@lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """A header's name as it is written in full: `v` -> Via, `call-id` -> Call-ID, `x-trunk` -> X-Trunk."""
    low = name.lower()
    return _COMPACT.get(low) or _SPELLED.get(low) or "-".join(part.capitalize() for part in low.split("-"))


@dataclass(frozen=True, slots=True)
class Via:
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


_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*([A-Za-z0-9\-]+)\s+(\[[0-9A-Fa-f:.]+\]|[^\s;:,]+)(?:\s*:\s*(\d{1,5}))?\s*(;.*)?", re.I
)


@lru_cache(maxsize=1024)
def parse_via(value: str) -> Via:
    """Raises SipError."""
    match = _VIA.fullmatch(value)
    if not match or not 0 < int(match[3] or 5060) < 65536:
        raise SipError("Not a Via header", read=value[:80])
    return Via(match[1].upper(), match[2], int(match[3]) if match[3] else None, grammar.params(match[4] or ""))


class Message:
    """What requests and responses share. `headers` are (canonical name, value) in order; text is UTF-8 with
    undecodable bytes kept as surrogate escapes, so that what is echoed is byte for byte what came."""

    def __init__(self, headers: list[Header], body: bytes = b"") -> None:
        self.headers = headers
        self.body = body

    def get(self, name: str) -> str | None:
        """The first value of a header given by its canonical name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def items(self, name: str) -> list[str]:
        """Every element of a header that is a comma-separated list, over all its lines."""
        return [item for value in self.all(name) for item in grammar.split(value)]

    def tokens(self, name: str) -> set[str]:
        return {item.lower() for item in self.items(name)}

    @cached_property
    def via(self) -> Via:
        return parse_via(self.items("Via")[0])

    @cached_property
    def call_id(self) -> str:
        return self.get("Call-ID") or ""

    @cached_property
    def from_(self) -> Address:
        return parse_address(self.get("From") or "")

    @cached_property
    def to(self) -> Address:
        return parse_address(self.get("To") or "")

    @cached_property
    def cseq(self) -> tuple[int, str]:
        """Number and method. Raises SipError."""
        parts = (self.get("CSeq") or "").split()
        value = grammar.number(parts[0]) if len(parts) == 2 else None
        if value is None or not grammar.is_token(parts[1]):
            raise SipError("CSeq is not a number below 2**31 and a method")
        return value, parts[1]

    @cached_property
    def contacts(self) -> list[Address]:
        return [parse_address(item) for item in self.items("Contact")]

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; empty where there is none."""
        return (self.get("Content-Type") or "").partition(";")[0].strip().lower()

    def _encode(self, start: str) -> bytes:
        head = [start, *[f"{name}: {value}" for name, value in self.headers if name != "Content-Length"]]
        head.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(head).encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    def __init__(self, method: str, uri: str, headers: list[Header], body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @cached_property
    def target(self) -> Uri:
        return parse_uri(self.uri)

    def encode(self) -> bytes:
        return self._encode(f"{self.method} {self.uri} SIP/2.0")

    def received_from(self, source: Place) -> None:
        """Notes the source in the topmost Via: `received` and `rport` (RFC 3261 18.2.1, RFC 3581 section 4)."""
        via = self.via
        asks = any(name == "rport" for name, _ in via.params)
        if not asks and ip_of(via.host) == source[0]:
            return
        noted = [(k, v) for k, v in via.params if k not in ("received", "rport")] + [("received", source[0])]
        if asks:
            noted.append(("rport", str(source[1])))
        self.via = Via(via.transport, via.host, via.port, tuple(noted))
        text = f"SIP/2.0/{via.transport} {hostport(via.host, via.port)}{grammar.show_params(tuple(noted))}"
        for i, (name, value) in enumerate(self.headers):
            if name == "Via":
                rest = grammar.split(value)[1:]
                self.headers[i] = ("Via", ", ".join([text, *rest]))
                return

    def reply_to(self, source: Place) -> Place:
        """Where responses go (RFC 3261 18.2.2, RFC 3581): back over the connection; over UDP to the source, at its port
        where rport was asked for, else at the one of the Via."""
        if source.reliable or grammar.find(self.via.params, "rport") is not None:
            return source
        return source._replace(port=self.via.port or 5060)


class Response(Message):
    """`local`: made by ourselves in place of one that never came (408 timeout, 503 transport error)."""

    def __init__(self, status: int, reason: str, headers: list[Header], body: bytes = b"", local: bool = False) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason
        self.local = local

    def encode(self) -> bytes:
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")


def respond(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    tag: str = "",
    headers: Iterable[Header] = (),
    body: bytes = b"",
) -> Response:
    """A response by RFC 3261 section 8.2.6: Via, From, To, Call-ID, CSeq copied; `tag` added to To if it has none."""
    copied: list[Header] = []
    for name, value in request.headers:
        if name in ("Via", "From", "Call-ID", "CSeq"):
            copied.append((name, value))
        elif name == "To":
            copied.append((name, f"{value};tag={tag}" if tag and ";tag=" not in value.lower() else value))
    copied.extend(headers)
    return Response(status, reason or REASONS.get(status, "Unknown"), copied, body)


_REQUEST_LINE = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+) (\S+) SIP/(\d+\.\d+)", re.I)
_STATUS_LINE = re.compile(r"SIP/2\.0 (\d{3})(?: (.*))?", re.I)
_BREAK = re.compile(r"\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")
_END = re.compile(rb"\r?\n\r?\n")


def _headers(lines: Sequence[str]) -> tuple[list[Header], str | None]:
    """Header fields and the first problem met."""
    found: list[Header] = []
    problem = None
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not grammar.is_token(name):
            problem = problem or "A header line has no proper name"
            continue
        if "\x00" in value or "\r" in value:
            problem = problem or "A header holds a control character"
            continue
        found.append((canonical(name), value.strip()))
    return found, problem


def parse(data: bytes) -> Request | Response:
    """One datagram as a message. Raises MessageError; its `request` is set where an answer can be addressed.

    The body is cut to Content-Length; a datagram shorter than that is malformed (RFC 3261 18.3). Line folding, compact
    names and leading empty lines are taken, as is LF for CRLF.
    """
    data = data.lstrip(b"\r\n")
    end = _END.search(data)
    raw = data[: end.start()] if end else data
    text = raw.decode("utf-8", "surrogateescape")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    start, *lines = _BREAK.split(text)
    body = data[end.end() :] if end else b""
    headers, problem = _headers(lines)
    if len(lines) > MAX_HEADERS:
        problem = "Too many header lines"
    if not end:
        problem = problem or "The headers never end"
    status = _STATUS_LINE.fullmatch(start)
    if status:
        response = Response(int(status[1]), status[2] or "", headers, body)
        problem = problem or _flaw(response)
        if problem or not 100 <= response.status < 700:
            raise MessageError(problem or "A status is not between 100 and 699")
        return response
    line = _REQUEST_LINE.fullmatch(start)
    if not line:
        words = start.split()
        guess = len(words) > 2 and words[-1].upper() == "SIP/2.0" and grammar.is_token(words[0])
        request = Request(words[0], words[1], headers, body) if guess else None
        raise MessageError("The first line is neither a request nor a response", 400, _answerable(request))
    request = Request(line[1], line[2], headers, body)
    if line[3] != "2.0":
        raise MessageError("Version Not Supported", 505, _answerable(request))
    problem = problem or _flaw(request)
    if problem:
        raise MessageError(problem, 400, _answerable(request))
    return request


def _answerable(request: Request | None) -> Request | None:
    """The request, if a response to it would find its way; nobody answers an ACK."""
    if request is None or request.method == "ACK":
        return None
    try:
        request.via  # noqa: B018
    except (SipError, IndexError):
        return None
    needed = ("From", "To", "Call-ID", "CSeq")
    return request if all(request.get(name) is not None for name in needed) else None


def _flaw(message: Message) -> str | None:
    """What makes a message unusable, in words that may stand in a reason phrase; cuts the body to its length."""
    counts: dict[str, int] = {}
    for name, _ in message.headers:
        counts[name] = counts.get(name, 0) + 1
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        if name not in counts:
            return f"Missing {name}"
    for name in _ONCE:
        if counts.get(name, 0) > 1:
            return f"More Than One {name}"
    try:
        checks = "Via"
        message.via  # noqa: B018
        checks = "From"
        message.from_  # noqa: B018
        checks = "To"
        message.to  # noqa: B018
        checks = "CSeq"
        method = message.cseq[1]
        checks = "Contact"
        if message.get("Contact") != "*":
            message.contacts  # noqa: B018
        checks = "Record-Route"
        for route in message.items(checks):
            parse_address(route)
        if isinstance(message, Request):
            checks = "Request-URI"
            if message.target.headers:
                return "Bad Request-URI"
    except (SipError, IndexError):
        return f"Bad {checks}"
    if not message.call_id:
        return "Bad Call-ID"
    if isinstance(message, Request):
        if method != message.method:
            return "CSeq Names Another Method"
        forwards = message.get("Max-Forwards")
        if forwards is not None and grammar.number(forwards, 255) is None:
            return "Bad Max-Forwards"
    return _cut(message)


def _cut(message: Message) -> str | None:
    length = message.get("Content-Length")
    if length is None:
        return None
    size = grammar.number(length)
    if size is None:
        return "Bad Content-Length"
    if size > len(message.body):
        return "Body Shorter Than Content-Length"
    message.body = message.body[:size]
    return None
