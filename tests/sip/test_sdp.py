"""Session descriptions as text: what is read of a phone's, and what is written."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import sdp
from gateway.sip.crypto import SUITES, Crypto
from tests.sip.descriptions import HEAD, body, offered, streams

PHONES = sorted((Path(__file__).parent / "sdp").glob("*.sdp"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"v=1\r\n",
        HEAD.encode() + b"m=audio 4000 RTP/AVP 0\r\n",
        body("m=audio 70000 RTP/AVP 0"),
        body("m=audio x RTP/AVP 0"),
        body("m=audio 4000"),
        body("m=audio 4000 RTP/AVP 0", c="c=IN IP9 1.2.3.4"),
        body("m=audio 4000 RTP/AVP 0").replace(b"o=- 1 1 IN", b"o=- 1 1"),
        body("m=audio 4000 RTP/AVP 0", "nonsense"),
        body(*["m=audio 4000 RTP/AVP 0"] * 65),
        body("m=audio 4000 RTP/AVP 0", *["a=x"] * 2000),
    ],
)
def test_broken_descriptions(data: bytes) -> None:
    with pytest.raises(SipError):
        sdp.parse(data)


def test_old_line_ends_and_unknown_lines_are_taken() -> None:
    offer = sdp.parse(
        b"v=0\no=- 1 1 IN IP4 1.2.3.4\ns=\nc=IN IP4 1.2.3.4/127\nb=AS:64\nt=0 0\nm=audio 4000/2 RTP/AVP 0 300 x\n"
    )
    assert offer.media[0].codecs == (sdp.Codec(0, "PCMU"),)
    assert offer.address == "1.2.3.4"


@pytest.mark.parametrize("path", PHONES, ids=lambda path: path.stem)
def test_what_phones_say_is_read_whole(path: Path) -> None:
    """Written again and read again it is the same; what nobody here needs is kept, in order."""
    text = path.read_text()
    read = sdp.parse(text.encode())
    assert sdp.parse(read.encode()) == read
    lines = [line[2:] for line in text.splitlines() if line.startswith("a=")]
    kept = [name if value is None else f"{name}:{value}" for name, value in read.attributes]
    kept += [name if value is None else f"{name}:{value}" for m in read.media for name, value in m.attributes]
    own = ("rtpmap:", "fmtp:", "ptime:", "crypto:", *sdp.DIRECTIONS)
    assert kept == [line for line in lines if not line.startswith(own)]
    assert [m.kind for m in read.media] == [line[2:].split()[0] for line in text.splitlines() if line[:2] == "m="]


def test_a_payload_number_is_read_once_and_bad_ones_not_at_all() -> None:
    offer = offered(
        "m=audio 4000 RTP/AVP 0 96 0 96 128 -1 x 97 98 99",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 /8000",
        "a=rtpmap:98 X/0",
        "a=rtpmap:99",
        "a=rtpmap",
        "a=fmtp:96",
        "a=fmtp:96 a=1;b=2",
    )
    assert offer.media[0].codecs == (sdp.Codec(0, "PCMU"), sdp.Codec(96, "opus", 48000, "a=1;b=2", 2))
    assert offer.media[0].formats[-1] == "99"


def test_g722_has_its_clock_whatever_the_phone_writes() -> None:
    offer = offered("m=audio 4000 RTP/AVP 9 96", "a=rtpmap:9 G722/16000", "a=rtpmap:96 G722/16000")
    assert [(codec.payload, codec.rate) for codec in offer.media[0].codecs] == [(9, 8000), (96, 16000)]


def test_numbers_of_attributes() -> None:
    offer = offered("m=audio 4000 RTP/AVP 0", "a=rtcp:4003 IN IP4 10.0.0.9", "a=maxptime:x", "a=label")
    stream = offer.media[0]
    assert (stream.number("rtcp"), stream.number("maxptime"), stream.number("label")) == (4003, None, None)


def test_keys_stand_with_their_stream() -> None:
    key = base64.b64encode(bytes(30)).decode()
    offer = offered("m=audio 4000 RTP/SAVP 0", f"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{key} WSH=64", "a=crypto:x")
    assert offer.media[0].crypto == (Crypto(3, next(iter(SUITES)), f"inline:{key}", ("WSH=64",)),)
    assert offer.media[0].attributes == ()


@given(st.lists(streams(), max_size=3))
def test_what_is_written_is_read_back(media: list[sdp.Media]) -> None:
    wrote = sdp.SessionDescription(tuple(media), "10.0.0.2")
    assert sdp.parse(wrote.encode()) == wrote


@given(st.binary(max_size=300) | st.builds(lambda lines: body(*lines), st.lists(st.text(max_size=30), max_size=8)))
def test_any_body_is_read_or_refused(data: bytes) -> None:
    try:
        read = sdp.parse(data)
    except SipError:
        return
    str(read)
