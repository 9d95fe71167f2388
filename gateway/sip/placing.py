"""Calls that go out: to phones of ours, to SIP addresses, to numbers outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, Unpack

from gateway.core.errors import SipError
from gateway.sip.attempt import Target
from gateway.sip.auth import Account
from gateway.sip.dialling import Dialling, is_number, permitted
from gateway.sip.identity import Identity
from gateway.sip.message import Header
from gateway.sip.numbers import e164
from gateway.sip.outbound import Outbound
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import Stack
from gateway.sip.uri import Address, Uri, parse_uri


class Invitation(TypedDict, total=False):
    """How a call is to go out; all may be left out. `from_user`, `from_display`: whom the phone shows; `caller`: the
    caller it is made for, whose privacy and diversions go along by a trunk, `left`: the number of ours they dialled.
    `trunk`: by which a number goes, any by default. `credentials` answer challenges. `ring_timeout`: seconds after
    which a phone that does not answer is given up, with 408. `redirects`: how many other addresses are tried that a
    3xx names; none by a trunk."""

    from_user: str
    from_display: str
    headers: Sequence[Header] | Mapping[str, str]
    credentials: Sequence[Account]
    trunk: str | None
    caller: Identity | None
    left: str
    ring_timeout: float | None
    redirects: int
    max_forwards: int


def place(
    stack: Stack,
    phones: Callable[[Uri], list[Target]],
    target: str,
    sdp: SessionDescription | None,
    **how: Unpack[Invitation],
) -> str:
    """Begins a call and gives its handle. `phones`: where one of our users is. Raises SipError, Barred."""
    config, handle, trunk = stack.config, stack.token(), how.get("trunk")
    headers = how.get("headers", ())
    extra = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    user, display = how.get("from_user", ""), how.get("from_display", "")
    _check_text(target, user, display, how.get("left", ""), *(text for header in extra for text in header))
    sender = Address(display, Uri("sip", user or config.user, config.domain))
    dialling: Dialling | None = None
    if trunk is not None or is_number(target):
        who = how.get("caller") or (Identity(e164(user), display) if user else None)
        dialling = Dialling(stack, phones, handle, permitted(stack, target, trunk), trunk, who, how.get("left", ""))
        uri, ours = Uri("sip", None, config.domain), False
    else:
        uri = parse_uri(target if ":" in target else config.aor(target))
        ours = ":" not in target or _is_ours(stack, uri)
    call = Outbound(
        stack,
        handle,
        sdp,
        sender=str(sender),
        addressee=f"<{config.aor(uri.user or '')}>" if ours else None,
        extra=extra,
        accounts=how.get("credentials", ()),
        ring_timeout=how.get("ring_timeout"),
        redirects=0 if dialling else how.get("redirects", 0),
        max_forwards=how.get("max_forwards", caller.hops - 1 if (caller := how.get("caller")) else 70),
        more=dialling.next if dialling else lambda failed: None,
    )
    try:
        if dialling:
            first = dialling.next()
            call.start([first] if first else [], (503, "No Trunk"))
        else:
            call.start(phones(uri) if ours else [Target(uri, uri)])
    except Exception:
        call.hangup("")  # nobody gets its handle: it must hold neither a place on a trunk nor a dialog
        raise
    return handle


def _check_text(*texts: str) -> None:
    """Raises SipError on characters that no message can hold: surrogates that stand for no byte from the network."""
    for text in texts:
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise SipError("A text of a call can't be sent", read=ascii(text)[:80], expected="Unicode") from None


def _is_ours(stack: Stack, uri: Uri) -> bool:
    """Whether a URI names one of our users; an endpoint without accounts has none."""
    port = stack.config.port
    here = uri.host.lower() in stack.config.hosts and (uri.port or port) == port
    return here and bool(stack.config.accounts)
