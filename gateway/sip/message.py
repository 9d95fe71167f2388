"""SIP messages: parsing, the checks every element makes, serialising (RFC 3261 sections 7, 8.2, 18.2, 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.headers import canonical
from gateway.sip.lazy import lazy
from gateway.sip.place import Place
from gateway.sip.statuses import REASONS
from gateway.sip.uri import Address, Uri, ip_of, parse_address, parse_route, parse_uri
from gateway.sip.via import Via, read_via, salvage

Header = tuple[str, str]
"""A header field: its canonical name and its value."""

METHODS = frozenset(("ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS"))
METHODS |= {"PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}
"""Every method in IANA's registry. They are compared with regard to case (RFC 3261 section 7.1)."""

MAX_HEADERS = 200
"""Header lines of one message; more are refused with 400."""
MAX_LINE = 8192
"""Characters of one header field, unfolded; more are refused with 400."""
MAX_URI = 2048
"""Characters of a Request-URI; more are refused with 414."""
MAX_BODY = 16384
"""Octets of a body; more are refused with 413. The whole message: `Defence.max_message`, 513."""
MAX_ELEMENTS = 70
"""Elements of Via, of Route, of Record-Route and of Contact; more are refused with 400. Max-Forwards starts at 70, so
no request has passed more hops (RFC 3261 section 8.1.1.6)."""

_ONCE = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type")
_LISTS = ("Via", "Contact", "Route", "Record-Route")


class MessageError(SipError):
    """What came is no proper SIP message. `request` is what could be read of a request, for the answer with `status`;
    None: drop it. `counter`: what it is counted as beside `malformed`, for the limits; empty for all else."""

    def __init__(self, what: str, status: int = 400, request: Request | None = None, counter: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.request = request
        self.counter = counter


class Message:
    """What requests and responses share. `headers` are (canonical name, value) in order; text is UTF-8 with
    undecodable bytes kept as surrogate escapes, so that what is echoed is byte for byte what came."""

    def __init__(self, headers: list[Header], body: bytes = b"") -> None:
        self.headers = headers
        self.body = body

    @lazy
    def index(self) -> dict[str, list[str]]:
        """The values of each header, by canonical name."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
        return found

    def get(self, name: str) -> str | None:
        """The first value of a header given by its canonical name."""
        values = self.index.get(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return list(self.index.get(name, ()))

    def items(self, name: str) -> list[str]:
        """Every element of a header that is a comma-separated list, over all its lines."""
        return [item for value in self.index.get(name, ()) for item in grammar.split(value)]

    def tokens(self, name: str) -> set[str]:
        return {item.lower() for item in self.items(name)}

    @lazy
    def via(self) -> Via:
        return read_via(grammar.split(self.index["Via"][0])[0])

    @lazy
    def call_id(self) -> str:
        return self.get("Call-ID") or ""

    @lazy
    def from_(self) -> Address:
        return parse_address(self.get("From") or "")

    @lazy
    def to(self) -> Address:
        return parse_address(self.get("To") or "")

    @lazy
    def cseq(self) -> tuple[int, str]:
        """Number and method. Raises SipError."""
        parts = (self.get("CSeq") or "").split()
        value = grammar.number(parts[0]) if len(parts) == 2 else None
        if value is None or not (parts[1] in METHODS or grammar.is_token(parts[1])):
            raise SipError("CSeq is not a number below 2**31 and a method")
        return value, parts[1]

    @lazy
    def contacts(self) -> list[Address]:
        return [parse_address(item) for item in self.items("Contact")]

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; empty where there is none."""
        return (self.get("Content-Type") or "").partition(";")[0].strip().lower()

    def _encode(self, start: str) -> bytes:
        lines = [f"{name}: {value}" for name, value in self.headers if name != "Content-Length"]
        head = "\r\n".join([start, *lines, f"Content-Length: {len(self.body)}\r\n\r\n"])
        return head.encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """`source`: where it came from, once `received_from` was told; our own have none."""

    source: Place | None = None

    def __init__(self, method: str, uri: str, headers: list[Header], body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @lazy
    def target(self) -> Uri:
        return parse_uri(self.uri)

    def encode(self) -> bytes:
        return self._encode(f"{self.method} {self.uri} SIP/2.0")

    def received_from(self, source: Place) -> None:
        """Notes the source in the topmost Via: `received` and `rport` (RFC 3261 18.2.1, RFC 3581 section 4)."""
        self.source = source
        via = self.via
        asks = any(name == "rport" for name, _ in via.params)
        if not asks and (via.host == source.ip or ip_of(via.host) == source.ip):
            return
        noted = [(k, v) for k, v in via.params if k not in ("received", "rport")]
        noted.append(("received", source.ip))
        if asks:
            noted.append(("rport", str(source.port)))
        self.via = Via(via.transport, via.host, via.port, tuple(noted))
        lines = self.index["Via"]
        old, lines[0] = lines[0], ", ".join([str(self.via), *grammar.split(lines[0])[1:]])
        self.headers[self.headers.index(("Via", old))] = ("Via", lines[0])

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
    """A response by RFC 3261 section 8.2.6: Via, From, To, Call-ID, CSeq copied, as far as the request has them;
    `tag` added to To if it has none."""
    copied: list[Header] = []
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        for value in request.index.get(name, ()):
            if name == "To" and tag and not _tagged(request):
                value = f"{value};tag={tag}"
            copied.append((name, value))
    copied.extend(headers)
    return Response(status, reason or REASONS.get(status, "Unknown"), copied, body)


def _tagged(request: Request) -> bool:
    try:
        return bool(request.to.tag)
    except SipError:
        return False


# --- parsing ------------------------------------------------------------------------------------------------------

_REQUEST_LINE = re.compile(rf"({grammar.TOKEN.pattern}) (\S+) [Ss][Ii][Pp]/([0-9]+\.[0-9]+)", re.A)
_STATUS_LINE = re.compile(r"[Ss][Ii][Pp]/2\.0 ([0-9]{3})(?: (.*))?", re.S)
_BREAK = re.compile(r"\r?\n")
_END = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"(?<!\\)\x00|\r")
"""NUL is proper only behind the backslash of a quoted-pair, CR nowhere."""


def parse(data: bytes, max_headers: int = MAX_HEADERS) -> Request | Response:
    """One message. Raises MessageError; its `request` is set where an answer can be addressed.

    The body is cut to Content-Length; a message shorter than that is malformed (RFC 3261 18.3). Line folding, compact
    names and leading empty lines are taken, as is LF for CRLF.
    """
    lines, body, problem = _cut(data.lstrip(b"\r\n"))
    if len(lines) > max_headers + 1:
        problem = MessageError("Too Many Header Lines", counter="too_many_headers")
        del lines[max_headers + 1 :]
    start = lines.pop(0)
    headers, flaw = _headers(lines)
    if len(data) > MAX_LINE and any(len(name) + len(value) > MAX_LINE for name, value in headers):
        flaw = MessageError("Too Long A Header", counter="too_long_header")
    problem = problem or flaw
    line = _REQUEST_LINE.fullmatch(start)
    if line is None:
        return _response(start, headers, body, problem)
    request = Request(line[1], line[2], headers, body)
    if line[3] != "2.0":
        problem = MessageError("Version Not Supported", 505)
    problem = problem or _flaw(request)
    if problem:
        problem.request = _answerable(request)
        raise problem
    return request


def _response(start: str, headers: list[Header], body: bytes, problem: MessageError | None) -> Response:
    """What has no proper Request-Line: a response, or an error."""
    line = _STATUS_LINE.fullmatch(start)
    if line is None:
        words = start.split()
        like = len(words) > 2 and words[-1].upper() == "SIP/2.0" and grammar.is_token(words[0])
        request = _answerable(Request(words[0], words[1], headers, body)) if like else None
        raise MessageError("The first line is neither a request nor a response", 400, request)
    response = Response(int(line[1]), line[2] or "", headers, body)
    problem = problem or _flaw(response)
    if problem or not 100 <= response.status < 700:
        raise problem or MessageError("A status is not between 100 and 699")
    return response


def _cut(data: bytes) -> tuple[list[str], bytes, MessageError | None]:
    """The lines of a message's head, without those that hold what must not be echoed; what follows; what is wrong."""
    end = data.find(b"\r\n\r\n")
    head, body = (data, b"") if end < 0 else (data[:end], data[end + 4 :])
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    breaks, problem = len(lines) - 1, None
    odd = end < 0 or head.count(b"\n") != breaks or head.count(b"\r") != breaks
    if odd:
        found = _END.search(data)
        head, body = (data[: found.start()], data[found.end() :]) if found else (data, b"")
        lines = _BREAK.split(head.decode("utf-8", "surrogateescape"))
        if found is None:
            problem = MessageError("The headers never end")
    if odd or b"\0" in head:
        proper = [line for line in lines[1:] if not _CONTROL.search(line)]
        if len(proper) < len(lines) - 1 or _CONTROL.search(lines[0]):
            problem = MessageError("A header holds a control character")
        lines[1:] = proper
    return lines, body, problem


def _headers(lines: list[str]) -> tuple[list[Header], MessageError | None]:
    """Header fields, unfolded, and what is wrong with one of them."""
    found: list[Header] = []
    problem = None
    for line in lines:
        name, colon, value = line.partition(":")
        full = canonical(name)
        if full and colon:
            found.append((full, value.strip(" \t")))
        elif found and line[:1] in (" ", "\t"):
            last, begun = found[-1]
            found[-1] = last, " ".join((begun, line.strip(" \t"))).strip(" ")
        else:
            problem = MessageError("A header line has no proper name")
    return found, problem


def _answerable(request: Request) -> Request | None:
    """The request, if a response to it would find its way; nobody answers an ACK."""
    if request.method == "ACK" or "Via" not in request.index:
        return None
    try:
        request.via  # noqa: B018
    except (SipError, IndexError):
        try:
            request.via = salvage(request.index["Via"][0])
        except SipError:
            return None
    return request


def _flaw(message: Message) -> MessageError | None:
    """What makes a message unusable, in words that may stand in a reason phrase; cuts the body to its length."""
    index = message.index
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        if name not in index:
            return MessageError(f"Missing {name}")
    if len(index) < len(message.headers):
        for name in _ONCE:
            if len(index.get(name, ())) > 1:
                return MessageError(f"More Than One {name}")
    for name in _LISTS:
        if name in index and sum([1 + value.count(",") for value in index[name]]) > MAX_ELEMENTS:
            return MessageError(f"Too Many {name} Values", counter="too_many_values")
    try:
        checked = "Via"
        message.via  # noqa: B018
        checked = "From"
        _check_tag(message.from_)
        checked = "To"
        _check_tag(message.to)
        checked = "CSeq"
        method = message.cseq[1]
        checked = "Contact"
        if "Contact" in index and index["Contact"] != ["*"]:
            message.contacts  # noqa: B018
        checked = "Record-Route"
        if checked in index:
            for route in message.items(checked):
                parse_route(route)
        checked = "Request-URI"
        problem = _request_flaw(message, method) if isinstance(message, Request) else None
    except (SipError, IndexError):
        return MessageError(f"Bad {checked}")
    if not message.call_id:
        return MessageError("Bad Call-ID")
    return problem or _body_flaw(message)


def _check_tag(address: Address) -> None:
    """Raises SipError where a tag is empty: one put beside it would not be found."""
    if address.param("tag") == "":
        raise SipError("A tag is empty")


def _request_flaw(request: Request, method: str) -> MessageError | None:
    """What only requests can have wrong. Raises SipError where the Request-URI is none."""
    if len(request.uri) > MAX_URI:
        return MessageError("Request-URI Too Long", 414, counter="too_long_uri")
    if request.target.headers:
        return MessageError("Bad Request-URI")
    if method != request.method:
        # what nobody knows may one day have a reason to differ (RFC 4475 section 3.1.2.18)
        return MessageError("CSeq Names Another Method", 400 if request.method in METHODS else 501)
    forwards = request.get("Max-Forwards")
    if forwards is not None and grammar.number(forwards, 255) is None:
        return MessageError("Bad Max-Forwards")
    return None


def _body_flaw(message: Message) -> MessageError | None:
    """Cuts the body to Content-Length."""
    length = message.get("Content-Length")
    if length is not None:
        size = grammar.number(length)
        if size is None:
            return MessageError("Bad Content-Length")
        if size > len(message.body):
            return MessageError("Body Shorter Than Content-Length")
        message.body = message.body[:size]
    if len(message.body) > MAX_BODY:
        return MessageError("Request Entity Too Large", 413, counter="too_large_body")
    return None
