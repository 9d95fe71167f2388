"""Offer and answer: what is agreed with phones as they are, and that every answer is a legal one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip import offer_answer, sdp
from gateway.sip.codecs import CODECS
from gateway.sip.crypto import POLICIES, SUITES, Srtp
from gateway.sip.offer_answer import NotAcceptable
from tests.sip.descriptions import descriptions, offered

EVERY = ["opus", "G722", "PCMU", "PCMA", "L16"]
PHONES = Path(__file__).parent / "sdp"
CM80, CM32, GCM = SUITES


def srtp(policy: str = "optional", seed: int = 1) -> Srtp:
    return Srtp(policy, tuple(SUITES), random.Random(seed).randbytes)


AGREED = [
    # phone, the stream taken, encoding, keys, comfort noise, profile, our direction
    ("linphone", 0, "opus", 101, -1, None, "sendrecv"),
    ("zoiper", 0, "opus", 98, -1, None, "sendrecv"),
    ("cisco_phone", 0, "opus", 101, -1, None, "sendrecv"),
    ("cisco_cucm_trunk", 0, "PCMU", 101, -1, None, "sendrecv"),
    ("cisco_hold", 0, "PCMU", 101, -1, None, "inactive"),
    ("yealink", 0, "G722", 101, -1, None, "sendrecv"),
    ("yealink_srtp", 0, "G722", 101, -1, CM80, "sendrecv"),
    ("polycom", 0, "G722", 127, -1, CM80, "sendrecv"),
    ("snom", 0, "G722", 101, -1, CM32, "sendrecv"),
    ("grandstream", 0, "PCMU", 101, -1, None, "sendrecv"),
    ("asterisk_pjsip", 0, "opus", 101, -1, None, "sendrecv"),
    ("freeswitch", 0, "opus", 103, -1, None, "sendrecv"),
    ("teams_direct_routing", 0, "G722", 101, 13, CM80, "sendrecv"),
    ("session_border_controller", 0, "PCMU", 100, -1, None, "sendrecv"),
    ("ims", 0, "PCMA", 110, -1, None, "sendrecv"),
    ("baresip", 0, "opus", 101, -1, CM32, "sendrecv"),
    ("pyvoip", 0, "PCMU", 101, -1, None, "sendrecv"),
    ("sipp", 0, "PCMU", -1, -1, None, "sendrecv"),
    ("conference_bridge", 0, "G722", 101, -1, CM80, "sendrecv"),
]
REFUSED = [
    # phone, the code of the Warning header, and its words
    ("chrome", 302, "Audio over UDP/TLS/RTP/SAVPF is not taken"),
    ("fax_adapter", 304, "image over udptl is not taken"),
]


def phone(name: str) -> sdp.SessionDescription:
    return sdp.parse((PHONES / f"{name}.sdp").read_bytes())


def test_every_phone_is_looked_at() -> None:
    assert {name for name, *_ in (*AGREED, *REFUSED)} == {path.stem for path in PHONES.glob("*.sdp")}


@pytest.mark.parametrize(("name", "place", "encoding", "keys", "noise", "profile", "way"), AGREED)
def test_what_is_agreed_with_phones(
    name: str, place: int, encoding: str, keys: int, noise: int, profile: str | None, way: str
) -> None:
    offer = phone(name)
    answer = sdp.parse(offer_answer.answer(offer, "10.0.0.2", 6000, EVERY, srtp=srtp()).encode())
    legal(offer, answer)
    assert [n for n, stream in enumerate(answer.media) if stream.port] == [place]
    agreed = offer_answer.agreed(answer, offer, EVERY)
    assert (agreed.encoding, agreed.dtmf_payload, agreed.noise_payload) == (encoding, keys, noise)
    assert (agreed.profile, answer.media[place].direction) == (profile, way)
    again = offer_answer.answer(offer, "10.0.0.2", 6000, EVERY, srtp=srtp(seed=2), before=(answer, offer))
    assert sdp.parse(again.encode()) == answer, "said twice, answered twice alike"
    ours = sdp.parse(offer_answer.offer("10.0.0.2", 6000, EVERY, srtp=srtp(seed=3), before=(answer, offer)).encode())
    assert [(s.kind, s.protocol) for s in ours.media] == [(s.kind, s.protocol) for s in offer.media]
    meant = {codec.payload: codec.meaning for codec in offer.media[place].codecs}
    for codec in ours.media[place].codecs:
        assert meant.get(codec.payload, codec.meaning) == codec.meaning, "a number never changes its meaning"


@pytest.mark.parametrize(("name", "warning", "what"), REFUSED)
def test_what_is_refused_says_why(name: str, warning: int, what: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        offer_answer.answer(phone(name), "10.0.0.2", 6000, EVERY, srtp=srtp())
    assert (refusal.value.warning, refusal.value.what) == (warning, what)


def legal(offer: sdp.SessionDescription, answer: sdp.SessionDescription) -> None:
    """Whether an answer is one by RFC 3264 section 6 and RFC 4568 section 5.1."""
    assert [(m.kind, m.protocol) for m in answer.media] == [(m.kind, m.protocol) for m in offer.media]
    for theirs, ours in zip(offer.media, answer.media, strict=True):
        assert set(ours.formats) <= set(theirs.formats)
        assert ours.formats
        if not ours.port:
            continue
        assert theirs.port
        named = {codec.payload: codec.meaning for codec in theirs.codecs}
        assert all(named[codec.payload] == codec.meaning for codec in ours.codecs)
        assert any(codec.is_sound for codec in ours.codecs)
        assert ours.direction in ALLOWED[theirs.direction]
        assert ("rtcp-mux", None) in theirs.attributes or ("rtcp-mux", None) not in ours.attributes
        assert len(ours.crypto) <= 1
        assert {(line.tag, line.suite) for line in ours.crypto} <= {(line.tag, line.suite) for line in theirs.crypto}
        assert ours.crypto or not offer_answer.PROFILES[ours.protocol]


ALLOWED = {
    "sendrecv": set(sdp.DIRECTIONS),
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "inactive": {"inactive"},
}


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


# --- changes to a call ------------------------------------------------------------------------------------------------


def holding(codecs: list[str] | None = None, **lines: object) -> tuple[sdp.SessionDescription, sdp.SessionDescription]:
    """A call that a phone began: ours and theirs. Its video was refused."""
    theirs = offered(
        "m=video 4002 RTP/AVP 97",
        "m=audio 4000 RTP/AVP 107 0 8 101 96",
        "a=rtpmap:107 opus/48000/2",
        "a=rtpmap:101 iLBC/8000",
        "a=rtpmap:96 telephone-event/8000",
        "a=rtcp-mux",
    )
    return offer_answer.answer(theirs, "10.0.0.2", 6000, codecs or EVERY), theirs


def test_our_change_keeps_the_order_of_streams_and_what_numbers_mean() -> None:
    ours = offer_answer.offer("10.0.0.2", 6000, EVERY, direction="sendonly", before=holding())
    assert [(m.kind, m.port, m.direction) for m in ours.media] == [
        ("video", 0, "sendrecv"),
        ("audio", 6000, "sendonly"),
    ]
    named = {codec.meaning: codec.payload for codec in ours.media[1].codecs}
    assert named["OPUS", 48000, 2] == 107
    assert named["TELEPHONE-EVENT", 8000, 1] == 96
    assert 101 not in named.values(), "101 is iLBC in this call"
    assert len(named) == len(set(named.values())) == 6 + 3
    assert ("rtcp-mux", None) in ours.media[1].attributes


def test_a_change_with_no_number_left_offers_less() -> None:
    mine, theirs = holding(["PCMU"])
    taken = tuple(sdp.Codec(n, f"x{n}") for n in range(128) if n not in (0, 8))
    crowded = sdp.SessionDescription((theirs.media[0], replace(theirs.media[1], codecs=taken)), "10.0.0.9")
    ours = offer_answer.offer("10.0.0.2", 6000, EVERY, before=(mine, crowded))
    assert ours.media[1].formats == ("0", "8", "96"), "those of the call, and 8, which nobody took"


def test_the_codec_in_use_goes_on_where_it_can() -> None:
    mine, theirs = holding(["PCMA"])
    assert mine.media[1].formats == ("8", "96")
    again = offer_answer.answer(theirs, "10.0.0.2", 6000, ["opus", "PCMU", "PCMA"], before=(mine, theirs))
    assert again.media == mine.media
    other = offered("m=video 0 RTP/AVP 97", "m=audio 4000 RTP/AVP 0 107", "a=rtpmap:107 opus/48000/2")
    changed = offer_answer.answer(other, "10.0.0.2", 6000, ["opus", "PCMU", "PCMA"], before=(mine, theirs))
    assert changed.media[1].formats == ("107",)


def test_the_stream_in_use_goes_on_where_others_come_and_go() -> None:
    pair = holding()
    more = offered("m=audio 4010 RTP/AVP 0", "m=audio 4000 RTP/AVP 0", "m=audio 4020 RTP/AVP 0")
    assert [m.port for m in offer_answer.answer(more, "10.0.0.2", 6000, before=pair).media] == [0, 6000, 0]
    moved = offered("m=audio 4010 RTP/AVP 0", "m=audio 0 RTP/AVP 0")
    assert [m.port for m in offer_answer.answer(moved, "10.0.0.2", 6000, before=pair).media] == [6000, 0]


def test_a_call_may_be_left_without_a_stream_but_not_begin_so() -> None:
    gone = offered("m=video 0 RTP/AVP 97", "m=audio 0 RTP/AVP 0")
    with pytest.raises(NotAcceptable):
        offer_answer.answer(gone, "10.0.0.2", 6000)
    mine = offer_answer.answer(gone, "10.0.0.2", 6000, before=holding())
    assert [(m.kind, m.port) for m in mine.media] == [("video", 0), ("audio", 0)]
    ours = offer_answer.offer("10.0.0.2", 6000, before=(mine, gone))
    assert [(m.kind, m.port) for m in ours.media] == [("video", 0), ("audio", 6000)]
    with pytest.raises(NotAcceptable):
        offer_answer.answer(sdp.SessionDescription((), "10.0.0.9"), "10.0.0.2", 6000, before=(mine, gone))


FLAWS = [
    (("m=video 4000 RTP/AVP 0",), 304, "video over RTP/AVP is not taken"),
    (("m=audio 0 RTP/AVP 0",), 304, "The audio stream has port 0"),
    (("m=audio 0 RTP/AVP 0", "m=image 4000 udptl t38"), 304, "image over udptl is not taken"),
    (("m=audio 4000 UDP/TLS/RTP/SAVP 0",), 302, "Audio over UDP/TLS/RTP/SAVP is not taken"),
    (("m=audio 4000 RTP/SAVP 0",), 302, "SRTP is not taken here"),
    (("m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"), 301, "A c= line names a host"),
    (("m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"), 330, "multicast"),
    (("m=audio 4000 RTP/AVP 0", "c=IN IP6 ff15::101"), 330, "multicast"),
    (("m=audio 4000 RTP/AVP 0", "c=IN IP4 255.255.255.255"), 330, "multicast"),
    (("m=audio 4000 RTP/AVP 0", "a=maxptime:10"), 306, "maxptime"),
    (("m=audio 4000 RTP/AVP 18 97",), 305, "no codec in common"),
]


@pytest.mark.parametrize(("lines", "warning", "what"), FLAWS)
def test_a_refusal_tells_why(lines: tuple[str, ...], warning: int, what: str) -> None:
    with pytest.raises(NotAcceptable, match=what) as refusal:
        offer_answer.answer(offered(*lines), "10.0.0.2", 6000)
    assert refusal.value.warning == warning


@pytest.mark.parametrize("packets", ["a=ptime:10", "a=ptime:30", "a=ptime:40", "a=maxptime:20", "a=maxptime:0"])
def test_packets_of_any_length_are_taken_and_20_ms_are_sent(packets: str) -> None:
    answer = offer_answer.answer(offered("m=audio 4000 RTP/AVP 0", packets), "10.0.0.2", 6000)
    assert answer.media[0].ptime == 20


# --- whatever is offered ----------------------------------------------------------------------------------------------


def live(description: sdp.SessionDescription) -> list[sdp.Media]:
    return [stream for stream in description.media if stream.port]


LIKINGS = st.permutations(list(CODECS)).map(lambda names: names[:3])


@given(descriptions(), LIKINGS, st.sampled_from(sdp.DIRECTIONS), st.sampled_from(POLICIES))
@settings(max_examples=300)
def test_every_answer_is_legal_and_both_sides_make_the_same_of_it(
    offer: sdp.SessionDescription, liking: list[str], wish: str, policy: str
) -> None:
    try:
        answer = offer_answer.answer(offer, "10.0.0.2", 6000, liking, direction=wish, srtp=srtp(policy))
    except NotAcceptable:
        return
    legal(offer, answer)
    assert sum(stream.port > 0 for stream in answer.media) == 1
    assert live(sdp.parse(answer.encode())) == live(answer)
    ours, theirs = offer_answer.agreed(answer, offer, liking), offer_answer.agreed(offer, answer)
    nowhere = ours.ip in ("0.0.0.0", "::")
    assert ours.receive == theirs.send
    assert ours.send == theirs.receive or (nowhere and not ours.send)
    assert (ours.payload, ours.encoding, ours.dtmf_payload) == (theirs.payload, theirs.encoding, theirs.dtmf_payload)
    assert ours.codecs[ours.payload] == ours.encoding
    assert {ours.encoding.partition("/")[0]} <= {name.partition("/")[0] for name in liking}
    assert ours.noise_payload == theirs.noise_payload
    assert nowhere or (ours.rtcp_port == 0) == (theirs.rtcp_port == 0)
    assert (ours.profile, ours.own_key, ours.peer_key) == (theirs.profile, theirs.peer_key, theirs.own_key)
    assert ours.profile or policy != "required"


@given(descriptions(), descriptions(), LIKINGS, st.sampled_from(POLICIES), st.sampled_from(sdp.DIRECTIONS))
@settings(max_examples=300)
def test_every_change_is_legal_too(
    first: sdp.SessionDescription, second: sdp.SessionDescription, liking: list[str], policy: str, wish: str
) -> None:
    try:
        mine = offer_answer.answer(first, "10.0.0.2", 6000, liking, srtp=srtp(policy))
        before = offer_answer.agreed(mine, first)
    except NotAcceptable:
        return
    ours = offer_answer.offer("10.0.0.2", 6000, liking, direction=wish, srtp=srtp(policy, 2), before=(mine, first))
    assert [(m.kind, m.protocol) for m in ours.media] == [(m.kind, m.protocol) for m in first.media]
    assert sum(stream.port > 0 for stream in ours.media) == 1
    assert live(sdp.parse(ours.encode())) == live(ours)
    try:
        answer = offer_answer.answer(second, "10.0.0.2", 6000, liking, srtp=srtp(policy, 3), before=(mine, first))
    except NotAcceptable:
        return
    legal(second, answer)
    if any(stream.port for stream in answer.media):
        after = offer_answer.agreed(answer, second)
        assert after.profile or not before.profile, "what was protected stays so"
        if after.profile == before.profile and before.profile:
            assert after.own_key == before.own_key
    else:
        assert not any(stream.port for stream in second.media)


@given(LIKINGS, LIKINGS, st.sampled_from(POLICIES), st.sampled_from(POLICIES))
def test_two_of_ours_agree_where_they_can(mine: list[str], other: list[str], one: str, two: str) -> None:
    offer = sdp.parse(offer_answer.offer("10.0.0.1", 4000, mine, srtp=srtp(one)).encode())
    may = (one, two) not in {("required", "never"), ("never", "required"), ("optional", "required")}
    if not may or not set(mine) & set(other):
        with pytest.raises(NotAcceptable):
            offer_answer.answer(offer, "10.0.0.2", 6000, other, srtp=srtp(two, 2))
        return
    answer = offer_answer.answer(offer, "10.0.0.2", 6000, other, srtp=srtp(two, 2))
    agreed = offer_answer.agreed(offer, sdp.parse(answer.encode()))
    assert agreed.encoding.partition("/")[0] == next(name for name in other if name in mine)
    assert bool(agreed.profile) is (one == "required")
