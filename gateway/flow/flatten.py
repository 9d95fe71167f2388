"""Flattening: from any menu any intent of the whole flow can be said; levels only order the keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.ports import Ranked
from gateway.flow.model import Flow, Target

MAX_CHOICES = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the flattened table: in `menu` the caller reaches `intent` by voice and, when there is one, by `keys`
    pressed one after the other."""

    menu: str
    intent: str
    keys: str | None


def keys_of(flow: Flow, menu: str) -> dict[str, Target]:
    """The keys that work in a menu: its own before the flow's."""
    return {**flow.defaults.keys, **flow.menus[menu].keys}


def menu_intents(flow: Flow, menu: str) -> tuple[str, ...]:
    """Intents a menu names itself, by key or in its list."""
    by_key = [t.name for t in flow.menus[menu].keys.values() if t.kind == "intent"]
    return tuple(dict.fromkeys([*by_key, *flow.menus[menu].intents]))


def sayable(flow: Flow, menu: str) -> tuple[str, ...]:
    """Intents that can be said in a menu: its own first, then all that are `global`."""
    everywhere = [i.id for i in flow.intents.values() if i.anywhere]
    return tuple(dict.fromkeys([*menu_intents(flow, menu), *everywhere]))


def sayable_only(flow: Flow, menu: str, ranked: Ranked) -> Ranked:
    """The ranking without intents that can't be said in this menu."""
    allowed = set(sayable(flow, menu))
    return Ranked(tuple(pair for pair in ranked.scores if pair[0] in allowed))


def routes(flow: Flow, menu: str) -> Iterator[tuple[str, Target]]:
    """Every (keys, place) that keys lead to from a menu, fewest keys first; each menu is walked once."""
    queue, seen = [("", menu)], {menu}
    while queue:
        typed, here = queue.pop(0)
        for key, target in flow.menus[here].keys.items():
            yield typed + key, target
            if target.kind == "menu" and target.name in flow.menus and target.name not in seen:
                seen.add(target.name)
                queue.append((typed + key, target.name))


def choices(flow: Flow) -> dict[str, int]:
    """For each menu that can be reached: how many choices a caller has made with one of its keys (start is 1)."""
    depth = {flow.start: 1} if flow.start in flow.menus else {}
    for typed, target in routes(flow, flow.start) if depth else ():
        if target.kind == "menu" and target.name in flow.menus:
            depth.setdefault(target.name, len(typed) + 1)
    return depth


def table(flow: Flow) -> list[Row]:
    """The whole flow flattened: menus x intents, with the keys where there are any."""
    rows = []
    for menu in flow.menus:
        keyed: dict[str, str] = {}
        for typed, target in routes(flow, menu):
            if target.kind == "intent":
                keyed.setdefault(target.name, typed)
        for key, target in flow.defaults.keys.items():
            if target.kind == "intent" and key not in flow.menus[menu].keys:
                keyed.setdefault(target.name, key)
        rows += [Row(menu, intent, keyed.get(intent)) for intent in sayable(flow, menu)]
    return rows
