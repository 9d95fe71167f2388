"""The server side of REGISTER (RFC 3261 section 10.3): who may register what, the answer, and contacts that go."""

from __future__ import annotations

from gateway.sip.admission import Admission
from gateway.sip.events import ContactDown, ContactUp
from gateway.sip.message import Header, Request
from gateway.sip.place import Place
from gateway.sip.registrar import Binding, Change, Refused, Registrar
from gateway.sip.stack import Stack
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction


class RegisterServer:
    """Keeps the registrar's book by what phones send and by what becomes of them."""

    def __init__(self, stack: Stack, registrar: Registrar, admission: Admission) -> None:
        self.stack = stack
        self.registrar = registrar
        self.admission = admission
        self._expiry: Alarm | None = None

    def receive(self, transaction: Transaction, request: Request, source: Place) -> None:
        """A REGISTER that matched no transaction."""
        stack = self.stack
        account = self.admission.account(transaction, request)
        if account is None:
            return
        to = request.to.uri
        if to.user != account.user or not stack.config.means_us(to.host):
            stack.refuse(transaction, 403)
            return
        aor = stack.config.aor(account.user)
        try:
            changes = self.registrar.register(aor, request, source, stack.now)
        except Refused as refusal:
            least = [("Min-Expires", str(self.registrar.min_expires))] if refusal.status == 423 else []
            stack.refuse(transaction, refusal.status, refusal.reason, least)
            return
        contacts: list[Header] = [("Contact", self._listed(b)) for b in self.registrar.lookup(aor, stack.now)]
        transaction.answer(200, headers=tuple(contacts))
        self._tell(changes)
        self._watch_expiry()

    def _listed(self, binding: Binding) -> str:
        return f"<{binding.contact}>;expires={max(0, round(binding.expires_at - self.stack.now))}"

    def _watch_expiry(self) -> None:
        """One alarm, for the contact that expires first; one that was refreshed meanwhile is looked at in vain."""
        due = self.registrar.next_expiry
        if self._expiry and (due is None or due < self._expiry.at):
            self._expiry.cancel()
            self._expiry = None
        if due is not None and self._expiry is None:
            self._expiry = self.stack.timers.at(due, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._tell(self.registrar.expire(self.stack.now))
        self._watch_expiry()

    def lost(self, place: Place) -> None:
        """A phone did not even answer an INVITE: its contacts are gone until it registers again."""
        self.stack.count("phones_lost")
        self._tell(self.registrar.drop_at(place, "unreachable"))

    def disconnected(self, place: Place) -> None:
        """A connection is gone, and with it every contact that came by it."""
        self._tell(self.registrar.drop_at(place, "connection lost"))

    def drop(self, aor: str, reason: str) -> None:
        """Takes every contact of an address of record away."""
        self._tell(self.registrar.drop(aor, reason))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            b = change.binding
            if change.up:
                expires = round(b.expires_at - self.stack.now)
                self.stack.emit(ContactUp(b.aor, str(b.contact), expires, b.source, b.agent))
            else:
                self.stack.emit(ContactDown(b.aor, str(b.contact), change.reason, change.left))
