"""Framing: any chunking gives the same messages; what can't be framed is refused and ends the stream."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.framing import Fault, Framed, FrameLimits, Framer, Signal
from gateway.sip.message import parse

LIMITS = FrameLimits(head=2000, message=6000, patience=10.0)


def framer(opened: bool = False) -> Framer:
    return Framer(lambda: "tag", LIMITS, opened)


def message(
    body: bytes = b"", length: str | None = None, line: str = "OPTIONS sip:a@b SIP/2.0", more: str = ""
) -> bytes:
    head = f"{line}\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\n"
    head += f"Call-ID: 1\r\nCSeq: 1 {line.split()[0]}\r\n{more}"
    head += f"Content-Length: {len(body)}\r\n\r\n" if length is None else f"{length}\r\n"
    return head.encode() + body


def fed(chunks: list[bytes], opened: bool = False) -> tuple[list[Framed], bytes]:
    f = framer(opened)
    found = [framed for chunk in chunks for framed in f.feed(chunk, 0.0)]
    assert f.over is bool(found and isinstance(found[-1], Fault))
    return found, f.output


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


bodies = st.binary(max_size=60) | st.sampled_from([b"\r\n\r\n", b"v=0\r\n", message(), b"\n\n"])
whole = st.one_of(
    bodies.map(message),
    bodies.map(lambda body: message(body, f"l:{len(body)}\r\n")),
    bodies.map(lambda body: message(body, f"content-length :\r\n  {len(body)} \r\n")),
    bodies.map(lambda body: message(body).replace(b"\r\n", b"\n", 6)),
)
pieces = st.one_of(
    whole,
    st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n"]),
    st.sampled_from([message(length=""), message(length="l: -1\r\n"), b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0"]),
    st.binary(max_size=30),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=6), st.lists(st.integers(0, 10_000), max_size=30), st.booleans())
def test_any_chunking_gives_the_same(parts: list[bytes], places: list[int], opened: bool) -> None:
    data = b"".join(parts)
    at_once = fed([data], opened)
    assert fed(cut(data, places), opened) == at_once
    assert fed([bytes([byte]) for byte in data], opened) == at_once


@settings(max_examples=200, deadline=None)
@given(st.lists(whole, max_size=6), st.lists(st.integers(0, 10_000), max_size=30))
def test_every_message_comes_out_whole(parts: list[bytes], places: list[int]) -> None:
    found, output = fed(cut(b"".join(parts), places))
    assert (found, output) == (parts, b"")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_nothing_raises_and_memory_is_bounded(chunks: list[bytes]) -> None:
    f = framer()
    for chunk in chunks:
        f.feed(chunk, 0.0)
        assert len(f._buffer) <= LIMITS.message


def test_pings_are_answered_where_the_peer_opened_the_connection() -> None:
    found, output = fed([b"\r\n\r\n", message(), b"\r", b"\n\r\n", b"\r\n"])
    assert found == [Signal.PING, message(), Signal.PING]
    assert output == b"\r\n\r\n"


def test_a_break_before_a_message_is_no_half_of_a_later_ping() -> None:
    found, _ = fed([b"\r\n", message(), b"\r\n", message()])
    assert found == [message(), message()]


def test_pongs_are_heard_where_we_opened_it() -> None:
    found, output = fed([b"\r\n", message(), b"\r\n\r\n"], opened=True)
    assert (found, output) == ([Signal.PONG, message(), Signal.PONG, Signal.PONG], b"")


def faults(data: bytes) -> tuple[str, bytes]:
    found, output = fed([data])
    (fault,) = found
    assert isinstance(fault, Fault)
    return fault.counter, output


def test_what_has_no_length_is_refused() -> None:
    counter, output = faults(message(length=""))
    assert counter == "streams_without_length"
    answer = parse(output)
    assert (answer.status, answer.reason, answer.to.tag) == (400, "Missing Content-Length", "tag")
    for length in ("-999", "12a", "", "99999999999", "1\r\nContent-Length: 2"):
        counter, output = faults(message(length=f"Content-Length: {length}\r\n"))
        assert counter == "streams_without_length"
        assert parse(output).reason == "Bad Content-Length"


def test_the_same_length_twice_frames_and_is_left_to_the_parser() -> None:
    data = message(length="Content-Length: 0\r\nl: 0\r\n")
    assert fed([data])[0] == [data]


def test_nobody_answers_an_ack_or_a_response() -> None:
    assert faults(message(length="", line="ACK sip:a@b SIP/2.0")) == ("streams_without_length", b"")
    assert faults(message(length="", line="SIP/2.0 200 OK")) == ("streams_without_length", b"")


def test_too_large() -> None:
    counter, output = faults(message(length="Content-Length: 6000\r\n"))
    assert counter == "streams_too_large"
    assert parse(output).status == 513
    counter, output = faults(message(more="X: " + "y" * 2500 + "\r\n"))
    assert counter == "streams_long_head"
    assert parse(output).status == 513
    assert faults(b"x" * 9000)[0] == "streams_garbage"


def test_other_protocols_are_told_by_their_first_bytes() -> None:
    assert faults(b"\x16\x03\x01\x02\x00\x01")[0] == "streams_garbage"  # a TLS hello
    assert faults(b"GET / HTTP/1.1\r\n")[0] == "streams_garbage"


def test_a_message_has_to_be_finished_in_time() -> None:
    f = framer()
    data = message(b"body")
    for i, byte in enumerate(data[:-1]):
        assert f.feed(bytes([byte]), i * 0.001) == []
    assert f.late(9.9) is None
    assert f.late(10.0) == Fault("streams_slow", "a message was not finished in time")
    assert f.over
    assert f.feed(data[-1:], 10.1) == []


def test_the_time_counts_from_the_first_byte_of_each_message() -> None:
    f = framer()
    f.feed(b"\r\n", 0.0)
    assert f.late(100.0) is None
    f.feed(message()[:5], 100.0)
    assert f.feed(message()[5:] + message()[:5], 109.0) == [message()]
    assert f.late(118.0) is None
    assert f.late(119.0) is not None
