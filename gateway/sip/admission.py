"""Who sends a request: asks for digest credentials and turns away who has none that are right (RFC 3261 section 22)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.sip.auth import Account, Authenticator, Verdict
from gateway.sip.message import Header, Request
from gateway.sip.place import Place
from gateway.sip.registrar import Registrar
from gateway.sip.stack import Stack
from gateway.sip.transaction import Transaction
from gateway.sip.trunks import Trunk


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who answers for a caller: a trunk, or one of our own accounts. `trusted`: what a trunk asserts is believed."""

    trunk: Trunk | None = None
    account: Account | None = None
    trusted: bool = False


class Admission:
    """Answers a request itself where it does not let it in."""

    def __init__(self, stack: Stack, authenticator: Authenticator, registrar: Registrar) -> None:
        self.stack = stack
        self.authenticator = authenticator
        self.registrar = registrar

    def caller(self, transaction: Transaction, request: Request, source: Place) -> Vouched | None:
        """Who vouches for an INVITE: one of our own phones or a trunk by digest, else a trunk by where it comes from.
        Neither: refused."""
        account = self.authenticator.accounts.get(request.from_.uri.user or "")
        phones = self.registrar.lookup(self.stack.config.aor(account.user), self.stack.now) if account else []
        trunk = self.trunk(request, source)
        says_who = bool(request.get("Authorization") or request.get("Proxy-Authorization"))
        if trunk and not (account and says_who) and source not in [phone.source for phone in phones]:
            return Vouched(trunk, trusted=trunk.trust and self.stack.trunks.stands_at(trunk, source.ip))
        allowed = self.account(transaction, request)
        if allowed is None:
            return None
        if trunk := self.stack.trunks.by_account(allowed.user):
            return Vouched(trunk, trusted=trunk.trust)
        if allowed is account:
            return Vouched(None, account)
        self.stack.refuse(transaction, 403)  # the right password of somebody else than From
        return None

    def trunk(self, request: Request, source: Place) -> Trunk | None:
        """The trunk a request comes by, as far as its source tells."""
        return self.stack.trunks.caller(source.ip, request.target)

    def account(self, transaction: Transaction, request: Request) -> Account | None:
        """The account whose credentials a request carries; otherwise it was challenged or refused. An account that
        does not exist fares like a wrong password."""
        values = request.all("Authorization")
        verdict, account = self.authenticator.check(values, request.method, self.stack.now)
        if wait := self._guarded(verdict, account, request):
            self.stack.count("auth_barred")
            self.stack.refuse(transaction, 503, headers=[("Retry-After", str(math.ceil(wait)))])
            return None
        if verdict is Verdict.GOOD:
            return account
        self.stack.count(f"auth_{verdict.value}")
        if verdict is Verdict.WRONG:
            self.stack.refuse(transaction, 403)
        elif verdict is Verdict.MALFORMED:
            self.stack.refuse(transaction, 400, "Bad Authorization")
        else:
            self.challenge(transaction, request, verdict is Verdict.STALE)
        return None

    def challenge(self, transaction: Transaction, request: Request, stale: bool = False) -> None:
        """Asks who it is."""
        ip = request.source.ip if request.source else ""
        agent = request.get("User-Agent") or ""
        values = self.authenticator.challenges(self.stack.now, stale, agent, ip)
        headers: list[Header] = [("WWW-Authenticate", value) for value in values]
        transaction.answer(401, headers=tuple(headers))

    def _guarded(self, verdict: Verdict, account: Account | None, request: Request) -> float:
        """Tells the guard. Gives seconds for which the verdict is not to be told, not even a good one: somebody at the
        same address guesses at that account."""
        guard, source, now = self.stack.guard, request.source, self.stack.now
        if source is None or verdict not in (Verdict.GOOD, Verdict.WRONG):
            return 0.0
        user, heard = (
            (account.user, True) if account else self.authenticator.claim(request.all("Authorization"), source.ip)
        )
        if wait := guard.barred(source, user, now):
            return wait
        if verdict is Verdict.GOOD:
            guard.succeeded(source, user, now)
        elif heard or source.reliable:
            guard.failed_auth(source, user, now)
        return 0.0
