"""Offers after the first within a dialog: re-INVITE, UPDATE and PRACK, both ways (RFC 3261 14, 3311, 3262, 4028).

Both sides may ask at once: who must not be answered now gets 491 or 500 with Retry-After, and asks again later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.body import description_of, read_offer
from gateway.sip.events import ChangeAnswered, ChangeFailed, OfferChanged
from gateway.sip.message import Header, Request, Response
from gateway.sip.negotiation import Turn
from gateway.sip.sdp import SessionDescription
from gateway.sip.sent import Sent
from gateway.sip.stack import ALLOW, SDP_TYPE
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction

if TYPE_CHECKING:
    from gateway.sip.conversation import Conversation

_MOST_TRIES = 10
_LONGEST_WAIT_S = 32
"""A peer that says Retry-After with more seconds than this is not asked again."""
_NO_UPDATE = frozenset((405, 415, 420, 488, 501, 606))
"""Statuses after which a session refresh is tried by re-INVITE instead."""


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer of the peer's (None: it asks for ours), and the two ways to answer. `transaction`: of the request it
    came in, None where it came in a response."""

    offer: SessionDescription | None
    take: Callable[[SessionDescription], None]
    refuse: Callable[[int], None]
    transaction: Transaction | None = None


@dataclass(slots=True)
class Change:
    """A request of ours. `mine` None: a session refresh, which changes nothing."""

    method: str
    mine: SessionDescription | None
    tries: int = 0


class Changes:
    """At most one offer at a time, theirs or ours; ours waits where theirs came first."""

    def __init__(self, call: Conversation) -> None:
        self.call = call
        self.stack = call.stack
        self.offered: Offered | None = None
        self._ours: Change | None = None
        self._next: Change | None = None
        self._request: Request | None = None
        self._sent: Sent | None = None
        self._alarm: Alarm | None = None
        self._limit: Alarm | None = None

    # --- theirs ---------------------------------------------------------------------------------------------------

    def receive(self, transaction: Transaction, request: Request) -> None:
        """A re-INVITE (14.2), an UPDATE (RFC 3311 section 5.2), or a PRACK with an offer."""
        call, stack = self.call, self.stack
        status = self._untimely(request)
        if status:
            after = [("Retry-After", str(stack.rng.randint(0, 10)))] if status == 500 else []
            stack.refuse(transaction, status, headers=after)
        elif call.timer.too_small(request):
            stack.refuse(transaction, 422, headers=[call.timer.min_se])
        elif request.method == "UPDATE" and not request.body:
            call.learn(request)
            call.accept(transaction, None, None)
        else:
            offer, problem = read_offer(stack, request, call.offers.pair)
            if problem:
                stack.refuse(transaction, problem[0], problem[1], problem[2])
                return
            call.learn(request)
            if offer and call.offers.mine and call.offers.repeats(offer):
                call.accept(transaction, call.offers.mine, offer)
                return
            self.propose(
                Offered(
                    offer,
                    lambda mine: call.accept(transaction, mine, offer),
                    lambda code: stack.refuse(transaction, code),
                    transaction,
                )
            )

    def _untimely(self, request: Request) -> int:
        """The status for a request that comes while something else is under way; 0 for one that comes in time."""
        call, method = self.call, request.method
        pending = self.offered.transaction.request.method if self.offered and self.offered.transaction else ""
        if method == "INVITE" and self._request is not None and self._request.method == "INVITE":
            return 491
        if method == pending or (method == "INVITE" and (pending or call.dialog.early)):
            return 500
        if method != "INVITE" and not request.body:
            return 0
        if call.offers.turn is Turn.PEER:
            return 491
        return 500 if self.offered or (call.dialog.early and not call.offers.settled) else 0

    def propose(self, offered: Offered) -> None:
        """Asks our user, who answers by `accept` or `reject`; where neither comes within 64*T1 it is refused."""
        self._wait_for_us(offered)
        self.call.tell(OfferChanged(self.call.handle, offered.offer))

    def _wait_for_us(self, offered: Offered) -> None:
        self.offered = offered
        self._limit = self.stack.timers.at(self.stack.now + 64 * self.stack.config.base.t1, self._unanswered)
        if offered.offer is not None:
            self.call.offers.turn = Turn.US

    def accept(self, mine: SessionDescription) -> None:
        """Raises SipError where nothing was offered, or where `mine` is no answer to it: then the offer still waits."""
        offered = self._taken()
        try:
            offered.take(mine)
        except SipError:
            self._wait_for_us(offered)
            raise
        self.proceed()

    def reject(self, status: int) -> None:
        """Raises SipError where nothing was offered."""
        self._taken().refuse(status)
        self.proceed()

    def _unanswered(self) -> None:
        if self.offered and not self.call.over:
            self.stack.count("offers_unanswered")
            self.reject(504)

    def _taken(self) -> Offered:
        offered = self._withdrawn()
        if offered is None or self.call.over:
            raise SipError("No change was offered")
        if self.call.offers.turn is Turn.US:
            self.call.offers.turn = Turn.NOBODY
        return offered

    def _withdrawn(self) -> Offered | None:
        if self._limit:
            self._limit.cancel()
        offered, self.offered = self.offered, None
        return offered

    def cancelled(self, transaction: Transaction) -> None:
        """The peer's re-INVITE is called off."""
        if self.offered and self.offered.transaction is transaction:
            self._taken()
        transaction.answer(487)
        self.proceed()

    # --- ours -----------------------------------------------------------------------------------------------------

    def change(self, mine: SessionDescription, update: bool) -> None:
        """Offers `mine`, by UPDATE where `update` says so or the call isn't answered yet. Raises SipError while another
        change is on its way, or where the peer takes none now."""
        call = self.call
        change = Change("UPDATE" if update or call.dialog.early else "INVITE", mine)
        refreshing = self._ours is not None and self._ours.mine is None and self._next is None
        open_offer = self.offered or call.offers.turn is not Turn.NOBODY or call.unacked
        if call.over or (not refreshing and (self._ours or open_offer)):
            raise SipError("The call can't be changed now", do="wait for the change under way to settle")
        if change.method == "UPDATE" and not (call.updates and call.offers.settled and not call.unconfirmed):
            raise SipError("The peer takes no UPDATE now", do="wait for the answer, or change the call by re-INVITE")
        if refreshing:
            self._next = change
        else:
            self._ours = change
            self._send()

    def refresh(self) -> None:
        """Tells the peer that the call still stands (RFC 4028 section 7.4); a change under way does as well."""
        if self._ours is not None:
            self.call.watch.retry(self.call.timer, self.stack.now)
        elif not self.call.over:
            self._ours = Change("UPDATE" if self.call.updates else "INVITE", None)
            self._send()

    def proceed(self) -> None:
        """What stood in the way of a change of ours may be gone."""
        if self._ours and self._request is None and self._alarm is None:
            self._send()

    def stop(self) -> None:
        """The call is over: what they asked gets 487, what we asked is called off."""
        offered = self._withdrawn()
        if offered and offered.transaction:
            offered.transaction.answer(487)
        self._silence()
        if self._sent and self._request and self._request.method == "INVITE":
            self._sent.cancel()
        self._ours = self._next = self._request = None

    def _send(self) -> None:
        change, call = self._ours, self.call
        self._silence()
        if change is None or call.over or self._blocked(change):
            return
        mine = change.mine or (call.offers.mine if change.method == "INVITE" else None)
        body = call.offers.describe(mine) if mine else b""
        headers: list[Header] = [call.contact, ("Allow", ALLOW), self.stack.supported, *call.timer.ask()]
        if body:
            call.offers.turn = Turn.PEER
            headers.append(("Content-Type", SDP_TYPE))
        change.tries += 1
        request = self._request = call.dialog.request(change.method, [*call.signed(change.method), *headers], body)
        sent = self._sent = self.stack.request(request, call.way, lambda response: self._heard(request, response))
        if change.method == "INVITE" and not sent.over:
            self._alarm = self.stack.timers.at(self.stack.now + 64 * self.stack.config.base.t1, sent.cancel)

    def _blocked(self, change: Change) -> bool:
        """Whether it has to wait for `proceed` (14.1, RFC 3311 section 5.1)."""
        call = self.call
        if self.offered or call.offers.turn is not Turn.NOBODY:
            return True
        return change.method == "INVITE" and (len(call.unacked) > 0 or call.dialog.early)

    def _heard(self, request: Request, response: Response) -> None:
        status, call = response.status, self.call
        if status < 200:
            return
        if status < 300:
            call.learn(response)
            if request is self._request and self._sent and self._sent.transaction:
                call.dialog.flow = self._sent.transaction.destination
            if request.method == "INVITE":
                call.send_ack(request)
        change = self._ours
        if call.over or change is None or request is not self._request:
            return
        self._silence()
        self._request = self._sent = None
        call.offers.turn = Turn.NOBODY
        if self._again(change, response):
            self._send()
        elif (wait := self._patience(change, response)) is not None:
            self._alarm = self.stack.timers.at(self.stack.now + wait, self._send)
        else:
            self._settle(change, request, response)

    def _again(self, change: Change, response: Response) -> bool:
        """Whether it may fare better at once: with credentials, a longer session, or by re-INVITE instead of UPDATE."""
        status, call = response.status, self.call
        if status in (401, 407):
            return call.login.take(response)
        if status == 422:
            return call.timer.refused(response)
        if change.mine is None and change.method == "UPDATE" and status in _NO_UPDATE:
            change.method, call.updates = "INVITE", False
            return True
        return False

    def _patience(self, change: Change, response: Response) -> float | None:
        """Seconds until a request that came at the wrong time is sent again; None where it is not."""
        if change.tries >= _MOST_TRIES:
            return None
        if response.status == 491:
            # RFC 3261 14.1: who made the call waits 2.1 to 4 s, the other up to 2 s, in steps of 10 ms
            low, high = (210, 400) if self.call.outgoing else (0, 200)
            return self.stack.rng.randint(low, high) / 100
        seconds = grammar.seconds(response.get("Retry-After"), 3600) if response.status in (500, 503) else None
        return None if seconds is None or seconds > _LONGEST_WAIT_S else float(seconds)

    def _settle(self, change: Change, request: Request, response: Response) -> None:
        call, status = self.call, response.status
        self._ours, self._next = self._next, None
        call.login.settled()
        if status in (408, 481):
            call.vanished()
            return
        if status < 300:
            call.refreshed(response)
            if request.body and not self._answered(change, response):
                return
        elif change.mine is None:
            self.stack.count("refreshes_refused")
            call.watch.retry(self.call.timer, self.stack.now)
        else:
            call.tell(ChangeFailed(call.handle, status, grammar.clean(response.reason)))
        self.proceed()

    def _answered(self, change: Change, response: Response) -> bool:
        """Reads the answer; False where it ended the call."""
        call, before = self.call, self.call.offers.theirs
        try:
            answer = description_of(response)
            media = call.offers.settle(answer)
        except SipError as error:
            if change.mine is None:
                return True
            self.stack.count("bad_answer")
            call.hangup(f"the answer can't be used: {error.what}")
            return False
        if change.mine is not None or answer != before:
            call.tell(ChangeAnswered(call.handle, answer, media))
        return True

    def _silence(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
