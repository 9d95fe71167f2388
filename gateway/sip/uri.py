"""SIP URIs and the addresses that carry them (RFC 3261 sections 19 and 20.10)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.grammar import Params, find, show_params

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]*\.)*[A-Za-z0-9_\-]*\.?|\[[0-9A-Fa-f:.]+\]")
_HOSTPORT = re.compile(rf"({_HOST.pattern})(?::(\d{{1,5}}))?")
_USER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*")
_KEPT = re.compile(rb"[A-Za-z0-9\-_.!~*'()&=+$,;?/]")
_PLAIN = re.compile(r"[^\x00-\x20<>\"\x7f]*")


@dataclass(frozen=True, slots=True)
class Uri:
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
        return replace(self, params=(), headers="", password=None)

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


@dataclass(frozen=True, slots=True)
class Address:
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
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if _KEPT.match(bytes((b,))) else f"%{b:02X}" for b in data)


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


@lru_cache(maxsize=2048)
def parse_uri(text: str) -> Uri:
    """Raises SipError where `text` is no URI."""
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme) or not rest or not _PLAIN.fullmatch(rest):
        raise SipError("Not a URI", read=text[:80])
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        user, semicolon, tail = rest.partition(";")
        if scheme != "tel":
            return Uri(scheme, rest, "")
        return Uri(scheme, user, "", params=grammar.params(tail) if semicolon else ())
    user_info, at, tail = rest.partition("@")
    if not at:
        user_info, tail = "", rest
    user, has_password, password = user_info.partition(":")
    if not _USER.fullmatch(user) or not _USER.fullmatch(password) or (at and not user):
        raise SipError("A SIP URI's user part holds characters that must be escaped", read=text[:80])
    tail, _, headers = tail.partition("?")
    hostport, semicolon, tail = tail.partition(";")
    match = _HOSTPORT.fullmatch(hostport)
    port = int(match[2]) if match and match[2] else None
    if not match or (port is not None and not 0 < port < 65536):
        raise SipError("A SIP URI names no proper host and port", read=text[:80])
    return Uri(
        scheme,
        _unescape(user) if at else None,
        match[1],
        port,
        grammar.params(tail) if semicolon else (),
        headers,
        _unescape(password) if has_password else None,
    )


@lru_cache(maxsize=2048)
def parse_address(text: str) -> Address:
    """Raises SipError where `text` is neither `"Name" <uri>;params` nor `uri;params`."""
    text = text.strip()
    if text.startswith('"'):
        end = 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        display, rest = grammar.unquote(text[: end + 1]), text[end + 1 :].lstrip()
        if not rest.startswith("<"):
            raise SipError("An address has a name but no <uri>", read=text[:80])
    else:
        before, angle, after = text.partition("<")
        if not angle:
            uri, semicolon, tail = text.partition(";")
            if "?" in uri or "," in uri:
                raise SipError("A URI with ? or , must stand in <>", read=text[:80])
            return Address("", parse_uri(uri.strip()), grammar.params(tail) if semicolon else ())
        display, rest = before.strip(), "<" + after
    uri, close, tail = rest[1:].partition(">")
    tail = tail.strip()
    if not close or (tail and not tail.startswith(";")):
        raise SipError("An address is not closed by >", read=text[:80])
    return Address(display, parse_uri(uri.strip()), grammar.params(tail))


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
