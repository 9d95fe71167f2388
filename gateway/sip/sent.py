"""A request on its way out: the places it may go to, tried in order (RFC 3263 section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.sip import grammar
from gateway.sip.message import REASONS, Message, Request, Response, respond
from gateway.sip.place import Place
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri

if TYPE_CHECKING:
    from gateway.sip.stack import Stack

LARGEST_OVER_UDP = 1300
"""Octets of a request above which it leaves over TCP, where its URI leaves us the choice (RFC 3261 18.1.1)."""


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

    def expire(self) -> None:
        """Gives the request up where only provisional answers came."""
        self._left.clear()
        if self.transaction:
            self.transaction.expire()

    @property
    def onward(self) -> list[Place | Uri]:
        """Where the request is now, and what is left: where its repetition with credentials goes."""
        return [*((self.transaction.destination,) if self.transaction else ()), *self._left]

    def stay(self) -> None:
        """No other place is tried from now on: the request was cancelled."""
        self._left.clear()

    def _located(self, places: tuple[Place, ...], choice: bool) -> None:
        if self.over:
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
            self._held = True
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
            asked = (response.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
            outages.failed(place, self.stack.now, grammar.number(asked))
        elif not response.local:
            outages.answered(place)

    def _finish(self, response: Response) -> None:
        self.over = True
        self._user(response)
