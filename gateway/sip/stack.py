"""What the parts of an endpoint share: time, the way out, events, counters, transactions, and how requests are made."""

from __future__ import annotations

import random
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from gateway.sip.auth import Account, Challenge, credentials, read_challenges
from gateway.sip.config import SipConfig
from gateway.sip.dialog import DialogId
from gateway.sip.events import OVER, SipEvent
from gateway.sip.guard import Guard
from gateway.sip.locate import locate
from gateway.sip.message import Header, Request, Response
from gateway.sip.outages import Outages
from gateway.sip.place import SECURE, Place
from gateway.sip.reason import Reason
from gateway.sip.report import KEPT, Refusal, refusal
from gateway.sip.sdp import SessionDescription
from gateway.sip.sent import Sent
from gateway.sip.timers import Timers
from gateway.sip.transaction import Transaction, Transactions
from gateway.sip.trunkbook import TrunkBook
from gateway.sip.uri import Uri, hostport
from gateway.sip.via import Via

if TYPE_CHECKING:
    from gateway.sip.refer import Referral

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REGISTER, REFER, SUBSCRIBE, NOTIFY, MESSAGE"
ALLOW_EVENTS = "refer, reg"
SUPPORTED = ("timer", "100rel", "replaces", "norefersub")
"""Extensions we know, by option tag."""
REGISTERING = ("path", "outbound", "gruu")
"""Extensions we know in REGISTER beside those."""
SDP_TYPE = "application/sdp"
MAX_AUTH_TRIES = 3
HERE = f"\0{secrets.token_hex(8)}\0"
"""Stands in a message for our own address until it is known which way the message leaves; another in each process, so
that nobody outside can write it."""
_HERE = HERE.encode()
_REMEMBERED = 4096


class InDialog(Protocol):
    """Whoever owns a dialog."""

    def receive(self, transaction: Transaction, request: Request) -> None: ...

    def ack(self, request: Request) -> None: ...

    def cancelled(self, transaction: Transaction, reason: Reason) -> None: ...


class Call(Protocol):
    """A call as its handle means it."""

    def hangup(self, reason: str, cause: int = 0) -> None: ...

    def change(self, mine: SessionDescription, update: bool = False) -> None: ...

    def accept_change(self, mine: SessionDescription) -> None: ...

    def reject_change(self, status: int = 488) -> None: ...


@dataclass(frozen=True, slots=True)
class Lookup:
    """A URI whose host is a name: whoever has a resolver gives its places to `Endpoint.located`."""

    number: int
    uri: Uri


class Stack:
    """The common ground of one endpoint. `now` holds for the length of one entry from outside. `own` tells where a
    phone of ours is by now that is meant by an address we gave it (GRUU). `on_dialog` is told handle and Call-ID of
    every dialog of a call, before its first message leaves."""

    def __init__(self, config: SipConfig, rng: random.Random | None = None) -> None:
        self.config = config
        self.now = 0.0
        self.rng = rng or random.SystemRandom()
        self.timers = Timers()
        self.out: list[tuple[bytes, Place]] = []
        self.lookups: list[Lookup] = []
        self.events: list[SipEvent] = []
        self.refusals: deque[Refusal] = deque(maxlen=KEPT)
        self.counters: Counter[str] = Counter()
        self.calls: dict[str, Call] = {}
        self.trunks = TrunkBook(config.trunks, config.outside, self.rng)
        self.dialogs: dict[DialogId, InDialog] = {}
        self.transfers: dict[str, Referral] = {}
        """Transfers that peers asked us for, by handle."""
        self.in_dialog: dict[str, Callable[[Any, Transaction, Request], None]] = {}
        """Who answers a method inside the dialog of a call, where the call itself does not."""
        self.transactions = Transactions(config.base, self.timers, lambda: self.now, self.send, self.count)
        self.outages = Outages()
        known = [tag for tag in SUPPORTED if tag != "100rel" or config.reliable != "never"]
        self.supported: Header = ("Supported", ", ".join(known))
        self._known = frozenset(known)
        self.guard = Guard(config.defence, lambda ip: self.trunks.at(ip), self.count)
        self._here: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.on_dialog: Callable[[str, str], None] = lambda handle, call_id: None
        self.own: Callable[[Uri], tuple[Place, ...]] = lambda uri: ()
        self._asked: dict[int, Callable[[tuple[Place, ...]], None]] = {}
        self._questions = 0
        self._tokens: list[str] = []
        self._secret = self.token().encode()

    def send(self, data: bytes, place: Place) -> None:
        if _HERE in data:
            data = data.replace(_HERE, self._address(place)[1])
        self.out.append((data, place))

    def emit(self, event: SipEvent) -> None:
        self.events.append(event)
        if isinstance(event, OVER):
            self.trunks.release(event.call)

    def count(self, name: str) -> None:
        self.counters[name] += 1

    def after(self, seconds: float, ring: Callable[[], None]) -> None:
        self.timers.at(self.now + seconds, ring)

    def token(self) -> str:
        """64 random bits as 16 characters."""
        if not self._tokens:
            text = self.rng.randbytes(512).hex()
            self._tokens = [text[at : at + 16] for at in range(0, len(text), 16)]
        return self._tokens.pop()

    def unsupported(self, request: Request) -> list[str]:
        """Option tags that a request requires and nobody here knows: 420."""
        known = self._known.union(REGISTERING) if request.method == "REGISTER" else self._known
        return [tag for tag in request.items("Require") if tag.lower() not in known]

    def seal(self, request: Request) -> str:
        """A tag for an answer that we do not remember: the same for the same request (RFC 3261 8.2.7)."""
        text = f"{request.call_id} {request.from_.tag} {request.cseq} {request.via.branch}"
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4, key=self._secret).hexdigest()

    # --- where we are ---------------------------------------------------------------------------------------------

    def _address(self, place: Place) -> tuple[str, bytes]:
        """Our host and port as `place` is told them, and the same as a URI goes on after the @."""
        key = place.transport, place.ip
        known = self._here.get(key)
        if known is None:
            if len(self._here) > _REMEMBERED:
                self._here.clear()
            here = hostport(*self.config.told(*key))
            suffix = "" if place.transport == "udp" else f";transport={place.transport}"
            known = self._here[key] = here, f"{here}{suffix}".encode()
        return known

    def moved(self) -> None:
        """The configuration's own addresses have changed."""
        self._here.clear()

    def ours(self, via: Via) -> bool:
        """Whether a Via was put there by us."""
        return via.sent_by in self.config.sent_by

    @property
    def contact(self) -> Header:
        return self.contact_for(False)

    def contact_for(self, sips: bool) -> Header:
        """Our Contact: a sips URI where the peer was asked for by one (RFC 3261 8.1.1.8, 12.1.1)."""
        return "Contact", f"<{'sips' if sips else 'sip'}:{self.config.user}@{HERE}>"

    def via(self, request: Request, place: Place) -> Request:
        """Puts our Via with a new branch on top; other Vias of ours are dropped."""
        value = f"SIP/2.0/{place.transport.upper()} {self._address(place)[0]};branch=z9hG4bK{self.token()};rport"
        headers = [(name, text) for name, text in request.headers if name != "Via"]
        uri = request.uri
        if "?" in uri:
            uri = str(request.target._replace(headers=""))  # a contact may have some, a Request-URI may not (19.1.1)
        return Request(request.method, uri, [("Via", value), *headers], request.body)

    # --- the way out ----------------------------------------------------------------------------------------------

    def locate(self, uri: Uri, then: Callable[[tuple[Place, ...]], None]) -> None:
        """Gives the places a URI leads to, best first: at once for an IP address or a configured name, else when DNS
        has answered (RFC 3263). None where we can't send there."""
        if phone := self.own(uri):
            then(phone if uri.scheme != "sips" else tuple(each for each in phone if each.transport in SECURE))
            return
        try:
            next(locate(uri, self.config.transports, (), self.rng, self.config.names))
        except StopIteration as done:
            then(tuple(done.value))
            return
        self._questions += 1
        self._asked[self._questions] = then
        self.lookups.append(Lookup(self._questions, uri))

    def located(self, number: int, places: Iterable[Place]) -> None:
        """The answer to a Lookup."""
        then = self._asked.pop(number, None)
        if then:
            then(tuple(place for place in places if place.transport in self.config.transports))

    def request(
        self, request: Request, to: Place | Uri | Sequence[Place | Uri], user: Callable[[Response], None]
    ) -> Sent:
        """Sends a request in a transaction of its own to the first of the places that takes it. `user` hears what comes
        of it; a 503 of our own, perhaps at once, where there is no way."""
        self.count(f"sent_{request.method}")
        sent = Sent(self, request, (to,) if isinstance(to, (Place, Uri)) else to, user)
        sent.go_on()
        return sent

    def forward(self, request: Request, to: Sequence[Place | Uri], near: Place | None = None) -> None:
        """Sends a request that makes no transaction: an ACK for a 2xx. Of the places of a name it goes to the one that
        the 2xx came from, `near`, else to one that is not known to be out of service."""
        first = to[0]
        if isinstance(first, Place):
            self.send(self.via(request, first).encode(), first)
            return

        def located(places: tuple[Place, ...]) -> None:
            up, down = self.outages.split(places, self.now)
            same = [place for place in places if near and place[:3] == near[:3]]
            if best := [*same, *up, *down]:
                self.forward(request, best, near)

        self.locate(first, located)

    def refuse(
        self, transaction: Transaction, status: int, reason: str | None = None, headers: Sequence[Header] = ()
    ) -> None:
        """A final response that turns a request down, counted. A stranger is told no more than it must be, since its
        source may be forged."""
        self.count(f"refused_{status}")
        if found := refusal(transaction.request, status, reason, self.now):
            self.refusals.append(found)
        source = transaction.request.source
        if source and self.guard.stranger(source, self.now):
            told = tuple(header for header in headers if header[0] != "Allow")
        else:
            told = (*headers, ("Server", self.config.user_agent))
        transaction.answer(status, reason, headers=told)


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
