"""SIP URIs and the addresses that carry them (RFC 3261 sections 19 and 20.10)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.grammar import Params, find, show_params

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_USER = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]++|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*+"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.\-]*|\[[0-9A-Fa-f:.]+\]"
_SIP_URI = re.compile(
    rf"([Ss][Ii][Pp][Ss]?):(?:({_USER})(?::({_USER}))?@)?({_HOST})(?::([0-9]{{1,5}}))?"
    r"(?:;([^\x00-\x20<>\"\x7f?]*))?(?:\?([^\x00-\x20<>\"\x7f]*))?"
)
_ADDRESS = re.compile(rf'(?:({grammar.QUOTED})\s*|([^"<]*))<([^<>]*)>\s*(;.*)?', re.DOTALL)
_KEPT = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]+")
_PLAIN = re.compile(r"[^\x00-\x20<>\"\x7f]*")
_REMEMBERED = 256
"""Characters of a text whose reading is remembered: what repeats is short, and strangers can't fill the memory."""


class Uri(NamedTuple):
    """`user` and `password` are unescaped. Other schemes than sip and sips keep everything after the colon in `user`
    (without parameters) and have an empty `host`. `headers` is what follows `?`, kept as it came."""

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    params: Params = ()
    headers: str = ""
    password: str | None = None

    def __str__(self) -> str:
        if not self.host:
            return f"{self.scheme}:{self.user or ''}{show_params(self.params)}"
        text = f"{self.scheme}:"
        if self.user is not None:
            text += _escape(self.user)
            if self.password is not None:
                text += ":" + _escape(self.password)
            text += "@"
        text += self.host
        if self.port is not None:
            text += f":{self.port}"
        text += show_params(self.params)
        return f"{text}?{self.headers}" if self.headers else text

    def param(self, name: str) -> str | None:
        return find(self.params, name)

    @property
    def number(self) -> str:
        """The user part without parameters (`+49123;phone-context=x` -> `+49123`), safe to show."""
        return grammar.clean((self.user or "").partition(";")[0])

    def bare(self) -> Uri:
        """Without parameters, headers and password."""
        return self._replace(params=(), headers="", password=None)

    def same(self, other: Uri) -> bool:
        """Equal by RFC 3261 section 19.1.4 as far as contacts need it: host and parameters without regard to case."""
        mine, theirs = dict(self.params), dict(other.params)
        shared = set(mine) & set(theirs)
        special = {"user", "ttl", "method", "maddr", "transport"}
        return (
            self.scheme == other.scheme
            and self.user == other.user
            and self.password == other.password
            and self.host.lower() == other.host.lower()
            and self.port == other.port
            and all((mine[k] or "").lower() == (theirs[k] or "").lower() for k in shared)
            and not (set(mine) ^ set(theirs)) & special
        )


class Address(NamedTuple):
    """A name-addr or addr-spec with its header parameters, as in From, To, Contact and Route."""

    display: str
    uri: Uri
    params: Params = ()

    def __str__(self) -> str:
        name = grammar.quote(self.display) + " " if self.display else ""
        return f"{name}<{self.uri}>{show_params(self.params)}"

    def param(self, name: str) -> str | None:
        return find(self.params, name)

    @property
    def tag(self) -> str:
        return find(self.params, "tag") or ""


def _escape(text: str) -> str:
    if _KEPT.fullmatch(text):
        return text
    data = text.encode("utf-8", "surrogateescape")
    return "".join([chr(b) if b < 128 and _KEPT.match(chr(b)) else f"%{b:02X}" for b in data])


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def parse_uri(text: str) -> Uri:
    """Raises SipError where `text` is no URI."""
    return _remembered_uri(text) if len(text) <= _REMEMBERED else _read_uri(text)


def _read_uri(text: str) -> Uri:
    match = _SIP_URI.fullmatch(text)
    if match is None:
        return _other_uri(text)
    scheme, user, password, host, port, tail, headers = match.groups()
    number = int(port) if port else None
    if user == "" or number == 0 or (number or 0) > 65535:
        raise SipError("A SIP URI has an empty user part or an impossible port", read=text[:80])
    return Uri(
        scheme.lower(),
        None if user is None else _unescape(user),
        host if host[0] != "[" else _reference(host),
        number,
        grammar.params(tail) if tail else (),
        headers or "",
        None if password is None else _unescape(password),
    )


_remembered_uri = lru_cache(maxsize=2048)(_read_uri)


def _other_uri(text: str) -> Uri:
    """A URI of another scheme, or an error that says what is wrong with one of ours."""
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme) or not rest or not _PLAIN.fullmatch(rest):
        raise SipError("Not a URI", read=text[:80])
    scheme = scheme.lower()
    if scheme in ("sip", "sips"):
        raise SipError("A SIP URI's user, host or port is malformed", read=text[:80])
    if scheme != "tel":
        return Uri(scheme, rest, "")
    user, _, tail = rest.partition(";")
    return Uri(scheme, user, "", params=grammar.params(tail) if tail else ())


def _reference(host: str) -> str:
    """An IPv6 reference that is one. RFC 3261's grammar let three colons stand before an IPv4 tail; they are read as
    two (RFC 5118 section 4.10)."""
    mended = host.replace(":::", "::", 1) if "." in host else host
    if ip_of(mended) is None:
        raise SipError("A SIP URI names no IPv6 address between [ and ]", read=host[:80])
    return mended


def parse_address(text: str) -> Address:
    """Raises SipError where `text` is neither `"Name" <uri>;params` nor `uri;params`."""
    text = text.strip()
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return _bare_address(text)
    quoted, name, uri, tail = match.groups()
    display = grammar.unquote(quoted) if quoted else name.strip()
    return Address(display, parse_uri(uri.strip()), grammar.params(tail) if tail else ())


def parse_route(text: str) -> Uri:
    """The URI of a Route, Record-Route or Service-Route element. Raises SipError where it is no SIP URI with a host."""
    uri = parse_address(text).uri
    if uri.scheme not in ("sip", "sips") or not uri.host:
        raise SipError("A route is no SIP URI", read=text[:80])
    return uri


def _bare_address(text: str) -> Address:
    """An address without <>: what follows a semicolon belongs to the header, not to the URI (RFC 3261 20.10)."""
    uri, semicolon, tail = text.partition(";")
    if "<" in text or text.startswith('"'):
        raise SipError("An address is not closed by >, or has a name but no <uri>", read=text[:80])
    if "?" in uri or "," in uri:
        raise SipError("A URI with ? or , must stand in <>", read=text[:80])
    return Address("", parse_uri(uri.strip()), grammar.params(tail) if semicolon else ())


@lru_cache(maxsize=2048)
def ip_of(host: str) -> str | None:
    """The IP address a host part spells out (without brackets), or None where it is a name."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None


def hostport(ip: str, port: int | None) -> str:
    """`10.0.0.1:5060` or `[::1]:5060`."""
    host = f"[{ip}]" if ":" in ip and not ip.startswith("[") else ip
    return host if port is None else f"{host}:{port}"
