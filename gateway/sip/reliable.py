"""Reliable provisional responses (RFC 3262): sent again until their PRACK, and told apart when they come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.sip import grammar
from gateway.sip.message import Header, Request, Response
from gateway.sip.states import Base
from gateway.sip.timers import Alarm, Timers

TAG = "100rel"
_TOP = 2**32 - 1
_WAITING = 16
"""Provisional responses that may wait for the one before them to be acknowledged."""


class RAck(NamedTuple):
    """What a PRACK acknowledges: the RSeq, and the CSeq of the request that was answered."""

    rseq: int
    cseq: int
    method: str


def rack(request: Request) -> RAck | None:
    """The RAck of a PRACK (7.2); None where it has none that can be read."""
    parts = (request.get("RAck") or "").split()
    if len(parts) != 3:
        return None
    rseq, cseq = grammar.number(parts[0], _TOP), grammar.number(parts[1])
    return RAck(rseq, cseq, parts[2]) if rseq and cseq is not None else None


def rseq(response: Response) -> int | None:
    """The RSeq of a provisional response that has to be acknowledged; None for every other response."""
    if not 100 < response.status < 200 or TAG not in response.tokens("Require"):
        return None
    return grammar.number(response.get("RSeq"), _TOP) or None


class Provisional(NamedTuple):
    status: int
    headers: tuple[Header, ...]
    body: bytes


class Provisionals:
    """The server's side (section 3): reliable provisional responses to one INVITE, one on its way at a time, so that
    they arrive in order. `send(response, headers)` gives the bytes that went out, None once the INVITE has its final
    response; `again(bytes)` sends them once more; `failed()` is told when 64*T1 pass without a PRACK."""

    def __init__(
        self,
        cseq: int,
        first: int,
        base: Base,
        timers: Timers,
        send: Callable[[Provisional], bytes | None],
        again: Callable[[bytes], None],
        failed: Callable[[], None],
    ) -> None:
        self._cseq = cseq
        self._rseq = first - 1
        self._base = base
        self._timers = timers
        self._send = send
        self._again = again
        self._failed = failed
        self._queue: deque[Provisional] = deque()
        self._open: set[int] = set()
        self._flying: Provisional | None = None
        self._alarms: list[Alarm] = []

    @property
    def described(self) -> bool:
        """Whether a description of ours still waits for its PRACK: no 2xx may be sent before (section 3)."""
        return any(each.body for each in (self._flying, *self._queue) if each)

    def say(self, provisional: Provisional, now: float) -> bool:
        """Sends it, or keeps it until its turn; False where too many wait already."""
        if len(self._queue) >= _WAITING:
            return False
        self._queue.append(provisional)
        self.go_on(now)
        return True

    def acknowledge(self, what: RAck) -> Provisional | None:
        """The response a PRACK acknowledges, or None: 481. Once the PRACK is answered, `go_on`."""
        if what.method != "INVITE" or what.cseq != self._cseq or what.rseq not in self._open:
            return None
        self._open.discard(what.rseq)
        acknowledged, self._flying = self._flying, None
        self._silence()
        return acknowledged

    def stop(self) -> None:
        """The final response was sent: nothing is repeated any more, a PRACK on its way still counts."""
        self._silence()
        self._queue.clear()

    def go_on(self, now: float) -> None:
        """Sends the next, where none is on its way."""
        if not self._queue or self._flying is not None:
            return
        provisional = self._queue.popleft()
        self._rseq += 1
        numbered = (("Require", TAG), ("RSeq", str(self._rseq)), *provisional.headers)
        data = self._send(provisional._replace(headers=numbered))
        if data is None:
            self._queue.clear()
            return
        self._flying = provisional
        self._open.add(self._rseq)
        self._alarms = [self._timers.at(now + 64 * self._base.t1, self._give_up)]
        self._repeat(data, now, self._base.t1)

    def _repeat(self, data: bytes, now: float, interval: float) -> None:
        def ring() -> None:
            self._again(data)
            self._repeat(data, now + interval, 2 * interval)

        self._alarms[1:] = [self._timers.at(now + interval, ring)]

    def _give_up(self) -> None:
        self.stop()
        self._failed()

    def _silence(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        self._alarms = []


class Order:
    """The client's side (section 4), for each early dialog: which reliable provisional response is the next."""

    def __init__(self) -> None:
        self._last: int | None = None

    def takes(self, number: int) -> bool:
        """True for the first and for the one after the last; others are repeats, or came too early, and are neither
        acknowledged nor read."""
        if self._last is not None and number != self._last + 1:
            return False
        self._last = number
        return True
