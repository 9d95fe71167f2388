"""What the parts of an endpoint share: time, the way out, events, counters, transactions, and how requests are made."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.sip.auth import Account, Challenge, credentials, read_challenges
from gateway.sip.config import SipConfig
from gateway.sip.dialog import DialogId
from gateway.sip.events import SipEvent
from gateway.sip.message import REASONS, Header, Message, Request, Response, respond
from gateway.sip.timers import Timers
from gateway.sip.transaction import Place, Transaction, Transactions
from gateway.sip.uri import Uri, hostport, ip_of

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REGISTER"
KNOWN_METHODS = frozenset((*ALLOW.split(", "), "PRACK", "SUBSCRIBE", "NOTIFY", "MESSAGE", "REFER", "PUBLISH"))
SDP_TYPE = "application/sdp"
MAX_AUTH_TRIES = 3


class InDialog(Protocol):
    """Whoever owns a dialog."""

    def receive(self, transaction: Transaction, request: Request) -> None: ...

    def ack(self, request: Request) -> None: ...

    def cancelled(self, transaction: Transaction, reason: str = "") -> None: ...


class Call(Protocol):
    """A call as its handle means it."""

    def hangup(self, reason: str) -> None: ...


class Stack:
    """The common ground of one endpoint. `now` holds for the length of one entry from outside."""

    def __init__(self, config: SipConfig, rng: random.Random | None = None) -> None:
        self.config = config
        self.now = 0.0
        self.rng = rng or random.SystemRandom()
        self.timers = Timers()
        self.out: list[tuple[bytes, Place]] = []
        self.events: list[SipEvent] = []
        self.counters: Counter[str] = Counter()
        self.calls: dict[str, Call] = {}
        self.dialogs: dict[DialogId, InDialog] = {}
        self.transactions = Transactions(config.base, self.timers, lambda: self.now, self.send, self.count)

    def send(self, data: bytes, place: Place) -> None:
        self.out.append((data, place))

    def emit(self, event: SipEvent) -> None:
        self.events.append(event)

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def after(self, seconds: float, ring: Callable[[], None]) -> None:
        self.timers.at(self.now + seconds, ring)

    def token(self) -> str:
        """64 random bits as 16 characters."""
        return f"{self.rng.getrandbits(64):016x}"

    @property
    def here(self) -> str:
        """Our host and port as peers are told."""
        return hostport(self.config.host, self.config.port)

    @property
    def contact(self) -> Header:
        return "Contact", f"<sip:{self.config.user}@{self.here}>"

    def place(self, uri: Uri) -> Place | None:
        """Where a URI leads over UDP: an IP address or a configured name; None where we can't send there."""
        if uri.scheme != "sip" or not uri.host or (uri.param("transport") or "udp").lower() != "udp":
            return None
        ip = ip_of(uri.host) or self.config.names.get(uri.host.lower())
        return (ip, uri.port or 5060) if ip else None

    def via(self, request: Request) -> Request:
        """Puts our Via with a new branch on top; other Vias of ours are dropped."""
        value = f"SIP/2.0/UDP {self.here};branch=z9hG4bK{self.token()};rport"
        headers = [(name, text) for name, text in request.headers if name != "Via"]
        return Request(request.method, request.uri, [("Via", value), *headers], request.body)

    def request(self, request: Request, place: Place | None, user: Callable[[Response], None]) -> Transaction | None:
        """Sends a request in a transaction of its own. Without a place the user gets a 503 at once."""

        def heard(message: Message) -> None:
            if isinstance(message, Response):
                user(message)

        request = self.via(request)
        if place is None:
            self.count("unreachable")
            answer = respond(request, 503, "No Way There")
            user(Response(503, REASONS[503], answer.headers, local=True))
            return None
        self.count(f"sent_{request.method}")
        return self.transactions.client(request, place, heard)

    def refuse(
        self, transaction: Transaction, status: int, reason: str | None = None, headers: Sequence[Header] = ()
    ) -> None:
        """A final response that turns a request down, counted."""
        self.count(f"refused_{status}")
        transaction.answer(status, reason, headers=(*headers, ("Server", self.config.user_agent)))


class Credentials:
    """Answers challenges for one request or dialog: what it last answered, and how often it tried."""

    def __init__(self, stack: Stack, accounts: Sequence[Account] = ()) -> None:
        self._stack = stack
        self._accounts = (*accounts, *stack.config.credentials)
        self._held: dict[tuple[str, bool], tuple[Challenge, Account, int]] = {}
        self._tried: set[tuple[str, bool]] = set()
        self._tries = 0

    def take(self, response: Response) -> bool:
        """Learns the challenges of a 401 or 407; False where they can't be answered or were answered in vain."""
        self._tries += 1
        if self._tries > MAX_AUTH_TRIES:
            return False
        answered: set[tuple[str, bool]] = set()
        for challenge in read_challenges(response.all("WWW-Authenticate"), response.all("Proxy-Authenticate")):
            key = (challenge.realm, challenge.proxy)
            account = self._account(challenge)
            if account is None or key in answered:
                continue
            if key in self._tried and not challenge.stale:
                return False  # the same credentials would be refused again
            answered.add(key)
            self._held[key] = (challenge, account, 0)
        self._tried |= answered
        return bool(answered)

    def headers(self, method: str, uri: str) -> list[Header]:
        """Authorization headers for a request, each with the next nonce count."""
        made: list[Header] = []
        for key, (challenge, account, used) in self._held.items():
            value = credentials(challenge, account, method, uri, used + 1, self._stack.token())
            if value:
                self._held[key] = (challenge, account, used + 1)
                made.append(("Proxy-Authorization" if challenge.proxy else "Authorization", value))
        return made

    def settled(self) -> None:
        """A request went through: the next challenge is a new one."""
        self._tries = 0
        self._tried.clear()

    def _account(self, challenge: Challenge) -> Account | None:
        for account in self._accounts:
            if account.realm in (None, challenge.realm) and account.secret(challenge.algorithm, challenge.realm):
                return account
        return None
