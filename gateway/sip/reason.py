"""Why a call ended, as BYE, CANCEL and final responses tell it (RFC 3326, RFC 6432)."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.message import Header, Message


class Reason(NamedTuple):
    """`text` for people; `cause` by ITU-T Q.850 (16 normal clearing, 17 busy, 31 unspecified, ...), 0 for none."""

    text: str = ""
    cause: int = 0


ELSEWHERE: Header = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
"""Tells a phone that another one took the call, so that it doesn't list it as missed."""


def headers(reason: Reason) -> list[Header]:
    if not reason.text and not reason.cause:
        return []
    value = f"Q.850;cause={reason.cause}" if reason.cause else "SIP"
    return [("Reason", value + (f";text={grammar.quote(reason.text)}" if reason.text else ""))]


def read(message: Message) -> Reason:
    """What the Reason headers of a message say: the first text, else the first cause in words; the Q.850 cause."""
    text, spare, cause = "", "", 0
    for value in message.items("Reason"):
        protocol, _, tail = value.partition(";")
        try:
            given = grammar.params(tail)
        except SipError:
            continue
        number = grammar.number(grammar.find(given, "cause"), 999)
        if protocol.strip().upper() == "Q.850" and number and not cause:
            cause = number
        text = text or grammar.clean(grammar.unquote(grammar.find(given, "text") or ""))
        spare = spare or grammar.clean(f"{protocol.strip()} {number or ''}")
    return Reason(text or spare, cause)
