"""SUBSCRIBE outside calls (RFC 6665): who watches the registrations of an agent (RFC 3680)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.admission import Admission
from gateway.sip.dialog import Dialog
from gateway.sip.message import Header, Request, Response
from gateway.sip.place import Place
from gateway.sip.reason import Reason
from gateway.sip.reginfo import CONTENT_TYPE, reginfo
from gateway.sip.register import RegisterServer
from gateway.sip.registrar import Change
from gateway.sip.stack import ALLOW_EVENTS, Stack
from gateway.sip.subscription import Subscription
from gateway.sip.transaction import Transaction

MOST = 1000
"""Subscriptions at once; those of one account are an eighth of them at most."""

DEFAULT_S = 3600


class Watch:
    """One subscriber to one agent's registrations, in a dialog of its own."""

    def __init__(self, notifier: Notifier, dialog: Dialog, account: str, aor: str, event: str, seconds: float) -> None:
        self.stack = notifier.stack
        self.dialog = dialog
        self.account = account
        self.aor = aor
        self._notifier = notifier
        self._version = 0
        self.stack.dialogs[dialog.id] = self
        self.subscription = Subscription(self.stack, event, seconds, self._ask, self._state, self._ended)

    def receive(self, transaction: Transaction, request: Request) -> None:
        """A request in the subscription's dialog: another SUBSCRIBE keeps it or ends it."""
        number = request.cseq[0]
        if self.dialog.remote_seq is not None and number <= self.dialog.remote_seq:
            self.stack.refuse(transaction, 500, "CSeq Out Of Order")
            return
        self.dialog.remote_seq = number
        if request.method != "SUBSCRIBE":
            self.stack.refuse(transaction, 405, headers=[("Allow", "SUBSCRIBE")])
        elif unknown := self.stack.unsupported(request):
            self.stack.refuse(transaction, 420, headers=[("Unsupported", ", ".join(unknown))])
        elif request.get("Event") != self.subscription.event:
            self.stack.refuse(transaction, 489, headers=[("Allow-Events", ALLOW_EVENTS)])
        elif (seconds := self._notifier.seconds(transaction, request)) is not None:
            self.dialog.refresh(request)
            transaction.answer(200, headers=(("Expires", str(seconds)), self.stack.contact))
            self.subscription.refresh(seconds)

    def ack(self, request: Request) -> None:
        self.stack.count("stray_ack")

    def cancelled(self, transaction: Transaction, reason: Reason) -> None:
        """There is no INVITE here to cancel."""

    def _state(self) -> tuple[str, bytes]:
        version, self._version = self._version, self._version + 1
        bindings = self._notifier.register.registrar.lookup(self.aor, self.stack.now)
        return CONTENT_TYPE, reginfo(self.aor, bindings, version, self.stack.now).encode()

    def _ask(self, method: str, headers: list[Header], body: bytes, done: Callable[[Response], None]) -> None:
        def heard(response: Response) -> None:
            if response.status >= 200:
                done(response)

        self.stack.request(self.dialog.request(method, headers, body), self.dialog.way, heard)

    def _ended(self) -> None:
        self.stack.dialogs.pop(self.dialog.id, None)
        self._notifier.watches.remove(self)


class Notifier:
    """Everybody who watches. Tells them when `register` changes."""

    def __init__(self, stack: Stack, admission: Admission, register: RegisterServer) -> None:
        self.stack = stack
        self.admission = admission
        self.register = register
        self.watches: list[Watch] = []
        register.on_change = self._changed

    def receive(self, transaction: Transaction, request: Request, source: Place) -> None:
        """A SUBSCRIBE that no dialog holds."""
        stack = self.stack
        event = request.get("Event") or ""
        package = (grammar.split(event, ";") or [""])[0].lower()
        if package == "refer":  # only a REFER begins one (RFC 3515 section 2.4.4)
            stack.refuse(transaction, 403)
        elif package != "reg":
            stack.refuse(transaction, 489, headers=[("Allow-Events", ALLOW_EVENTS)])
        elif not (account := self.admission.account(transaction, request)):
            return
        elif stack.trunks.by_account(account.user):  # only agents see who is at work
            stack.refuse(transaction, 403)
        else:
            self._subscribe(transaction, request, source, account.user, event)

    def _subscribe(self, transaction: Transaction, request: Request, source: Place, account: str, event: str) -> None:
        """Agents may watch themselves and each other."""
        stack, user = self.stack, request.target.user or ""
        accepted = {kind.partition(";")[0].strip().lower() for kind in request.items("Accept")}
        if user not in self.admission.authenticator.accounts:
            stack.refuse(transaction, 404)
        elif accepted and not accepted & {CONTENT_TYPE, "application/*", "*/*"}:
            stack.refuse(transaction, 406)
        elif self._full(account):
            stack.refuse(transaction, 503, headers=[("Retry-After", str(stack.rng.randint(30, 120)))])
        elif (seconds := self.seconds(transaction, request)) is not None:
            try:
                dialog = Dialog.answering(request, transaction.tag, source)
            except SipError:
                stack.refuse(transaction, 400, "Missing Or Bad Contact")
                return
            dialog.early = False
            transaction.answer(200, headers=(("Expires", str(seconds)), stack.contact))
            watch = Watch(self, dialog, account, stack.config.aor(user), event, max(seconds, 1))
            self.watches.append(watch)
            watch.subscription.refresh(seconds)

    def _full(self, account: str) -> bool:
        mine = sum(watch.account == account for watch in self.watches)
        return len(self.watches) >= MOST or mine >= MOST // 8

    def seconds(self, transaction: Transaction, request: Request) -> int | None:
        """How long a subscription is to last; None where that was refused, too short (423)."""
        settings = self.register.registrar.settings
        asked = grammar.number(request.get("Expires"))
        wanted = DEFAULT_S if asked is None else asked
        if 0 < wanted < settings.min_expires:
            self.stack.refuse(transaction, 423, headers=[("Min-Expires", str(settings.min_expires))])
            return None
        return min(wanted, settings.max_expires)

    def _changed(self, aor: str, changes: Sequence[Change]) -> None:
        for watch in self.watches:
            if watch.aor == aor:
                watch.subscription.tell()

    def close(self) -> None:
        """Ends every subscription; who still wants to know may ask again."""
        for watch in list(self.watches):
            watch.subscription.end("deactivated")
