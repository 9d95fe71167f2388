"""One INVITE dialog from inside: what comes and goes in it, 2xx until ACK, BYE, keys (RFC 3261 sections 12 to 15)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from gateway.core.errors import SipError
from gateway.sip import keys
from gateway.sip.body import ACCEPTED, description_of
from gateway.sip.changes import Changes
from gateway.sip.dialog import Dialog
from gateway.sip.events import CallConfirmed, CallEnded, ChangeAnswered, InfoDigit, SipEvent
from gateway.sip.message import METHODS, Header, Request, Response
from gateway.sip.negotiation import Negotiation, Turn
from gateway.sip.place import Place
from gateway.sip.reason import Reason
from gateway.sip.reason import headers as reason_headers
from gateway.sip.reason import read as read_reason
from gateway.sip.sdp import SessionDescription
from gateway.sip.session_timer import SessionTimer, Watch
from gateway.sip.stack import ALLOW, SDP_TYPE, Credentials, Stack
from gateway.sip.transaction import Transaction
from gateway.sip.unacked import Unacked, Wait
from gateway.sip.uri import Uri

if TYPE_CHECKING:
    from gateway.sip.refer import Asked

_TIMED_OUT = 102
"""Q.850: recovery on timer expiry."""
_OF_THE_CALL = frozenset(("INFO", "UPDATE"))
"""Requests whose 408 or 481 says that the call is gone (RFC 3261 12.2.1.2, RFC 5057); those of other usages don't."""


class Conversation:
    """The dialog of a call. `outgoing`: whether we called. `updates`: the peer takes UPDATE."""

    outgoing = True
    _HANDLERS: ClassVar[dict[str, str]] = {
        "BYE": "_on_bye",
        "INVITE": "_on_offer",
        "UPDATE": "_on_offer",
        "PRACK": "_on_prack",
        "INFO": "_on_info",
        "OPTIONS": "_on_options",
    }

    def __init__(self, stack: Stack, handle: str, dialog: Dialog, login: Credentials) -> None:
        self.stack = stack
        self.handle = handle
        self.dialog = dialog
        self.login = login
        self.contact: Header = stack.contact_for(dialog.sips)
        self.over = False
        self.updates = False
        self.asked: Asked | None = None
        """The transfer that we asked the peer for."""
        self.offers = Negotiation(stack)
        self.unacked = Unacked(stack, self._no_ack)
        self.changes = Changes(self)
        self.timer = SessionTimer(stack.config.session_expires, stack.config.min_se)
        self.watch = Watch(stack.timers, self.changes.refresh, self._ran_out)
        self._bye_later: Reason | None = None
        stack.dialogs[dialog.id] = self

    @property
    def unconfirmed(self) -> bool:
        """Whether a description of ours is on its way in a reliable provisional response."""
        return False

    def tell(self, event: SipEvent) -> None:
        """An event for our user."""
        self.stack.emit(event)

    # --- what the user asks for -----------------------------------------------------------------------------------

    def hangup(self, reason: str, cause: int = 0) -> None:
        """BYE; before the ACK for our 2xx has come, as soon as it has (RFC 3261 section 15)."""
        if self.over:
            return
        self._finish(False, Reason(reason, cause))
        if self.unacked.first:
            self._bye_later = Reason(reason, cause)
        else:
            self.bye(reason, cause)

    def change(self, mine: SessionDescription, update: bool = False) -> None:
        """Offers a new description. Raises SipError while another change is on its way."""
        self.changes.change(mine, update)

    def accept_change(self, mine: SessionDescription) -> None:
        """Answers the OfferChanged at hand. Raises SipError where none is."""
        self.changes.accept(mine)

    def reject_change(self, status: int = 488) -> None:
        self.changes.reject(status)

    # --- 2xx and ACK ----------------------------------------------------------------------------------------------

    def accept(
        self,
        transaction: Transaction,
        mine: SessionDescription | None,
        offer: SessionDescription | None,
        first: bool = False,
    ) -> None:
        """Answers an INVITE, UPDATE or PRACK with 200. `mine` answers `offer`, or is an offer where there is none; None
        where nothing is to be said. The 200 to an INVITE is repeated until its ACK (13.3.1.4)."""
        request = transaction.request
        headers: list[Header] = []
        if request.method != "PRACK":
            headers = [("Record-Route", value) for value in request.all("Record-Route")]
            headers += [self.contact, ("Allow", ALLOW), self.stack.supported, *self.timer.answer(request)]
            self.watch.restart(self.timer, self.stack.now)
        body = b""
        if mine is not None:
            body = self.offers.describe(mine)
            headers.append(("Content-Type", SDP_TYPE))
            if offer is None:
                self.offers.turn = Turn.PEER
            else:
                self.offers.answered(offer)
        transaction.answer(200, headers=tuple(headers), body=body)
        if request.method == "INVITE":
            self.unacked.add(transaction, mine is not None and offer is None, first)

    def _no_ack(self, wait: Wait) -> None:
        if self._bye_later is not None:
            reason, self._bye_later = self._bye_later, None
            self.bye(*reason)
        elif not self.over:
            self._finish(False, Reason("no ACK came", _TIMED_OUT))
            self.bye("no ACK", _TIMED_OUT)

    def ack(self, request: Request) -> None:
        wait = self.unacked.acked(request.cseq[0])
        if wait is None:
            return
        if self._bye_later is not None:
            reason, self._bye_later = self._bye_later, None
            self.bye(*reason)
        elif not self.over:
            self._acked(wait, request)
            self.changes.proceed()

    def _acked(self, wait: Wait, request: Request) -> None:
        answer = media = None
        if wait.offering:
            try:
                answer = description_of(request)
                media = self.offers.settle(answer)
            except SipError as error:
                self.stack.count("bad_answer")
                self.hangup(f"the answer in the ACK can't be used: {error.what}")
                return
        if wait.first:
            self.tell(CallConfirmed(self.handle, answer, media))
        elif answer and media:
            self.tell(ChangeAnswered(self.handle, answer, media))

    # --- requests that come in ------------------------------------------------------------------------------------

    def receive(self, transaction: Transaction, request: Request) -> None:
        """A request inside the dialog, not a retransmission."""
        number, method = request.cseq[0], request.method
        if self.dialog.remote_seq is not None and number <= self.dialog.remote_seq:
            self.stack.refuse(transaction, 500, "CSeq Out Of Order")
            return
        self.dialog.remote_seq = number
        own, elsewhere = self._HANDLERS.get(method), self.stack.in_dialog.get(method)
        if unknown := self.stack.unsupported(request):
            self.stack.refuse(transaction, 420, headers=[("Unsupported", ", ".join(unknown))])
        elif self.over and method != "BYE":
            self.stack.refuse(transaction, 481)
        elif own:
            getattr(self, own)(transaction, request)
        elif elsewhere:
            elsewhere(self, transaction, request)
        else:
            status = 405 if method in METHODS else 501
            self.stack.refuse(transaction, status, headers=[("Allow", ALLOW)])

    def _on_bye(self, transaction: Transaction, request: Request) -> None:
        transaction.answer(200)
        reason = read_reason(request)
        self._finish(True, Reason(reason.text or "hung up", reason.cause))
        self._bye_later = None
        self.forget()

    def _on_options(self, transaction: Transaction, request: Request) -> None:
        transaction.answer(200, headers=(("Allow", ALLOW), ("Accept", ACCEPTED), self.stack.supported))

    def _on_info(self, transaction: Transaction, request: Request) -> None:
        if request.get("Info-Package"):
            self.stack.refuse(transaction, 469, headers=[("Recv-Info", "")])
        elif not request.body:
            transaction.answer(200)
        elif request.content_type not in keys.TYPES:
            self.stack.refuse(transaction, 415, headers=[("Accept", ", ".join(keys.TYPES))])
        else:
            try:
                key, ms = keys.read(request.content_type, request.body)
            except SipError:
                self.stack.refuse(transaction, 400, "Bad Signal")
                return
            transaction.answer(200)
            self.tell(InfoDigit(self.handle, key, ms))

    def _on_offer(self, transaction: Transaction, request: Request) -> None:
        self.changes.receive(transaction, request)

    def _on_prack(self, transaction: Transaction, request: Request) -> None:
        self.stack.refuse(transaction, 481)

    def cancelled(self, transaction: Transaction, reason: Reason) -> None:
        """A CANCEL for an INVITE inside this dialog: the change is off."""
        self.changes.cancelled(transaction)

    def learn(self, message: Request | Response) -> None:
        """What INVITE, UPDATE and the answers to them say of the peer: its Contact, and whether it takes UPDATE."""
        if message.cseq[1] != "PRACK":
            self.dialog.refresh(message)
        allow = message.get("Allow")
        if allow is not None:
            self.updates = "UPDATE" in allow

    # --- requests that go out -------------------------------------------------------------------------------------

    @property
    def way(self) -> list[Place | Uri]:
        """Where requests inside the dialog go."""
        return self.dialog.way

    def bye(self, reason: str, cause: int = 0) -> None:
        """Sends BYE and forgets the dialog when it is answered or given up."""
        self.ask("BYE", reason_headers(Reason(reason, cause)), b"", lambda response: self.forget())

    def ask(self, method: str, headers: Sequence[Header], body: bytes, done: Callable[[Response], None]) -> None:
        """A request inside the dialog, challenges answered; `done` gets its final response."""
        request = self.dialog.request(method, [*headers, *self.signed(method)], body)

        def heard(response: Response) -> None:
            if response.status in (401, 407) and self.login.take(response):
                self.ask(method, headers, body, done)
            elif response.status >= 200:
                self.login.settled()
                done(response)
                if response.status in (408, 481) and method in _OF_THE_CALL:
                    self.vanished()

        self.stack.request(request, self.way, heard)

    def signed(self, method: str) -> list[Header]:
        """Credentials for the next request."""
        return self.login.headers(method, self.dialog.uri)

    def send_ack(self, invite: Request, body: bytes = b"") -> None:
        """ACK for a 2xx: each repeated 2xx gets one more."""
        headers = [(name, value) for name, value in invite.headers if name in ("Authorization", "Proxy-Authorization")]
        if body:
            headers.append(("Content-Type", SDP_TYPE))
        self.stack.forward(self.dialog.request("ACK", headers, body, seq=invite.cseq[0]), self.way, self.dialog.flow)

    # --- the end --------------------------------------------------------------------------------------------------

    def refreshed(self, response: Response) -> None:
        """A 2xx to an INVITE or UPDATE of ours: the session timer runs anew."""
        self.timer.answered(response)
        self.watch.restart(self.timer, self.stack.now)

    def _ran_out(self) -> None:
        self.stack.count("sessions_expired")
        self.hangup("the session expired", _TIMED_OUT)

    def vanished(self) -> None:
        """The peer no longer knows the call, or answers nothing any more (12.2.1.2)."""
        self.hangup("the peer no longer knows the call")

    def _finish(self, by_peer: bool, reason: Reason) -> None:
        """Tells the user, once, and lets go of what is pending."""
        self.changes.stop()
        self.watch.stop()
        if by_peer:
            self.unacked.stop()
        if self.asked:
            self.asked.stop()
        if not self.over:
            self.over = True
            self.stack.calls.pop(self.handle, None)
            self.tell(CallEnded(self.handle, by_peer, *reason))

    def forget(self) -> None:
        self.over = True
        self.watch.stop()
        self.unacked.stop()
        self.stack.dialogs.pop(self.dialog.id, None)
