"""Requests of ours outside calls: REGISTER that keeps itself alive, OPTIONS (RFC 3261 sections 10.2, 11.1)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.sip import grammar
from gateway.sip.auth import Account
from gateway.sip.events import OptionsAnswered, Registered, RegisterFailed
from gateway.sip.message import Header, Request, Response
from gateway.sip.place import Place
from gateway.sip.stack import HERE, Credentials, Stack
from gateway.sip.timers import Alarm
from gateway.sip.uri import Uri, hostport, parse_uri

_LONGEST_RETRY_S = 1800.0
_FIRST_RETRY_S = 15.0
_HOPELESS = frozenset((401, 403, 404, 405, 407, 420))


class Registration:
    """One address of ours at a registrar. Refreshed at nine tenths of its life; on failure tried again, ever later."""

    def __init__(self, stack: Stack, handle: str, registrar: Uri, aor: Uri, account: Account, expires: int) -> None:
        self.stack = stack
        self.handle = handle
        self.registrar = registrar
        self.aor = aor
        self.expires = expires
        self.leaving = False
        self.standing = False
        self._user = account.user
        self._login = Credentials(stack, (account,))
        self._call_id = f"{stack.token()}@{stack.config.host}"
        self._tag = stack.token()
        self._seq = 0
        self._failures = 0
        self._alarm: Alarm | None = None

    def send(self) -> None:
        self._seq += 1
        headers: list[Header] = [
            ("Max-Forwards", "70"),
            ("From", f"<{self.aor}>;tag={self._tag}"),
            ("To", f"<{self.aor}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._seq} REGISTER"),
            ("Contact", f"<sip:{self._user}@{HERE}>"),
            ("Expires", "0" if self.leaving else str(self.expires)),
            ("User-Agent", self.stack.config.user_agent),
            *self._login.headers("REGISTER", str(self.registrar)),
        ]
        request = Request("REGISTER", str(self.registrar), headers)
        self.stack.request(request, self.registrar, self._heard)

    def leave(self) -> None:
        """Unregisters, where it is registered."""
        if self._alarm:
            self._alarm.cancel()
        if not self.leaving:
            self.leaving = True
            if self.standing:
                self.send()

    def _heard(self, response: Response) -> None:
        status = response.status
        if status < 200:
            return
        if status in (401, 407) and self._login.take(response):
            self.send()
            return
        least = grammar.number(response.get("Min-Expires"), 86400)
        if status == 423 and least and least > self.expires and not self.leaving:
            self.expires = least
            self.send()
            return
        self._login.settled()
        if self.leaving:
            self.standing = False
        elif status < 300:
            self._stands(self._granted(response))
        else:
            self._failed(status, grammar.clean(response.reason))

    def _granted(self, response: Response) -> int:
        """Seconds our own contact got, among all the registrar lists."""
        port = self.stack.config.port
        for contact in response.contacts if response.get("Contact") not in (None, "*") else ():
            if contact.uri.user == self._user and (contact.uri.port or 5060) == port:
                given = grammar.number(contact.param("expires"))
                if given is not None:
                    return given
        return grammar.number(response.get("Expires")) or self.expires

    def _stands(self, seconds: int) -> None:
        self._failures = 0
        self.standing = True
        self.stack.emit(Registered(self.handle, seconds))
        self._again(max(1.0, seconds * 0.9))

    def _failed(self, status: int, reason: str) -> None:
        self._failures += 1
        self.standing = False
        retry = None
        if status not in _HOPELESS:
            longest = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** min(self._failures - 1, 10))
            retry = longest * self.stack.rng.uniform(0.5, 1.0)  # RFC 5626 section 4.5
            self._again(retry)
        self.stack.emit(RegisterFailed(self.handle, status, reason, retry))

    def _again(self, seconds: float) -> None:
        self._alarm = self.stack.timers.at(self.stack.now + seconds, self.send)


def options(stack: Stack, handle: str, peer: Uri | Place, done: Callable[[], None] = lambda: None) -> None:
    """Asks `peer` whether it is there; its answer becomes OptionsAnswered."""
    target = parse_uri(f"sip:{hostport(peer.ip, peer.port)}") if isinstance(peer, Place) else peer
    here = f"<sip:{stack.config.user}@{stack.config.domain}>"
    headers: list[Header] = [
        ("Max-Forwards", "70"),
        ("From", f"{here};tag={stack.token()}"),
        ("To", f"<{target.bare()}>"),
        ("Call-ID", f"{stack.token()}@{stack.config.host}"),
        ("CSeq", "1 OPTIONS"),
        stack.contact,
        ("Accept", "application/sdp"),
        ("User-Agent", stack.config.user_agent),
    ]

    def heard(response: Response) -> None:
        if response.status >= 200:
            stack.emit(OptionsAnswered(handle, response.status, grammar.clean(response.reason)))
            done()

    stack.request(Request("OPTIONS", str(target), headers), peer, heard)
