"""A call that goes out: one INVITE to each phone, the first answer wins (RFC 3261 sections 9.1, 13.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.errors import SipError
from gateway.sip import grammar, sdp
from gateway.sip.attempt import Attempt, Target
from gateway.sip.auth import Account
from gateway.sip.branch import Branch
from gateway.sip.events import CallAnswered, CallFailed, CallProgress, OfferChanged
from gateway.sip.headers import canonical
from gateway.sip.message import Header, Response
from gateway.sip.offer_answer import Agreed
from gateway.sip.reason import Reason
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import Stack
from gateway.sip.timers import Alarm
from gateway.sip.uri import Uri

_NO_ANSWER = 19
"""Q.850: no answer from user (user alerted)."""

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
        "supported",
        "session-expires",
        "min-se",
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
        full = canonical(name)
        if full is None or full.lower() in _OWN:
            raise SipError(
                "A header can't be added to an INVITE", read=grammar.clean(name), expected="such as X-Intent"
            )
        made.append((name, grammar.clean(value)))
    return made


class Outbound:
    """A call of ours until it is answered; then its conversation speaks for it. `offer` None asks for the phone's.
    `redirects`: how many other addresses may be tried that phones name; `more`: what comes after the last that failed,
    if anything does."""

    def __init__(
        self,
        stack: Stack,
        handle: str,
        offer: SessionDescription | None,
        *,
        sender: str,
        addressee: str | None,
        extra: Sequence[Header] = (),
        accounts: Sequence[Account] = (),
        ring_timeout: float | None = None,
        redirects: int = 0,
        max_forwards: int = 70,
        more: Callable[[Attempt], Target | None] = lambda failed: None,
    ) -> None:
        self.stack = stack
        self.handle = handle
        self.offer = sdp.replace_origin(offer, str(stack.rng.getrandbits(48)), "1") if offer else None
        self.sender = sender
        self.addressee = addressee
        self.extra = safe_headers(extra)
        self.accounts = tuple(accounts)
        self.redirects = redirects
        self.max_forwards = max_forwards
        self._more = more
        self.chosen: Branch | None = None
        self.over = False
        self._attempts: list[Attempt] = []
        self._asking: list[tuple[Branch, OfferChanged]] = []
        self._later: list[list[Target]] = []
        self._tried: set[str] = set()
        self._limit: Alarm | None = None
        if ring_timeout is not None:
            self._limit = stack.timers.at(stack.now + ring_timeout, self._rang_out)
        stack.calls[handle] = self

    def start(self, targets: Sequence[Target], otherwise: tuple[int, str] = (480, "Not Registered")) -> None:
        """Calls all that are liked best at once; when the last of them has failed, those liked next (RFC 3261 16.6).
        `otherwise`: how the call fails without any."""
        likings = sorted({target.q for target in targets})
        self._later = [[target for target in targets if target.q == q] for q in likings]
        self._tried = {str(target.uri) for target in targets}
        if self.max_forwards < 1:
            self._failed(483, Reason("Too Many Hops"))
        elif targets:
            self._go_on()
        else:
            self._failed(otherwise[0], Reason(otherwise[1]))

    def _go_on(self) -> None:
        fresh = [Attempt(self, target) for target in self._later.pop()]
        self._attempts += fresh
        for attempt in fresh:
            attempt.start()

    def redirect(self, target: Uri) -> bool:
        """Whether another address may be tried, and was not yet."""
        if self.redirects < 1 or str(target) in self._tried:
            return False
        self._tried.add(str(target))
        self.redirects -= 1
        return True

    # --- what the user asks for -----------------------------------------------------------------------------------

    def hangup(self, reason: str, cause: int = 0) -> None:
        """Gives up: CANCEL where it still rings; an answer that crosses it gets ACK and BYE."""
        self._give_up(487, f"given up: {reason}" if reason else "given up", Reason(reason, cause))

    def change(self, mine: SessionDescription, update: bool = False) -> None:
        """Offers another description to the phone that rings. Raises SipError where there is not exactly one that takes
        UPDATE now."""
        ready = [b for attempt in self._attempts for b in attempt.branches if b.updates and b.offers.settled]
        if len(ready) != 1:
            raise SipError("A call that isn't answered can't be changed now", do="wait for the answer")
        ready[0].change(mine, True)

    def accept_change(self, mine: SessionDescription) -> None:
        """Answers the offer of a phone. Raises SipError where there is none."""
        branch = self._next_asking()
        branch.changes.accept(mine)
        self._ask()

    def reject_change(self, status: int = 488) -> None:
        branch = self._next_asking()
        branch.changes.reject(status)
        self._ask()

    # --- what phones say ------------------------------------------------------------------------------------------

    def asked(self, branch: Branch, event: OfferChanged) -> None:
        """A phone offers. Where several do, they are told one after the other."""
        self._asking = [*(each for each in self._asking if each[0].changes.offered), (branch, event)]
        if len(self._asking) == 1:
            self.stack.emit(event)

    def _next_asking(self) -> Branch:
        self._asking = [each for each in self._asking if each[0].changes.offered]
        if not self._asking:
            raise SipError("No change was offered")
        return self._asking[0][0]

    def _ask(self) -> None:
        self._asking = [each for each in self._asking if each[0].changes.offered]
        if self._asking and not self.over:
            self.stack.emit(self._asking[0][1])

    def progressed(self, response: Response, answer: SessionDescription | None, media: Agreed | None) -> None:
        reason = grammar.clean(response.reason)
        self.stack.emit(CallProgress(self.handle, response.status, reason, answer, media))

    def won(self, branch: Branch, answer: SessionDescription, media: Agreed) -> None:
        """The first usable answer."""
        self._silence()
        self.chosen, branch.won = branch, True
        for attempt in self._attempts:
            attempt.lose(branch)
        self.stack.calls[self.handle] = branch
        target = branch.attempt.target
        target.found()
        self.stack.emit(CallAnswered(self.handle, answer, media, str(target.uri), target.trunk))

    def attempt_failed(self) -> None:
        """The call fails with its last attempt: a 6xx if there was one, else the lowest class (RFC 3261 16.7)."""
        if self.over or self.chosen or not all(attempt.done for attempt in self._attempts):
            return
        ended = [(a.status or 500, a.reason) for a in self._attempts]
        final = [pair for pair in ended if pair[0] >= 600]
        try:
            if not final and self._further():
                self._go_on()
                return
        except Exception:
            self._failed(500, Reason("Server Internal Error"))
            raise
        status, reason = min(final or ended, key=lambda pair: (pair[0] // 100, pair[0] in (408, 503), pair[0]))
        self._failed(status, reason)

    def _further(self) -> bool:
        """Whether somebody is left to be called."""
        if not self._later and (another := self._more(self._attempts[-1])):
            self._later.append([another])
        return bool(self._later)

    def _rang_out(self) -> None:
        self._give_up(408, "No Answer", Reason("no answer", _NO_ANSWER))

    def _give_up(self, status: int, why: str, reason: Reason) -> None:
        if self.over:
            return
        chosen, self.chosen = self.chosen, None
        self._failed(status, Reason(why, reason.cause))
        if chosen:
            chosen.leave(reason)
        for attempt in self._attempts:
            attempt.cancel(reason)

    def _failed(self, status: int, reason: Reason) -> None:
        self._silence()
        if not self.over:
            self.over = True
            self.stack.calls.pop(self.handle, None)
            self.stack.emit(CallFailed(self.handle, status, *reason))

    def _silence(self) -> None:
        if self._limit:
            self._limit.cancel()
