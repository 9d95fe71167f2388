"""Who gets in: requests outside dialogs, checked in the order of RFC 3261 section 8.2, answered or offered."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import SipError
from gateway.sip import grammar, identity, numbers, replaces
from gateway.sip.admission import Admission, Vouched
from gateway.sip.body import ACCEPTED, read_offer
from gateway.sip.dialog import Dialog
from gateway.sip.events import CallOffered
from gateway.sip.guard import DROP, IN
from gateway.sip.identity import Identity
from gateway.sip.inbound import Inbound
from gateway.sip.message import METHODS, Header, Request
from gateway.sip.notifier import Notifier
from gateway.sip.place import SECURE, Place
from gateway.sip.reason import read as read_reason
from gateway.sip.register import RegisterServer
from gateway.sip.sdp import SessionDescription
from gateway.sip.session_timer import SessionTimer
from gateway.sip.stack import ALLOW, SDP_TYPE, InDialog, Stack
from gateway.sip.states import State
from gateway.sip.transaction import Transaction
from gateway.sip.uri import Uri

_MACHINERY = frozenset(
    [
        "Via",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Contact",
        "Max-Forwards",
        "Route",
        "Record-Route",
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Allow",
        "Supported",
        "Require",
        "Session-Expires",
        "Min-SE",
        "Timestamp",
        "Authorization",
        "Proxy-Authorization",
        "Accept",
        "Allow-Events",
        "Expires",
        "Replaces",
    ]
)
_SHOWN_MAX = 40
"""Headers of an INVITE passed on to the user."""


def ignore(stack: Stack, transaction: Transaction) -> None:
    """A MESSAGE is taken and goes nowhere: its text is neither shown nor logged (RFC 3428 section 7)."""
    stack.count("messages_ignored")
    transaction.answer(200)


class Uas:
    """The server side of an endpoint: admission and the way into dialogs."""

    def __init__(self, stack: Stack, admission: Admission, register: RegisterServer, notifier: Notifier) -> None:
        self.stack = stack
        self.admission = admission
        self.register = register
        self.draining = False
        self._methods: dict[str, Callable[[Transaction, Request, Place], None]] = {
            "INVITE": self._invite,
            "OPTIONS": self._options,
            "REGISTER": register.receive,
            "SUBSCRIBE": notifier.receive,
            "NOTIFY": self._no_dialog,
            "BYE": self._no_dialog,
            "INFO": self._no_dialog,
            "UPDATE": self._no_dialog,
            "PRACK": self._no_dialog,
            "REFER": self._forbidden,
            "MESSAGE": self._message,
        }

    def receive(self, request: Request, source: Place) -> None:
        """One request off the wire."""
        stack = self.stack
        stack.count(f"received_{request.method if request.method in METHODS else 'other'}")
        request.received_from(source)
        known = stack.transactions.match(request)
        if request.method == "ACK":
            self._ack(request, known)
        elif known:
            stack.count("repeats_absorbed")
            known.step("request")
        else:
            self._new(request, source)

    def _new(self, request: Request, source: Place) -> None:
        """A request that is no repetition. What strangers are refused with is said once, in few words, and forgotten,
        so that neither a flood nor a forged source makes us keep anything or send more than one datagram for each
        that comes (RFC 3261 26.3.2.4); how much larger that is stands in docs/sip.md."""
        stack, guard = self.stack, self.stack.guard
        owner = self._owner(request)
        verdict = IN if owner else guard.admits(source, request, stack.now)
        if verdict is DROP:
            return
        tag = stack.seal(request) if verdict is not IN or guard.stranger(source, stack.now) else stack.token()
        transaction = stack.transactions.server(request, request.reply_to(source), tag)
        if verdict is not IN:
            self._full(transaction, stack.rng.uniform(5, 30))
        elif request.method == "CANCEL":
            self._cancel(transaction, request)
        elif owner:
            guard.knows(source, stack.now)  # it knows our tag: the peer itself, though its port may have changed
            owner.receive(transaction, request)
        elif request.to.tag:
            stack.refuse(transaction, 481)
        elif stack.transactions.merged(request, transaction):
            stack.refuse(transaction, 482)
        else:
            self._outside(transaction, request, source)
        if transaction.answered and (verdict is not IN or guard.stranger(source, stack.now)):
            transaction.destroy()

    def _owner(self, request: Request) -> InDialog | None:
        """Who has the dialog that a request names."""
        tag = request.to.tag
        return self.stack.dialogs.get((request.call_id, tag, request.from_.tag)) if tag else None

    def _ack(self, request: Request, known: Transaction | None) -> None:
        if known and known.state is not State.ACCEPTED:
            known.step("ack")
            return
        dialog = self.stack.dialogs.get((request.call_id, request.to.tag, request.from_.tag))
        if dialog:
            dialog.ack(request)
        elif known is None:
            self.stack.count("stray_ack")

    def _cancel(self, transaction: Transaction, request: Request) -> None:
        invite = self.stack.transactions.match(request, "INVITE")
        if invite is None:
            self.stack.refuse(transaction, 481)
            return
        transaction.tag = invite.tag
        transaction.answer(200)
        if not invite.answered:
            tag = invite.request.to.tag or invite.tag
            owner = self.stack.dialogs.get((request.call_id, tag, request.from_.tag))
            if owner:
                owner.cancelled(invite, read_reason(request))

    def _outside(self, transaction: Transaction, request: Request, source: Place) -> None:
        stack = self.stack
        unnamed = request.method in ("INVITE", "REGISTER") and not request.get("Authorization")
        if unnamed and stack.guard.stranger(source, stack.now) and not self.admission.trunk(request, source):
            self.admission.challenge(transaction, request)  # nobody else is told what there is
            return
        method = self._methods.get(request.method)
        unknown = stack.unsupported(request)
        if method is None:
            self._no_method(transaction, request, source)
        elif not _understood(request.target, source):
            stack.refuse(transaction, 416)
        elif not self._ours(request):
            # we are no proxy: a request for elsewhere is never sent on
            stack.refuse(transaction, 483 if request.get("Max-Forwards") == "0" else 404)
        elif unknown:
            stack.refuse(transaction, 420, headers=[("Unsupported", ", ".join(unknown))])
        else:
            method(transaction, request, source)

    def _ours(self, request: Request) -> bool:
        uri = request.target
        return uri.scheme == "tel" or self.stack.config.means_us(uri.host)

    # --- methods --------------------------------------------------------------------------------------------------

    def _no_dialog(self, transaction: Transaction, request: Request, source: Place) -> None:
        self.stack.refuse(transaction, 481)

    def _forbidden(self, transaction: Transaction, request: Request, source: Place) -> None:
        """A REFER outside a call: nobody is called on somebody's word alone."""
        self.stack.refuse(transaction, 403)

    def _message(self, transaction: Transaction, request: Request, source: Place) -> None:
        """Taken from those whom we know, so that a phone does not repeat it; to all others we have no such method."""
        if not self.stack.guard.stranger(source, self.stack.now):
            ignore(self.stack, transaction)
        else:
            self._no_method(transaction, request, source)

    def _no_method(self, transaction: Transaction, request: Request, source: Place) -> None:
        """405 owes an Allow that is longer than most requests; a stranger gets 501, which owes none."""
        known = request.method in METHODS and not self.stack.guard.stranger(source, self.stack.now)
        self.stack.refuse(transaction, 405 if known else 501, headers=[("Allow", ALLOW)])

    def _options(self, transaction: Transaction, request: Request, source: Place) -> None:
        user = request.target.number
        if self.draining:
            self.stack.refuse(transaction, 503)
        elif not self._there(user, source):
            self.stack.refuse(transaction, 404)
        else:
            headers: tuple[Header, ...] = ()
            if not self.stack.guard.stranger(source, self.stack.now):  # whose source may be forged
                media = ("Accept", ACCEPTED), ("Accept-Encoding", "identity")
                server = ("Server", self.stack.config.user_agent)
                headers = (self.stack.contact, ("Allow", ALLOW), *media, self.stack.supported, server)
            transaction.answer(200, headers=headers)

    def _there(self, user: str, source: Place) -> bool:
        """Whether OPTIONS for a user is answered; strangers are told nothing of users, whoever is asked for."""
        config = self.stack.config
        return (
            not user or user == config.user or config.serves(user) or self.stack.guard.stranger(source, self.stack.now)
        )

    def _invite(self, transaction: Transaction, request: Request, source: Place) -> None:
        stack = self.stack
        vouched = self.admission.caller(transaction, request, source)
        if vouched is None:
            return
        trunk = vouched.trunk
        replaced, refused = replaces.replaced(stack, request, vouched.account is not None)
        who = identity.read(request, vouched.trusted, trunk.country if trunk else None)
        if not refused and not replaced and not stack.config.serves(request.target.number):
            refused = 404
        if not refused and trunk and who.withheld and not trunk.anonymous:
            refused = 433
        if refused:
            stack.refuse(transaction, refused)
            return
        if self.draining or len(stack.calls) >= stack.config.max_calls:
            self._full(transaction, stack.rng.uniform(5, 30))
            return
        agreeable = self._agreeable(transaction, request, source)
        if agreeable is None:
            return
        dialog, offer = agreeable
        handle = stack.token()
        if trunk and (wait := stack.trunks.admit(trunk.name, handle, stack.now)):
            stack.count("trunk_full")
            self._full(transaction, wait)
            return
        Inbound(stack, handle, dialog, transaction, offer)
        stack.guard.knows(source, stack.now)
        stack.emit(self._offered(handle, request, source, vouched, who, offer, replaced))

    def _agreeable(
        self, transaction: Transaction, request: Request, source: Place
    ) -> tuple[Dialog, SessionDescription | None] | None:
        """The dialog an INVITE makes, and its offer. None where it was refused for what it wants or how it says it."""
        stack = self.stack
        timer = SessionTimer(stack.config.session_expires, stack.config.min_se)
        if timer.too_small(request):
            stack.refuse(transaction, 422, headers=[timer.min_se])
            return None
        if not _takes_sdp(request):
            stack.refuse(transaction, 406, headers=[("Accept", ACCEPTED)])
            return None
        offer, problem = read_offer(stack, request)
        if problem:
            stack.refuse(transaction, *problem)
            return None
        try:
            return Dialog.answering(request, transaction.tag, source), offer
        except SipError:
            stack.refuse(transaction, 400, "Missing Or Bad Contact")
            return None

    def _offered(
        self,
        handle: str,
        request: Request,
        source: Place,
        vouched: Vouched,
        who: Identity,
        offer: SessionDescription | None,
        replaced: str | None,
    ) -> CallOffered:
        """What our user is told of an INVITE."""
        config, trunk = self.stack.config, vouched.trunk
        shown = [pair for pair in request.headers if pair[0] not in _MACHINERY][:_SHOWN_MAX]
        dialled = identity.dialled(request, trunk)
        return CallOffered(
            handle,
            caller=who.number,
            display=who.display,
            dialled=numbers.e164(dialled, trunk.country if trunk else None),
            trunk=trunk.name if trunk else None,
            aor=config.aor(vouched.account.user) if vouched.account else None,
            offer=offer,
            source=source,
            headers={name: grammar.clean(value) for name, value in shown},
            replaces=replaced,
            identity=who,
            requested=dialled,
        )

    def _full(self, transaction: Transaction, seconds: float) -> None:
        self.stack.refuse(transaction, 503, headers=[("Retry-After", str(max(1, round(seconds))))])


def _understood(uri: Uri, source: Place) -> bool:
    """Whether the scheme of a Request-URI is ours; sips only where nobody on the way could listen (26.2.2)."""
    return uri.scheme in ("sip", "tel") or (uri.scheme == "sips" and source.transport in SECURE)


def _takes_sdp(request: Request) -> bool:
    """Whether a response to a request may hold a session description (RFC 3261 section 20.1)."""
    if request.get("Accept") is None:
        return True
    kinds = {item.partition(";")[0].strip().lower() for item in request.items("Accept")}
    return not kinds.isdisjoint((SDP_TYPE, "application/*", "*/*"))
