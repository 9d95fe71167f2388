"""A whole SIP endpoint without input or output: messages and time go in, messages and events come out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Unpack

from gateway.core.errors import SipError
from gateway.sip import dialling, keys, placing, refer
from gateway.sip.admission import Admission
from gateway.sip.auth import Authenticator
from gateway.sip.client import Registration
from gateway.sip.config import SipConfig
from gateway.sip.conversation import Conversation
from gateway.sip.events import SipEvent
from gateway.sip.inbound import Inbound
from gateway.sip.message import MessageError, Request, parse, respond
from gateway.sip.notifier import Notifier
from gateway.sip.place import Place
from gateway.sip.placing import Invitation
from gateway.sip.register import RegisterServer
from gateway.sip.registrar import Registrar
from gateway.sip.relations import Relations
from gateway.sip.sdp import SessionDescription
from gateway.sip.stack import ALLOW, Call, Lookup, Stack
from gateway.sip.uas import Uas, ignore
from gateway.sip.upkeep import Upkeep

_SHORTEST = 16
"""Datagrams below this many bytes are keep-alives or noise, no message."""


class Endpoint(Relations):
    """`now`, everywhere: monotonic seconds as a float. After any call, drain `take_messages`, `take_lookups` and
    `take_events`, and call `tick` when `next_timer` says so.
    `rng` makes tags and branches; hand in a seeded one in tests only."""

    def __init__(self, config: SipConfig, rng: random.Random | None = None) -> None:
        self._stack = Stack(config, rng)
        self.registrar = Registrar(config.registrar)
        accounts = (*config.accounts, *(trunk.account for trunk in config.trunks if trunk.account))
        realm_of_ours = [a for a in accounts if a.realm in (None, config.domain)]
        settings = config.registrar
        authenticator = Authenticator(
            config.domain, realm_of_ours, self._stack.token, settings.nonce_life, settings.algorithms
        )
        self._stack.guard.issued = authenticator.issued
        admission = Admission(self._stack, authenticator, self.registrar)
        self._register = RegisterServer(self._stack, self.registrar, admission)
        self._notifier = Notifier(self._stack, admission, self._register)
        self._uas = Uas(self._stack, admission, self._register, self._notifier)
        self._stack.in_dialog = {
            "REFER": refer.receive,
            "NOTIFY": refer.notified,
            "SUBSCRIBE": refer.subscribed,
            "MESSAGE": lambda call, transaction, request: ignore(self._stack, transaction),
        }
        self._stack.own = self._register.places
        self._registrations: dict[str, Registration] = {}
        self._upkeep = Upkeep(self._stack)

    @property
    def config(self) -> SipConfig:
        return self._stack.config

    def bound(self, transport: str, port: int) -> None:
        """The port peers are told, where the configuration left it to the socket (0)."""
        if transport == "udp":
            told = replace(self.config, port=self.config.port or port)
        else:
            port = self.config.ports.get(transport) or port
            told = replace(self.config, ports={**self.config.ports, transport: port})
        self._stack.config = told
        self._stack.moved()

    def count(self, name: str) -> None:
        """Counts what happened around the endpoint: on a connection, in a file with a socket."""
        self._stack.count(name)

    # --- in and out -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Place, now: float) -> None:
        """One message. Never raises: what can't be read is answered with 400 or dropped, and counted."""
        if self.hears(data, source, now):
            self.handle(data, source, now)

    def hears(self, data: bytes, source: Place, now: float) -> bool:
        """Whether a message is worth handling, found out in a few microseconds; what is not is counted."""
        if len(data) < _SHORTEST:
            self._stack.count("keepalives" if not data.strip(b"\r\n\0 ") else "garbage")
            return False
        return self._stack.guard.hears(source, data, now)

    def favours(self, source: Place, now: float) -> bool:
        """Whether a message from there is handled before those of strangers."""
        return not self._stack.guard.stranger(source, now)

    def handle(self, data: bytes, source: Place, now: float) -> None:
        """A message that was found worth it."""
        stack = self._stack
        stack.now = now
        oversized = len(data) > self.config.defence.max_message
        try:
            message = parse(data, self.config.defence.max_headers)
            if oversized and isinstance(message, Request):
                raise MessageError("Message Too Large", 513, None if message.method == "ACK" else message, "too_large")
        except MessageError as error:
            if oversized:
                error.status, error.counter = 513, "too_large"
            self._malformed(error, source)
            return
        if isinstance(message, Request):
            self._uas.receive(message, source)
        else:
            stack.count(f"received_{message.status // 100}xx")
            alone = len(message.items("Via")) == 1  # more would be for a proxy (RFC 3261 section 8.1.3.3)
            if alone and stack.ours(message.via) and stack.transactions.response(message):
                stack.guard.knows(source, now)
            else:
                stack.count("stray_responses")

    def tick(self, now: float) -> None:
        """Rings the alarms that are due."""
        self._stack.now = now
        self._stack.timers.fire(now)

    def next_timer(self) -> float | None:
        """When `tick` is wanted next."""
        return self._stack.timers.next()

    def take_messages(self) -> list[tuple[bytes, Place]]:
        taken, self._stack.out = self._stack.out, []
        return taken

    def take_lookups(self) -> list[Lookup]:
        taken, self._stack.lookups = self._stack.lookups, []
        return taken

    def located(self, number: int, places: Iterable[Place], now: float) -> None:
        """The answer to a Lookup: where its URI leads, best first; nothing where the name has no address."""
        self._stack.now = now
        self._stack.located(number, places)

    def take_events(self) -> list[SipEvent]:
        taken, self._stack.events = self._stack.events, []
        return taken

    def unreachable(self, place: Place, now: float) -> None:
        """The network reported that nothing listens at `place`, or a connection there can't be made."""
        self._stack.now = now
        self._stack.transactions.unreachable(place)

    def disconnected(self, place: Place, now: float) -> None:
        """The connection `place.flow` is gone, and with it the phones that registered over it."""
        self._stack.now = now
        self._stack.guard.forgets(place)
        self._stack.transactions.unreachable(place)
        self._register.disconnected(place)
        self._upkeep.disconnected(place)
        for registration in self._registrations.values():
            registration.disconnected(place)

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything counted so far, by name: received_INVITE, refused_404, garbage, malformed, retransmitted, ..."""
        return self._stack.counters

    @property
    def calls(self) -> tuple[str, ...]:
        """Handles of calls that are not over."""
        return tuple(self._stack.calls)

    @property
    def busy(self) -> bool:
        """Whether something still has to go its way before the process may leave: a BYE, CANCEL or REGISTER unanswered,
        an ACK awaited."""
        return bool(self._stack.dialogs) or self._stack.transactions.pending()

    def _malformed(self, error: MessageError, source: Place) -> None:
        self._stack.count("malformed" if error.request else "garbage")
        if error.counter:
            self._stack.count(error.counter)
        if error.request:
            error.request.received_from(source)
            self._answer_plainly(error.request, error.status, error.what if error.status == 400 else None, source)

    def _answer_plainly(self, request: Request, status: int, reason: str | None, source: Place) -> None:
        """An answer without a transaction, for what should not have come."""
        self._stack.count(f"refused_{status}")
        headers = [("Allow", ALLOW)] if status == 501 and self.favours(source, self._stack.now) else []
        response = respond(request, status, reason, tag=self._stack.token(), headers=headers)
        self._stack.send(response.encode(), request.reply_to(source))

    # --- calls ----------------------------------------------------------------------------------------------------

    def ring(self, call: str, sdp: SessionDescription | None = None, *, status: int | None = None, now: float) -> None:
        """180 Ringing, or 183 with early media. Nothing happens for a call that is over."""
        self._stack.now = now
        if call in self._stack.calls:
            self._inbound(call).ring(sdp, status)

    def answer(self, call: str, sdp: SessionDescription | None = None, *, now: float) -> None:
        """200 with our answer (our offer where the INVITE had none). Raises SipError where there is no such call to
        answer: it may have been cancelled a moment ago."""
        self._stack.now = now
        self._inbound(call).answer(sdp)

    def reject(self, call: str, status: int, reason: str | None = None, *, cause: int = 0, now: float) -> None:
        """Refuses an offered call with a 3xx to 6xx status; `cause`: why, by Q.850. Nothing happens for a call that is
        over."""
        self._stack.now = now
        if not 300 <= status < 700:
            raise SipError("A call is rejected with a status from 300 to 699", read=str(status))
        if call in self._stack.calls:
            self._inbound(call).reject(status, reason, cause)

    def invite(self, target: str, sdp: SessionDescription | None, *, now: float, **how: Unpack[Invitation]) -> str:
        """Calls `target`: one of our users (`agent`, `sip:agent@our.domain`), on all phones registered, any SIP URI, or
        a number outside by a trunk (`+49...`, `tel:...`, with `trunk` as it is dialled there). `sdp` None: the phone
        offers, in OfferChanged. Gives the handle; CallProgress, CallAnswered, CallFailed tell how it goes. Raises
        SipError on a bad target or header, Barred where a number may not be dialled (now)."""
        self._stack.now = now
        return placing.place(self._stack, self._register.targets, target, sdp, **how)

    def hangup(self, call: str, reason: str = "", *, cause: int = 0, now: float) -> None:
        """Ends a call whatever its state: refuses, cancels, or says BYE; `reason` and `cause` (Q.850) tell the peer
        why. Nothing happens when it is over already."""
        self._stack.now = now
        if call in self._stack.calls:
            refer.hang_up(self._stack, call, reason, cause)

    def change(self, call: str, sdp: SessionDescription, *, update: bool = False, now: float) -> None:
        """Offers a new description (hold, resume, another address) by re-INVITE; by UPDATE with `update`, and before
        the call is answered. ChangeAnswered or ChangeFailed follow. Raises SipError where the call isn't up or a change
        is under way."""
        self._stack.now = now
        self._call(call).change(sdp, update)

    def accept_change(self, call: str, sdp: SessionDescription, *, now: float) -> None:
        """Answers OfferChanged. Raises SipError where there is none."""
        self._stack.now = now
        self._call(call).accept_change(sdp)

    def reject_change(self, call: str, status: int = 488, *, now: float) -> None:
        self._stack.now = now
        self._call(call).reject_change(status)

    # --- transfers and keys ---------------------------------------------------------------------------------------

    def refer(self, call: str, target: str, replaces: str | None = None, *, now: float) -> None:
        """Asks the peer of `call` to call `target` instead of us; with `replaces`, to take our place in that other call
        of ours. TransferProgress tells how it goes. Raises SipError where the call isn't up or a transfer is under
        way."""
        self._stack.now = now
        refer.ask(self._talking(call), target, self._talking(replaces) if replaces else None)

    def refer_uri(self, trunk: str, number: str) -> str | None:
        """The target for `refer` of a caller from `trunk` to a number outside, as `number_outside` gives it; None where
        that trunk is not told so."""
        return dialling.refer_uri(self._stack, trunk, number)

    def accept_transfer(self, transfer: str, *, now: float) -> None:
        """Takes a TransferAsked on; nothing happens where it was answered already."""
        self._stack.now = now
        if found := self._stack.transfers.get(transfer):
            found.accept()

    def reject_transfer(self, transfer: str, status: int = 603, reason: str | None = None, *, now: float) -> None:
        self._stack.now = now
        if found := self._stack.transfers.get(transfer):
            found.reject(status, reason)

    def transfer_progress(self, transfer: str, status: int, reason: str = "", *, now: float) -> None:
        """Tells who asked for a transfer how it goes; 200 and above is the end. Nothing happens where nobody wants to
        know any more."""
        self._stack.now = now
        if found := self._stack.transfers.get(transfer):
            found.progress(status, reason)

    def info(self, call: str, digit: str, ms: int = 160, *, now: float) -> None:
        """A key by INFO, for a peer that takes no telephone-events. Raises SipError on what is no key."""
        self._stack.now = now
        kind, body = keys.written(digit, ms)
        self._talking(call).ask("INFO", [("Content-Type", kind)], body, lambda response: None)

    def _call(self, call: str) -> Call:
        found = self._stack.calls.get(call)
        if found is None:
            raise SipError("No such call", read=call)
        return found

    def _inbound(self, call: str) -> Inbound:
        found = self._stack.calls.get(call)
        if not isinstance(found, Inbound):
            raise SipError("No such incoming call", read=call)
        return found

    def _talking(self, call: str) -> Conversation:
        found = self._stack.calls.get(call)
        if not isinstance(found, Conversation):
            raise SipError("No such call with a dialog", read=call)
        return found

    # --- leaving --------------------------------------------------------------------------------------------------

    def drain(self, on: bool = True) -> None:
        """Takes no new call (503) and answers OPTIONS with 503, so that proxies look elsewhere."""
        self._uas.draining = on

    def close(self, reason: str = "the gateway is stopping", *, now: float) -> None:
        """Ends every call and registration in order; wait until `busy` is false, or for as long as you can."""
        self.drain()
        for call in self.calls:
            found = self._stack.calls[call]
            if isinstance(found, Inbound) and found.unanswered:
                self.reject(call, 503, now=now)  # a proxy finds another place for it
            else:
                self.hangup(call, reason, now=now)
        self._notifier.close()
        self._upkeep.close()
        for registration in list(self._registrations):
            self.unregister(registration, now=now)
