"""A request on its way out: the places it may go to, tried in order (RFC 3263 section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.sip import grammar
from gateway.sip.message import Header, Message, Request, Response, respond
from gateway.sip.place import Place
from gateway.sip.statuses import REASONS
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri

if TYPE_CHECKING:
    from gateway.sip.stack import Stack

LARGEST_OVER_UDP = 1300
"""Octets of a request above which it leaves over TCP, where its URI leaves us the choice (RFC 3261 18.1.1)."""

_KEPT = ("From", "To", "Call-ID", "Route", "Max-Forwards")


class Sent:
    """`transaction`: the one under way. On a failure of the transport, on silence and on 503 the request goes to the
    next place with a new branch; what the last place says, or the first that says anything else, is the user's."""

    def __init__(
        self, stack: Stack, request: Request, to: Sequence[Place | Uri], user: Callable[[Response], None]
    ) -> None:
        self.stack = stack
        self.request = request
        self.transaction: Transaction | None = None
        self.over = False
        self._left = list(to)
        self._user = user
        self._held = False
        self._cancel: Sequence[Header] | None = None
        self._limit: Alarm | None = None

    def go_on(self) -> None:
        """Sends to the next place; where none is left the user gets a 503."""
        if not self._left:
            self.stack.count("unreachable")
            answer = respond(self.request, 503)
            self._finish(Response(503, REASONS[503], answer.headers, local=True))
            return
        first = self._left.pop(0)
        if isinstance(first, Uri):
            choice = first.param("transport") is None and first.scheme == "sip"
            self.stack.locate(first, lambda places: self._located(places, choice))
            return
        request = self.stack.via(self.request, first)
        self._held = False
        self.transaction = self.stack.transactions.client(request, first, self._heard)

    def cancel(self, headers: Sequence[Header] = ()) -> None:
        """Calls an INVITE off: CANCEL as soon as a provisional response allows it (RFC 3261 section 9.1), and no other
        place is tried. Where no final response follows within 64*T1 the user gets a 408."""
        if self._cancel is not None or self.over:
            return
        self._left.clear()
        self._cancel = headers
        if self._held:
            self._send_cancel(headers)

    @property
    def onward(self) -> list[Place | Uri]:
        """Where the request is now, and what is left: where its repetition with credentials goes."""
        return [*((self.transaction.destination,) if self.transaction else ()), *self._left]

    def _send_cancel(self, headers: Sequence[Header]) -> None:
        invite = self.transaction
        if invite is None or invite.answered:
            return
        self.stack.count("sent_CANCEL")
        self.stack.transactions.client(cancelling(invite.request, headers), invite.destination, lambda message: None)
        self._limit = self.stack.timers.at(self.stack.now + 64 * self.stack.config.base.t1, invite.expire)

    def _located(self, places: tuple[Place, ...], choice: bool) -> None:
        if self.over:
            return
        if self._cancel is not None:
            self._finish(Response(487, REASONS[487], respond(self.request, 487).headers, local=True))
            return
        if choice and places and places[0].transport == "udp" and self._large():
            places = (places[0]._replace(transport="tcp"), *places)
        up, down = self.stack.outages.split(places, self.stack.now)
        self._left = [*up, *self._left, *down]
        self.go_on()

    def _large(self) -> bool:
        """Whether it is too large for UDP and we speak TCP; our Via is still to come."""
        return "tcp" in self.stack.config.ports and len(self.request.encode()) > LARGEST_OVER_UDP - 100

    def _heard(self, message: Message) -> None:
        if not isinstance(message, Response):
            return
        self._learn(message)
        if message.status < 200:
            first, self._held = not self._held, True
            if first and self._cancel is not None:
                self._send_cancel(self._cancel)
            self._user(message)
            return
        elsewhere = message.status == 503 or (message.local and not self._held)
        if elsewhere and self._left:
            self.stack.count("failed_over")
            self.go_on()
        else:
            self._finish(message)

    def _learn(self, response: Response) -> None:
        """Whether the place is in service, for the next request that may go there (RFC 3261 21.5.4)."""
        if self.transaction is None:
            return
        outages, place = self.stack.outages, self.transaction.destination
        if response.status == 503 or (response.local and not self._held):
            outages.failed(place, self.stack.now, grammar.seconds(response.get("Retry-After"), 3600))
        elif not response.local:
            outages.answered(place)

    def _finish(self, response: Response) -> None:
        self.over = True
        if self._limit:
            self._limit.cancel()
        self._user(response)


def cancelling(invite: Request, headers: Sequence[Header] = ()) -> Request:
    """The CANCEL for a request as it was sent, Via and Route included (9.1)."""
    kept: list[Header] = [("Via", invite.items("Via")[0])]
    kept += [(name, value) for name, value in invite.headers if name in _KEPT]
    return Request("CANCEL", invite.uri, [*kept, ("CSeq", f"{invite.cseq[0]} CANCEL"), *headers])
