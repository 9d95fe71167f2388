"""What a user asks of a running endpoint: the verbs of Endpoint, at the present moment."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Unpack

from gateway.sip.auth import Account
from gateway.sip.endpoint import Endpoint
from gateway.sip.place import Place
from gateway.sip.placing import Invitation
from gateway.sip.sdp import SessionDescription


class Verbs(ABC):
    """Each verb's messages leave at once, its events come in a later turn of the loop."""

    endpoint: Endpoint

    @abstractmethod
    def settle(self) -> None:
        """Sends what a verb left to be sent."""

    def ring(self, call: str, sdp: SessionDescription | None = None, *, status: int | None = None) -> None:
        self.endpoint.ring(call, sdp, status=status, now=time.monotonic())
        self.settle()

    def answer(self, call: str, sdp: SessionDescription | None = None) -> None:
        self.endpoint.answer(call, sdp, now=time.monotonic())
        self.settle()

    def reject(self, call: str, status: int, reason: str | None = None, *, cause: int = 0) -> None:
        self.endpoint.reject(call, status, reason, cause=cause, now=time.monotonic())
        self.settle()

    def invite(self, target: str, sdp: SessionDescription | None, **how: Unpack[Invitation]) -> str:
        handle = self.endpoint.invite(target, sdp, now=time.monotonic(), **how)
        self.settle()
        return handle

    def hangup(self, call: str, reason: str = "", *, cause: int = 0) -> None:
        self.endpoint.hangup(call, reason, cause=cause, now=time.monotonic())
        self.settle()

    def change(self, call: str, sdp: SessionDescription, *, update: bool = False) -> None:
        self.endpoint.change(call, sdp, update=update, now=time.monotonic())
        self.settle()

    def accept_change(self, call: str, sdp: SessionDescription) -> None:
        self.endpoint.accept_change(call, sdp, now=time.monotonic())
        self.settle()

    def reject_change(self, call: str, status: int = 488) -> None:
        self.endpoint.reject_change(call, status, now=time.monotonic())
        self.settle()

    def refer(self, call: str, target: str, replaces: str | None = None) -> None:
        self.endpoint.refer(call, target, replaces, now=time.monotonic())
        self.settle()

    def accept_transfer(self, transfer: str) -> None:
        self.endpoint.accept_transfer(transfer, now=time.monotonic())
        self.settle()

    def reject_transfer(self, transfer: str, status: int = 603, reason: str | None = None) -> None:
        self.endpoint.reject_transfer(transfer, status, reason, now=time.monotonic())
        self.settle()

    def transfer_progress(self, transfer: str, status: int, reason: str = "") -> None:
        self.endpoint.transfer_progress(transfer, status, reason, now=time.monotonic())
        self.settle()

    def info(self, call: str, digit: str, ms: int = 160) -> None:
        self.endpoint.info(call, digit, ms, now=time.monotonic())
        self.settle()

    def register(self, registrar: str, aor: str, account: Account, expires: int = 600) -> str:
        handle = self.endpoint.register(registrar, aor, account, expires, now=time.monotonic())
        self.settle()
        return handle

    def unregister(self, registration: str) -> None:
        self.endpoint.unregister(registration, now=time.monotonic())
        self.settle()

    def connect_trunks(self) -> None:
        self.endpoint.connect_trunks(now=time.monotonic())
        self.settle()

    def options(self, peer: str | Place) -> str:
        handle = self.endpoint.options(peer, now=time.monotonic())
        self.settle()
        return handle

    def restore_phones(self, rows: Iterable[object], ago: float) -> None:
        self.endpoint.restore_phones(rows, ago, now=time.monotonic())
        self.settle()

    def drop_contacts(self, aor: str, reason: str) -> None:
        self.endpoint.drop_contacts(aor, reason, now=time.monotonic())
        self.settle()

    def drain(self, on: bool = True) -> None:
        self.endpoint.drain(on)
