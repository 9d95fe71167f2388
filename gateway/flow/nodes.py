"""YAML with a place on every key and value, read without surprises.

`read(path)` gives a tree of Nodes (gateway.flow.fields takes typed values out of it). Scalars follow the YAML 1.2 core
schema (section 10.3), so `no` and `12:30` are words. The tree is built from parser events, so that neither depth nor
aliases can exhaust the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from gateway.core.errors import FlowError, Mark, TrunklineError

MAX_BYTES = 4_000_000
MAX_DEPTH = 24
MAX_NODES = 200_000

_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a YAML file. `value`: a scalar, a list of Nodes, or a dict of Nodes; `raw`: a scalar as typed."""

    value: Any
    mark: Mark
    raw: str = ""
    key_mark: Mark | None = None

    @property
    def kind(self) -> str:
        """What a person calls this value: a map, a list, nothing, yes/no, a number, words."""
        names: list[tuple[type, str]] = [(dict, "a map"), (list, "a list"), (bool, "true or false"), (str, "words")]
        if self.value is None:
            return "nothing"
        return next((name for kind, name in names if isinstance(self.value, kind)), "a number")

    def shown(self) -> str:
        """The value as an error message quotes it, at most 60 characters."""
        if isinstance(self.value, dict | list):
            return self.kind
        return (self.raw if len(self.raw) <= 60 else self.raw[:57] + "...") or "nothing"

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and values of a map; nothing for any other kind."""
        if isinstance(self.value, dict):
            yield from self.value.items()


def _scalar(raw: str, plain: bool) -> Scalar:
    if not plain:
        return raw
    if raw.lower() in _WORDS and raw in (raw.lower(), raw.title(), raw.upper()):
        return _WORDS[raw.lower()]  # type: ignore[return-value]
    if _INT.match(raw) and len(raw) < 20:
        return int(raw)
    return float(raw) if _FLOAT.match(raw) and len(raw) < 40 else raw


class _Builder:
    """Makes Nodes from parser events with a stack of its own."""

    def __init__(self, file: str, error: type[TrunklineError]) -> None:
        self.file, self.error = file, error
        self.stack: list[tuple[Node, list[Node]]] = []
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}
        self.count = 0
        self.root: Node | None = None
        self.documents = 0

    def fail(self, what: str, mark: Mark, **more: str) -> TrunklineError:
        return self.error(what, where=mark, **more)

    def mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def take(self, event: Any) -> None:
        name = type(event).__name__
        if name == "DocumentStartEvent":
            self.documents += 1
            if self.documents > 1:
                raise self.fail("a second document begins here", self.mark(event), expected="one document a file")
        elif name == "ScalarEvent":
            plain = bool(event.implicit[0]) and event.tag is None and event.style in (None, "")
            self.add(Node(_scalar(event.value, plain), self.mark(event), event.value), event.anchor)
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self.stack) >= MAX_DEPTH:
                raise self.fail("nested too deep", self.mark(event), expected=f"at most {MAX_DEPTH} levels")
            node = Node({} if name[0] == "M" else [], self.mark(event))
            self.stack.append((node, []))
            if event.anchor:
                self.anchors[event.anchor] = node
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            self.close()
        elif name == "AliasEvent":
            self.alias(event)

    def alias(self, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            raise self.fail(f"unknown alias *{event.anchor}", self.mark(event))
        if any(node is open_node for open_node, _ in self.stack):
            raise self.fail(f"alias *{event.anchor} holds itself", self.mark(event))
        self.add(Node(node.value, self.mark(event), node.raw), None, self.sizes.get(id(node.value), 1))

    def add(self, node: Node, anchor: str | None, size: int = 1) -> None:
        self.count += size
        if self.count > MAX_NODES:
            raise self.fail("the file holds too many values", node.mark, expected=f"at most {MAX_NODES}")
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1][1].append(node)
        else:
            self.root = node

    def close(self) -> None:
        node, children = self.stack.pop()
        if isinstance(node.value, list):
            node.value.extend(children)
        else:
            self.pair(node, children)
        size = 1 + sum(self.sizes.get(id(child.value), 1) for child in children)
        if isinstance(node.value, dict | list):
            self.sizes[id(node.value)] = size
        self.add(node, None, 1)

    def pair(self, node: Node, children: list[Node]) -> None:
        for key, value in zip(children[::2], children[1::2], strict=True):
            if isinstance(key.value, dict | list):
                raise self.fail("a key must be a word", key.mark, read=key.kind)
            if key.raw == "<<":
                raise self.fail("merge keys (<<) are not used here", key.mark, do="write the keys out")
            if key.raw in node.value:
                first = node.value[key.raw].key_mark
                raise self.fail(f"key {key.raw} stands twice in one map", key.mark, do=f"the first one is at {first}")
            node.value[key.raw] = Node(value.value, value.mark, value.raw, key.mark)


def _decoded(path: Path, error: type[TrunklineError]) -> str:
    name = str(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise error(f"can't read {name}: {reason.lower()}", where=Mark(name), do="check the path") from None
    if data is None:
        raise error("the file is too large", where=Mark(name), expected=f"at most {MAX_BYTES // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = data[: problem.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise error(
            "not UTF-8 text",
            where=Mark(name, line, column),
            read=f"byte 0x{data[problem.start]:02x}",
            do="save the file as UTF-8",
        ) from None


def read(path: str | Path, error: type[TrunklineError] = FlowError) -> Node:
    """The tree of a YAML file. Raises `error` with a place for what can't be read as one YAML 1.2 document of maps,
    lists and scalars in UTF-8. An empty file is a Node holding None."""
    path = Path(path)
    return read_text(_decoded(path, error), str(path), error)


def read_text(text: str, file: str, error: type[TrunklineError] = FlowError) -> Node:
    """The same for text that is already in memory; `file` is the name errors show."""
    builder = _Builder(file, error)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except ReaderError as problem:
        before = text[: problem.position or 0]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        read_as = f"U+{ord(text[len(before)]):04X}" if len(before) < len(text) else None
        raise error("a character YAML does not allow", where=Mark(file, line, column), read=read_as) from None
    except YAMLError as problem:
        raise _syntax(problem, text, file, error) from None
    return builder.root or Node(None, Mark(file))


def _syntax(problem: Any, text: str, file: str, error: type[TrunklineError]) -> TrunklineError:
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    where = Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file)
    lines = text.splitlines()
    line = lines[where.line - 1] if 0 < where.line <= len(lines) else ""
    if "\t" in line[: where.column]:
        column = line.index("\t") + 1
        return error(
            "a tab stands where YAML wants spaces", where=Mark(file, where.line, column), do="indent by spaces"
        )
    what = str(getattr(problem, "problem", None) or problem).split("\n")[0]
    context = getattr(problem, "context", None)
    return error(
        f"not valid YAML: {what}", where=where, read=line.strip()[:60] or None, expected=context and f"{context}"
    )
