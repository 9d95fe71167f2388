"""One INVITE of ours on its way to one phone: its retries, its branches, its CANCEL (RFC 3261 8.1.3, 9.1, 13.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.errors import SipError
from gateway.sip import grammar, reliable
from gateway.sip.auth import Account
from gateway.sip.branch import Branch
from gateway.sip.dialog import Dialog
from gateway.sip.message import Header, Request, Response
from gateway.sip.offer_answer import limited
from gateway.sip.place import Place
from gateway.sip.reason import ELSEWHERE, Reason
from gateway.sip.reason import headers as reason_headers
from gateway.sip.reason import read as read_reason
from gateway.sip.sent import Sent
from gateway.sip.session_timer import SessionTimer
from gateway.sip.stack import ALLOW, SDP_TYPE, Credentials
from gateway.sip.timers import Alarm
from gateway.sip.uri import Uri, parse_address

if TYPE_CHECKING:
    from gateway.sip.outbound import Outbound

_MOST_BRANCHES = 16
"""Early dialogs of one INVITE: as many phones as it is let ring at once."""
_USE_PROXY = 305
"""Nobody's word makes us send calls through another proxy."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an INVITE may go: `uri` is its Request-URI, `to` the first hop, `routes` its Route headers; `peer`: where a
    phone registered from; `q` its liking from 0 to 1. `lost` is told where nothing answered; `then`: another way to the
    same phone."""

    uri: Uri
    to: Place | Uri | Sequence[Place | Uri]
    routes: tuple[str, ...] = ()
    peer: Place | None = None
    q: float = 1.0
    lost: Callable[[], None] = lambda: None
    then: Target | None = None
    found: Callable[[], None] = lambda: None
    """Told where the call was answered."""
    trunk: str = ""
    sender: str = ""
    addressee: str = ""
    contact: str = ""
    """Of a trunk: From, To and Contact where they are not the call's own."""
    extra: tuple[Header, ...] = ()
    accounts: tuple[Account, ...] = ()
    codecs: tuple[str, ...] = ()
    patience_s: float = 0.0
    """Seconds without any answer after which the next one is tried; 0 waits for as long as RFC 3261 does."""


class Attempt:
    """`status`: how it failed, None while it has not; `retry_after`: for how many seconds, if the peer said so; `left`:
    places that were not tried then. `rang`: the phone was reached."""

    def __init__(self, call: Outbound, target: Target) -> None:
        self.call = call
        self.stack = call.stack
        self.target = target
        self.to = target.to
        self.status: int | None = None
        self.reason = Reason()
        self.retry_after: int | None = None
        self.left: list[Place | Uri] = []
        self.answered = False
        self.rang = False
        self.offer = limited(call.offer, target.codecs) if call.offer and target.codecs else call.offer
        self.login = Credentials(call.stack, (*target.accounts, *call.accounts))
        self.timer = SessionTimer(self.stack.config.session_expires, self.stack.config.min_se)
        self._call_id = f"{call.stack.token()}@{call.stack.config.host}"
        call.stack.on_dialog(call.handle, self._call_id)
        self._tag = call.stack.token()
        self._seq = 0
        self._sent: Sent | None = None
        self._request: Request | None = None
        self._heard_of = False
        self._cancel: list[Header] | None = None
        self._insists = self.stack.config.reliable == "required"
        self._branches: dict[str, Branch] = {}
        self._elsewhere: list[Uri] = []
        self._patience: Alarm | None = None

    @property
    def done(self) -> bool:
        return self.status is not None

    @property
    def branches(self) -> list[Branch]:
        """Its dialogs that are not over, oldest first."""
        return [branch for branch in self._branches.values() if not branch.over]

    def start(self) -> None:
        self._seq += 1
        offer, uri, target = self.offer, str(self.target.uri), self.target
        headers: list[Header] = [
            *[("Route", route) for route in self.target.routes],
            ("Max-Forwards", str(self.call.max_forwards)),
            ("From", f"{target.sender or self.call.sender};tag={self._tag}"),
            ("To", target.addressee or self.call.addressee or f"<{target.uri.bare()}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} INVITE"),
            self._contact(),
            ("Allow", ALLOW),
            self.stack.supported,
            ("User-Agent", self.stack.config.user_agent),
            *([("Require", reliable.TAG)] if self._insists else []),
            *self.timer.ask(),
            *self.call.extra,
            *target.extra,
            *self.login.headers("INVITE", uri),
            *([("Content-Type", SDP_TYPE)] if offer else []),
        ]
        request = self._request = Request("INVITE", uri, headers, offer.encode() if offer else b"")
        self._heard_of = False
        sent = self.stack.request(request, self.to, lambda response: self._heard(request, response))
        if request is self._request and not (self.done or sent.over):
            self._sent = sent
        if target.patience_s and self._patience is None:
            self._patience = self.stack.timers.at(self.stack.now + target.patience_s, self._impatient)

    def _contact(self) -> Header:
        if self.target.contact:
            return "Contact", self.target.contact
        route = parse_address(self.target.routes[0]).uri.scheme if self.target.routes else ""
        return self.stack.contact_for("sips" in (self.target.uri.scheme, route))

    def _impatient(self) -> None:
        """Nothing was heard for too long: another place or trunk is tried. A late answer gets ACK and BYE."""
        if self.done or self.answered or self._heard_of or self._cancel is not None:
            return
        if self._sent:
            self.left = self._sent.onward
            if self.left and isinstance(here := self.left.pop(0), Place):
                self.stack.outages.failed(here, self.stack.now)
        self.cancel(Reason("no response"))
        self._fail(408, Reason("No Response"))

    def cancel(self, reason: Header | Reason) -> None:
        """Calls it off. An answer that crosses the CANCEL gets ACK and BYE."""
        self._end_branches()
        if self.done or self.answered or self._cancel is not None:
            return
        self._cancel = reason_headers(reason) if isinstance(reason, Reason) else [reason]
        if self._sent:
            self._sent.cancel(self._cancel)

    def call_off(self, status: int) -> None:
        """Our user refuses the offer in an early response: the phone is told to stop, the attempt failed."""
        self.cancel(Reason("the offer was refused"))
        self._fail(status, Reason("Offer Refused"))

    # --- responses ------------------------------------------------------------------------------------------------

    def _heard(self, request: Request, response: Response) -> None:
        status = response.status
        if status < 200:
            self._on_provisional(request, response)
        elif status < 300:
            self._on_answer(request, response)
        elif request is self._request:
            self.retry_after = grammar.seconds(response.get("Retry-After"), 3600)
            if response.local and status != 487 and not self._heard_of:
                self.target.lost()
            if self._cancel is None and self._again(response):
                self._end_branches()
                self.start()
            else:
                self._fail(status, Reason(grammar.clean(response.reason), read_reason(response).cause))

    def _again(self, response: Response) -> bool:
        """Whether the INVITE may fare better once more: with credentials, a longer session, less required, by another
        way to the same phone, or at another address."""
        status = response.status
        if status in (401, 407):
            self.to = self._sent.onward if self._sent else self.to
            return self.login.take(response)
        if status == 420 and self._insists and reliable.TAG in response.tokens("Unsupported"):
            self._insists = False
            return True
        if status == 422:
            return self.timer.refused(response)
        if self.target.then and (status == 430 or (response.local and not self._heard_of)):
            self._turn_to(self.target.then)
            return True
        return self._redirected(response)

    def _redirected(self, response: Response) -> bool:
        """Whether there is another address to call (8.1.3.4): as many as the call allows, the liked ones first."""
        if 300 <= response.status < 400 and response.status != _USE_PROXY and self.call.redirects:
            try:
                allowed = ("sips",) if self.target.uri.scheme == "sips" else ("sip", "sips")
                contacts = [each for each in response.contacts if each.uri.scheme in allowed]
            except SipError:
                contacts = []
            contacts.sort(key=lambda each: -grammar.liking(each.param("q")))
            self._elsewhere = [each.uri for each in contacts] + self._elsewhere
        while self._elsewhere and self.call.redirects:
            uri = self._elsewhere.pop(0)._replace(headers="")
            if self.call.redirect(uri):
                self.stack.count("redirects_followed")
                self._turn_to(Target(uri, uri))
                return True
        return False

    def _turn_to(self, target: Target) -> None:
        self.target, self.to = target, target.to

    def _fail(self, status: int, reason: Reason) -> None:
        if self.done:
            return
        self._hear()
        self.status, self.reason = status, reason
        self._end_branches()
        self.call.attempt_failed()

    @property
    def _flow(self) -> Place | None:
        """Where the INVITE is, or the answer to it came from."""
        sent = self._sent.transaction if self._sent else None
        return sent.destination if sent else None

    def _branch(self, request: Request, response: Response) -> Branch:
        """The dialog with the phone that sent this response. Raises SipError where its Contact is none."""
        branch = self._branches.get(response.to.tag)
        if branch is None:
            dialog = Dialog.asking(request, response, self.target.peer, self._flow)
            dialog.local_seq = request.cseq[0]
            branch = self._branches[response.to.tag] = Branch(self, dialog)
        return branch

    def _on_provisional(self, request: Request, response: Response) -> None:
        self._heard_of = True
        self._hear()
        self.rang = self.rang or response.status > 100
        if response.status == 100 or not response.to.tag or self.call.over or request is not self._request:
            return
        if self._cancel is not None or self._one_too_many(response):
            return
        try:
            branch = self._branch(request, response)
            heard = branch.provisional(request, response)
        except SipError:
            return
        if response.status == 199:  # RFC 6228: one of the phones is out, the others still ring
            branch.forget()
        elif not self.call.over:
            self.call.progressed(response, *(heard or (None, None)))

    def _one_too_many(self, response: Response) -> bool:
        if response.to.tag in self._branches or len(self._branches) < _MOST_BRANCHES:
            return False
        self.stack.count("too_many_forks")
        return True

    def _on_answer(self, request: Request, response: Response) -> None:
        unwanted = self.call.over or self.call.chosen is not None or self.done
        if unwanted and self._one_too_many(response):
            self._turn_away(request, response)
            return
        try:
            branch = self._branch(request, response)
        except SipError:
            self.stack.count("bad_answer")  # nowhere to send an ACK to: the peer gives up by itself
            if not unwanted:
                self._fail(500, Reason("Answer Without Contact"))
            return
        if not branch.answered(request, response):
            return
        if unwanted:
            branch.send_ack(request)
            branch.leave(Reason("answered elsewhere" if self.call.chosen else "given up"))
            return
        self.answered = True
        self._hear()
        self.login.settled()
        self.call.chosen = branch
        branch.take_answer(request, response)

    def _turn_away(self, request: Request, response: Response) -> None:
        """ACK and BYE to one more phone than anybody lets ring: said once, and back to where its answer came from, so
        that made-up answers neither fill the memory nor aim us at others."""
        flow = self._flow
        try:
            dialog = Dialog.asking(request, response, None)
        except SipError:
            return
        if flow:
            for method, seq in (("ACK", request.cseq[0]), ("BYE", request.cseq[0] + 1)):
                self.stack.forward(dialog.request(method, [], seq=seq), [flow])

    def _hear(self) -> None:
        if self._patience:
            self._patience.cancel()

    # --- the end --------------------------------------------------------------------------------------------------

    def unusable(self, branch: Branch) -> None:
        """What a phone answered can't be used: BYE. The ACK is sent already."""
        self.stack.count("bad_answer")
        self.answered, self.call.chosen = False, None
        branch.leave(Reason("the answer can't be used"))
        self._fail(488, Reason("Answer Can't Be Used"))

    def deserted(self, reason: Reason) -> None:
        """The phone that answered hung up before its offer had our answer."""
        self.answered, self.call.chosen = False, None
        self._fail(487, Reason(reason.text or "Hung Up", reason.cause))

    def lose(self, winner: Branch) -> None:
        """Another answer came first: early dialogs end, the INVITE is called off where it still rings."""
        for branch in self.branches:
            if branch is not winner and branch.dialog.early:
                branch.forget()
        if winner.attempt is not self:
            self.cancel(ELSEWHERE)

    def _end_branches(self) -> None:
        for branch in self.branches:
            if branch.dialog.early:
                branch.forget()
