"""SIP over WebSocket: the handshake, one message a frame, what is refused, and hostile bytes."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from gateway.sip.framing import Fault, Framed, FrameLimits, Signal
from gateway.sip.websocket import WebSocket

LIMITS = FrameLimits(message=5000, patience=10.0)


class Browser:
    """The other side, and ours; what one says the other hears at once."""

    def __init__(self, *subprotocols: str, origin: str = "", allowed: tuple[str, ...] = ()) -> None:
        self.ours = WebSocket(LIMITS, allowed)
        self.theirs = ClientProtocol(
            parse_uri("ws://sip.test/any/path?x=1"),
            origin=Origin(origin) if origin else None,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        )
        self.theirs.send_request(self.theirs.connect())
        self.found: list[Framed] = []
        self.status = 0
        self.heard: list[Frame] = []
        self.pump()

    def pump(self, now: float = 0.0, step: int = 1 << 20) -> None:
        data = b"".join(self.theirs.data_to_send())
        for i in range(0, len(data), step):
            self.found += self.ours.feed(data[i : i + step], now)
        if self.ours.output:
            self.theirs.receive_data(self.ours.output)
            self.ours.output = b""
        for event in self.theirs.events_received():
            if isinstance(event, Response):
                self.status = event.status_code
            elif isinstance(event, Frame):
                self.heard.append(event)

    def say(self, *frames: Frame, now: float = 0.0, step: int = 1 << 20) -> list[Framed]:
        """What comes out on our side of these frames."""
        self.found.clear()
        for frame in frames:
            self.theirs.send_frame(frame)
        self.pump(now, step)
        return self.found


def text(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, data, fin)


def more(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONT, data, fin)


# --- handshake --------------------------------------------------------------------------------------------------------


def test_a_browser_that_speaks_sip_is_let_in_at_any_path() -> None:
    browser = Browser("chat", "sip")
    assert (browser.status, browser.theirs.subprotocol, browser.ours.ready) == (101, "sip", True)
    assert browser.found == []


@pytest.mark.parametrize("subprotocols", [(), ("chat",), ("SIP",)])
def test_without_the_subprotocol_nobody_is(subprotocols: tuple[str, ...]) -> None:
    browser = Browser(*subprotocols)
    assert browser.status == 400
    assert (browser.ours.ready, browser.ours.over) == (False, True)
    (fault,) = browser.found
    assert isinstance(fault, Fault)
    assert fault.counter == "websocket_refused"


@pytest.mark.parametrize(
    ("origin", "status"), [("https://desk.test", 101), ("", 101), ("https://evil.test", 403), ("null", 403)]
)
def test_pages_from_elsewhere_are_refused_where_origins_are_named(origin: str, status: int) -> None:
    browser = Browser("sip", origin=origin, allowed=("https://desk.test",))
    assert browser.status == status
    if status == 403:
        assert browser.found == [Fault("websocket_origin", f"invalid Origin header: {origin}")]


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        HANDSHAKE.replace(b"GET", b"POST"),
        HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
        HANDSHAKE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"AA"),
        HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 20000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000,
        b"G" * 20000,
        HANDSHAKE + b"\xff" * 200,
    ],
)
@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_broken_handshakes_end_the_connection(data: bytes, step: int) -> None:
    ours = WebSocket(LIMITS)
    found = [framed for i in range(0, len(data), step) for framed in ours.feed(data[i : i + step], 0.0)]
    assert ours.over
    assert not ours.ready
    assert [framed.counter for framed in found if isinstance(framed, Fault)] == ["websocket_refused"]


# --- messages ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_every_message_comes_out_whole_however_it_is_cut(bodies: list[bytes], step: int) -> None:
    messages = [b"INVITE " + body for body in bodies]
    frames = []
    for message in messages:
        frames += [Frame(Opcode.BINARY, message[:3], False), Frame(Opcode.PING, b"x"), more(message[3:])]
    found = Browser("sip").say(*frames, step=step)
    assert [framed for framed in found if isinstance(framed, bytes)] == messages
    assert found.count(Signal.PING) == len(messages)


def test_our_messages_are_text_where_they_can_be() -> None:
    browser = Browser("sip")
    for message in (b"SIP/2.0 200 OK\r\n\r\n", b"SIP/2.0 200 \xff\r\n\r\n"):
        browser.ours.output += browser.ours.wrap(message)
    browser.pump()
    assert [(frame.opcode, bytes(frame.data)) for frame in browser.heard] == [
        (Opcode.TEXT, b"SIP/2.0 200 OK\r\n\r\n"),
        (Opcode.BINARY, b"SIP/2.0 200 \xff\r\n\r\n"),
    ]


def test_keep_alives_both_ways() -> None:
    browser = Browser("sip")
    assert browser.say(Frame(Opcode.PING, b"1")) == [Signal.PING]
    assert browser.say(text(b"\r\n\r\n")) == [Signal.PING]
    assert browser.say(text(b"\r\n"), text(b"")) == []
    assert [(frame.opcode, bytes(frame.data)) for frame in browser.heard] == [
        (Opcode.PONG, b"1"),
        (Opcode.TEXT, b"\r\n"),
    ]
    browser.ours.ping()
    browser.pump()
    browser.found.clear()
    browser.pump()
    assert browser.found == [Signal.PONG]


def test_goodbyes() -> None:
    browser = Browser("sip")
    browser.ours.leave()
    browser.pump()
    assert browser.theirs.close_rcvd
    assert browser.theirs.close_rcvd.code == 1001
    browser = Browser("sip")
    browser.theirs.send_close(1000)
    browser.found.clear()
    browser.pump()
    assert browser.ours.over
    assert browser.found == []
    assert browser.ours.wrap(b"late") == b""
    assert browser.theirs.state is State.CLOSING


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([text(b"x" * 5001)], 1009),
        ([text(b"x" * 3000, False), more(b"x" * 3000)], 1009),
        ([more(b"x")], 1002),
        ([text(b"x", False), text(b"y")], 1002),
    ],
)
def test_what_breaks_the_rules_is_told_why(frames: list[Frame], code: int) -> None:
    browser = Browser("sip")
    for frame in frames:
        frame_bytes = frame.serialize(mask=True)
        browser.found += browser.ours.feed(frame_bytes, 0.0)
    browser.pump()
    assert browser.theirs.close_rcvd
    assert browser.theirs.close_rcvd.code == code
    assert isinstance(browser.found[-1], Fault)
    assert browser.found[-1].counter == "websocket_broken"
    assert browser.ours.over


def test_unmasked_frames_are_refused() -> None:
    browser = Browser("sip")
    assert isinstance(browser.ours.feed(text(b"x").serialize(mask=False), 0.0)[-1], Fault)


@pytest.mark.parametrize(
    "data",
    [
        text(b"OPTIONS").serialize(mask=True),
        text(b"OPT", False).serialize(mask=True) + more(b"IONS").serialize(mask=True),
    ],
)
def test_a_message_has_to_be_finished_in_time(data: bytes) -> None:
    ours = Browser("sip").ours
    for i, byte in enumerate(data[:-1]):
        assert ours.feed(bytes([byte]), i * 0.001) == []
    assert ours.late(9.9) is None
    assert ours.late(10.1) == Fault("websocket_slow", "a message was not finished in time")
    assert ours.over
    assert struct.unpack("!H", ours.output[2:4]) == (1008,)


def test_time_between_messages_is_free() -> None:
    browser = Browser("sip")
    for now in (0.0, 100.0, 200.0):
        assert browser.say(text(b"OPTIONS"), now=now) == [b"OPTIONS"]
        assert browser.ours.late(now + 99.0) is None


@pytest.mark.parametrize("together", [True, False])
def test_half_a_message_behind_a_whole_frame_has_to_be_finished_in_time_too(together: bool) -> None:
    whole, part = Frame(Opcode.PING, b"").serialize(mask=True), text(b"x" * 300).serialize(mask=True)[:7]
    ours = WebSocket(LIMITS)
    for data in [HANDSHAKE + whole + part] if together else [HANDSHAKE, whole + part]:
        ours.feed(data, 5.0)
    assert ours.late(14.9) is None
    assert ours.late(15.1) is not None


def test_frames_of_every_size_leave_nothing_unfinished() -> None:
    browser = Browser("sip")
    for size in (0, 1, 125, 126, 4999):
        browser.say(text(b"x" * size))
        assert browser.ours.unfinished is None


def test_a_message_in_tiny_pieces_takes_no_more_memory_than_its_bytes() -> None:
    ours = Browser("sip").ours
    ours.feed(text(b"a", False).serialize(mask=True), 0.0)
    tracemalloc.start()
    for _ in range(4000):
        ours.feed(more(b"a", False).serialize(mask=True), 0.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40_000


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_raises(chunks: list[bytes], after: bool) -> None:
    ours = Browser("sip").ours if after else WebSocket(LIMITS)
    faults = [framed for chunk in chunks for framed in ours.feed(chunk, 0.0) if isinstance(framed, Fault)]
    assert len(faults) <= 1
    assert len(ours._protocol.reader.buffer) <= 20_000
