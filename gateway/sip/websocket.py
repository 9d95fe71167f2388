"""SIP over WebSocket as messages see it: handshake, frames, close (RFC 7118 on RFC 6455). Pure; sockets are in
streams.py."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from websockets.exceptions import InvalidOrigin
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gateway.sip.framing import PING, Fault, Framed, FrameLimits, Signal

_QUIET = logging.getLogger(f"{__name__}.frames")
_QUIET.disabled = True  # strangers' broken handshakes are counted, not logged

_HANDSHAKE = 16384
"""Bytes that a handshake may have."""
_HEAD_END = b"\r\n\r\n"


class WebSocket:
    """The server's side of one connection; the same face as Framer. `origins`: the pages that may connect, any where
    none is given; programs that are no browser name no origin and are let in. `ready` once the handshake is done: with
    any path, and only where the peer speaks the subprotocol sip."""

    def __init__(self, limits: FrameLimits, origins: Sequence[str] = ()) -> None:
        self.limits = limits
        self.output = b""
        self.over = False
        self.ready = False
        self.pings = True
        self.unfinished: float | None = None
        """Since when a message waits for its rest."""
        allowed = [*map(Origin, origins), None] if origins else None
        self._protocol = ServerProtocol(
            origins=allowed, subprotocols=[Subprotocol("sip")], max_size=limits.message, logger=_QUIET
        )
        self._head = bytearray()
        self._rest = 0
        """Bytes that came behind the last whole frame."""
        self._message = bytearray()
        self._open = False

    def feed(self, data: bytes, now: float) -> list[Framed]:
        """What `data` completes, in order. Never raises."""
        found: list[Framed] = []
        if self.over:
            return found
        protocol = self._protocol
        protocol.receive_data(data)
        self._rest += len(data)
        if not self.ready:
            self._head += data
        events = protocol.events_received()
        for event in events:
            if isinstance(event, Request):
                self._rest = len(self._head) - self._head.find(_HEAD_END) - len(_HEAD_END)
                self._handshake(event, found)
            elif isinstance(event, Frame):
                self._rest -= _octets(event)
                self._frame(event, found)
        if events and not self._open:
            self.unfinished = None
        if self.unfinished is None and (self._open or self._rest > 0):
            self.unfinished = now
        self._settle(found)
        return found

    def late(self, now: float) -> Fault | None:
        """The end of a connection whose peer takes too long over one message."""
        if self.over or self.unfinished is None or now - self.unfinished < self.limits.patience:
            return None
        self._protocol.fail(CloseCode.POLICY_VIOLATION, "a message was not finished in time")
        self._settle([])
        return Fault("websocket_slow", "a message was not finished in time")

    def wrap(self, message: bytes) -> bytes:
        """One message as one frame: text where it is text, which is all that some phones take, else binary."""
        if self._protocol.state is not State.OPEN:
            return b""
        try:
            message.decode()
            self._protocol.send_text(message)
        except UnicodeDecodeError:
            self._protocol.send_binary(message)
        return b"".join(self._protocol.data_to_send())

    def ping(self) -> None:
        """Puts a keep-alive into `output`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self.output += b"".join(self._protocol.data_to_send())

    def leave(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.GOING_AWAY)
            self.output += b"".join(self._protocol.data_to_send())

    def _handshake(self, request: Request, found: list[Framed]) -> None:
        if self._protocol.eof_sent:
            return  # what came with the request broke the rules already
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self.ready = self._protocol.state is State.OPEN
        if not self.ready:
            foreign = isinstance(self._protocol.handshake_exc, InvalidOrigin)
            found.append(
                Fault("websocket_origin" if foreign else "websocket_refused", str(self._protocol.handshake_exc))
            )

    def _frame(self, frame: Frame, found: list[Framed]) -> None:
        if frame.opcode is Opcode.PING:
            found.append(Signal.PING)
        elif frame.opcode is Opcode.PONG:
            found.append(Signal.PONG)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message += frame.data
            self._open = not frame.fin
            if frame.fin:
                whole, self._message = bytes(self._message), bytearray()
                self._whole(whole, found)

    def _whole(self, message: bytes, found: list[Framed]) -> None:
        if message.strip(b"\r\n"):
            found.append(message)
        elif message == PING:  # some phones keep alive as they do over TCP
            found.append(Signal.PING)
            if self._protocol.state is State.OPEN:
                self._protocol.send_text(b"\r\n")

    def _settle(self, found: list[Framed]) -> None:
        """Takes what the protocol has to say and sees whether it has ended."""
        protocol = self._protocol
        self.output += b"".join(protocol.data_to_send())
        too_long = len(self._head) > _HANDSHAKE and not self.ready
        if self.ready or too_long:
            self._head.clear()
        broken = protocol.parser_exc or protocol.handshake_exc
        self.over = protocol.eof_sent or too_long
        if self.over and not (found and isinstance(found[-1], Fault)) and (broken or not self.ready):
            counter = "websocket_broken" if self.ready else "websocket_refused"
            found.append(Fault(counter, str(broken or "the handshake is too long")))


def _octets(frame: Frame) -> int:
    """What a browser's frame takes on the stream: two octets, the length where it needs more, the mask, the data."""
    size = len(frame.data)
    return 6 + (0 if size < 126 else 2 if size < 65536 else 8) + size
