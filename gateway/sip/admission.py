"""Who sends a request: asks for digest credentials and turns away who has none that are right (RFC 3261 section 22)."""

from __future__ import annotations

from gateway.sip.auth import Account, Authenticator, Verdict
from gateway.sip.message import Header, Request
from gateway.sip.stack import Stack
from gateway.sip.transaction import Transaction


class Admission:
    """`account` answers a request itself where it does not let it in."""

    def __init__(self, stack: Stack, authenticator: Authenticator) -> None:
        self.stack = stack
        self.authenticator = authenticator

    def account(self, transaction: Transaction, request: Request) -> Account | None:
        """The account whose credentials a request carries; otherwise it was challenged or refused. An account that
        does not exist fares like a wrong password."""
        values = request.all("Authorization")
        verdict, account = self.authenticator.check(values, request.method, self.stack.now)
        if verdict is Verdict.GOOD:
            return account
        self.stack.count(f"auth_{verdict.value}")
        if verdict is Verdict.WRONG:
            self.stack.refuse(transaction, 403)
        elif verdict is Verdict.MALFORMED:
            self.stack.refuse(transaction, 400, "Bad Authorization")
        else:
            stale = verdict is Verdict.STALE
            values = self.authenticator.challenges(self.stack.now, stale, request.get("User-Agent") or "")
            headers: list[Header] = [("WWW-Authenticate", value) for value in values]
            transaction.answer(401, headers=tuple(headers))
        return None
