"""The Replaces header (RFC 3891): a new call that takes the place of a dialog, and how a Refer-To carries it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.conversation import Conversation
from gateway.sip.dialog import Dialog
from gateway.sip.message import Request
from gateway.sip.stack import Stack
from gateway.sip.uri import Uri


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog as its receiver knows it: `to_tag` is the receiver's own tag, `from_tag` the tag of its peer."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def parse(value: str) -> Replaces:
    """Raises SipError where the Call-ID or one of the tags is missing or stands twice."""
    call_id, *_ = grammar.split(value, ";") or [""]
    given = grammar.params(value[value.index(call_id) + len(call_id) :].lstrip(" ;")) if call_id else ()
    names = [name for name, _ in given]
    to_tag, from_tag = grammar.find(given, "to-tag"), grammar.find(given, "from-tag")
    if not call_id or not to_tag or not from_tag or len(names) != len({*names}):
        raise SipError("Not a Replaces header", read=value[:80], expected="CALL-ID;to-tag=TAG;from-tag=TAG")
    return Replaces(call_id, to_tag, from_tag, "early-only" in names)


def in_uri(uri: Uri) -> Replaces | None:
    """The Replaces among the headers of a Refer-To's URI, unescaped. Raises SipError on a bad one or on two."""
    found = []
    for pair in uri.headers.split("&"):
        name, _, value = pair.partition("=")
        if unquote(name).lower() == "replaces":
            found.append(parse(unquote(value)))
    if len(found) > 1:
        raise SipError("A URI names two dialogs to replace", read=uri.headers[:80])
    return found[0] if found else None


def for_uri(dialog: Dialog) -> str:
    """The URI headers that ask somebody else to take over our end of `dialog`, escaped (RFC 3891 section 4)."""
    value = Replaces(dialog.call_id, dialog.remote_tag, dialog.local_tag)
    return f"Replaces={quote(str(value), safe='')}"


def find(stack: Stack, wanted: Replaces) -> Conversation | None:
    """Our own dialog that is meant, whatever its state."""
    owner = stack.dialogs.get((wanted.call_id, wanted.to_tag, wanted.from_tag))
    return owner if isinstance(owner, Conversation) else None


def replaced(stack: Stack, request: Request, allowed: bool) -> tuple[str | None, int | None]:
    """The call that an INVITE wants to replace (None: it names none), or the status that refuses it (section 3):
    400 malformed or twice, 481 no such dialog, 603 one that is over, 403 not `allowed`, 486 answered already."""
    values = request.all("Replaces")
    if not values:
        return None, None
    try:
        (value,) = values
        wanted = parse(value)
    except (SipError, ValueError):
        return None, 400
    call = find(stack, wanted)
    if call is None or (call.dialog.early and not call.outgoing):
        return None, 481
    if call.over:
        return None, 603
    if not allowed:
        return None, 403
    if wanted.early_only and not call.dialog.early:
        return None, 486
    return call.handle, None
