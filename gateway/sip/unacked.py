"""2xx responses of ours to INVITEs, each repeated until its ACK comes (RFC 3261 section 13.3.1.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.sip.stack import Stack
from gateway.sip.timers import Alarm
from gateway.sip.transaction import Transaction


@dataclass(slots=True)
class Wait:
    """One 2xx. `offering`: it holds our offer, so the ACK holds the answer. `first`: it answers the call's own
    INVITE."""

    transaction: Transaction
    offering: bool
    first: bool
    alarms: list[Alarm] = field(default_factory=list)

    def stop(self) -> None:
        for alarm in self.alarms:
            alarm.cancel()


class Unacked:
    """All 2xx of one dialog that wait; over any transport, since a hop further on may be unreliable. `given_up` is told
    when 64*T1 pass without the ACK."""

    def __init__(self, stack: Stack, given_up: Callable[[Wait], None]) -> None:
        self._stack = stack
        self._given_up = given_up
        self._waits: dict[int, Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    @property
    def first(self) -> bool:
        """Whether the answer to the call's own INVITE is among them."""
        return any(wait.first for wait in self._waits.values())

    def add(self, transaction: Transaction, offering: bool, first: bool) -> None:
        """`transaction` has sent its 2xx."""
        number, base = transaction.request.cseq[0], self._stack.config.base
        wait = self._waits[number] = Wait(transaction, offering, first)
        wait.alarms = [self._stack.timers.at(self._stack.now + 64 * base.t1, lambda: self._expire(number))]
        self._repeat(wait, base.t1)

    def acked(self, number: int) -> Wait | None:
        """The ACK for the INVITE of this CSeq came; None where it did before."""
        wait = self._waits.pop(number, None)
        if wait:
            wait.stop()
        return wait

    def stop(self) -> None:
        for wait in self._waits.values():
            wait.stop()
        self._waits.clear()

    def _repeat(self, wait: Wait, interval: float) -> None:
        def again() -> None:
            self._stack.count("retransmitted")
            self._stack.send(wait.transaction.last, wait.transaction.destination)
            self._repeat(wait, min(2 * interval, self._stack.config.base.t2))

        wait.alarms[1:] = [self._stack.timers.at(self._stack.now + interval, again)]

    def _expire(self, number: int) -> None:
        wait = self.acked(number)
        if wait:
            self._stack.count("no_ack")
            self._given_up(wait)
