"""Event notification (RFC 6665), the notifier's side: who wants to hear of what, for how long, and telling them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.sip.message import Header, Response
from gateway.sip.stack import Stack

Ask = Callable[[str, list[Header], bytes, Callable[[Response], None]], None]
"""Sends a request in a dialog: method, headers, body, and who gets the final response."""

State = Callable[[], tuple[str, bytes]]
"""What a subscriber is told now: content type and body."""


class Subscription:
    """One subscriber to one event. Only one NOTIFY is on its way at a time: what changes meanwhile is told once it was
    answered, and only as it is then. `event`: the Event header's value. A NOTIFY that fails ends it (section 4.2.2)."""

    def __init__(
        self, stack: Stack, event: str, seconds: float, ask: Ask, state: State, ended: Callable[[], None]
    ) -> None:
        self.stack = stack
        self.event = event
        self.over = False
        self._ask = ask
        self._state = state
        self._ended = ended
        self._final: str | None = None
        self._on_its_way = False
        self._due = False
        self.until = stack.now + seconds
        self._alarm = stack.timers.at(self.until, lambda: self.end("timeout"))

    def refresh(self, seconds: float) -> None:
        """The subscriber stays for `seconds` from now; none, and it leaves (section 4.2.1.4). A NOTIFY follows."""
        self._alarm.cancel()
        self.until = self.stack.now + seconds
        if seconds <= 0:
            self.end("timeout")
        else:
            self._alarm = self.stack.timers.at(self.until, lambda: self.end("timeout"))
            self.tell()

    @property
    def left(self) -> int:
        """Seconds until it expires."""
        return max(0, round(self.until - self.stack.now))

    def tell(self) -> None:
        """A NOTIFY with the state as it is."""
        if not self.over and self._final is None:
            self._due = True
            self._send()

    def end(self, reason: str) -> None:
        """The last NOTIFY: terminated, because of `reason` (section 4.1.3)."""
        if self._final is None and not self.over:
            self._final = reason
            self._due = True
            self._send()

    def drop(self) -> None:
        """Over without a word."""
        if not self.over:
            self.over = True
            self._alarm.cancel()
            self._ended()

    def _send(self) -> None:
        if self._on_its_way or not self._due or self.over:
            return
        self._due, self._on_its_way = False, True
        final = self._final
        stands = f"active;expires={self.left}" if final is None else f"terminated;reason={final}"
        kind, body = self._state()
        headers: list[Header] = [
            ("Event", self.event),
            ("Subscription-State", stands),
            self.stack.contact,
            ("User-Agent", self.stack.config.user_agent),
        ]
        if body:
            headers.append(("Content-Type", kind))
        self.stack.count("notified")

        def heard(response: Response) -> None:
            self._on_its_way = False
            if response.status >= 300 or final is not None:
                self.stack.count("notify_refused" if response.status >= 300 else "subscriptions_ended")
                self.drop()
            else:
                self._send()

        self._ask("NOTIFY", headers, body, heard)
