"""Waits for the disk without holding up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.errors import StoreError

Told = Callable[[StoreError | None], None]


def within(seconds: float, act: Told) -> Told:
    """What it gives may be called from any thread; `act` then runs once on this loop. Where nobody calls for `seconds`
    it runs too, with the reason."""
    loop = asyncio.get_running_loop()
    done = False

    def once(error: StoreError | None) -> None:
        nonlocal done
        timer.cancel()
        if not done:
            done = True
            act(error)

    timer = loop.call_later(seconds, once, StoreError("the disk did not answer in time"))

    def told(error: StoreError | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(once, error)

    return told
