"""The small grammars many headers share: tokens, quoted strings, lists and parameters (RFC 3261 section 25).

Every pattern here is linear in what it reads: what is repeated is possessive, or ends at a character it can't hold.
"""

from __future__ import annotations

import re

from gateway.core.errors import SipError

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order; names in lower case, None where a parameter has no value."""

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
QUOTED = r'"(?:[^"\\]++|\\.)*+"'
"""The pattern of a quoted-string, escapes included."""

_WHOLE = re.compile(QUOTED, re.DOTALL)
_ODD = re.compile(r'["<>]')
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PART = {mark: re.compile(rf'(?:[^{mark}"<]++|"(?:[^"\\]++|\\.)*+"?|<[^>]*+>?)*+', re.DOTALL) for mark in (",", ";")}
"""What stands before the next separator that is neither inside quotes nor inside <>."""

_PLAIN_PARAMS = re.compile(rf";?{TOKEN.pattern}(?:=[^\s;\"<>]*)?(?:;{TOKEN.pattern}(?:=[^\s;\"<>]*)?)*")


def is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def _parts(value: str, separator: str) -> list[str]:
    """Every part of `value`, the empty ones too."""
    found: list[str] = []
    at, match = 0, _PART[separator].match
    while True:
        part = match(value, at)
        end = part.end() if part else len(value)
        found.append(value[at:end].strip())
        if end >= len(value):
            return found
        at = end + 1


def split(value: str, separator: str = ",") -> list[str]:
    """Parts of `value` at `separator` (, or ;), but not inside quotes or <>. Empty parts are left out; a quote that is
    never closed reaches to the end."""
    if separator not in value:
        value = value.strip()
        return [value] if value else []
    if '"' not in value and "<" not in value:
        return [part.strip() for part in value.split(separator) if part.strip()]
    return [part for part in _parts(value, separator) if part]


def quote(text: str) -> str:
    """A quoted-string; control characters become spaces, so that nothing can break out of a header line."""
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The content of a quoted-string, or `text` itself when it isn't quoted."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]
    return text


def params(text: str) -> Params:
    """`;a=1;b` -> (("a", "1"), ("b", None)). Values keep their quotes. Raises SipError where a name is no token,
    nothing stands behind a semicolon, or a value holds < or > or is quoted in part."""
    if not text:
        return ()
    if _PLAIN_PARAMS.fullmatch(text):
        pairs = [part.partition("=") for part in text.lstrip(";").split(";")]
        return tuple([(name.lower(), value if equals else None) for name, equals, value in pairs])
    parts = _parts(text.strip(), ";")
    if not parts[0]:
        del parts[0]
    found: list[tuple[str, str | None]] = []
    for part in parts:
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not is_token(name):
            raise SipError("A header parameter has no proper name", read=part[:80])
        if _ODD.search(value) and not _WHOLE.fullmatch(value):
            raise SipError("A header parameter's value needs quotes around it", read=part[:80])
        found.append((name, value if equals else None))
    return tuple(found)


def show_params(items: Params) -> str:
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in items])


def find(items: Params, name: str) -> str | None:
    """The value of a parameter; an empty string where it stands without one, None where it isn't there."""
    for key, value in items:
        if key == name:
            return value or ""
    return None


def clean(text: str) -> str:
    """Text from or to the network as one safe line: control characters are spaces, undecodable bytes become U+FFFD."""
    return _UNSAFE.sub(" ", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()


def liking(text: str | None) -> float:
    """A q parameter, from 0 to 1 (RFC 3261 section 20.10); 1 where there is none or it is no number."""
    try:
        value = float(text or 1)
    except ValueError:
        return 1.0
    return min(1.0, max(0.0, value)) if value == value else 1.0  # not NaN


def number(text: str | None, top: int = 2**31 - 1) -> int | None:
    """A plain decimal from 0 to `top`, or None."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value <= top else None


def seconds(text: str | None, top: int) -> int | None:
    """The delta-seconds of a Retry-After, without comment and parameters, at most `top`; None where there are none."""
    value = number((text or "").partition(";")[0].partition("(")[0].strip())
    return None if value is None else min(value, top)
