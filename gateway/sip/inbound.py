"""A call that comes in, until it is answered, refused or given up (RFC 3261 sections 9.2, 13.3)."""

from __future__ import annotations

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.conversation import Conversation, peer_reason
from gateway.sip.dialog import Dialog
from gateway.sip.events import CallCancelled
from gateway.sip.message import Header, Request
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import ALLOW, SDP_TYPE, Credentials, Stack
from gateway.sip.transaction import Transaction


class Inbound(Conversation):
    """One INVITE that was let in, and the dialog it becomes."""

    outgoing = False

    def __init__(
        self, stack: Stack, handle: str, dialog: Dialog, invite: Transaction, offer: SessionDescription | None
    ) -> None:
        super().__init__(stack, handle, dialog, Credentials(stack))
        self.invite = invite
        self.theirs = offer
        stack.calls[handle] = self

    def ring(self, mine: SessionDescription | None = None, status: int | None = None) -> None:
        """180, or 183 with early media. Does nothing once a final response was sent."""
        body = self.describe(mine) if mine else b""
        routes = [("Record-Route", value) for value in self.invite.request.all("Record-Route")]
        headers: list[Header] = [*routes, self.stack.contact, ("Allow", ALLOW)]
        if body:
            headers.append(("Content-Type", SDP_TYPE))
        self.invite.answer(status or (183 if mine else 180), headers=tuple(headers), body=body)

    def answer(self, mine: SessionDescription | None) -> None:
        """200 with our answer, or our offer where the INVITE had none. None: what `ring` said already.
        Raises SipError where the call can't be answered any more."""
        mine = mine or self.mine
        if self.over or self.invite.answered or mine is None:
            raise SipError("The call can't be answered now", do="answer a call once, after CallOffered, with an SDP")
        self.dialog.early = False
        self.accept(self.invite, mine, self.theirs, first=True)

    def reject(self, status: int, reason: str | None = None) -> None:
        """A final response that is no 2xx. Raises SipError once the call was answered."""
        if self.over or self.invite.answered:
            raise SipError("The call can't be rejected now", do="hang up instead")
        self.stack.refuse(self.invite, status, grammar.clean(reason) if reason else None)
        self._finish(False, reason or f"rejected with {status}")
        self.forget()

    def hangup(self, reason: str) -> None:
        if not self.over and not self.invite.answered:
            self.reject(480)
        else:
            super().hangup(reason)

    def cancelled(self, transaction: Transaction, reason: str = "") -> None:
        if transaction is not self.invite:
            super().cancelled(transaction, reason)
        elif not self.invite.answered:
            self.stack.count("cancelled")
            self.invite.answer(487)
            self.over = True
            self.stack.calls.pop(self.handle, None)
            self.stack.emit(CallCancelled(self.handle, reason))
            self.forget()

    def _on_bye(self, transaction: Transaction, request: Request) -> None:
        if self.invite.answered:
            super()._on_bye(transaction, request)
        else:
            transaction.answer(200)
            self.cancelled(self.invite, peer_reason(request))
