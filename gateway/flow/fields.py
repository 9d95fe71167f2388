"""Takes typed values out of marked YAML maps and reports everything that is wrong, once each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from gateway.core.errors import Findings, FlowError, Mark, TrunklineError, nearest
from gateway.flow.nodes import Node

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|min|h)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_MISSING: Any = object()


class Report:
    """Collects errors while a file is read; `error` is the class that fits the file (FlowError, ConfigError)."""

    def __init__(self, error: type[TrunklineError] = FlowError) -> None:
        self.error = error
        self.items: list[TrunklineError] = []

    def add(
        self,
        what: str,
        where: Mark | None,
        *,
        read: str | None = None,
        expected: str | None = None,
        near: str | None = None,
        do: str | None = None,
    ) -> None:
        """Note one error."""
        self.items.append(self.error(what, where=where, read=read, expected=expected, near=near, do=do))

    def unknown(self, what: str, name: str, known: Iterable[str], where: Mark | None) -> None:
        """Note a name that nothing answers to, with the near match or else what there is."""
        names = list(known)
        near = nearest(name, names)
        shown = ", ".join(sorted(names)[:12]) + (" ..." if len(names) > 12 else "")
        self.add(f"unknown {what} {name}", where, near=near, expected=None if near else (shown or "none is defined"))

    def settle(self, file: str) -> None:
        """Raise Findings when anything was noted."""
        if self.items:
            count = len(self.items)
            raise Findings(f"{file}: {count} {'error' if count == 1 else 'errors'}", self.items)


class Fields:
    """The keys of one map. Use as `with Fields(node, report, "queue x") as f:`; leaving it reports keys nobody took.

    A value of the wrong kind is reported and its default returned, so that reading goes on without cascading. When the
    node is not a map at all that is the only error: everything taken from it is its default.
    """

    def __init__(self, node: Node, report: Report, what: str) -> None:
        self.node, self.report, self.what = node, report, what
        self.broken = not isinstance(node.value, dict)
        self.taken: list[str] = []
        if self.broken:
            report.add(f"{what} must be a map", node.mark, read=node.shown(), expected="keys and values")

    def __enter__(self) -> Fields:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None or self.broken:
            return
        for key, node in self.node.items():
            if key not in self.taken:
                self.report.unknown(f"key in {self.what}:", key, self.taken, node.key_mark)

    def node_of(self, key: str, required: bool = False) -> Node | None:
        """The Node under `key` as it stands, or None."""
        self.taken.append(key)
        found: Node | None = None if self.broken else self.node.value.get(key)
        if found is None and required and not self.broken:
            self.report.add(f"{self.what} has no {key}", self.node.key_mark or self.node.mark, expected=f"{key}:")
        return found

    def mark(self, key: str) -> Mark:
        """Where the value of `key` stands, or the map itself when the key is absent."""
        found = None if self.broken else self.node.value.get(key)
        return found.mark if found is not None else self.node.mark

    def _take(self, key: str, default: Any, expected: str, convert: Callable[[Node], Any]) -> Any:
        node = self.node_of(key, required=default is _MISSING)
        if node is None:
            return None if default is _MISSING else default
        value = convert(node)
        if value is None:
            self.report.add(f"{key} of {self.what} can't be used", node.mark, read=node.shown(), expected=expected)
            return None if default is _MISSING else default
        return value

    def text(self, key: str, default: Any = _MISSING) -> Any:
        """A string; numbers are taken as they were typed. None when missing or wrong."""
        return self._take(key, default, "words", text_of)

    def number(self, key: str, default: Any = _MISSING, low: float = 0.0, high: float = 1e9) -> Any:
        """A float within low..high."""
        return self._take(key, default, f"a number from {low:g} to {high:g}", lambda n: number_of(n, low, high))

    def integer(self, key: str, default: Any = _MISSING, low: int = 0, high: int = 1_000_000) -> Any:
        """An int within low..high."""

        def convert(node: Node) -> int | None:
            value = number_of(node, low, high)
            return int(value) if value is not None and value == int(value) else None

        return self._take(key, default, f"a whole number from {low} to {high}", convert)

    def flag(self, key: str, default: Any = _MISSING) -> Any:
        """true or false."""
        return self._take(key, default, "true or false", lambda n: n.value if isinstance(n.value, bool) else None)

    def duration(self, key: str, default: Any = _MISSING, low: float = 0.0) -> Any:
        """Seconds as a float, at least `low`, from a number (of seconds) or text such as 500ms, 15s, 2m, 1h."""

        def convert(node: Node) -> float | None:
            seconds = duration_of(node)
            return seconds if seconds is not None and seconds >= low else None

        expected = "a duration such as 15s or 500ms" + (f", at least {low:g}s" if low else "")
        return self._take(key, default, expected, convert)

    def choice(self, key: str, choices: Sequence[str], default: Any = _MISSING) -> Any:
        """One of the given words."""
        node = self.node_of(key, required=default is _MISSING)
        if node is None:
            return None if default is _MISSING else default
        value = text_of(node)
        if value not in choices:
            self.report.add(
                f"{key} of {self.what} can't be used",
                node.mark,
                read=node.shown(),
                expected=", ".join(choices),
                near=nearest(str(value), choices),
            )
            return None if default is _MISSING else default
        return value

    def texts(self, key: str, default: Any = _MISSING) -> Any:
        """A tuple of strings; one string stands for a list of one."""

        def convert(node: Node) -> tuple[str, ...] | None:
            nodes = node.value if isinstance(node.value, list) else [node]
            values = [text_of(n) for n in nodes]
            return None if any(v is None for v in values) else tuple(v for v in values if v is not None)

        return self._take(key, default, "a list of words", convert)

    def named(self, key: str, required: bool = False) -> list[tuple[str, Node]]:
        """The entries of a map of named things; an absent or empty map gives none."""
        node = self.node_of(key, required)
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, dict):
            self.report.add(f"{key} must be a map", node.mark, read=node.shown(), expected="names with their values")
            return []
        return list(node.items())

    def sequence(self, key: str) -> list[Node]:
        """The Nodes of a list; an absent list gives none."""
        node = self.node_of(key)
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self.report.add(
                f"{key} of {self.what} must be a list", node.mark, read=node.shown(), expected="- item lines"
            )
            return []
        return list(node.value)


def text_of(node: Node) -> str | None:
    """The words of a scalar as typed, or None for maps, lists and nothing."""
    return None if isinstance(node.value, dict | list) or node.value is None else node.raw


def number_of(node: Node, low: float, high: float) -> float | None:
    """A number within low..high, or None."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


def duration_of(node: Node) -> float | None:
    """Seconds, or None."""
    if isinstance(node.value, str):
        match = _DURATION.match(node.value.strip())
        return float(match[1]) * _SECONDS[match[2]] if match else None
    return number_of(node, 0.0, 86400.0 * 365)
