"""Session descriptions for tests: written out, and made by hypothesis."""

from __future__ import annotations

import base64
from dataclasses import replace

from hypothesis import strategies as st

from gateway.sip import sdp
from gateway.sip.crypto import SUITES, Crypto

HEAD = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\n"


def body(*lines: str, c: str = "c=IN IP4 10.0.0.9") -> bytes:
    return "\r\n".join([HEAD.strip(), *([c] if c else []), "t=0 0", *lines, ""]).encode()


def offered(*lines: str, c: str = "c=IN IP4 10.0.0.9") -> sdp.SessionDescription:
    return sdp.parse(body(*lines, c=c))


MEANINGS = [
    ("PCMU", 8000, 1),
    ("pcma", 8000, 1),
    ("G722", 8000, 1),
    ("opus", 48000, 2),
    ("L16", 8000, 1),
    ("L16", 16000, 1),
    ("CN", 8000, 1),
    ("G729", 8000, 1),
    ("PCMU", 16000, 1),
    ("telephone-event", 8000, 1),
    ("telephone-event", 48000, 1),
    ("telephone-event", 16000, 1),
]
codecs = st.builds(
    lambda payload, meaning, fmtp: sdp.Codec(payload, meaning[0], meaning[1], fmtp, meaning[2]),
    st.integers(0, 127).filter(lambda n: n != 9),
    st.sampled_from(MEANINGS),
    st.sampled_from(["", "0-15"]),
)
keys = st.builds(
    lambda tag, suite, octets, more: Crypto(
        tag, suite, f"inline:{base64.b64encode(octets[: SUITES.get(suite, 30)]).decode()}{more}"
    ),
    st.integers(0, 9),
    st.sampled_from([*SUITES, "F8_128_HMAC_SHA1_80"]),
    st.binary(min_size=30, max_size=30),
    st.sampled_from(["", "|2^31", "|1:4"]),
)
attributes = st.lists(
    st.tuples(st.sampled_from(["rtcp-mux", "x-thing", "mid"]), st.sampled_from([None, "1", "a b"]))
    | st.sampled_from([("maxptime", "10"), ("maxptime", "60"), ("rtcp", "4711 IN IP4 1.2.3.4"), ("ice-ufrag", "x")]),
    max_size=3,
)


@st.composite
def streams(draw: st.DrawFn) -> sdp.Media:
    chosen = {c.payload: c for c in draw(st.lists(codecs, min_size=1, max_size=6))}
    return sdp.Media(
        draw(st.sampled_from(["audio", "audio", "audio", "video"])),
        draw(st.sampled_from([0, 9, 4000, 65535])),
        draw(st.sampled_from(["RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF"])),
        tuple(str(p) for p in chosen),
        tuple(chosen.values()),
        draw(st.sampled_from([None, "10.1.1.1", "::1", "0.0.0.0", "::", "host.example", "224.2.1.1"])),
        "sendrecv",
        draw(st.sampled_from([None, 20, 30])),
        tuple(draw(attributes)),
        tuple(draw(st.lists(keys, max_size=2))),
    )


@st.composite
def descriptions(draw: st.DrawFn) -> sdp.SessionDescription:
    """An offer of up to four streams."""
    media = draw(st.lists(streams(), min_size=1, max_size=4))
    held = [draw(st.sampled_from(sdp.DIRECTIONS)) if stream.port else "sendrecv" for stream in media]
    return sdp.SessionDescription(
        tuple(replace(stream, direction=way) for stream, way in zip(media, held, strict=True)), "10.0.0.9"
    )
