"""Keeps phones over UDP reachable: a ping each so often holds a NAT's mapping open and tells when a phone is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.sip.message import Header, Request, Response
from gateway.sip.registrar import Binding, RegistrarSettings
from gateway.sip.stack import Stack
from gateway.sip.timers import Alarm

MISSES = 3
"""Pings in a row that may go unanswered; a phone that missed so many is gone."""

_SOON_S = 5.0
"""A contact taken over from an earlier run is asked within this time whether it is there."""
_CRLF = b"\r\n\r\n"


@dataclass(slots=True)
class Ping:
    """What is known of one phone's answers. `rtt`: round trip of the last answer in seconds, None before the first."""

    binding: Binding
    call_id: str
    tag: str
    rtt: float | None = None
    misses: int = 0
    waiting: bool = False
    cseq: int = 0
    alarm: Alarm | None = None


class KeepAlive:
    """Pings what `watch` names until `forget`. `gone(binding, reason)` is told of a phone that does not answer."""

    def __init__(self, stack: Stack, settings: RegistrarSettings, gone: Callable[[Binding, str], None]) -> None:
        self.stack = stack
        self.settings = settings
        self.gone = gone
        self._pings: dict[int, Ping] = {}

    def __len__(self) -> int:
        return len(self._pings)

    def of(self, binding: Binding) -> Ping | None:
        return self._pings.get(binding.number)

    def watch(self, binding: Binding, restored: bool = False) -> None:
        """A contact that came, moved or was refreshed. What follows a restart is asked whether it is still there."""
        ping = self._pings.get(binding.number)
        if not (restored and self._can(binding)) and not self._wanted(binding):
            self.forget(binding)
        elif ping:
            ping.binding = binding
        else:
            ping = Ping(binding, f"{self.stack.token()}@{self.stack.config.host}", self.stack.token())
            self._pings[binding.number] = ping
            first = _SOON_S if restored else self.settings.every
            self._set(ping, self.stack.rng.uniform(0.0, first))  # spread, so that pings never come in bursts

    def forget(self, binding: Binding) -> None:
        ping = self._pings.pop(binding.number, None)
        if ping and ping.alarm:
            ping.alarm.cancel()

    def _wanted(self, binding: Binding) -> bool:
        return self._can(binding) and (self.settings.whom == "all" or binding.behind_nat)

    def _can(self, binding: Binding) -> bool:
        """Whether a ping can tell anything: over connections others watch, behind a proxy it is the proxy's work."""
        return not (binding.source.reliable or binding.path or self.settings.keepalive == "off")

    def _set(self, ping: Ping, seconds: float) -> None:
        ping.alarm = self.stack.timers.at(self.stack.now + seconds, lambda: self._ring(ping))

    def _ring(self, ping: Ping) -> None:
        if self.settings.keepalive == "crlf":
            self.stack.send(_CRLF, ping.binding.source)
        else:
            if ping.waiting:
                ping.misses += 1
                self.stack.count("pings_missed")
            if ping.misses >= MISSES:
                self._lose(ping, "does not answer")
                return
            self._ask(ping)
        self._set(ping, self.settings.every)

    def _ask(self, ping: Ping) -> None:
        asked, ping.waiting, ping.cseq = self.stack.now, True, ping.cseq + 1
        config = self.stack.config
        headers: list[Header] = [
            ("Max-Forwards", "70"),
            ("From", f"<sip:{config.user}@{config.domain}>;tag={ping.tag}"),
            ("To", f"<{ping.binding.aor}>"),
            ("Call-ID", ping.call_id),
            ("CSeq", f"{ping.cseq} OPTIONS"),
            self.stack.contact,
            ("User-Agent", config.user_agent),
        ]
        request = Request("OPTIONS", str(ping.binding.contact), headers)
        self.stack.request(request, ping.binding.source, lambda response: self._heard(ping, asked, response))

    def _heard(self, ping: Ping, asked: float, response: Response) -> None:
        if self._pings.get(ping.binding.number) is not ping:
            return
        if not response.local:
            ping.rtt, ping.misses, ping.waiting = self.stack.now - asked, 0, False
            if not self._wanted(ping.binding):
                self.forget(ping.binding)  # it was only asked whether it outlived a restart of ours
        elif response.status == 503:
            self._lose(ping, "unreachable")

    def _lose(self, ping: Ping, reason: str) -> None:
        self.forget(ping.binding)
        self.stack.count("phones_lost")
        self.gone(ping.binding, reason)
