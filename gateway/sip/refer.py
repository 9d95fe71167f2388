"""Transfers by REFER (RFC 3515, 5589) inside a call: a `Referral` is asked of us and our NOTIFYs tell how it goes;
`Asked` is the one we ask a peer for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.core.errors import SipError
from gateway.sip import grammar, replaces
from gateway.sip.events import TransferAsked, TransferProgress
from gateway.sip.message import Header, Request, Response
from gateway.sip.stack import ALLOW_EVENTS, Stack
from gateway.sip.statuses import REASONS
from gateway.sip.subscription import Subscription
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri, parse_address, parse_uri

if TYPE_CHECKING:
    from gateway.sip.conversation import Conversation

SIPFRAG = "message/sipfrag"
LIFE_S = 180.0
"""How long a transfer may take before its subscription ends, seconds; a phone seldom rings longer."""

PATIENCE_S = 10.0
"""A REFER that our user leaves unanswered for so long is declined."""

LAST_WORD_S = 2.0
"""How long a BYE waits for the NOTIFY with the outcome to be answered, so that the phone hears of it in order."""

MOST = 4
"""Transfers under way in one call."""

_STATUS = re.compile(rb"SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]+([^\r\n]{0,200}))?[ \t]*(?:\r?\n|\Z)")


class Referral:
    """A REFER that came in. Our user accepts or declines it, then tells how the transfer goes."""

    def __init__(self, call: Conversation, transaction: Transaction, silent: bool) -> None:
        self.call = call
        self.stack = call.stack
        self.handle = call.stack.token()
        self._transaction = transaction
        self._silent = silent
        self._status, self._reason = 100, ""
        self.subscription: Subscription | None = None
        self._then: Callable[[], None] | None = None
        self._patience: Alarm | None = self.stack.timers.at(self.stack.now + PATIENCE_S, lambda: self.reject(603))
        self.stack.transfers[self.handle] = self

    def accept(self) -> None:
        """202, and NOTIFY that it is tried (RFC 3515 section 2.4.4), unless the peer wants none (RFC 4488)."""
        if self._settled():
            return
        headers: list[Header] = [self.call.contact]
        if self._silent:
            headers.append(("Refer-Sub", "false"))
        self._transaction.answer(202, headers=tuple(headers))
        if self._silent:
            self._forget()
            return
        number = self._transaction.request.cseq[0]
        self.subscription = Subscription(
            self.stack, f"refer;id={number}", LIFE_S, self.call.ask, self._told, self._forget
        )
        self.subscription.tell()

    def reject(self, status: int, reason: str | None = None) -> None:
        if not self._settled():
            self.stack.refuse(self._transaction, status, reason)
            self._forget()

    def progress(self, status: int, reason: str) -> None:
        """How it goes; a final status is the last that is told."""
        if self.subscription is None:
            return
        self._status, self._reason = status, reason
        if status >= 200:
            self.subscription.end("noresource")
        else:
            self.subscription.tell()

    def _told(self) -> tuple[str, bytes]:
        reason = grammar.clean(self._reason or REASONS.get(self._status, ""))
        return SIPFRAG, f"SIP/2.0 {self._status} {reason}\r\n".encode()

    def _settled(self) -> bool:
        """Whether the REFER was answered before; from now on it counts as answered."""
        if self._patience is None:
            return True
        self._patience.cancel()
        self._patience = None
        return False

    def before(self, hangup: Callable[[], None]) -> bool:
        """Whether the outcome is still being told: then `hangup` is called once it was."""
        if self._status < 200 or self._then or self.handle not in self.stack.transfers:
            return False
        self._then = hangup
        self.stack.after(LAST_WORD_S, self._hang_up)
        return True

    def _hang_up(self) -> None:
        then, self._then = self._then, None
        if then:
            then()

    def _forget(self) -> None:
        self.stack.transfers.pop(self.handle, None)
        self._hang_up()


class Asked:
    """A REFER of ours on its way. Tells our user how it goes until its end: exactly one event with `final`."""

    def __init__(self, call: Conversation, target: str, referred_by: str) -> None:
        self.call = call
        self.stack = call.stack
        self.over = False
        self._alarm = self.stack.timers.at(self.stack.now + LIFE_S, lambda: self._tell(408, "", True))
        headers: list[Header] = [
            ("Refer-To", f"<{target}>"),
            ("Referred-By", f"<{referred_by}>"),
            ("Supported", "norefersub"),
            call.contact,
        ]
        call.asked = self
        call.ask("REFER", headers, b"", self._answered)

    def stop(self) -> None:
        """The call is over."""
        self.over = True
        self._alarm.cancel()

    def _answered(self, response: Response) -> None:
        no_more = (response.get("Refer-Sub") or "").lower().startswith("false")
        if not self.over:
            self._tell(response.status, response.reason, response.status >= 300 or no_more)

    def heard(self, status: int, reason: str, stands: str) -> None:
        """A NOTIFY: `status` of the call the peer makes, and the Subscription-State."""
        state, *_ = grammar.split(stands, ";") or [""]
        self._tell(status, reason, state.lower() == "terminated")

    def _tell(self, status: int, reason: str, final: bool) -> None:
        if self.over:
            return
        if final:
            self.stop()
            self.call.asked = None
        reason = grammar.clean(reason) or REASONS.get(status, "")
        self.stack.emit(TransferProgress(self.call.handle, status, reason, final))


def hang_up(stack: Stack, handle: str, reason: str, cause: int) -> None:
    """Ends a call of ours, but not before who asked to leave it has heard how that went."""
    call = stack.calls[handle]

    def now() -> None:
        call.hangup(reason, cause)

    if not any(one.call is call and one.before(now) for one in stack.transfers.values()):
        now()


# --- in a dialog --------------------------------------------------------------------------------------------------


def receive(call: Conversation, transaction: Transaction, request: Request) -> None:
    """A REFER in the dialog of a call: its user is asked, or it is refused here."""
    stack = call.stack
    try:
        target, replaced = _read(request)
    except SipError:
        stack.refuse(transaction, 400, "Bad Refer-To")
        return
    if target.scheme not in ("sip", "sips", "tel"):
        stack.refuse(transaction, 416)
    elif (target.param("method") or "INVITE").upper() != "INVITE" or call.dialog.early:
        stack.refuse(transaction, 403)
    elif sum(other.call is call for other in stack.transfers.values()) >= MOST:
        stack.refuse(transaction, 491)
    else:
        _ask_user(call, transaction, request, target, replaced)


def _read(request: Request) -> tuple[Uri, replaces.Replaces | None]:
    """Whom the peer wants us to call. Raises SipError unless there is exactly one Refer-To with a URI."""
    values = request.all("Refer-To")
    if len(values) != 1 or len(grammar.split(values[0])) != 1:
        raise SipError("A REFER names exactly one target")
    uri = parse_address(values[0]).uri
    return uri, replaces.in_uri(uri)


def _ask_user(
    call: Conversation, transaction: Transaction, request: Request, target: Uri, wanted: replaces.Replaces | None
) -> None:
    stack = call.stack
    silent = (request.get("Refer-Sub") or "").strip().lower().startswith("false")
    referral = Referral(call, transaction, silent)
    other = replaces.find(stack, wanted) if wanted else None
    if wanted and (other is None or other.over or other is call):
        # a 481 of its own would tell the peer that the call it stands in is gone
        referral.accept()
        referral.progress(481, "")
        return
    ours = target.scheme == "tel" or stack.config.means_us(target.host)
    stack.emit(
        TransferAsked(
            call.handle,
            referral.handle,
            str(target.bare()),
            target.number if ours else "",
            other.handle if other else None,
            grammar.clean(request.get("Referred-By") or ""),
        )
    )


def notified(call: Conversation, transaction: Transaction, request: Request) -> None:
    """A NOTIFY in the dialog of a call: how a transfer goes that we asked for."""
    stack, stands = call.stack, request.get("Subscription-State")
    event, *_ = grammar.split(request.get("Event") or "", ";") or [""]
    found = _STATUS.match(request.body)
    if event.lower() != "refer":
        stack.refuse(transaction, 489)
    elif call.asked is None:
        stack.refuse(transaction, 481)
    elif request.content_type != SIPFRAG:
        stack.refuse(transaction, 415, headers=[("Accept", SIPFRAG)])
    elif found is None or not stands:
        stack.refuse(transaction, 400)
    else:
        transaction.answer(200)
        call.asked.heard(int(found[1]), (found[2] or b"").decode("utf-8", "replace"), stands)


def subscribed(call: Conversation, transaction: Transaction, request: Request) -> None:
    """A SUBSCRIBE in the dialog of a call keeps or ends what a REFER began, and nothing else (RFC 3515 2.4.4)."""
    stack = call.stack
    event = request.get("Event") or ""
    mine = [t.subscription for t in stack.transfers.values() if t.call is call and t.subscription]
    found = [one for one in mine if event in (one.event, "refer")]
    if grammar.split(event, ";")[:1] != ["refer"]:
        stack.refuse(transaction, 489, headers=[("Allow-Events", ALLOW_EVENTS)])
    elif not found:
        stack.refuse(transaction, 403)
    else:
        asked = grammar.number(request.get("Expires"))
        seconds = min(LIFE_S, asked) if asked is not None else LIFE_S
        transaction.answer(200, headers=(("Expires", str(round(seconds))), call.contact))
        found[-1].refresh(seconds)


def ask(call: Conversation, target: str, other: Conversation | None) -> None:
    """Asks the peer of `call` to call `target` instead of us, in the place of our end of `other` where it is given.
    Raises SipError on a bad target, and while another transfer is under way or the call isn't up."""
    if call.over or call.dialog.early or call.asked:
        raise SipError("The call can't be transferred now", do="wait until it is answered and no transfer is under way")
    uri = str(parse_uri(target).bare())
    if other:
        uri += f"?{replaces.for_uri(other.dialog)}"
    config = call.stack.config
    Asked(call, uri, config.aor(config.user))
