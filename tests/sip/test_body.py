"""Which part of a body is the session description, and what is said where none is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import body
from gateway.sip.events import CallOffered
from gateway.sip.message import Message
from tests.sip.raw import SDP, ask, invite
from tests.sip.wire import pair

ISUP = "Content-Type: application/isup;version=x\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x00"
WHERE = "Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n\r\n<presence/>"
OFFER = f"Content-Type: application/sdp\r\nContent-Disposition: session;handling=required\r\n\r\n{SDP}"
EARLY = f"Content-Type: application/sdp\r\nContent-Disposition: early-session;handling=optional\r\n\r\n{SDP}"
MUST = "Content-Type: application/x-must\r\nContent-Disposition: render;handling=required\r\n\r\nx"
MIXED = 'multipart/mixed;boundary="next one"'


def parts(*texts: str, boundary: str = "next one") -> str:
    return "".join(f"--{boundary}\r\n{text}\r\n" for text in texts) + f"--{boundary}--\r\n"


def message(text: str, kind: str = "application/sdp", disposition: str = "") -> Message:
    headers = [("Content-Type", kind), *([("Content-Disposition", disposition)] if disposition else [])]
    return Message(headers, text.encode("latin-1"))


NESTED = "multipart/alternative;boundary=b"

TAKEN = [
    (message(SDP), True),
    (message(SDP, "Application/SDP; charset=utf-8"), True),
    (message(SDP, disposition="session"), True),
    (message(""), False),
    (message(SDP, disposition="early-session;handling=optional"), False),
    (message("\x01", "application/isup", "signal;handling=optional"), False),
    (message(parts(OFFER, ISUP), MIXED), True),
    (message("a preamble\r\n" + parts(ISUP, WHERE, OFFER) + "an epilogue", MIXED), True),
    (message(parts(EARLY, OFFER), MIXED), True),
    (
        message(parts(f"Content-Type: multipart/alternative;boundary=b\r\n\r\n{parts(OFFER, boundary='b')}"), MIXED),
        True,
    ),
]
REFUSED = [
    message(SDP, ""),
    message("hello", "text/plain"),
    message(SDP, disposition="render"),
    message(parts(WHERE), MIXED),
    message(parts(OFFER, MUST), MIXED),
    message(parts(OFFER), "multipart/mixed"),
    message(parts(OFFER), "multipart/mixed;boundary=other"),
    message(parts(OFFER), "multipart/mixed;boundary="),
    message(parts(OFFER), 'multipart/mixed;"'),
    message(parts(f"Content-Encoding: gzip\r\n{OFFER}"), MIXED),
    message(parts(*[WHERE] * 16, OFFER), MIXED),
]


@pytest.mark.parametrize(("of", "has"), TAKEN)
def test_the_description_is_found(of: Message, has: bool) -> None:
    text = body.session_of(of)
    assert (text is not None) is has
    if has:
        assert text is not None
        assert text.strip() == SDP.encode().strip()
        assert body.description_of(of).media[0].port == 4000
    else:
        with pytest.raises(SipError):
            body.description_of(of)


@pytest.mark.parametrize("of", REFUSED)
def test_what_nobody_reads_is_named(of: Message) -> None:
    with pytest.raises(body.Unreadable) as refusal:
        body.session_of(of)
    assert refusal.value.headers[0][0] in ("Accept", "Accept-Encoding")


def test_parts_within_parts_end_somewhere() -> None:
    text = OFFER
    for n in range(20):
        text = f"Content-Type: multipart/mixed;boundary=b{n}\r\n\r\n{parts(text, boundary=f'b{n}')}"
    with pytest.raises(body.Unreadable):
        body.session_of(message(parts(text), MIXED))


def test_an_offer_among_parts_is_offered_and_one_that_is_none_is_refused() -> None:
    wire, _caller, node = pair()
    ask(wire, node, invite(body=parts(ISUP, OFFER), kind=MIXED))
    assert node.last(CallOffered).offer.media[0].port == 4000
    (answer,) = ask(wire, node, invite(body=parts(WHERE), kind=MIXED, branch="z9hG4bKb", call_id="b"))
    assert (answer.status, answer.get("Accept")) == (415, body.ACCEPTED)


@given(
    st.lists(
        st.sampled_from([ISUP, WHERE, OFFER, EARLY, MUST, "", "\r\n\r\n", "--next one", ":\r\n: \r\n"]), max_size=6
    ),
    st.sampled_from([MIXED, "multipart/mixed;boundary=next", "multipart/related; boundary=\x7f", "text/plain"]),
    st.sampled_from(["", "session", "session;handling=optional", ";;;", "a;b=c;="]),
)
def test_any_body_is_read_or_refused(texts: list[str], kind: str, disposition: str) -> None:
    with suppress(body.Unreadable):
        found = body.session_of(message(parts(*texts), kind, disposition))
        assert found is None or b"v=0" in found
