"""One INVITE dialog from inside: 2xx until ACK, BYE, re-INVITE both ways, UPDATE, INFO keys (RFC 3261 13-15, 3311)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.core.errors import SipError
from gateway.sip import grammar, keys, offer_answer, sdp
from gateway.sip.body import ACCEPTED, description_of, read_offer
from gateway.sip.dialog import Dialog
from gateway.sip.events import (
    CallConfirmed,
    CallEnded,
    ChangeAnswered,
    ChangeFailed,
    InfoDigit,
    OfferChanged,
)
from gateway.sip.message import Header, Request, Response
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import ALLOW, KNOWN_METHODS, SDP_TYPE, Credentials, Stack
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri

if TYPE_CHECKING:
    from gateway.sip.refer import Asked


class Unacked:
    """A 2xx of ours that waits for its ACK. `offer`: it held our offer, so the ACK holds the answer."""

    def __init__(self, transaction: Transaction, offer: bool, first: bool, alarm: Alarm) -> None:
        self.transaction = transaction
        self.offer = offer
        self.first = first
        self.interval = 0.0
        self.again: Alarm | None = None
        self.give_up = alarm

    def stop(self) -> None:
        self.give_up.cancel()
        if self.again:
            self.again.cancel()


class Conversation:
    """The dialog of a call. `mine`, `theirs`: the descriptions last settled. `outgoing`: whether we called."""

    outgoing = True

    def __init__(self, stack: Stack, handle: str, dialog: Dialog, login: Credentials) -> None:
        self.stack = stack
        self.handle = handle
        self.dialog = dialog
        self.login = login
        self.over = False
        self.asked: Asked | None = None
        """The transfer that we asked the peer for."""
        self.mine: SessionDescription | None = None
        self.theirs: SessionDescription | None = None
        self._session_id = str(stack.rng.getrandbits(48))
        self._version = 0
        self._unacked: dict[int, Unacked] = {}
        self._change_in: Transaction | None = None
        self._offer_in: SessionDescription | None = None
        self._change_out: SessionDescription | None = None
        self._change_sent: Request | None = None
        self._bye_later: str | None = None
        stack.dialogs[dialog.id] = self

    # --- what the user asks for -----------------------------------------------------------------------------------

    def hangup(self, reason: str) -> None:
        """BYE; before the ACK for our 2xx has come, as soon as it has (RFC 3261 section 15)."""
        if self.over:
            return
        self._finish(False, reason)
        if any(wait.first for wait in self._unacked.values()):
            self._bye_later = reason
        else:
            self.bye(reason)

    def change(self, mine: SessionDescription) -> None:
        """Offers a new description by re-INVITE. Raises SipError while another change is on its way."""
        if self.over or self.dialog.early or self._change_out or self._change_in or self._unacked:
            raise SipError("The call can't be changed now", do="wait for the change under way to settle")
        self._change_out = mine
        self._send_change()

    def accept_change(self, mine: SessionDescription) -> None:
        """Answers the OfferChanged at hand. Raises SipError where none is."""
        transaction, theirs = self._change_in, self._offer_in
        if transaction is None or self.over:
            raise SipError("No change was offered")
        self._change_in = self._offer_in = None
        if theirs is not None:
            self.theirs = theirs
        self.accept(transaction, mine, theirs)

    def reject_change(self, status: int = 488) -> None:
        transaction, self._change_in, self._offer_in = self._change_in, None, None
        if transaction is None:
            raise SipError("No change was offered")
        self.stack.refuse(transaction, status)

    def offered(self, mine: SessionDescription) -> None:
        """Our INVITE's offer, as it was sent: later descriptions count on from its o= line."""
        self.mine, self._session_id, self._version = mine, mine.id, int(mine.version)

    @property
    def settled(self) -> offer_answer.Pair | None:
        """Both descriptions, once there are two."""
        return (self.mine, self.theirs) if self.mine and self.theirs else None

    # --- 2xx and ACK ----------------------------------------------------------------------------------------------

    def describe(self, mine: SessionDescription) -> bytes:
        """The body for a description of ours: our own o= line, its version one more when anything changed."""
        draft = sdp.replace_origin(mine, self._session_id, str(self._version))
        if self.mine is None or draft != self.mine:
            self._version += 1
            draft = sdp.replace_origin(mine, self._session_id, str(self._version))
        self.mine = draft
        return draft.encode()

    def accept(
        self, transaction: Transaction, mine: SessionDescription, theirs: SessionDescription | None, first: bool = False
    ) -> None:
        """Answers an INVITE or UPDATE with 200; the 200 to an INVITE is repeated until its ACK (13.3.1.4)."""
        body = self.describe(mine)
        request = transaction.request
        routes = [("Record-Route", value) for value in request.all("Record-Route")]
        headers: list[Header] = [*routes, self.stack.contact, ("Allow", ALLOW), ("Content-Type", SDP_TYPE)]
        transaction.answer(200, headers=tuple(headers), body=body)
        if request.method != "INVITE":
            return
        number, base = request.cseq[0], self.stack.config.base
        give_up = self.stack.timers.at(self.stack.now + 64 * base.t1, lambda: self._no_ack(number))
        wait = self._unacked[number] = Unacked(transaction, theirs is None, first, give_up)
        self._repeat(wait, base.t1)

    def _repeat(self, wait: Unacked, interval: float) -> None:
        def again() -> None:
            self.stack.count("retransmitted")
            self.stack.send(wait.transaction.last, wait.transaction.destination)
            self._repeat(wait, min(2 * interval, self.stack.config.base.t2))

        wait.again = self.stack.timers.at(self.stack.now + interval, again)

    def _no_ack(self, number: int) -> None:
        wait = self._unacked.pop(number)
        wait.stop()
        self.stack.count("no_ack")
        if self._bye_later is None:
            self._finish(False, "no ACK came")
            self.bye("no ACK")
        else:
            self.bye(self._bye_later)

    def ack(self, request: Request) -> None:
        wait = self._unacked.pop(request.cseq[0], None)
        if wait is None:
            return
        wait.stop()
        if self._bye_later is not None:
            reason, self._bye_later = self._bye_later, None
            self.bye(reason)
        elif not self.over:
            self._acked(wait, request)

    def _acked(self, wait: Unacked, request: Request) -> None:
        answer = media = None
        if wait.offer:
            try:
                answer = description_of(request)
                media = offer_answer.agreed(self.mine or answer, answer, self.stack.config.codecs)
            except SipError as error:
                self.stack.count("bad_answer")
                self.hangup(f"the answer in the ACK can't be used: {error.what}")
                return
            self.theirs = answer
        if wait.first:
            self.stack.emit(CallConfirmed(self.handle, answer, media))
        elif answer and media:
            self.stack.emit(ChangeAnswered(self.handle, answer, media))

    # --- requests that come in ------------------------------------------------------------------------------------

    def receive(self, transaction: Transaction, request: Request) -> None:
        """A request inside the dialog, not a retransmission."""
        number = request.cseq[0]
        if self.dialog.remote_seq is not None and number <= self.dialog.remote_seq:
            self.stack.refuse(transaction, 500, "CSeq Out Of Order")
            return
        self.dialog.remote_seq = number
        if request.items("Require"):
            self.stack.refuse(transaction, 420, headers=[("Unsupported", ", ".join(request.items("Require")))])
            return
        handlers: dict[str, Callable[[Transaction, Request], None]] = {
            "BYE": self._on_bye,
            "INVITE": self._on_offer,
            "UPDATE": self._on_offer,
            "INFO": self._on_info,
            "OPTIONS": self._on_options,
        }
        handler = handlers.get(request.method)
        elsewhere = self.stack.in_dialog.get(request.method)
        if self.over and request.method != "BYE":
            self.stack.refuse(transaction, 481)
        elif handler:
            handler(transaction, request)
        elif elsewhere:
            elsewhere(self, transaction, request)
        else:
            status = 405 if request.method in KNOWN_METHODS else 501
            self.stack.refuse(transaction, status, headers=[("Allow", ALLOW)])

    def _on_bye(self, transaction: Transaction, request: Request) -> None:
        transaction.answer(200)
        self._finish(True, peer_reason(request) or "hung up")
        self._bye_later = None
        self.forget()

    def _on_options(self, transaction: Transaction, request: Request) -> None:
        transaction.answer(200, headers=(("Allow", ALLOW), ("Accept", ACCEPTED)))

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
            self.stack.emit(InfoDigit(self.handle, key, ms))

    def _on_offer(self, transaction: Transaction, request: Request) -> None:
        """A re-INVITE (14.2) or UPDATE (RFC 3311 5.2)."""
        if self._change_sent or any(wait.offer for wait in self._unacked.values()):
            self.stack.refuse(transaction, 491)
        elif self._change_in or (self.dialog.early and (request.body or request.method == "INVITE")):
            after = str(self.stack.rng.randint(0, 10))
            self.stack.refuse(transaction, 500, headers=[("Retry-After", after)])
        elif request.method == "UPDATE" and not request.body:
            self.dialog.refresh(request)
            transaction.answer(200, headers=(self.stack.contact, ("Allow", ALLOW)))
        else:
            offer, problem = read_offer(self.stack, request, self.settled)
            if problem:
                self.stack.refuse(transaction, problem[0], problem[1], problem[2])
                return
            self.dialog.refresh(request)
            if request.method == "INVITE":
                transaction.answer(100)
            self._change_in, self._offer_in = transaction, offer
            self.stack.emit(OfferChanged(self.handle, offer))

    def cancelled(self, transaction: Transaction, reason: str = "") -> None:
        """A CANCEL for an INVITE inside this dialog: the change is off."""
        if transaction is self._change_in:
            self._change_in = self._offer_in = None
        transaction.answer(487)

    # --- requests that go out -------------------------------------------------------------------------------------

    @property
    def way(self) -> list[Place | Uri]:
        """Where requests inside the dialog go."""
        return self.dialog.way

    def bye(self, reason: str) -> None:
        """Sends BYE and forgets the dialog when it is answered or given up."""
        headers: list[Header] = [("Reason", f"SIP;text={grammar.quote(reason)}")] if reason else []
        self.ask("BYE", headers, b"", lambda response: self.forget())

    def ask(self, method: str, headers: Sequence[Header], body: bytes, done: Callable[[Response], None]) -> None:
        """A request inside the dialog, challenges answered; `done` gets its final response."""
        request = self.dialog.request(method, [*headers, *self._signed(method)], body)

        def heard(response: Response) -> None:
            if response.status in (401, 407) and self.login.take(response):
                self.ask(method, headers, body, done)
            elif response.status >= 200:
                self.login.settled()
                done(response)

        self.stack.request(request, self.way, heard)

    def _signed(self, method: str) -> list[Header]:
        return self.login.headers(method, str(self.dialog.target))

    def _send_change(self) -> None:
        if self._change_out is None or self.over:
            return
        if self._change_in or self._unacked:  # theirs goes first
            self.stack.after(self.stack.config.base.t1, self._send_change)
            return
        body = self.describe(self._change_out)
        headers = [*self._signed("INVITE"), self.stack.contact, ("Allow", ALLOW), ("Content-Type", SDP_TYPE)]
        request = self._change_sent = self.dialog.request("INVITE", headers, body)
        sent = self.stack.request(request, self.way, lambda response: self._on_change(request, response))
        if not sent.over:
            self.stack.after(64 * self.stack.config.base.t1, sent.expire)

    def _on_change(self, request: Request, response: Response) -> None:
        status = response.status
        if status < 200:
            return
        if status < 300:
            self.dialog.refresh(response)
            self.send_ack(request)
        if self.over or self._change_out is None or request is not self._change_sent:
            return
        if status in (401, 407) and self.login.take(response):
            self._send_change()
        elif status == 491:
            self._change_sent = None
            # RFC 3261 14.1: who made the call waits 2.1 to 4 s, the other up to 2 s, in steps of 10 ms
            low, high = (210, 400) if self.outgoing else (0, 200)
            self.stack.after(self.stack.rng.randint(low, high) / 100, self._send_change)
        else:
            self._settle_change(response)

    def _settle_change(self, response: Response) -> None:
        self._change_out = self._change_sent = None
        self.login.settled()
        if response.status in (408, 481):
            self.hangup("the peer no longer knows the call")
            return
        if response.status >= 300:
            self.stack.emit(ChangeFailed(self.handle, response.status, grammar.clean(response.reason)))
            return
        try:
            answer = description_of(response)
            media = offer_answer.agreed(self.mine or answer, answer, self.stack.config.codecs)
        except SipError as error:
            self.stack.count("bad_answer")
            self.hangup(f"the answer can't be used: {error.what}")
            return
        self.theirs = answer
        self.stack.emit(ChangeAnswered(self.handle, answer, media))

    def send_ack(self, invite: Request) -> None:
        """ACK for a 2xx: each repeated 2xx gets one more."""
        login = [(name, value) for name, value in invite.headers if name in ("Authorization", "Proxy-Authorization")]
        self.stack.forward(self.dialog.request("ACK", login, seq=invite.cseq[0]), self.way)

    # --- the end --------------------------------------------------------------------------------------------------

    def _finish(self, by_peer: bool, reason: str) -> None:
        """Tells the user, once, and lets go of what is pending."""
        if self._change_in:
            self._change_in.answer(487)
            self._change_in = self._offer_in = None
        if by_peer:
            for wait in self._unacked.values():
                wait.stop()
            self._unacked.clear()
        if self.asked:
            self.asked.stop()
        if not self.over:
            self.over = True
            self.stack.calls.pop(self.handle, None)
            self.stack.emit(CallEnded(self.handle, by_peer, reason))

    def forget(self) -> None:
        self.over = True
        self.stack.dialogs.pop(self.dialog.id, None)


def peer_reason(request: Request) -> str:
    """The text of a Reason header (RFC 3326), else its cause, else nothing."""
    for value in request.items("Reason"):
        try:
            protocol, *_ = grammar.split(value, ";")
            given = grammar.params(value[len(protocol) :].lstrip(" ;"))
        except (SipError, ValueError):
            continue
        text = grammar.unquote(grammar.find(given, "text") or "")
        return grammar.clean(text or f"{protocol} {grammar.find(given, 'cause') or ''}")
    return ""
