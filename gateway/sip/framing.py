"""Messages out of a byte stream: RFC 3261 section 18.3 and the CRLF keep-alive of RFC 5626 section 3.5.1. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gateway.sip.message import MessageError, Request, parse, respond


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Sizes in bytes: `head` of a start line with its headers, `message` of the whole. `patience`: seconds from the
    first byte of a message to its last."""

    head: int = 16384
    message: int = 65536
    patience: float = 15.0


class Signal(Enum):
    """What a peer says beside messages. The value is the counter's name."""

    PING = "keepalive_pings"
    PONG = "keepalive_pongs"


@dataclass(frozen=True, slots=True)
class Fault:
    """A stream that can't be read any further. `counter`: the name it is counted under; `what`: in words."""

    counter: str
    what: str


Framed = bytes | Signal | Fault
"""Whole messages, keep-alives, and at most one Fault, which is the last."""

_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(?:\r?\n[ \t]+)?([^\r\n]*)", re.I)
_LINE_MAX = 8192
"""Bytes in which a first line has to end and to say SIP."""

_PONG = b"\r\n"
PING = b"\r\n\r\n"


class Framer:
    """Bytes in any pieces, `now` in monotonic seconds; whole messages out. `opened`: we opened the connection, so that
    CRLF from the peer is an answer to our ping; else two of them are a ping, which is answered. `tag` makes the To tag
    of a 400 or 513 to a message that can't be framed. What has to be sent back stands in `output`; once `over` is true
    the connection is to be closed behind it."""

    def __init__(self, tag: Callable[[], str], limits: FrameLimits = FrameLimits(), opened: bool = False) -> None:
        self.limits = limits
        self.output = b""
        self.over = False
        self.ready = True
        self.pings = opened
        self.unfinished: float | None = None
        """Since when a message waits for its rest."""
        self._opened = opened
        self._tag = tag
        self._buffer = bytearray()
        self._searched = 0
        self._head = 0
        self._size = 0
        self._breaks = 0

    def feed(self, data: bytes, now: float) -> list[Framed]:
        """What `data` completes, in order. Never raises."""
        found: list[Framed] = []
        if self.over:
            return found
        self._buffer += data
        while self._buffer and not self.over:
            if not self._head:
                self._skip(found)
                if not self._measure(found):
                    break
            if len(self._buffer) < self._size:
                break
            found.append(bytes(self._buffer[: self._size]))
            del self._buffer[: self._size]
            self._searched = self._head = self._size = 0
            self.unfinished = None
        if self._buffer and self.unfinished is None:
            self.unfinished = now
        return found

    def late(self, now: float) -> Fault | None:
        """The end of a stream whose peer takes too long over one message."""
        if self.over or self.unfinished is None or now - self.unfinished < self.limits.patience:
            return None
        found: list[Framed] = []
        self._fail(found, 0, "streams_slow", "a message was not finished in time")
        fault = found[0]
        return fault if isinstance(fault, Fault) else None

    def wrap(self, message: bytes) -> bytes:
        """A message as it stands on the stream."""
        return message

    def ping(self) -> None:
        """Puts a keep-alive into `output`."""
        self.output += PING

    def leave(self) -> None:
        """A stream just ends."""

    def _skip(self, found: list[Framed]) -> None:
        """Takes empty lines off the front: keep-alives, or noise that section 7.5 tells us to ignore."""
        buffer = self._buffer
        if buffer[0] not in b"\r\n":
            return
        rest = buffer.lstrip(b"\r\n")
        breaks = buffer.count(b"\n", 0, len(buffer) - len(rest))
        del buffer[: len(buffer) - len(rest)]
        if self._opened:
            found.extend([Signal.PONG] * breaks)
            return
        pings, self._breaks = divmod(self._breaks + breaks, 2)
        found.extend([Signal.PING] * pings)
        self.output += _PONG * pings

    def _measure(self, found: list[Framed]) -> bool:
        """Looks for the end of the headers and notes the message's size; False where more has to come, or never
        will."""
        buffer = self._buffer
        if not buffer:
            return False
        self._breaks = 0
        start = max(0, self._searched - 2)
        bare, full = buffer.find(b"\n\n", start), buffer.find(b"\n\r\n", start)
        ends = [at for at in (bare + 2 if bare >= 0 else 0, full + 3 if full >= 0 else 0) if at]
        end = min(ends) if ends else 0
        if self._searched < _LINE_MAX:
            line = buffer.find(b"\n", 0, _LINE_MAX)
            unending = line < 0 and len(buffer) >= _LINE_MAX
            if unending or (line >= 0 and b"SIP/" not in buffer[:line].upper()) or buffer[0] < 0x20:
                self._fail(found, 0, "streams_garbage", "what comes is not SIP")
                return False
        self._searched = len(buffer)
        if (end or len(buffer)) > self.limits.head:
            self._fail(found, 513, "streams_long_head", "Headers Too Long", self.limits.head)
            return False
        return bool(end) and self._sized(found, end)

    def _sized(self, found: list[Framed], head: int) -> bool:
        values = {bytes(value.strip()) for value in _LENGTH.findall(self._buffer, 0, head)}
        text = next(iter(values)) if len(values) == 1 else b""
        if not text.isdigit() or len(text) > 10:
            what = "Bad Content-Length" if values else "Missing Content-Length"
            self._fail(found, 400, "streams_without_length", what, head)
            return False
        self._size = head + int(text)
        if self._size > self.limits.message:
            self._fail(found, 513, "streams_too_large", "Message Too Large", head)
            return False
        self._head = head
        return True

    def _fail(self, found: list[Framed], status: int, counter: str, what: str, head: int = 0) -> None:
        if status:
            self.output += refusal(bytes(self._buffer[:head]), status, what, self._tag()) or b""
        self.over = True
        self.unfinished = None
        self._buffer.clear()
        found.append(Fault(counter, what))


def refusal(head: bytes, status: int, reason: str, tag: str) -> bytes | None:
    """The answer to a request of which only the headers, or some of them, are known; None where nobody could be
    answered."""
    if not head.endswith((b"\n\n", b"\n\r\n")):
        head = head.rpartition(b"\n")[0] + b"\n\r\n"
    plain = _LENGTH.sub(b"\nContent-Length: 0", head)
    try:
        request = parse(plain)
    except MessageError as error:
        if error.request is None:
            return None
        request = error.request
    if not isinstance(request, Request) or request.method == "ACK":
        return None
    return respond(request, status, reason, tag=tag).encode()
