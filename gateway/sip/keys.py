"""Keys pressed, as INFO carries them: `application/dtmf-relay` (Signal=5, Duration=160) and `application/dtmf` (5)."""

from __future__ import annotations

from gateway.core.errors import SipError

TYPES = ("application/dtmf-relay", "application/dtmf")
_KEYS = "0123456789*#ABCD"
_DEFAULT_MS = 160


def written(key: str, ms: int) -> tuple[str, bytes]:
    """Content type and body of an INFO for `key`. Raises SipError."""
    if len(key) != 1 or key not in _KEYS:
        raise SipError("Not a key", read=key, expected=" ".join(_KEYS))
    return TYPES[0], f"Signal={key}\r\nDuration={ms}\r\n".encode()


def read(content_type: str, body: bytes) -> tuple[str, int]:
    """(key, milliseconds held). Numbers 10 to 15 stand for * # A B C D. Raises SipError."""
    text = body.decode("ascii", "replace")
    ms = _DEFAULT_MS
    if content_type == TYPES[0]:
        values = {}
        for line in text.splitlines():
            name, _, value = line.partition("=")
            values[name.strip().lower()] = value.strip()
        text = values.get("signal", "")
        if values.get("duration", "").isdigit():
            ms = min(int(values["duration"][:6]), 10_000)
    key = text.strip().upper()
    if key.isascii() and key.isdigit() and 10 <= int(key[:3]) < len(_KEYS):
        key = _KEYS[int(key)]
    if len(key) != 1 or key not in _KEYS:
        raise SipError("An INFO names no key")
    return key, ms
