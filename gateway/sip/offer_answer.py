"""Offer and answer (RFC 3264): what two descriptions settle, of one audio stream with telephone-event (RFC 4733)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.codecs import DTMF, NOISE, Codec, chosen, keys_beside, liked, noise_beside
from gateway.sip.sdp import Attribute, Media, SessionDescription
from gateway.sip.uri import ip_of

G711 = ("PCMU", "PCMA")
_MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_PROFILES = ("RTP/AVP", "RTP/AVPF")
_MUX: Attribute = ("rtcp-mux", None)


class NoCodec(SipError):
    """No stream of the offer can be taken: 488."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an offer and its answer settled for the audio stream. `ip` and `port`: where the peer hears; `payload`,
    `encoding`: what is sent to it; `dtmf_payload`: for RFC 4733, -1 where the peer takes none; `send`: whether we may
    send; `receive`: whether the peer sends; `codecs`: encoding by payload number of all that it may send;
    `noise_payload`: for RFC 3389, -1 where either names none; `rtcp_port`: None for the port above, 0 for the same."""

    ip: str
    port: int
    payload: int
    encoding: str
    dtmf_payload: int
    send: bool
    receive: bool
    codecs: Mapping[int, str] = field(default_factory=dict)
    noise_payload: int = -1
    rtcp_port: int | None = None

    @property
    def held(self) -> bool:
        """The peer doesn't listen now."""
        return not self.send


def offer(
    ip: str,
    port: int,
    codecs: Sequence[str] = G711,
    *,
    dtmf: int = 101,
    direction: str = "sendrecv",
) -> SessionDescription:
    """An offer of one audio stream on `ip`:`port`: the named codecs in order of liking, RFC 4733 keys at each of their
    clocks under numbers from `dtmf` on (-1: none), 20 ms packets. Comfort noise is not offered: an agent's phone would
    fall silent, which nobody gains by."""
    offered = list(liked(codecs))
    if dtmf >= 0:
        clocks = dict.fromkeys([8000, *(codec.rate for codec in offered)])
        offered += [Codec(dtmf + n, DTMF, clock, "0-15") for n, clock in enumerate(clocks)]
    return SessionDescription((_stream(port, "RTP/AVP", offered, direction),), ip, origin=ip)


def _stream(
    port: int, protocol: str, codecs: Sequence[Codec], direction: str, attributes: tuple[Attribute, ...] = ()
) -> Media:
    formats = tuple(str(codec.payload) for codec in codecs)
    return Media("audio", port, protocol, formats, tuple(codecs), None, direction, 20, attributes)


def _takes(stream: Media, address: str) -> bool:
    """Whether an m= section is audio that we can send to."""
    return stream.kind == "audio" and stream.port > 0 and stream.protocol in _PROFILES and ip_of(address) is not None


def usable(stream: Media, address: str, codecs: Sequence[str] = G711) -> Codec | None:
    """The codec that we like best of an m= section, or None where the section can't be taken."""
    return chosen(stream.codecs, liked(codecs)) if _takes(stream, address) else None


def answer(
    theirs: SessionDescription,
    ip: str,
    port: int,
    codecs: Sequence[str] = G711,
    *,
    direction: str = "sendrecv",
) -> SessionDescription:
    """The answer to an offer (RFC 3264 section 6): the first audio stream with a common codec on `ip`:`port`, with the
    one codec that stands first in `codecs`, and of the offer its telephone-event and comfort noise; every other m= line
    refused with port 0. `direction`: what we would like; a hold is answered in kind. Raises NoCodec."""
    sections: list[Media] = []
    taken = False
    for stream in theirs.media:
        address = theirs.address_of(stream)
        codec = None if taken else usable(stream, address, codecs)
        if codec is None:
            formats = stream.formats[:1]
            sections.append(Media(stream.kind, 0, stream.protocol, formats))
            continue
        taken = True
        sections.append(
            _stream(
                port,
                stream.protocol,
                _answered(codec, stream, codecs),
                _reply(stream, address, direction),
                (_MUX,) if _MUX in stream.attributes else (),
            )
        )
    if not taken:
        raise NoCodec("No audio stream of the offer can be taken", expected=f"RTP/AVP with {' or '.join(codecs)}")
    return SessionDescription(tuple(sections), ip, origin=ip)


def _answered(codec: Codec, stream: Media, codecs: Sequence[str]) -> list[Codec]:
    """The codec under the offer's number and our own parameters, with the offer's comfort noise and keys."""
    ours = next(each for each in liked(codecs) if each.same(codec))
    found = [replace(codec, name=ours.name, fmtp=ours.fmtp)]
    if noise := noise_beside(codec, stream.codecs):
        found.append(Codec(noise.payload, NOISE))
    if keys := keys_beside(codec, stream.codecs):
        found.append(Codec(keys.payload, DTMF, keys.rate, "0-15"))
    return found


def _reply(stream: Media, address: str, wish: str) -> str:
    theirs = stream.direction
    if _nowhere(address) and theirs == "sendrecv":
        theirs = "sendonly"  # RFC 2543's way to hold
    allowed = _MIRROR[theirs]
    sends = "send" in allowed and "send" in wish
    hears = allowed in ("sendrecv", "recvonly") and wish in ("sendrecv", "recvonly")
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (sends, hears), "inactive"
    )


def _nowhere(address: str) -> bool:
    return ip_of(address) in ("0.0.0.0", "::")


def agreed(mine: SessionDescription, theirs: SessionDescription, codecs: Sequence[str] = G711) -> Agreed:
    """What both descriptions settle, whichever of them was the offer: the peer's first codec that ours names too.
    Raises NoCodec where no audio stream lives."""
    for ours, stream in zip(mine.media, theirs.media, strict=False):
        address = theirs.address_of(stream)
        if not ours.port or not _takes(stream, address):
            continue
        known = [c for c in stream.codecs if any(c.same(each) for each in liked(codecs))]
        codec = next((c for c in known if any(c.same(each) for each in ours.codecs)), None)
        if codec is None:
            continue
        keys = keys_beside(codec, [c for c in stream.codecs if any(c.same(each) for each in ours.codecs)])
        noise = noise_beside(codec, stream.codecs) if noise_beside(codec, ours.codecs) else None
        hears = stream.direction in ("sendrecv", "recvonly") and not _nowhere(address)
        may_come = {**{c.payload: c.encoding for c in known}, **_incoming(ours, codecs)}
        return Agreed(
            ip_of(address) or address,
            stream.port,
            codec.payload,
            codec.encoding,
            keys.payload if keys else -1,
            hears and ours.direction in ("sendrecv", "sendonly"),
            stream.direction in ("sendrecv", "sendonly") and ours.direction in ("sendrecv", "recvonly"),
            {**may_come, codec.payload: codec.encoding},
            noise.payload if noise else -1,
            _rtcp_port(ours, stream),
        )
    raise NoCodec("Offer and answer share no audio stream")


def _incoming(ours: Media, codecs: Sequence[str]) -> dict[int, str]:
    """A peer sends under the numbers of our own description (RFC 3264 section 5.1)."""
    return {c.payload: c.encoding for c in ours.codecs if any(c.same(each) for each in liked(codecs))}


def _rtcp_port(ours: Media, stream: Media) -> int | None:
    """Where the peer hears RTCP: RFC 5761 where both name it, else RFC 3605, else None for the port above."""
    if _MUX in ours.attributes and _MUX in stream.attributes:
        return 0
    named = next((value for name, value in stream.attributes if name == "rtcp" and value), "")
    return grammar.number(named.split(" ")[0], 65535) or None
