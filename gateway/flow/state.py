"""Where a caller is in a flow, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.flow.turn import Say, Value

Phase = Literal["begin", "announce", "menu", "confirm", "slot", "readback", "action", "more", "over"]
"""begin: not answered yet; announce: the recording notice plays; menu: a question with keys; confirm: "you want X,
right?"; slot: a value is asked for; readback: the value is read back; action: something is looked up; more: "anything
else?"; over: a human, a message or the end took over."""

ASKING: frozenset[Phase] = frozenset({"menu", "confirm", "slot", "readback", "more"})
"""Phases in which the caller is asked something, so that keys and words are taken."""


@dataclass(frozen=True)
class State:
    """Everything the interpreter remembers.

    `deadline`: monotonic seconds at which a Tick is due, None when nothing is. `path`: menus and intents in the order
    they were entered. `trail`: menus that "back" returns through. `slots`: values filled for the present intent;
    `found`: values heard in passing, not yet asked for. `candidate`: the value being read back. `digits`: those of
    the present slot so far. `keys`: keys typed ahead. `said`: the last question. `hearing`: the caller speaks now.
    `silent` and `lost` count rungs of no_input and no_match; `tries` failed answers for the present slot.
    `offered`: whether the other languages were offered.
    """

    language: str
    phase: Phase = "begin"
    menu: str = ""
    trail: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    intent: str | None = None
    asking: str | None = None
    action: str | None = None
    slots: tuple[tuple[str, Value], ...] = ()
    found: tuple[tuple[str, Value], ...] = ()
    candidate: Value | None = None
    digits: str = ""
    keys: str = ""
    said: tuple[Say, ...] = ()
    speaking: bool = False
    hearing: bool = False
    deadline: float | None = None
    silent: int = 0
    lost: int = 0
    tries: int = 0
    offered: bool = False
