"""The dialog with one phone that an INVITE of ours reached (RFC 3261 12.1.2, 13.2.2.4, RFC 3262 section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import SipError
from gateway.sip import reliable, sdp
from gateway.sip.body import session_of
from gateway.sip.changes import Offered
from gateway.sip.conversation import Conversation
from gateway.sip.dialog import Dialog
from gateway.sip.events import OfferChanged, SipEvent
from gateway.sip.message import Header, Request, Response
from gateway.sip.negotiation import Turn
from gateway.sip.offer_answer import Agreed, agreed
from gateway.sip.reason import Reason
from gateway.sip.reason import read as read_reason
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import SDP_TYPE
from gateway.sip.transaction import Transaction

if TYPE_CHECKING:
    from gateway.sip.attempt import Attempt

Heard = tuple[SessionDescription, Agreed]


class Branch(Conversation):
    """A forking proxy makes several of one INVITE; the first that answers is the call, then `won`."""

    def __init__(self, attempt: Attempt, dialog: Dialog) -> None:
        super().__init__(attempt.stack, attempt.call.handle, dialog, attempt.login)
        self.attempt = attempt
        self.timer = attempt.timer
        self.won = False
        if attempt.target.contact:
            self.contact = "Contact", attempt.target.contact
        self._order = reliable.Order()
        self._preview: Heard | None = None
        self._settled: Heard | None = None
        self._ack = b""
        self._late: Request | None = None
        if attempt.offer:
            self.offers.began(attempt.offer)

    def tell(self, event: SipEvent) -> None:
        if self.won or not isinstance(event, OfferChanged):
            super().tell(event)
        else:
            self.attempt.call.asked(self, event)

    # --- provisional responses ------------------------------------------------------------------------------------

    def provisional(self, request: Request, response: Response) -> Heard | None:
        """What a provisional response with a To tag settles or says beforehand. Reliable ones are acknowledged in
        order; one out of order is passed over as if it never came: raises SipError."""
        number = reliable.rseq(response)
        if number is not None and not self._order.takes(number):
            self.stack.count("provisionals_out_of_order")
            raise SipError("A reliable provisional response came out of order")
        self.learn(response)
        heard, description = None, self._read(response)
        if description and self.offers.turn is Turn.PEER and not self._settled:
            heard = self._early_media(description, number is not None)
        elif description and number is not None and self.attempt.call.offer is None and not self.offers.theirs:
            self._offered_early(description, request, number)
            return None
        if number is not None:
            self._acknowledge(request, number)
        return heard

    def _read(self, response: Response) -> SessionDescription | None:
        try:
            text = session_of(response)
            return sdp.parse(text) if text is not None else None
        except SipError:
            self.stack.count("bad_answer")
            return None

    def _early_media(self, description: SessionDescription, reliably: bool) -> Heard | None:
        try:
            if reliably:
                self._settled = description, self.offers.settle(description)
                return self._settled
            self._preview = description, self.offers.agreed(description)
            return self._preview
        except SipError:
            self.stack.count("bad_answer")
            return None

    def _offered_early(self, offer: SessionDescription, request: Request, number: int) -> None:
        def take(mine: SessionDescription) -> None:
            self._settled = offer, agreed(mine, offer, self.stack.config.codecs)
            body = self.offers.describe(mine)
            self.offers.answered(offer)
            self._acknowledge(request, number, body)

        self.changes.propose(Offered(offer, take, lambda status: self.attempt.call_off(status)))

    def _acknowledge(self, request: Request, number: int, body: bytes = b"", tries: int = 3) -> None:
        """PRACK. Where it overtook another request of ours and was refused for that (12.2.2), it is sent again."""

        def done(response: Response) -> None:
            if response.status < 300 or self.over:
                return
            self.stack.count("pracks_refused")
            if response.status == 500 and tries:
                self.stack.after(self.stack.config.base.t1, lambda: self._acknowledge(request, number, body, tries - 1))

        headers: list[Header] = [("RAck", f"{number} {request.cseq[0]} INVITE")]
        if body:
            headers.append(("Content-Type", SDP_TYPE))
        self.ask("PRACK", headers, body, done)

    # --- the answer -----------------------------------------------------------------------------------------------

    def answered(self, request: Request, response: Response) -> bool:
        """A 2xx: the first confirms the dialog, which gives True; later ones get one more ACK."""
        if not self.dialog.early:
            if self._late is None:
                self.send_ack(request, self._ack)
            return False
        self.over = False
        self.stack.dialogs[self.dialog.id] = self
        self.dialog.confirm(response)
        self.learn(response)
        return True

    def take_answer(self, request: Request, response: Response) -> None:
        """Reads what the 2xx that makes this the call settles. ACK at once, or with our answer to its offer."""
        call = self.attempt.call
        self.refreshed(response)
        description = self._read(response)
        if call.offer is None and not self._settled:
            if description is None:
                self.send_ack(request)
                self.attempt.unusable(self)
            else:
                self._offered_late(description, request)
            return
        self.send_ack(request)
        heard = self._settled or (self._late_media(description) if description else self._preview)
        if heard is None:
            self.attempt.unusable(self)
            return
        if not self._settled:
            self.offers.settle(heard[0])
        call.won(self, *heard)

    def _late_media(self, description: SessionDescription) -> Heard | None:
        try:
            return description, self.offers.agreed(description)
        except SipError:
            return None

    def _offered_late(self, offer: SessionDescription, request: Request) -> None:
        self._late = request

        def take(mine: SessionDescription) -> None:
            media = agreed(mine, offer, self.stack.config.codecs)
            self._late, self._ack = None, self.offers.describe(mine)
            self.offers.answered(offer)
            self.send_ack(request, self._ack)
            self.attempt.call.won(self, offer, media)

        self.changes.propose(Offered(offer, take, lambda status: self.attempt.unusable(self)))

    # --- the end --------------------------------------------------------------------------------------------------

    def leave(self, reason: Reason) -> None:
        """BYE to a phone whose answer nobody wants any more; the ACK comes first where it still waits."""
        self._acknowledge_late()
        self.over = True
        self.changes.stop()
        self.watch.stop()
        self.bye(*reason)

    def _acknowledge_late(self) -> None:
        """The ACK that was kept for our answer, without one."""
        if self._late is not None:
            late, self._late = self._late, None
            self.send_ack(late)

    def hangup(self, reason: str, cause: int = 0) -> None:
        if self.won:
            super().hangup(reason, cause)
        else:
            self.forget()

    def forget(self) -> None:
        self.changes.stop()
        super().forget()

    def _on_bye(self, transaction: Transaction, request: Request) -> None:
        """A phone that has not answered may not say BYE; when it does it is gone, and the INVITE goes on. One whose
        answer waits for ours takes the call with it."""
        if self.won or self.over:
            super()._on_bye(transaction, request)
            return
        transaction.answer(200)
        self._acknowledge_late()
        self.forget()
        if not self.dialog.early:
            self.attempt.deserted(read_reason(request))
