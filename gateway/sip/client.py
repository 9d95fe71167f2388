"""Requests of ours outside calls: REGISTER that keeps itself alive, OPTIONS (RFC 3261 sections 10.2, 11.1)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.auth import Account
from gateway.sip.events import Registered, RegisterFailed
from gateway.sip.message import Header, Request, Response
from gateway.sip.place import Place
from gateway.sip.sent import Sent
from gateway.sip.stack import HERE, Credentials, Stack
from gateway.sip.timers import Alarm
from gateway.sip.uri import Uri, hostport, parse_route, parse_uri

Told = Callable[[Registered | RegisterFailed], None]

_LONGEST_RETRY_S = 1800.0
_FIRST_RETRY_S = 15.0
_LATER_RETRY_S = 300.0
_HOPELESS = frozenset((401, 403, 404, 405, 407, 416, 420))
"""Answers that hold until somebody changes something: asked again seldom, so that no account is locked for it."""

_REFRESH = 0.9
"""Part of its life after which a registration is refreshed."""

_LONGEST_RETRY_AFTER_S = 3600


class Registration:
    """One address of ours at a registrar, kept alive: refreshed in time, tried again ever later where it fails, at once
    where the connection that it came by is lost (RFC 5626 section 4.5). `place`: where it was last answered;
    `service_route`: what calls by that registrar are to carry as Route (RFC 3608)."""

    def __init__(
        self,
        stack: Stack,
        handle: str,
        registrar: Uri,
        aor: Uri,
        account: Account,
        expires: int,
        *,
        user: str = "",
        line: str = "",
        to: Uri | None = None,
        proxy: Uri | None = None,
        tell: Told | None = None,
    ) -> None:
        """`user`: that of our contact, the account's by default; `line`: a token in it that calls to it bring back;
        `to`: where requests go, where that is not the registrar's own address; `proxy`: by whom they go there."""
        self.stack = stack
        self.handle = handle
        self.registrar = registrar
        self.aor = aor
        self.expires = expires
        self.leaving = False
        self.standing = False
        self.place: Place | None = None
        self.service_route: tuple[str, ...] = ()
        self.line = line
        self._proxy = proxy
        self._to = proxy or to or registrar
        self._tell: Told = tell or stack.emit
        self._user = user or account.user
        self._login = Credentials(stack, (account,))
        self._call_id = f"{stack.token()}@{stack.config.host}"
        self._tag = stack.token()
        self._seq = 0
        self._failures = 0
        self._alarm: Alarm | None = None
        self._sent: Sent | None = None

    def send(self, onward: list[Place | Uri] | None = None) -> None:
        """`onward`: where a repetition goes. A refresh stays where the registration stands while that answers."""
        self._seq += 1
        to = onward or [*((self.place,) if self.place and self.standing else ()), self._to]
        line = f";line={self.line}" if self.line else ""
        headers: list[Header] = [
            *([("Route", f"<{self._proxy};lr>")] if self._proxy else []),
            ("Max-Forwards", "70"),
            ("From", f"<{self.aor}>;tag={self._tag}"),
            ("To", f"<{self.aor}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} REGISTER"),
            ("Contact", f"<{Uri(self.registrar.scheme, self._user, HERE)}{line}>"),
            ("Expires", "0" if self.leaving else str(self.expires)),
            ("Supported", "path"),
            ("User-Agent", self.stack.config.user_agent),
            *self._login.headers("REGISTER", str(self.registrar)),
        ]
        seq, leaving = self._seq, self.leaving
        request = Request("REGISTER", str(self.registrar), headers)
        sent = self.stack.request(request, to, lambda r: self._heard(seq, leaving, r))
        if seq == self._seq:
            self._sent = sent

    def leave(self) -> None:
        """Unregisters, where it is registered, or will be by an answer that is on its way."""
        self._quiet()
        if not self.leaving:
            self.leaving = True
            if self.standing:
                self.send()

    def disconnected(self, place: Place) -> None:
        """A connection is gone; where the registration came by it, it has to be made anew."""
        mine = self.place
        if mine and mine.reliable and mine[:3] == place[:3] and self.standing and not self.leaving:
            self.standing = False
            retry = self.stack.rng.uniform(0.0, 1.0)
            self._tell(RegisterFailed(self.handle, 430, "Connection Lost", retry))
            self._again(retry)

    def _heard(self, seq: int, leaving: bool, response: Response) -> None:
        status = response.status
        if status < 200 or seq != self._seq:
            return
        if self.leaving and not leaving:  # we began to leave meanwhile
            if status < 300:
                self.send(self._sent.onward if self._sent else None)
            return
        if status in (401, 407) and self._login.take(response):
            self.send(self._sent.onward if self._sent else None)
            return
        least = grammar.number(response.get("Min-Expires"), 86400)
        if status == 423 and least and least > self.expires and not self.leaving:
            self.expires = least
            self.send(self._sent.onward if self._sent else None)
            return
        self._login.settled()
        if self.leaving:
            self.standing = False
        elif status < 300:
            self._stands(response)
        else:
            self._failed(response)

    def _stands(self, response: Response) -> None:
        self._failures = 0
        self.standing = True
        if self._sent and self._sent.transaction:
            self.place = self._sent.transaction.destination
        self.service_route = tuple(item for item in response.items("Service-Route") if _leads(item))
        seconds = self._granted(response)
        self._again(max(1.0, seconds * _REFRESH))
        self._tell(Registered(self.handle, seconds))

    def _granted(self, response: Response) -> int:
        """Seconds our own contact got, among all the registrar lists."""
        contacts = response.contacts if response.get("Contact") not in (None, "*") else []
        ours = [c for c in contacts if c.uri.user == self._user]
        exactly = [c for c in ours if self.line and c.uri.param("line") == self.line]
        for contact in exactly or [c for c in ours if self.stack.config.means_us(c.uri.host)]:
            given = grammar.number(contact.param("expires"))
            if given:
                return given
        return grammar.number(response.get("Expires")) or self.expires

    def _failed(self, response: Response) -> None:
        self._failures += 1
        self.standing = False
        first = _LATER_RETRY_S if response.status in _HOPELESS else _FIRST_RETRY_S
        longest = min(_LONGEST_RETRY_S, first * 2 ** min(self._failures - 1, 10))
        retry = longest * self.stack.rng.uniform(0.5, 1.0)  # RFC 5626 section 4.5
        asked = grammar.seconds(response.get("Retry-After"), _LONGEST_RETRY_AFTER_S)
        if response.status == 503 and asked:
            retry = max(retry, float(asked))
        self._again(retry)
        self._tell(RegisterFailed(self.handle, response.status, grammar.clean(response.reason), retry))

    def _again(self, seconds: float) -> None:
        self._quiet()
        self._alarm = self.stack.timers.at(self.stack.now + seconds, self.send)

    def _quiet(self) -> None:
        if self._alarm:
            self._alarm.cancel()


def _leads(item: str) -> bool:
    """Whether an element of a Service-Route can be one of ours."""
    try:
        parse_route(item)
    except SipError:
        return False
    return True


def options(
    stack: Stack, peer: Uri | Place, heard: Callable[[Response], None], proxy: Uri | None = None, user: str = ""
) -> None:
    """Asks `peer` whether it is there, by `proxy` if there is one; `heard` gets the final answer."""
    target = parse_uri(f"sip:{hostport(peer.ip, peer.port)}") if isinstance(peer, Place) else peer
    headers: list[Header] = [
        *([("Route", f"<{proxy};lr>")] if proxy else []),
        ("Max-Forwards", "70"),
        ("From", f"<{Uri('sip', user or stack.config.user, stack.config.domain)}>;tag={stack.token()}"),
        ("To", f"<{target.bare()}>"),
        ("Call-ID", f"{stack.token()}@{stack.config.host}"),
        ("CSeq", "1 OPTIONS"),
        stack.contact,
        ("Accept", "application/sdp"),
        ("User-Agent", stack.config.user_agent),
    ]

    def final(response: Response) -> None:
        if response.status >= 200:
            heard(response)

    stack.request(Request("OPTIONS", str(target), headers), proxy or peer, final)
