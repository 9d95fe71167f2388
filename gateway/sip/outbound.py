"""A call that goes out: one INVITE to each phone, the first answer wins (RFC 3261 sections 9.1, 13.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.core.errors import SipError
from gateway.sip import grammar, offer_answer, sdp
from gateway.sip.auth import Account
from gateway.sip.body import session_of
from gateway.sip.conversation import Conversation
from gateway.sip.dialog import Dialog
from gateway.sip.events import CallAnswered, CallFailed, CallProgress
from gateway.sip.message import Header, Request, Response, canonical
from gateway.sip.offer_answer import Agreed
from gateway.sip.place import Place
from gateway.sip.sdp import SessionDescription
from gateway.sip.sent import Sent
from gateway.sip.stack import ALLOW, SDP_TYPE, Credentials, Stack
from gateway.sip.uri import Uri

_OWN = frozenset(
    [
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "contact",
        "max-forwards",
        "route",
        "record-route",
        "content-type",
        "content-length",
        "content-encoding",
        "allow",
        "require",
        "proxy-require",
        "authorization",
        "proxy-authorization",
        "user-agent",
    ]
)


def safe_headers(extra: Sequence[Header]) -> list[Header]:
    """Headers a user of ours may add, each one line whatever its value holds. Raises SipError on a name that is none or
    that the protocol itself fills."""
    made: list[Header] = []
    for name, value in extra:
        if not grammar.is_token(name) or canonical(name).lower() in _OWN:
            raise SipError(
                "A header can't be added to an INVITE", read=grammar.clean(name), expected="such as X-Intent"
            )
        made.append((name, grammar.clean(value)))
    return made


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


class Attempt:
    """One INVITE on its way to one phone."""

    def __init__(self, call: Outbound, target: Target) -> None:
        self.call = call
        self.stack = call.stack
        self.target = target
        self.to = target.to
        self.status: int | None = None
        self.reason = ""
        self.answered = False
        self._login = Credentials(call.stack, call.accounts)
        self._call_id = f"{call.stack.token()}@{call.stack.config.host}"
        self._tag = call.stack.token()
        self._seq = 0
        self._sent: Sent | None = None
        self._provisional = False
        self._cancel: str | None = None
        self._branches: dict[str, Conversation] = {}

    @property
    def done(self) -> bool:
        return self.status is not None

    def start(self) -> None:
        self._seq += 1
        uri = str(self.target.uri)
        headers: list[Header] = [
            *[("Route", route) for route in self.target.routes],
            ("Max-Forwards", "70"),
            ("From", f"{self.call.sender};tag={self._tag}"),
            ("To", self.call.addressee or f"<{self.target.uri.bare()}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} INVITE"),
            self.stack.contact,
            ("Allow", ALLOW),
            ("User-Agent", self.stack.config.user_agent),
            *self.call.extra,
            *self._login.headers("INVITE", uri),
            ("Content-Type", SDP_TYPE),
        ]
        request = Request("INVITE", uri, headers, self.call.offer.encode())
        self._provisional = False
        sent = self.stack.request(request, self.to, lambda response: self._heard(request, response))
        if not (self.done or sent.over):
            self._sent = sent

    def cancel(self, reason: str) -> None:
        """CANCEL as soon as a provisional response allows it (9.1)."""
        if self.done or self.answered or self._cancel is not None:
            return
        self._cancel = reason
        if self._sent:
            self._sent.stay()
        if self._provisional:
            self._send_cancel()

    def _send_cancel(self) -> None:
        invite = self._sent.transaction if self._sent else None
        if invite is None or invite.answered:
            return
        request = invite.request
        kept = ("From", "To", "Call-ID", "Route", "Max-Forwards")
        headers: list[Header] = [("Via", request.items("Via")[0])]
        headers += [(name, value) for name, value in request.headers if name in kept]
        headers.append(("CSeq", f"{request.cseq[0]} CANCEL"))
        if self._cancel:
            headers.append(("Reason", f"SIP;text={grammar.quote(self._cancel)}"))
        self.stack.count("sent_CANCEL")
        self.stack.transactions.client(
            Request("CANCEL", request.uri, headers), invite.destination, lambda message: None
        )
        self.stack.after(64 * self.stack.config.base.t1, invite.expire)

    def _heard(self, request: Request, response: Response) -> None:
        status = response.status
        if status < 200:
            self._on_provisional(request, response)
        elif status < 300:
            self._on_answer(request, response)
        elif status in (401, 407) and self._cancel is None and self._login.take(response):
            self.to = self._sent.onward if self._sent else self.to
            self.start()
        else:
            silent = response.local and not self._provisional
            if silent:
                self.target.lost()
            if self.target.then and self._cancel is None and (silent or status == 430):
                self.target = self.target.then
                self.to = self.target.to
                self.start()
                return
            self._fail(status, grammar.clean(response.reason))

    def _fail(self, status: int, reason: str) -> None:
        if self.done:
            return
        self.status, self.reason = status, reason
        for branch in self._branches.values():
            branch.forget()
        self.call.attempt_failed()

    def _branch(self, request: Request, response: Response) -> Conversation:
        """The dialog with the phone that sent this response; a forking proxy makes several."""
        branch = self._branches.get(response.to.tag)
        if branch is None:
            dialog = Dialog.asking(request, response, self.target.peer)
            dialog.local_seq = self._seq
            branch = Conversation(self.stack, self.call.handle, dialog, self._login)
            branch.offered(self.call.offer)
            self._branches[response.to.tag] = branch
        return branch

    def _on_provisional(self, request: Request, response: Response) -> None:
        first, self._provisional = not self._provisional, True
        if self._cancel is not None:
            if first:
                self._send_cancel()
            return
        if response.status == 100 or not response.to.tag or self.call.over:
            return
        try:
            branch = self._branch(request, response)
            answer, media = self._answer(branch, response)
        except SipError:
            self.stack.count("bad_answer")
            answer = media = None
        self.call.progressed(response, answer, media)

    def _answer(self, branch: Conversation, response: Response) -> tuple[SessionDescription | None, Agreed | None]:
        text = session_of(response)
        if text is None:
            return None, None
        answer = sdp.parse(text)
        media = offer_answer.agreed(self.call.offer, answer, self.stack.config.codecs)
        branch.theirs = answer
        return answer, media

    def _on_answer(self, request: Request, response: Response) -> None:
        try:
            branch = self._branch(request, response)
        except SipError:
            self.stack.count("bad_answer")  # no Contact to send an ACK to: the peer gives up by itself
            self._fail(500, "Answer Without Contact")
            return
        again = not branch.dialog.early
        if not again:
            branch.dialog.confirm(response)
        branch.send_ack(request)
        if again:
            return
        self.answered = True
        self._login.settled()
        if self.call.over or self.call.conversation:
            branch.over = True
            branch.bye(self._cancel or "answered elsewhere")
            return
        try:
            answer, media = self._answer(branch, response)
            if branch.theirs and not (answer and media):
                answer, media = (
                    branch.theirs,
                    offer_answer.agreed(self.call.offer, branch.theirs, self.stack.config.codecs),
                )
        except SipError:
            answer = media = None
        if answer and media:
            self.call.won(self, branch, answer, media)
        else:
            self.stack.count("bad_answer")
            branch.over = True
            branch.bye("the answer can't be used")
            self.status, self.reason = 488, "Answer Can't Be Used"
            self.call.attempt_failed()

    def lose_branches(self, winner: Conversation) -> None:
        for branch in self._branches.values():
            if branch is not winner and branch.dialog.early:
                branch.forget()


class Outbound:
    """A call of ours until it is answered; then its `conversation` speaks for it."""

    def __init__(
        self,
        stack: Stack,
        handle: str,
        offer: SessionDescription,
        *,
        sender: str,
        addressee: str | None,
        extra: Sequence[Header] = (),
        accounts: Sequence[Account] = (),
    ) -> None:
        self.stack = stack
        self.handle = handle
        self.offer = sdp.replace_origin(offer, str(stack.rng.getrandbits(48)), "1")
        self.sender = sender
        self.addressee = addressee
        self.extra = safe_headers(extra)
        self.accounts = tuple(accounts)
        self.conversation: Conversation | None = None
        self.over = False
        self._attempts: list[Attempt] = []
        self._later: list[list[Target]] = []
        stack.calls[handle] = self

    def start(self, targets: Sequence[Target]) -> None:
        """Calls all that are liked best at once; when the last of them has failed, those liked next (RFC 3261 16.6)."""
        likings = sorted({target.q for target in targets})
        self._later = [[target for target in targets if target.q == q] for q in likings]
        if targets:
            self._go_on()
        else:
            self._failed(480, "Not Registered")

    def _go_on(self) -> None:
        fresh = [Attempt(self, target) for target in self._later.pop()]
        self._attempts += fresh
        for attempt in fresh:
            attempt.start()

    def hangup(self, reason: str) -> None:
        """Gives up: CANCEL where it still rings; an answer that crosses it gets ACK and BYE."""
        if self.conversation:
            self.conversation.hangup(reason)
        elif not self.over:
            self._failed(487, f"given up: {reason}" if reason else "given up")
            for attempt in self._attempts:
                attempt.cancel(reason)

    def progressed(self, response: Response, answer: SessionDescription | None, media: Agreed | None) -> None:
        reason = grammar.clean(response.reason)
        self.stack.emit(CallProgress(self.handle, response.status, reason, answer, media))

    def won(self, attempt: Attempt, conversation: Conversation, answer: SessionDescription, media: Agreed) -> None:
        self.conversation = conversation
        conversation.theirs = answer
        attempt.lose_branches(conversation)
        for other in self._attempts:
            if other is not attempt:
                other.cancel("answered elsewhere")
        self.stack.calls[self.handle] = conversation
        self.stack.emit(CallAnswered(self.handle, answer, media, str(attempt.target.uri)))

    def attempt_failed(self) -> None:
        """The call fails with its last attempt: a 6xx if there was one, else the lowest class (RFC 3261 16.7)."""
        if self.over or self.conversation or not all(attempt.done for attempt in self._attempts):
            return
        ended = [(a.status or 500, a.reason) for a in self._attempts]
        final = [pair for pair in ended if pair[0] >= 600]
        if self._later and not final:
            self._go_on()
            return
        status, reason = min(final or ended, key=lambda pair: (pair[0] // 100, pair[0] in (408, 503), pair[0]))
        self._failed(status, reason)

    def _failed(self, status: int, reason: str) -> None:
        if not self.over:
            self.over = True
            self.stack.calls.pop(self.handle, None)
            self.stack.emit(CallFailed(self.handle, status, reason))
