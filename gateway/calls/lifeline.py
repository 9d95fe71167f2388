"""Tells a phone that is gone from one that is merely quiet: where no RTP comes, the phone is asked by OPTIONS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from gateway.sip.place import Place

PROBE_S = 4.0
"""A phone that does not answer OPTIONS within this time is gone."""

NO_ANSWER = (408, 503)
"""Our own words for silence and for an unreachable address (RFC 3261 section 8.1.3.1)."""


@dataclass(slots=True)
class _Line:
    phone: Place
    wait_s: float
    gone: Callable[[], None]
    timer: asyncio.TimerHandle
    ping: str | None = None


class Lifelines:
    """Phones that sent nothing lately. `options` asks one whether it is there and gives the question's handle."""

    def __init__(self, options: Callable[[Place], str]) -> None:
        self._options = options
        self._lines: dict[Hashable, _Line] = {}

    def silent(self, key: Hashable, phone: Place, wait_s: float, gone: Callable[[], None]) -> None:
        """Nothing comes from the phone. After `wait_s` seconds more it is asked, on hold as well; `gone` is called
        where it does not answer."""
        if key not in self._lines:
            timer = asyncio.get_running_loop().call_later(wait_s, self._ask, key)
            self._lines[key] = _Line(phone, wait_s, gone, timer)

    def ask(self, key: Hashable) -> None:
        """A silent phone is asked now."""
        line = self._lines.get(key)
        if line and line.ping is None:
            line.timer.cancel()
            self._ask(key)

    def heard(self, key: Hashable) -> None:
        """It sends again, or the call is over."""
        line = self._lines.pop(key, None)
        if line:
            line.timer.cancel()

    def answered(self, ping: str, status: int) -> None:
        """The answer to `options`."""
        for key, line in list(self._lines.items()):
            if line.ping == ping:
                line.timer.cancel()
                if status in NO_ANSWER:
                    self._gone(key)
                else:
                    self._again(key, line)

    def _again(self, key: Hashable, line: _Line) -> None:
        line.ping = None
        line.timer = asyncio.get_running_loop().call_later(line.wait_s, self._ask, key)

    def _ask(self, key: Hashable) -> None:
        line = self._lines[key]
        line.timer = asyncio.get_running_loop().call_later(PROBE_S, self._gone, key)
        line.ping = self._options(line.phone)

    def _gone(self, key: Hashable) -> None:
        line = self._lines.pop(key, None)
        if line:
            line.gone()
