"""Session descriptions as text (RFC 8866): read, and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.core.errors import SipError
from gateway.sip import crypto, grammar
from gateway.sip.codecs import STATIC, Codec
from gateway.sip.crypto import Crypto

Attribute = tuple[str, str | None]

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MAX_MEDIA = 64
MAX_LINES = 2000
"""More m= lines, or lines at all, are refused: no phone comes near either."""

_RTP = ("RTP/", "UDP/TLS/RTP/")
_READ = frozenset(("rtpmap", "fmtp", "ptime", "crypto", *DIRECTIONS))
"""Attributes of a stream that have a field of their own."""


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section. `formats` as written; `codecs` those that are RTP payloads with a known name, in order.
    `address`: the section's own c=, an IP address or a name, None where the session's holds. `ptime` in ms.
    `crypto`: SRTP keys offered or answered (RFC 4568). `attributes`: all others, in order."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...] = ()
    address: str | None = None
    direction: str = "sendrecv"
    ptime: int | None = None
    attributes: tuple[Attribute, ...] = ()
    crypto: tuple[Crypto, ...] = ()

    def number(self, name: str, top: int = 65535) -> int | None:
        """The number that an attribute's value begins with; None where there is none."""
        return next(
            (grammar.number(value.split(" ", 1)[0], top) for key, value in self.attributes if key == name and value),
            None,
        )


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
        lines.append("")
        return "\r\n".join(lines)

    def encode(self) -> bytes:
        return str(self).encode("utf-8", "surrogateescape")

    def address_of(self, media: Media) -> str:
        return media.address or self.address or ""


def replace_origin(mine: SessionDescription, id: str, version: str) -> SessionDescription:
    """The same description with our session id and version in its o= line."""
    return replace(mine, id=id, version=version)


# --- writing ------------------------------------------------------------------------------------------------------


def _family(host: str) -> str:
    return f"IP6 {host}" if ":" in host else f"IP4 {host}"


def _attribute(item: Attribute) -> str:
    return f"a={item[0]}" if item[1] is None else f"a={item[0]}:{item[1]}"


def _show(media: Media) -> list[str]:
    lines = [f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}"]
    if media.address:
        lines.append(f"c=IN {_family(media.address)}")
    lines += [f"a=crypto:{line}" for line in media.crypto]
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


# --- reading ------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> SessionDescription:
    """Raises SipError with what was wrong. Lines and attributes nobody here needs are passed over."""
    text = data.decode("utf-8", "surrogateescape").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line]
    if not lines or lines[0].rstrip() != "v=0":
        raise SipError("An SDP body does not start with v=0")
    if len(lines) > MAX_LINES:
        raise SipError("An SDP body has too many lines")
    starts = []
    for place, line in enumerate(lines):
        if line[1:2] != "=" or not line[0].isalpha():
            raise SipError("An SDP line is not 'letter=value'", read=grammar.clean(line[:80]))
        if line[0] == "m":
            starts.append(place)
    if len(starts) > MAX_MEDIA:
        raise SipError("An SDP body has too many m= lines")
    ends = [*starts[1:], len(lines)]
    attributes, fields = _sorted(lines[: starts[0]] if starts else lines)
    direction = _direction(attributes) or "sendrecv"
    media = tuple(_media(lines[i:j], direction) for i, j in zip(starts, ends, strict=bool(starts)))
    session = _session(fields, attributes, media)
    for stream in media:
        if stream.port and not session.address_of(stream):
            raise SipError("An SDP stream has no c= line")
    return session


def _sorted(lines: Sequence[str]) -> tuple[list[Attribute], dict[str, str]]:
    """The attributes of a section, in order, and the last of each other kind of line."""
    attributes: list[Attribute] = []
    fields: dict[str, str] = {}
    for line in lines:
        if line[0] == "a":
            name, colon, value = line[2:].strip().partition(":")
            attributes.append((name, value if colon else None))
        else:
            fields[line[0]] = line[2:].strip()
    return attributes, fields


def _session(fields: dict[str, str], attributes: Sequence[Attribute], media: tuple[Media, ...]) -> SessionDescription:
    origin = fields.get("o", "").split()
    if len(origin) != 6:
        raise SipError("An SDP o= line does not have six parts", read=grammar.clean(fields.get("o", "")[:80]))
    return SessionDescription(
        media,
        _connection(fields),
        origin[0],
        origin[1],
        origin[2],
        origin[5],
        fields.get("s") or "-",
        tuple(a for a in attributes if a[0] not in DIRECTIONS),
    )


def _connection(fields: dict[str, str]) -> str | None:
    """The address of a c= line, without a TTL or a count."""
    value = fields.get("c")
    if value is None:
        return None
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise SipError("An SDP c= line is not 'IN IP4 address'", read=grammar.clean(value[:80]))
    return parts[2].partition("/")[0]


def _direction(attributes: Sequence[Attribute]) -> str | None:
    return next((name for name, _ in attributes if name in DIRECTIONS), None)


def _media(lines: Sequence[str], direction: str) -> Media:
    parts = lines[0][2:].split()
    port = grammar.number(parts[1].partition("/")[0], 65535) if len(parts) >= 4 else None
    if port is None:
        raise SipError("An SDP m= line is not 'kind port protocol formats'", read=grammar.clean(lines[0][:80]))
    attributes, fields = _sorted(lines[1:])
    kind, protocol, formats = parts[0], parts[2], tuple(parts[3:])
    named = {name: value for name, value in attributes if name == "ptime"}
    keys = [crypto.read(value or "") for name, value in attributes if name == "crypto"]
    return Media(
        kind,
        port,
        protocol,
        formats,
        _codecs(formats, attributes) if protocol.startswith(_RTP) else (),
        _connection(fields),
        _direction(attributes) or direction,
        grammar.number(named.get("ptime"), 1000),
        tuple(a for a in attributes if a[0] not in _READ),
        tuple(line for line in keys if line),
    )


def _codecs(formats: Sequence[str], attributes: Sequence[Attribute]) -> tuple[Codec, ...]:
    """The payload numbers of an m= line that have a name, each once."""
    names: dict[str, tuple[str, int, int]] = {}
    fmtp: dict[str, str] = {}
    for name, value in attributes:
        if value and name == "rtpmap":
            payload, _, rest = value.partition(" ")
            if known := _encoding(payload, rest):
                names[payload] = known
        elif value and name == "fmtp":
            payload, _, rest = value.partition(" ")
            fmtp[payload] = rest.strip()
    found: dict[int, Codec] = {}
    for text in formats:
        payload_number = grammar.number(text, 127)
        if payload_number is None or payload_number in found:
            continue
        described = names.get(text) or STATIC.get(payload_number)
        if described:
            found[payload_number] = Codec(
                payload_number, described[0], described[1], fmtp.get(text, ""), *described[2:]
            )
    return tuple(found.values())


def _encoding(payload: str, text: str) -> tuple[str, int, int] | None:
    """Name, clock and channels of an rtpmap. Number 9 has the clock of RFC 3551 section 4.5.2, whatever a phone
    writes."""
    name, clock, channels = [*text.strip().split("/", 2), "", ""][:3]
    rate, wide = grammar.number(clock), grammar.number(channels or "1", 255)
    if not name or not rate or not wide:
        return None
    return (name, 8000 if payload == "9" and name.upper() == "G722" else rate, wide)
