"""Session descriptions and offer/answer (RFC 8866, RFC 3264): one audio stream with telephone-event (RFC 4733)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.codecs import DTMF, NOISE, STATIC, Codec, chosen, keys_beside, liked, noise_beside
from gateway.sip.uri import ip_of

Attribute = tuple[str, str | None]

G711 = ("PCMU", "PCMA")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_PROFILES = ("RTP/AVP", "RTP/AVPF")
_MAX_MEDIA = 64
_MUX: Attribute = ("rtcp-mux", None)


class NoCodec(SipError):
    """No stream of the offer can be taken: 488."""


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section. `formats` as written; `codecs` those that are RTP payloads with a known name, in order.
    `address`: the section's own c=, an IP address or a name, None where the session's holds. `ptime` in ms."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...] = ()
    address: str | None = None
    direction: str = "sendrecv"
    ptime: int | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """`address`: the session-level c=. `attributes`: session-level a= that aren't a direction."""

    media: tuple[Media, ...]
    address: str | None = None
    user: str = "-"
    id: str = "0"
    version: str = "0"
    origin: str = "127.0.0.1"
    name: str = "-"
    attributes: tuple[Attribute, ...] = field(default=())

    def __str__(self) -> str:
        lines = ["v=0", f"o={self.user} {self.id} {self.version} IN {_family(self.origin)}", f"s={self.name}"]
        if self.address:
            lines.append(f"c=IN {_family(self.address)}")
        lines.append("t=0 0")
        lines += [_attribute(a) for a in self.attributes]
        for media in self.media:
            lines += _show(media)
        return "\r\n".join(lines) + "\r\n"

    def encode(self) -> bytes:
        return str(self).encode("utf-8", "surrogateescape")

    def address_of(self, media: Media) -> str:
        return media.address or self.address or ""


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


# --- reading and writing ------------------------------------------------------------------------------------------


def _family(host: str) -> str:
    return f"IP6 {host}" if ":" in host else f"IP4 {host}"


def _attribute(item: Attribute) -> str:
    return f"a={item[0]}" if item[1] is None else f"a={item[0]}:{item[1]}"


def _show(media: Media) -> list[str]:
    lines = [f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"]
    if media.address:
        lines.append(f"c=IN {_family(media.address)}")
    for codec in media.codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(f"a=rtpmap:{codec.payload} {codec.name}/{codec.rate}{channels}")
        if codec.fmtp:
            lines.append(f"a=fmtp:{codec.payload} {codec.fmtp}")
    if media.ptime:
        lines.append(f"a=ptime:{media.ptime}")
    if media.port:
        lines.append(f"a={media.direction}")
    return lines + [_attribute(a) for a in media.attributes]


def _connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise SipError("An SDP c= line is not 'IN IP4 address'", read=grammar.clean(value[:80]))
    return parts[2].partition("/")[0]


def parse(data: bytes) -> SessionDescription:
    """Raises SipError with what was wrong. Lines and attributes nobody here needs are passed over."""
    lines = [line for line in data.decode("utf-8", "surrogateescape").replace("\r", "\n").split("\n") if line]
    if not lines or lines[0].strip() != "v=0":
        raise SipError("An SDP body does not start with v=0")
    for line in lines:
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise SipError("An SDP line is not 'letter=value'", read=grammar.clean(line[:80]))
    starts = [i for i, line in enumerate(lines) if line[0] == "m"]
    if len(starts) > _MAX_MEDIA:
        raise SipError("An SDP body has too many m= lines")
    head = lines[: starts[0]] if starts else lines
    session = _session(head)
    direction = _direction(_attributes(head)) or "sendrecv"
    ends = [*starts[1:], len(lines)]
    media = tuple(_media(lines[i:j], direction) for i, j in zip(starts, ends, strict=False))
    session = replace(session, media=media)
    for stream in media:
        if stream.port and not session.address_of(stream):
            raise SipError("An SDP stream has no c= line")
    return session


def _session(lines: Sequence[str]) -> SessionDescription:
    fields = {line[0]: line[2:].strip() for line in lines}
    origin = fields.get("o", "").split()
    if len(origin) != 6:
        raise SipError("An SDP o= line does not have six parts", read=grammar.clean(fields.get("o", "")[:80]))
    return SessionDescription(
        (),
        _connection(fields["c"]) if "c" in fields else None,
        origin[0],
        origin[1],
        origin[2],
        origin[5],
        fields.get("s") or "-",
        tuple(a for a in _attributes(lines) if a[0] not in DIRECTIONS),
    )


def _attributes(lines: Sequence[str]) -> list[Attribute]:
    found: list[Attribute] = []
    for line in lines:
        if line[0] == "a":
            name, colon, value = line[2:].strip().partition(":")
            found.append((name, value if colon else None))
    return found


def _direction(attributes: Sequence[Attribute]) -> str | None:
    return next((name for name, _ in attributes if name in DIRECTIONS), None)


def _media(lines: Sequence[str], direction: str) -> Media:
    parts = lines[0][2:].split()
    port = grammar.number(parts[1].partition("/")[0], 65535) if len(parts) >= 4 else None
    if port is None:
        raise SipError("An SDP m= line is not 'kind port protocol formats'", read=grammar.clean(lines[0][:80]))
    attributes = _attributes(lines[1:])
    formats = tuple(parts[3:])
    names: dict[int, tuple[str, int, int]] = {}
    fmtp: dict[int, str] = {}
    for name, value in attributes:
        key, _, rest = (value or "").partition(" ")
        payload = grammar.number(key, 127)
        if payload is not None and name == "rtpmap":
            encoding, clock, channels = [*rest.strip().split("/", 2), "", ""][:3]
            rate, wide = grammar.number(clock), grammar.number(channels or "1", 255)
            if encoding and rate and wide:
                names[payload] = (encoding, rate, wide)
        elif payload is not None and name == "fmtp":
            fmtp[payload] = rest.strip()
    codecs = []
    for text in formats if parts[2].startswith(("RTP/", "UDP/TLS/RTP/")) else ():
        payload = grammar.number(text, 127)
        if payload is None or not (known := names.get(payload) or STATIC.get(payload)):
            continue
        codecs.append(Codec(payload, known[0], known[1], fmtp.get(payload, ""), *known[2:]))
    connection = next((line[2:] for line in lines if line[0] == "c"), None)
    ptime = next((grammar.number(value, 1000) for name, value in attributes if name == "ptime"), None)
    return Media(
        parts[0],
        port,
        parts[2],
        formats,
        tuple(codecs),
        _connection(connection) if connection else None,
        _direction(attributes) or direction,
        ptime,
        tuple(a for a in attributes if a[0] not in ("rtpmap", "fmtp", "ptime", *DIRECTIONS)),
    )


# --- offer and answer ---------------------------------------------------------------------------------------------


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
        offered += [Codec(dtmf + n, DTMF, clock, "0-16") for n, clock in enumerate(clocks)]
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
        found.append(Codec(keys.payload, DTMF, keys.rate, "0-16"))
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


def replace_origin(mine: SessionDescription, id: str, version: str) -> SessionDescription:
    """The same description with our session id and version in its o= line."""
    return replace(mine, id=id, version=version)


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
