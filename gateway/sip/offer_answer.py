"""Offer and answer (RFC 3264): what two descriptions settle, of one audio stream with telephone-event (RFC 4733)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from gateway.core.errors import SipError
from gateway.sip import crypto, grammar
from gateway.sip.codecs import CODECS, DTMF, NOISE, Codec, chosen, keys_beside, liked, noise_beside, numbered
from gateway.sip.crypto import CLEAR, NEVER, REQUIRED, Crypto, Srtp
from gateway.sip.sdp import Attribute, Media, SessionDescription
from gateway.sip.uri import ip_of

G711 = ("PCMU", "PCMA")
EVENTS = "0-15"
"""The telephone-events that we take: every key, no flash."""

PACKET_MS = 20
"""What we send; a phone may send packets of any length."""

PROFILES = {"RTP/AVP": False, "RTP/AVPF": False, "RTP/SAVP": True, "RTP/SAVPF": True}
"""Transports that can be agreed, and whether they are SRTP."""

_MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_DIRECTION = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}
_MUX: Attribute = ("rtcp-mux", None)

Pair = tuple[SessionDescription, SessionDescription]
"""Our description and theirs, as they hold in a call."""


class NotAcceptable(SipError):
    """No stream of an offer can be taken: 488. `warning`: the code that says why (RFC 3261 section 20.43)."""

    def __init__(self, what: str, warning: int = 304, expected: str | None = None) -> None:
        super().__init__(what, expected=expected)
        self.warning = warning


class _Flaw(NamedTuple):
    """Why a stream can't be taken."""

    warning: int
    what: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an offer and its answer settled for the audio stream. `ip` and `port`: where the peer hears; `payload`,
    `encoding`: what is sent to it; `dtmf_payload`: for RFC 4733, -1 where the peer takes none; `send`: whether we may
    send; `receive`: whether the peer sends; `codecs`: encoding by payload number of all that it may send;
    `noise_payload`: for RFC 3389, -1 where either names none; `rtcp_port`: None for the port above, 0 for the same, -1
    for none. `profile`: that of SRTP, with master key and salt of each side; None in the clear."""

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
    profile: str | None = None
    own_key: bytes = field(default=b"", repr=False)
    peer_key: bytes = field(default=b"", repr=False)

    @property
    def held(self) -> bool:
        """The peer doesn't listen now."""
        return not self.send


# --- our offers ---------------------------------------------------------------------------------------------------


def offer(
    ip: str,
    port: int,
    codecs: Sequence[str] = G711,
    *,
    dtmf: int = 101,
    direction: str = "sendrecv",
    srtp: Srtp = CLEAR,
    before: Pair | None = None,
) -> SessionDescription:
    """An offer of one audio stream on `ip`:`port`: the named codecs in order of liking, RFC 4733 keys at each of their
    clocks under numbers from `dtmf` on (-1: none), 20 ms packets; SRTP where it is required, or in use already.

    With the descriptions that hold `before` it changes the call (RFC 3264 section 8): as many m= lines in their order,
    the same transport, keys and payload numbers. Comfort noise is not offered: an agent's phone would fall silent,
    which nobody gains by."""
    offered = list(liked(tuple(codecs)))
    if dtmf >= 0:
        clocks = dict.fromkeys([8000, *(codec.rate for codec in offered)])
        offered += [Codec(dtmf + n, DTMF, clock, EVENTS) for n, clock in enumerate(clocks)]
    if before is None:
        protocol, keys = ("RTP/SAVP", srtp.offered()) if srtp.policy == REQUIRED else ("RTP/AVP", ())
        return SessionDescription((_stream(port, protocol, offered, direction, keys),), ip, origin=ip)
    place, ours, theirs = _audio(before)
    keys = srtp.offered(ours.crypto) if ours.crypto else ()
    offered = numbered(offered, [*ours.codecs, *theirs.codecs])
    attributes = (_MUX,) if _MUX in ours.attributes else ()
    media = [_refused(stream) for stream in before[0].media]
    media[place : place + 1] = [_stream(port, ours.protocol, offered, direction, keys, attributes)]
    return SessionDescription(tuple(media), ip, origin=ip)


def limited(mine: SessionDescription, codecs: Sequence[str]) -> SessionDescription:
    """An offer of ours with these codecs alone, in this order; as it is where none of them would remain."""
    wanted = [codec.meaning for codec in liked(tuple(codecs))]
    media = []
    for stream in mine.media:
        kept = sorted((c for c in stream.codecs if c.meaning in wanted), key=lambda c: wanted.index(c.meaning))
        if not kept:
            return mine
        clocks = {8000, *(codec.rate for codec in kept)}
        kept += [codec for codec in stream.codecs if codec.is_dtmf and codec.rate in clocks]
        media.append(replace(stream, codecs=tuple(kept), formats=tuple(str(codec.payload) for codec in kept)))
    return replace(mine, media=tuple(media))


def _audio(pair: Pair) -> tuple[int, Media, Media]:
    """The audio stream of a call: its place among the m= lines, ours and theirs; the first one where none lives."""
    both = [(n, a, b) for n, (a, b) in enumerate(zip(pair[0].media, pair[1].media, strict=False)) if a.kind == "audio"]
    live = [each for each in both if each[1].port and each[2].port]
    if not both:
        raise NotAcceptable("The call has no audio stream")
    return (live or both)[0]


def _stream(
    port: int,
    protocol: str,
    codecs: Sequence[Codec],
    direction: str,
    keys: tuple[Crypto, ...] = (),
    attributes: tuple[Attribute, ...] = (),
) -> Media:
    formats = tuple(str(codec.payload) for codec in codecs)
    return Media("audio", port, protocol, formats, tuple(codecs), None, direction, PACKET_MS, attributes, keys)


def _refused(stream: Media) -> Media:
    return Media(stream.kind, 0, stream.protocol, stream.formats[:1])


# --- offers of others ---------------------------------------------------------------------------------------------


def answer(
    theirs: SessionDescription,
    ip: str,
    port: int,
    codecs: Sequence[str] = G711,
    *,
    direction: str = "sendrecv",
    srtp: Srtp = CLEAR,
    before: Pair | None = None,
) -> SessionDescription:
    """The answer to an offer (RFC 3264 section 6): the first audio stream with a common codec on `ip`:`port`, with the
    one codec that stands first in `codecs`, and of the offer its telephone-event and comfort noise; every other m= line
    refused with port 0. `direction`: what we would like; a hold is answered in kind.

    `before`: the descriptions that hold where the offer changes a call. Its codec goes on where it can, its key too,
    and what was protected stays so; an offer without any live stream is answered in kind. Raises NotAcceptable."""
    media = [_refused(stream) for stream in theirs.media]
    found = take(theirs, codecs, srtp, before)
    if found:
        place, codec = found
        stream = theirs.media[place]
        line = srtp.usable(stream.crypto) if srtp.policy != NEVER else None
        keys = (srtp.answered(line, _audio(before)[1].crypto if before else ()),) if line else ()
        attributes = (_MUX,) if _MUX in stream.attributes else ()
        way = _reply(stream, theirs.address_of(stream), direction)
        media[place] = _stream(port, stream.protocol, _answered(codec, stream), way, keys, attributes)
    return SessionDescription(tuple(media), ip, origin=ip)


def take(
    theirs: SessionDescription, codecs: Sequence[str] = G711, srtp: Srtp = CLEAR, before: Pair | None = None
) -> tuple[int, Codec] | None:
    """The stream of an offer that `answer` takes, by its place, and its codec under their number. None where a call
    goes on without any (`before`, and every port is 0). Raises NotAcceptable."""
    if before and theirs.media and not any(stream.port for stream in theirs.media):
        return None
    ours = liked(tuple(codecs))
    places = list(range(len(theirs.media)))
    if before:
        last, mine, other = _audio(before)
        places.sort(key=lambda place: place != last)
        used = _common(mine, other)
        ours = (*(codec for codec in ours if used and codec.same(used)), *ours)
        srtp = replace(srtp, policy=REQUIRED) if mine.crypto else srtp
    flaws: list[tuple[bool, bool, int, _Flaw]] = []
    for place in places:
        stream = theirs.media[place]
        found = _consider(stream, theirs.address_of(stream), ours, srtp)
        if isinstance(found, Codec):
            return place, found
        flaws.append((not stream.port, stream.kind != "audio", len(flaws), found))
    flaw = min(flaws)[-1] if flaws else _Flaw(304, "An offer has no stream")
    raise NotAcceptable(flaw.what, flaw.warning, f"{', '.join(codecs)} over RTP/AVP or RTP/SAVP")


def _consider(stream: Media, address: str, ours: Sequence[Codec], srtp: Srtp) -> Codec | _Flaw:
    """The codec of theirs that we like best, or why a stream can't be taken."""
    if stream.kind != "audio":
        return _Flaw(304, f"{grammar.clean(stream.kind)} over {grammar.clean(stream.protocol)} is not taken")
    if not stream.port:
        return _Flaw(304, "The audio stream has port 0")
    if stream.protocol not in PROFILES:
        return _Flaw(302, f"Audio over {grammar.clean(stream.protocol)} is not taken")
    if flaw := _unreachable(address):
        return flaw
    if PROFILES[stream.protocol] or srtp.policy == REQUIRED:
        if srtp.policy == NEVER:
            return _Flaw(302, "SRTP is not taken here")
        if not srtp.usable(stream.crypto):
            wanted = "a=crypto line that can be used" if PROFILES[stream.protocol] else "SRTP"
            return _Flaw(306, f"The audio stream has no {wanted}")
    if 0 < (stream.number("maxptime") or 0) < PACKET_MS:
        return _Flaw(306, f"Packets of {PACKET_MS} ms are too long for the offer's maxptime")
    return chosen(stream.codecs, ours) or _Flaw(305, "The audio stream has no codec in common")


@lru_cache(maxsize=4096)
def _unreachable(address: str) -> _Flaw | None:
    """Why no packet can be sent to the address of a c= line."""
    ip = ip_of(address)
    if ip is None:
        return _Flaw(301, "A c= line names a host where an IP address is needed")
    if ipaddress.ip_address(ip).is_multicast or ip == "255.255.255.255":
        return _Flaw(330, "A c= line has a multicast address")
    return None


def _answered(codec: Codec, stream: Media) -> list[Codec]:
    """The codec under the offer's number and our own parameters, with the offer's comfort noise and keys."""
    ours = next(each for each in liked(tuple(CODECS)) if each.same(codec))
    found = [replace(codec, name=ours.name, fmtp=ours.fmtp)]
    if noise := noise_beside(codec, stream.codecs):
        found.append(Codec(noise.payload, NOISE))
    if keys := keys_beside(codec, stream.codecs):
        found.append(Codec(keys.payload, DTMF, keys.rate, EVENTS))
    return found


def _reply(stream: Media, address: str, wish: str) -> str:
    theirs = stream.direction
    if _nowhere(address) and theirs == "sendrecv":
        theirs = "sendonly"  # RFC 2543's way to hold
    allowed = _MIRROR[theirs]
    return _DIRECTION[_sends(allowed) and _sends(wish), _hears(allowed) and _hears(wish)]


def _sends(direction: str) -> bool:
    return direction in ("sendrecv", "sendonly")


def _hears(direction: str) -> bool:
    return direction in ("sendrecv", "recvonly")


def _nowhere(address: str) -> bool:
    return ip_of(address) in ("0.0.0.0", "::")


# --- both ---------------------------------------------------------------------------------------------------------


def agreed(mine: SessionDescription, theirs: SessionDescription, codecs: Sequence[str] = ()) -> Agreed:
    """What both descriptions settle, whichever of them was the offer: the peer's first codec that ours names too. Of
    `codecs` the peer may send what its own description names, even where ours does not. Raises NotAcceptable where no
    audio stream lives, or where an answer takes no key of its offer."""
    for ours, stream in zip(mine.media, theirs.media, strict=False):
        address = theirs.address_of(stream)
        codec = _common(ours, stream) if ours.port and _speaks(ours, stream, address) else None
        if codec is None:
            continue
        secured = crypto.settled(ours.crypto, stream.crypto)
        if PROFILES[stream.protocol] and not secured:
            continue
        named = {each.meaning for each in ours.codecs}
        keys = keys_beside(codec, (each for each in stream.codecs if each.meaning in named))
        noise = noise_beside(codec, stream.codecs) if noise_beside(codec, ours.codecs) else None
        nowhere = _nowhere(address)
        known = {each.meaning for each in (*ours.codecs, *liked(tuple(codecs)))}
        may_come = [c for c in (*stream.codecs, *ours.codecs) if c.meaning in known and c.is_sound]
        return Agreed(
            ip_of(address) or address,
            stream.port,
            codec.payload,
            codec.encoding,
            keys.payload if keys else -1,
            _hears(stream.direction) and _sends(ours.direction) and not nowhere,
            _sends(stream.direction) and _hears(ours.direction),
            {**{each.payload: each.encoding for each in may_come}, codec.payload: codec.encoding},
            noise.payload if noise else -1,
            -1 if nowhere else _rtcp_port(ours, stream),
            *((secured.suite, secured.own, secured.peer) if secured else ()),
        )
    raise NotAcceptable("Offer and answer share no audio stream")


def _speaks(ours: Media, theirs: Media, address: str) -> bool:
    """Whether an m= section is audio that can be sent to, over a transport like ours."""
    secure = PROFILES.get(theirs.protocol)
    return (
        theirs.kind == "audio"
        and theirs.port > 0
        and secure is PROFILES.get(ours.protocol)
        and not _unreachable(address)
    )


def _common(ours: Media, theirs: Media) -> Codec | None:
    """What is sent: their first codec that ours names too, under their number."""
    named = {each.meaning for each in ours.codecs}
    return next((c for c in theirs.codecs if c.meaning in named and c.is_sound), None)


def _rtcp_port(ours: Media, stream: Media) -> int | None:
    """Where the peer hears RTCP: RFC 5761 where both name it, else RFC 3605, else None for the port above."""
    if _MUX in ours.attributes and _MUX in stream.attributes:
        return 0
    return stream.number("rtcp") or None
