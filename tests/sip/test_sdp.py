"""Session descriptions: reading, writing, offer and answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import SipError
from gateway.sip import offer_answer, sdp
from gateway.sip.offer_answer import NotAcceptable

HEAD = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\n"


def body(*lines: str, c: str = "c=IN IP4 10.0.0.9") -> bytes:
    return "\r\n".join([HEAD.strip(), *([c] if c else []), "t=0 0", *lines, ""]).encode()


def offered(*lines: str, c: str = "c=IN IP4 10.0.0.9") -> sdp.SessionDescription:
    return sdp.parse(body(*lines, c=c))


def test_an_offer_says_what_a_phone_needs() -> None:
    text = str(offer_answer.offer("10.0.0.2", 6000))
    assert text.splitlines() == [
        "v=0",
        "o=- 0 0 IN IP4 10.0.0.2",
        "s=-",
        "c=IN IP4 10.0.0.2",
        "t=0 0",
        "m=audio 6000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]


def test_our_first_codec_of_the_offer_wins_and_keys_keep_its_number() -> None:
    offer = offered("m=audio 4000 RTP/AVP 18 8 0 96", "a=rtpmap:96 telephone-event/8000", "a=ptime:30")
    answer = offer_answer.answer(offer, "10.0.0.2", 6000, ["PCMA", "PCMU"])
    assert answer.media[0].formats == ("8", "96")
    assert answer.media[0].ptime == 20
    agreed = offer_answer.agreed(answer, offer)
    assert (agreed.ip, agreed.port, agreed.payload, agreed.encoding) == ("10.0.0.9", 4000, 8, "PCMA")
    assert agreed.dtmf_payload == 96
    assert offer_answer.agreed(offer, answer).payload == 8


EVERY = ["opus", "G722", "PCMU", "PCMA", "L16"]
WIDE = (
    "m=audio 4000 RTP/AVP 0 8 9 107 118 119 13 101 100",
    "a=rtpmap:107 opus/48000/2",
    "a=fmtp:107 stereo=1; useinbandfec=1",
    "a=rtpmap:118 L16/16000",
    "a=rtpmap:119 L16/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:100 telephone-event/48000",
)

CHOICES = [
    # our liking, the answer's formats, encoding, keys, comfort noise
    (["opus", "PCMU"], ("107", "100"), "opus", 100, -1),
    (["G722", "PCMU"], ("9", "13", "101"), "G722", 101, 13),
    (["L16"], ("118", "101"), "L16/16000", 101, -1),
    (["PCMA", "opus"], ("8", "13", "101"), "PCMA", 101, 13),
]


@pytest.mark.parametrize(("liking", "formats", "encoding", "keys", "noise"), CHOICES)
def test_keys_and_noise_are_those_of_the_codecs_clock(
    liking: list[str], formats: tuple[str, ...], encoding: str, keys: int, noise: int
) -> None:
    offer = offered(*WIDE)
    answer = sdp.parse(offer_answer.answer(offer, "10.0.0.2", 6000, liking).encode())
    assert answer.media[0].formats == formats
    agreed = offer_answer.agreed(answer, offer, liking)
    assert (agreed.payload, agreed.encoding) == (int(formats[0]), encoding)
    assert (agreed.dtmf_payload, agreed.noise_payload) == (keys, noise)


def test_opus_is_written_as_its_rfc_has_it() -> None:
    answer = str(offer_answer.answer(offered(*WIDE), "10.0.0.2", 6000, ["opus"]))
    assert "a=rtpmap:107 opus/48000/2\r\n" in answer
    assert "a=fmtp:107 maxplaybackrate=16000;useinbandfec=1\r\n" in answer
    with pytest.raises(NotAcceptable):
        offer_answer.answer(offered("m=audio 4000 RTP/AVP 107", "a=rtpmap:107 opus/48000"), "10.0.0.2", 6000, ["opus"])


def test_all_that_the_peer_may_send_is_named() -> None:
    agreed = offer_answer.agreed(offer_answer.answer(offered(*WIDE), "10.0.0.2", 6000, EVERY), offered(*WIDE), EVERY)
    assert agreed.codecs == {0: "PCMU", 8: "PCMA", 9: "G722", 107: "opus", 118: "L16/16000", 119: "L16/8000"}


def test_an_offer_names_every_codec_and_keys_at_each_clock() -> None:
    offer = offer_answer.offer("10.0.0.2", 6000, EVERY)
    (stream,) = sdp.parse(offer.encode()).media
    assert stream.formats == ("96", "9", "0", "8", "97", "98", "101", "102", "103")
    assert [(c.payload, c.rate) for c in stream.codecs if c.is_dtmf] == [(101, 8000), (102, 48000), (103, 16000)]
    answer = offered("m=audio 4000 RTP/AVP 111 102", "a=rtpmap:111 opus/48000/2", "a=rtpmap:102 telephone-event/48000")
    agreed = offer_answer.agreed(offer, answer, EVERY)
    assert (agreed.payload, agreed.encoding, agreed.dtmf_payload) == (111, "opus", 102)
    assert agreed.codecs[96] == "opus", "the peer sends under our number, and is sent its own"


def test_of_an_answer_with_several_codecs_the_first_is_sent() -> None:
    agreed = offer_answer.agreed(
        offer_answer.offer("10.0.0.2", 6000, EVERY), offered("m=audio 4000 RTP/AVP 8 9 0"), EVERY
    )
    assert (agreed.encoding, agreed.codecs) == ("PCMA", {**agreed.codecs, 8: "PCMA", 9: "G722", 0: "PCMU"})


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ((), None),
        (("a=rtcp:4711",), 4711),
        (("a=rtcp:4711 IN IP4 10.0.0.9",), 4711),
        (("a=rtcp:x",), None),
        (("a=rtcp-mux", "a=rtcp:4711"), 0),
    ],
)
def test_where_reports_go(lines: tuple[str, ...], port: int | None) -> None:
    offer = offered("m=audio 4000 RTP/AVP 0", *lines)
    answer = offer_answer.answer(offer, "10.0.0.2", 6000)
    assert offer_answer.agreed(answer, offer).rtcp_port == port
    assert (("rtcp-mux", None) in answer.media[0].attributes) == (port == 0)


def test_a_dynamic_number_may_stand_for_pcma() -> None:
    offer = offered("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 pcma/8000")
    answer = offer_answer.answer(offer, "10.0.0.2", 6000)
    assert answer.media[0].formats == ("97",)
    assert offer_answer.agreed(answer, offer).payload == 97
    assert offer_answer.agreed(answer, offer).dtmf_payload == -1


def test_our_order_of_codecs_may_leave_one_out() -> None:
    offer = offered("m=audio 4000 RTP/AVP 0 8")
    assert offer_answer.answer(offer, "10.0.0.2", 6000, ["PCMA"]).media[0].formats == ("8",)


def test_every_other_stream_is_refused_with_port_0_in_its_place() -> None:
    offer = offered(
        "m=video 4002 RTP/AVP 96 97",
        "m=audio 0 RTP/AVP 0",
        "m=audio 4004 RTP/SAVP 0",
        "m=audio 4006 RTP/AVP 0",
        "m=audio 4008 RTP/AVP 0",
        "m=image 4010 udptl t38",
    )
    answer = offer_answer.answer(offer, "10.0.0.2", 6000)
    assert [(m.kind, m.port, m.protocol) for m in answer.media] == [
        ("video", 0, "RTP/AVP"),
        ("audio", 0, "RTP/AVP"),
        ("audio", 0, "RTP/SAVP"),
        ("audio", 6000, "RTP/AVP"),
        ("audio", 0, "RTP/AVP"),
        ("image", 0, "udptl"),
    ]
    assert offer_answer.agreed(answer, offer).port == 4006
    again = sdp.parse(answer.encode())
    assert offer_answer.agreed(again, offer).port == 4006


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("m=audio 0 RTP/AVP 0",),
        ("m=audio 4000 RTP/SAVP 0",),
        ("m=audio 4000 RTP/AVP 9 18",),
        ("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 PCMU/16000"),
        ("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 PCMU/8000/2"),
        ("m=video 4000 RTP/AVP 0",),
        ("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"),
        ("m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"),
    ],
)
def test_offers_that_cannot_be_taken(lines: tuple[str, ...]) -> None:
    with pytest.raises(NotAcceptable):
        offer_answer.answer(offered(*lines), "10.0.0.2", 6000)


HOLDS = [
    # their direction, their address, our wish, our answer, we send, they send
    ("sendrecv", "10.0.0.9", "sendrecv", "sendrecv", True, True),
    ("sendonly", "10.0.0.9", "sendrecv", "recvonly", False, True),
    ("recvonly", "10.0.0.9", "sendrecv", "sendonly", True, False),
    ("inactive", "10.0.0.9", "sendrecv", "inactive", False, False),
    ("sendrecv", "10.0.0.9", "sendonly", "sendonly", True, False),
    ("sendonly", "10.0.0.9", "sendonly", "inactive", False, False),
    ("sendrecv", "0.0.0.0", "sendrecv", "recvonly", False, True),
]


@pytest.mark.parametrize(("theirs", "address", "wish", "ours", "sends", "hears"), HOLDS)
@pytest.mark.parametrize("level", ["session", "media"])
def test_holds_are_answered_in_kind(
    theirs: str, address: str, wish: str, ours: str, sends: bool, hears: bool, level: str
) -> None:
    media, flag, c = "m=audio 4000 RTP/AVP 0", f"a={theirs}", f"c=IN IP4 {address}"
    offer = offered(flag, media, c=c) if level == "session" else offered(media, c, flag, c="")
    answer = offer_answer.answer(offer, "10.0.0.2", 6000, direction=wish)
    assert answer.media[0].direction == ours
    agreed = offer_answer.agreed(answer, offer)
    assert (agreed.send, agreed.receive) == (sends, hears)
    assert agreed.held is not sends


def test_a_streams_own_address_goes_before_the_sessions() -> None:
    offer = offered("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::7")
    assert offer_answer.agreed(offer_answer.answer(offer, "10.0.0.2", 6000), offer).ip == "2001:db8::7"


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


names = st.sampled_from(["PCMU", "PCMA", "G722", "opus", "L16", "CN", "telephone-event"])
codecs = st.builds(
    sdp.Codec,
    st.integers(0, 127),
    names,
    st.sampled_from([8000, 16000, 48000]),
    st.sampled_from(["", "0-15"]),
    st.sampled_from([1, 2]),
)
attributes = st.lists(
    st.tuples(st.sampled_from(["rtcp-mux", "x-thing", "mid"]), st.sampled_from([None, "1", "a b"])), max_size=3
)


@st.composite
def streams(draw: st.DrawFn) -> sdp.Media:
    chosen = {c.payload: c for c in draw(st.lists(codecs, min_size=1, max_size=4))}
    return sdp.Media(
        "audio",
        draw(st.integers(1, 65535)),
        draw(st.sampled_from(["RTP/AVP", "RTP/SAVP"])),
        tuple(str(p) for p in chosen),
        tuple(chosen.values()),
        draw(st.sampled_from([None, "10.1.1.1", "::1"])),
        draw(st.sampled_from(sdp.DIRECTIONS)),
        draw(st.sampled_from([None, 20, 30])),
        tuple(draw(attributes)),
    )


@given(st.lists(streams(), max_size=3))
def test_what_is_written_is_read_back(media: list[sdp.Media]) -> None:
    wrote = sdp.SessionDescription(tuple(media), "10.0.0.2")
    assert sdp.parse(wrote.encode()) == wrote


@given(st.lists(streams(), min_size=1, max_size=4), st.sampled_from(sdp.DIRECTIONS))
def test_an_answer_mirrors_the_offers_streams_and_settles_at_most_one(media: list[sdp.Media], wish: str) -> None:
    offer = sdp.SessionDescription(tuple(media), "10.0.0.9")
    try:
        answer = offer_answer.answer(offer, "10.0.0.2", 6000, EVERY, direction=wish)
    except NotAcceptable:
        return
    assert [m.protocol for m in answer.media] == [m.protocol for m in offer.media]
    assert sum(m.port > 0 for m in answer.media) == 1
    ours, theirs = offer_answer.agreed(answer, offer, EVERY), offer_answer.agreed(offer, answer, EVERY)
    assert (ours.send, ours.receive) == (theirs.receive, theirs.send)
    assert (ours.payload, ours.encoding, ours.dtmf_payload) == (theirs.payload, theirs.encoding, theirs.dtmf_payload)
    assert ours.codecs[ours.payload] == ours.encoding
    assert (ours.noise_payload, ours.rtcp_port == 0) == (theirs.noise_payload, theirs.rtcp_port == 0)


@given(st.binary(max_size=300) | st.builds(lambda lines: body(*lines), st.lists(st.text(max_size=30), max_size=8)))
def test_any_body_is_read_or_refused(data: bytes) -> None:
    try:
        read = sdp.parse(data)
    except SipError:
        return
    str(read)
