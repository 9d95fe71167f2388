"""A call that comes in, until it is answered, refused or given up (RFC 3261 sections 9.2, 13.3, RFC 3262)."""

from __future__ import annotations

from gateway.core.errors import SipError
from gateway.sip import grammar, reliable
from gateway.sip.body import description_of
from gateway.sip.conversation import Conversation
from gateway.sip.dialog import Dialog
from gateway.sip.events import CallCancelled, ChangeAnswered
from gateway.sip.message import Header, Request
from gateway.sip.negotiation import Turn
from gateway.sip.reason import Reason
from gateway.sip.reason import headers as reason_headers
from gateway.sip.reason import read as read_reason
from gateway.sip.reliable import Provisional, Provisionals
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import ALLOW, SDP_TYPE, Credentials, Stack
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction

_SAY_AGAIN_S = 60.0
"""A proxy gives an INVITE up that stays without a provisional response for three minutes (13.3.1.1, 16.6)."""
_SAY_AGAIN_RELIABLY_S = 150.0


class Inbound(Conversation):
    """One INVITE that was let in, and the dialog it becomes. `offer`: what it offers; None asks for our offer."""

    outgoing = False

    def __init__(
        self, stack: Stack, handle: str, dialog: Dialog, invite: Transaction, offer: SessionDescription | None
    ) -> None:
        super().__init__(stack, handle, dialog, Credentials(stack))
        self.invite = invite
        self.offer = offer
        self._own: SessionDescription | None = None
        self._later: SessionDescription | None = None
        self._early = False
        self._provisionals: Provisionals | None = None
        self._alarms: dict[str, Alarm] = {}
        if offer:
            self.offers.turn = Turn.US
        self.learn(invite.request)
        if (life := grammar.number(invite.request.get("Expires"))) is not None:
            self._alarms["expires"] = stack.timers.at(stack.now + life, lambda: self.give_up(Reason("expired")))
        stack.calls[handle] = self
        stack.on_dialog(handle, dialog.call_id)

    @property
    def unconfirmed(self) -> bool:
        return self._provisionals is not None and self._provisionals.described

    @property
    def unanswered(self) -> bool:
        return not self.over and not self.invite.answered

    # --- provisional responses ------------------------------------------------------------------------------------

    def ring(self, mine: SessionDescription | None = None, status: int | None = None) -> None:
        """180, or 183 with early media. Does nothing once a final response was sent or waits to be."""
        if not self.unanswered or self._later:
            return
        self._own = mine or self._own
        reliably = self._reliably(mine is not None)
        body = self._early_body(mine, reliably)
        if reliably and self.offer is None and not body and self._own is None:
            self.stack.count("rings_unsaid")  # the first reliable response would have to hold our offer
            return
        headers: list[Header] = [("Record-Route", value) for value in self.invite.request.all("Record-Route")]
        headers += [self.contact, ("Allow", ALLOW), self.stack.supported]
        if body:
            headers.append(("Content-Type", SDP_TYPE))
        said = Provisional(status or (183 if mine else 180), tuple(headers), body)
        if reliably:
            self._numbered().say(said, self.stack.now)
        else:
            self._say(said)
        self._ring_on(said, reliably)

    def _reliably(self, described: bool) -> bool:
        """Whether the next provisional response has to be acknowledged: where the caller insists, and where it is worth
        it to a caller who knows how."""
        wish, request = self.stack.config.reliable, self.invite.request
        if reliable.TAG in request.tokens("Require"):
            return True
        if reliable.TAG not in request.tokens("Supported"):
            return False
        return wish == "required" or (wish == "supported" and described)

    def _early_body(self, mine: SessionDescription | None, reliably: bool) -> bytes:
        """Our description as a provisional response may hold it; what was said reliably is said once."""
        if mine is None or self._early or (self.offer is None and (not reliably or self.offers.turn is Turn.PEER)):
            return b""
        body = self.offers.describe(mine)
        if not reliably:
            return body  # says beforehand what the 200 will say again
        if self.offer is None:
            self.offers.turn = Turn.PEER
        else:
            self.offers.answered(self.offer)
            self._early = True
        return body

    def _numbered(self) -> Provisionals:
        if self._provisionals is None:
            self._provisionals = Provisionals(
                self.invite.request.cseq[0],
                self.stack.rng.randint(1, 2**31 - 1),
                self.stack.config.base,
                self.stack.timers,
                self._say,
                self._say_again,
                self._no_prack,
            )
        return self._provisionals

    def _say(self, said: Provisional) -> bytes | None:
        sent = self.invite.answer(said.status, headers=said.headers, body=said.body)
        return self.invite.last if sent else None

    def _say_again(self, data: bytes) -> None:
        self.stack.count("retransmitted")
        self.stack.send(data, self.invite.destination)

    def _ring_on(self, said: Provisional, reliably: bool) -> None:
        """Says it again now and then, so that no proxy thinks that nobody is there."""

        def ring() -> None:
            if self.unanswered:
                plain = Provisional(said.status, tuple(h for h in said.headers if h[0] != "Content-Type"), b"")
                if reliably:
                    self._numbered().say(plain, self.stack.now)
                else:
                    self._say(said)
                self._ring_on(said, reliably)

        self._silence("ring")
        wait = _SAY_AGAIN_RELIABLY_S if reliably else _SAY_AGAIN_S
        self._alarms["ring"] = self.stack.timers.at(self.stack.now + wait, ring)

    # --- PRACK ----------------------------------------------------------------------------------------------------

    def _on_prack(self, transaction: Transaction, request: Request) -> None:
        what = reliable.rack(request)
        if what is None:
            self.stack.refuse(transaction, 400, "Bad RAck")
            return
        said = self._provisionals.acknowledge(what) if self._provisionals else None
        if said is None:
            self.stack.refuse(transaction, 481)
        elif said.body and self.offer is None and self.offers.turn is Turn.PEER:
            self._early_answer(transaction, request)
        elif request.body:
            self.changes.receive(transaction, request)
        else:
            transaction.answer(200)
        if self._provisionals:
            self._provisionals.go_on(self.stack.now)
        if self._later and self.unanswered and not self.unconfirmed:
            self._answer(self._later)
        self.changes.proceed()

    def _early_answer(self, transaction: Transaction, request: Request) -> None:
        """The PRACK answers the offer in our 183."""
        try:
            answer = description_of(request)
            media = self.offers.settle(answer)
        except SipError as error:
            self.stack.count("bad_answer")
            self.stack.refuse(transaction, 488)
            self.reject(488, f"the answer in the PRACK can't be used: {error.what}")
            return
        self._early = True
        transaction.answer(200)
        self.tell(ChangeAnswered(self.handle, answer, media))

    def _no_prack(self) -> None:
        self.stack.count("no_prack")
        if self.unanswered:
            self.reject(504, "no PRACK came")

    # --- final responses ------------------------------------------------------------------------------------------

    def answer(self, mine: SessionDescription | None) -> None:
        """200 with our answer, or our offer where the INVITE had none. None: what `ring` said already; what it said
        reliably stands in any case. Waits for the PRACK of a description that is on its way.
        Raises SipError where the call can't be answered any more."""
        mine = mine or self._own
        if not self.unanswered or self._later or mine is None:
            raise SipError("The call can't be answered now", do="answer a call once, after CallOffered, with an SDP")
        if self.unconfirmed:
            self._later = mine
        else:
            self._answer(mine)

    def _answer(self, mine: SessionDescription) -> None:
        self.dialog.early = False
        self._quiet()
        self.accept(self.invite, None if self._early else mine, self.offer, first=True)

    def reject(self, status: int, reason: str | None = None, cause: int = 0) -> None:
        """A final response that is no 2xx. Raises SipError once the call was answered."""
        if not self.unanswered:
            raise SipError("The call can't be rejected now", do="hang up instead")
        self._quiet()
        headers = reason_headers(Reason("", cause))
        if status == 503:
            headers.append(("Retry-After", str(self.stack.rng.randint(5, 30))))
        self.stack.refuse(self.invite, status, grammar.clean(reason) if reason else None, headers)
        self._finish(False, Reason(reason or f"rejected with {status}", cause))
        self.forget()

    def hangup(self, reason: str, cause: int = 0) -> None:
        if self.unanswered:
            self.reject(480, cause=cause)
        else:
            super().hangup(reason, cause)

    # --- the caller gives up --------------------------------------------------------------------------------------

    def cancelled(self, transaction: Transaction, reason: Reason) -> None:
        if transaction is not self.invite:
            super().cancelled(transaction, reason)
        elif self.unanswered:
            self.stack.count("cancelled")
            self.give_up(reason)

    def give_up(self, reason: Reason) -> None:
        """487: the caller wants no answer any more, or waited long enough."""
        if not self.unanswered:
            return
        self._quiet()
        self.invite.answer(487)
        self.changes.stop()
        self.over = True
        self.stack.calls.pop(self.handle, None)
        self.tell(CallCancelled(self.handle, *reason))
        self.forget()

    def _on_bye(self, transaction: Transaction, request: Request) -> None:
        if self.unanswered:
            transaction.answer(200)
            self.give_up(read_reason(request))
        else:
            super()._on_bye(transaction, request)

    def _quiet(self) -> None:
        """No provisional response is sent any more."""
        if self._provisionals:
            self._provisionals.stop()
        for name in list(self._alarms):
            self._silence(name)

    def _silence(self, name: str) -> None:
        alarm = self._alarms.pop(name, None)
        if alarm:
            alarm.cancel()
