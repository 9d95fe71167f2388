"""Session timers (RFC 4028): who refreshes a dialog, how often, and when it is over without. No clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gateway.core.errors import SipError
from gateway.sip import grammar
from gateway.sip.message import Header, Message, Request, Response
from gateway.sip.timers import Alarm, Timers

LEAST = 90
"""The shortest interval a peer may be held to that says nothing of its own, in seconds (section 5)."""
_LONGEST = 7 * 86400
"""Longer intervals than a week count as a week."""


class Expires(NamedTuple):
    """A Session-Expires header. `refresher`: uac or uas of the transaction that carries it, "" where it is open."""

    seconds: int
    refresher: str = ""


def expires(message: Message) -> Expires | None:
    """The Session-Expires of a message; None where there is none that can be read."""
    value = message.get("Session-Expires")
    if value is None:
        return None
    number, _, tail = value.partition(";")
    seconds = grammar.number(number.strip())
    try:
        refresher = (grammar.find(grammar.params(tail), "refresher") or "").lower()
    except SipError:
        return None
    return Expires(min(seconds, _LONGEST), refresher if refresher in ("uac", "uas") else "") if seconds else None


class SessionTimer:
    """The timer of one dialog. `wished`: the interval we ask for in seconds, 0 for none of our own. `least`: our
    Min-SE; `floor`: the same, raised by what the peer calls for. `interval`: what stands, 0 for none. `refreshing`: the
    refreshes are ours. `alone`: the peer knows no timers; it is asked now and then all the same, so that a dead call is
    noticed."""

    def __init__(self, wished: int, least: int = LEAST) -> None:
        self.wished = max(wished, least) if wished else 0
        self.least = least
        self.floor = least
        self.interval = 0
        self.refreshing = False
        self.alone = False

    # --- as the one who asks (section 7) --------------------------------------------------------------------------

    def ask(self) -> list[Header]:
        """Headers of an INVITE or UPDATE of ours. Once a timer stands, its roles are kept."""
        seconds = max(self.interval or self.wished, self.floor)
        if not self.interval and not self.wished:
            return []
        stands = self.interval and not self.alone
        role = "" if not stands else ";refresher=uac" if self.refreshing else ";refresher=uas"
        headers: list[Header] = [("Session-Expires", f"{seconds}{role}")]
        return headers if self.floor == LEAST else [*headers, ("Min-SE", str(self.floor))]

    def answered(self, response: Response) -> None:
        """A 2xx came to a request of ours (7.2)."""
        given = expires(response)
        self.alone = given is None
        if given is None:
            self.interval, self.refreshing = self.wished, bool(self.wished)
        else:
            self.interval, self.refreshing = max(given.seconds, self.floor), given.refresher != "uas"

    def refused(self, response: Response) -> bool:
        """A 422 came (7.3): takes the peer's Min-SE. Whether it makes sense to ask again."""
        least = grammar.number(response.get("Min-SE"), _LONGEST)
        if not least or least <= max(self.interval or self.wished, self.floor):
            return False
        self.floor = least
        return True

    # --- as the one who is asked (section 9) ----------------------------------------------------------------------

    def too_small(self, request: Request) -> bool:
        """Whether a request asks for less than we allow: 422 with `min_se`. A peer without timers is never refused."""
        asked = expires(request)
        return asked is not None and asked.seconds < self.least and _knows(request)

    @property
    def min_se(self) -> Header:
        return "Min-SE", str(self.least)

    def answer(self, request: Request) -> list[Header]:
        """Headers of our 2xx to an INVITE or UPDATE; the timer stands from now on."""
        asked, knows = expires(request), _knows(request)
        if asked is None and not self.wished:
            self.interval, self.refreshing, self.alone = 0, False, False
            return []
        self.floor = max(self.floor, grammar.number(request.get("Min-SE"), _LONGEST) or 0)
        floor = max(self.floor, LEAST) if knows and asked is None else self.floor
        wished = max(self.wished, floor) if self.wished else _LONGEST
        if not knows:
            ours = True
        elif asked and asked.refresher:
            ours = asked.refresher == "uas"
        else:
            ours = self.refreshing and bool(self.interval) and not self.alone
        self.interval = max(min(asked.seconds, wished), self.least) if asked else wished
        self.refreshing, self.alone = ours, not knows
        headers: list[Header] = [("Session-Expires", f"{self.interval};refresher={'uas' if ours else 'uac'}")]
        return headers if ours else [("Require", "timer"), *headers]

    # --- what follows ---------------------------------------------------------------------------------------------

    @property
    def refresh_after(self) -> float | None:
        """Seconds from a refresh to the next one of ours; None where it is the peer's, or nobody's."""
        return self.interval / 2 if self.interval and self.refreshing else None

    @property
    def ends_after(self) -> float | None:
        """Seconds without a refresh after which the call is over: a little before the interval ends (section 10)."""
        if not self.interval or self.alone:
            return None
        return self.interval - min(32.0, self.interval / 3)


def _knows(request: Request) -> bool:
    return "timer" in request.tokens("Supported") or "timer" in request.tokens("Require")


class Watch:
    """The alarms of a session timer: `refresh` when it is time to, `over` when no refresh came."""

    def __init__(self, timers: Timers, refresh: Callable[[], None], over: Callable[[], None]) -> None:
        self._timers = timers
        self._refresh = refresh
        self._over = over
        self._alarms: list[Alarm] = []

    def restart(self, timer: SessionTimer, now: float) -> None:
        """A refresh went through."""
        self.stop()
        if after := timer.refresh_after:
            self._alarms.append(self._timers.at(now + after, self._refresh))
        if ends := timer.ends_after:
            self._alarms.append(self._timers.at(now + ends, self._over))

    def retry(self, timer: SessionTimer, now: float) -> None:
        """A refresh of ours came to nothing: once more, before it is too late. Where nothing runs out, any answer will
        do."""
        if timer.alone:
            self.restart(timer, now)
        elif after := timer.refresh_after:
            self._alarms.append(self._timers.at(now + after / 2, self._refresh))

    def stop(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        self._alarms = []
