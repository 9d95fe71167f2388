"""Takes out of a SIP message what must not lie in a file: keys of media, passwords' digests, what a caller keyed."""

from __future__ import annotations

import re

_LOGIN = re.compile(rb"^(?:proxy-)?authori[sz]ation[ \t]*:|^authentication-info[ \t]*:", re.I)
_PROOF = re.compile(rb'(?:response|rspauth)[ \t]*=[ \t]*"?([0-9a-f]+)', re.I)
_STORY = re.compile(rb"^x-trunkline-(?!call|queue|language)[a-z]+[ \t]*:", re.I)
_DIGITS = re.compile(rb"(\d(?:[ .-]?\d){3,})")
_BODY = re.compile(
    rb"inline:([A-Za-z0-9+/=]+)"  # SDES (RFC 4568)
    rb"|^k=([^\r\n]+)"
    rb"|^a=key-mgmt:([^\r\n]+)"
    rb"|^a=ice-pwd:([^\r\n]+)",
    re.M | re.I,
)
_SIGNAL = re.compile(rb"^[ \t]*signal[ \t]*=[ \t]*([^\r\n]+)", re.M | re.I)
_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"(?:^|(?<=\n))[^\n]*(?:\n[ \t][^\n]*)*")


def masked(data: bytes) -> bytes:
    """The same message with every secret character as `x`; its length stays, so that Content-Length stays right."""
    end = _END.search(data)
    cut = end.end() if end else len(data)
    head, body = data[:cut], data[cut:]
    start = head[:8].upper()
    head = _LINE.sub(_header, head)
    if not body:
        return head
    if start.startswith(b"MESSAGE "):
        return head + b"x" * len(body)
    if start.startswith(b"INFO "):
        named = _SIGNAL.search(body)
        return head + (_hidden(_SIGNAL, body) if named else b"x" * len(body))
    return head + _hidden(_BODY, body)


def _header(match: re.Match[bytes]) -> bytes:
    line = match[0]
    if _LOGIN.match(line):
        return _hidden(_PROOF, line)
    if _STORY.match(line):
        return _hidden(_DIGITS, line)
    return line


def _hidden(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    """Every group that the pattern catches, as x."""

    def hide(match: re.Match[bytes]) -> bytes:
        group = next(n for n, value in enumerate(match.groups(), 1) if value is not None)
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        return match[0][:start] + b"x" * (end - start) + match[0][end:]

    return pattern.sub(hide, text)
