"""Takes out of a SIP message what must not lie in a file: keys of media, passwords' digests, what a caller keyed.

A message is looked at as it came, however it is spelled, and whatever of a login can't be read is masked: what the
parser refuses is written down as well.
"""

from __future__ import annotations

import re

_BREAK = rb"(?:\r\n|\r|\n)"
_END = re.compile(_BREAK + rb"{2}")
_FIELD = re.compile(rb"[^\r\n]+(?:" + _BREAK + rb"[ \t][^\r\n]*)*")
"""A line and those folded onto it."""
_LOGIN = re.compile(
    rb"(?:^|[\r\n])[ \t]*((?:proxy-)?auth(?:ori[sz]ation|entication-info))\s*:\s*(?:(digest|basic|bearer)\s+)?", re.I
)
_STORY = re.compile(rb"[ \t]*x-trunkline-(?!(?:call|queue|language)[ \t]*:)[^:\s]+[ \t]*:", re.I)
_DIGITS = re.compile(rb"(\d(?:[ .-]?\d){2,})")
_PARAMETER = re.compile(rb'[\s,]*([a-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*)\s*(?=,|$)', re.I | re.S)
_HARMLESS = frozenset(b"username realm nonce uri algorithm qop nc cnonce opaque stale nextnonce userhash".split())
_PROOF = re.compile(rb'(?:response|rspauth)\s*=\s*"?([^\s,;"]+)', re.I)
_SDES = re.compile(rb"inline:[ \t]*([^\s|;]+)", re.I)  # RFC 4568
_KEY = re.compile(rb"[\r\n][ \t]*(?:k[ \t]*=|a[ \t]*=[ \t]*(?:key-mgmt|ice-pwd)[ \t]*:)[ \t]*([^\r\n]+)", re.I)
_PASSWORD = re.compile(rb"\bsips?:[^\s:@<>]{0,256}:([^\s@<>]{0,256})@", re.I)
_ANYWHERE = (
    (_PROOF, (b"response", b"rspauth")),
    (_SDES, (b"inline",)),
    (_KEY, (b"k", b"ice-pwd")),
    (_PASSWORD, (b"sip",)),
)
"""What is hidden wherever it stands, and the words without which it need not be looked for."""
_SIGNAL = re.compile(rb"[ \t]*signal[ \t]*=", re.I)
_DURATION = re.compile(rb"[ \t]*duration[ \t]*=[ \t]*\d+[ \t]*", re.I)
_LINE = re.compile(rb"[^\r\n]+")


def masked(data: bytes) -> bytes:
    """The same message with every secret character as `x`; its length stays, so that Content-Length stays right."""
    start = len(data) - len(data.lstrip())
    end = _END.search(data, start)
    cut = end.end() if end else len(data)
    method = data[start:cut].split(None, 1)[0].upper() if start < cut else b""
    if method == b"MESSAGE":
        return _shown(data[:cut]) + _LINE.sub(_crossed, data[cut:])
    if method == b"INFO":
        return _shown(data[:cut]) + _LINE.sub(_keyed, data[cut:])
    return _shown(data)


def _shown(text: bytes) -> bytes:
    """A head, or a whole message: a body may hold headers too (message/sipfrag, a multipart's)."""
    low = text.lower()
    if b"auth" in low or b"x-trunkline-" in low:
        text = _FIELD.sub(_field, text)
    for pattern, signs in _ANYWHERE:
        if any(sign in low for sign in signs):
            text = _hidden(pattern, text)
    return text


def _field(match: re.Match[bytes]) -> bytes:
    text = match[0]
    if login := _LOGIN.search(text):
        scheme = (login[2] or b"").lower()
        reads = scheme == b"digest" or (not scheme and login[1].lower().endswith(b"info"))
        rest = text[login.end() :]
        return text[: login.end()] + (_parameters(rest) if reads else _x(rest))
    return _hidden(_DIGITS, text) if _STORY.match(text) else text


def _parameters(text: bytes) -> bytes:
    """A login's parameters: the harmless ones as they are, a proof by its name, all else as x."""
    at = 0
    shown = bytearray()
    while found := _PARAMETER.match(text, at):
        name = found[1].lower()
        if name in _HARMLESS:
            shown += found[0]
        elif name in (b"response", b"rspauth"):
            shown += text[at : found.start(2)] + re.sub(rb'[^\s"]', b"x", found[2]) + text[found.end(2) : found.end()]
        else:
            shown += _x(found[0])
        at = found.end()
    return bytes(shown + _x(text[at:]))


def _keyed(match: re.Match[bytes]) -> bytes:
    """A line of an INFO's body: that a key was pressed and for how long, not which."""
    if _DURATION.fullmatch(match[0]):
        return match[0]
    named = _SIGNAL.match(match[0])
    return (named[0] if named else b"") + _x(match[0][named.end() if named else 0 :])


def _crossed(match: re.Match[bytes]) -> bytes:
    return b"x" * len(match[0])


def _x(text: bytes) -> bytes:
    return re.sub(rb"\S", b"x", text)


def _hidden(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    """Every group that the pattern catches, as x."""

    def hide(match: re.Match[bytes]) -> bytes:
        group = next(n for n, value in enumerate(match.groups(), 1) if value is not None)
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        return match[0][:start] + b"x" * (end - start) + match[0][end:]

    return pattern.sub(hide, text)
