"""Session descriptions as text (RFC 8866): read, and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.codecs import STATIC, Codec

Attribute = tuple[str, str | None]

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MAX_MEDIA = 64


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


def replace_origin(mine: SessionDescription, id: str, version: str) -> SessionDescription:
    """The same description with our session id and version in its o= line."""
    return replace(mine, id=id, version=version)
