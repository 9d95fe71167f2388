"""The small shapes of a flow's YAML: places to go, words by language, templates, keys, steps of an escalation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import TypeVar

from gateway.core.errors import nearest
from gateway.flow.fields import Fields, Report, text_of
from gateway.flow.model import Phrases, Rung, Target, Texts
from gateway.flow.nodes import Node
from gateway.flow.templates import TemplateError, expand

KEYS = "0123456789*#ABCD"
BARE_TARGETS = ("back", "repeat", "language", "more", "hangup")
NAMED_TARGETS = ("menu", "action", "queue", "say", "message", "intent")

T = TypeVar("T")


class Shapes:
    """Reads shapes into one report; knows the flow's languages, which many of them need."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.languages: tuple[str, ...] = ()
        self.tz: tzinfo = UTC

    def named(self, f: Fields, section: str, make: Callable[[str, Node], T], required: bool = False) -> dict[str, T]:
        """Reads each entry of a section of named things."""
        return {name: make(name, node) for name, node in f.named(section, required)}

    def target(self, node: Node | None, default: Target) -> Target:
        """`menu:x`, `queue:x`, `back` ...; a bare word that is none of these is an intent."""
        if node is None:
            return default
        text = text_of(node)
        if not text:
            self.report.add("not a place to go", node.mark, read=node.shown(), expected="menu:x, queue:x or an intent")
            return default
        kind, colon, name = text.partition(":")
        if not colon:
            known = text in BARE_TARGETS
            return Target(text, "", node.mark) if known else Target("intent", text, node.mark)  # type: ignore[arg-type]
        if kind not in NAMED_TARGETS or not name:
            expected = ", ".join(f"{k}:name" for k in NAMED_TARGETS)
            near = nearest(kind, NAMED_TARGETS)
            self.report.add(
                "not a place to go", node.mark, read=text, expected=expected, near=near and f"{near}:{name}"
            )
            return default
        return Target(kind, name.strip(), node.mark)  # type: ignore[arg-type]

    def by_language(self, node: Node | None, what: str) -> list[tuple[str, Node]]:
        """Entries of a map whose keys are the flow's languages."""
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, dict):
            expected = " and ".join(f"{tag}:" for tag in self.languages) or "a language tag: words"
            self.report.add(f"{what} needs a text for each language", node.mark, read=node.shown(), expected=expected)
            return []
        found = []
        for tag, child in node.items():
            if tag in self.languages:
                found.append((tag, child))
            else:
                self.report.unknown(f"language of {what}:", tag, self.languages, child.key_mark)
        return found

    def texts(self, node: Node | None, what: str) -> Texts:
        """Words by language."""
        result = {}
        for tag, child in self.by_language(node, what):
            words = text_of(child)
            if words is None or not words.strip():
                self.report.add(f"{what} has no words in {tag}", child.mark, read=child.shown(), expected="words")
            else:
                result[tag] = words
        return result

    def phrases(self, node: Node | None, what: str) -> Phrases:
        """Templates by language."""
        result: dict[str, tuple[str, ...]] = {}
        for tag, child in self.by_language(node, what):
            if not isinstance(child.value, list):
                self.report.add(
                    f"{what} in {tag} must be a list", child.mark, read=child.shown(), expected="- a sentence"
                )
                continue
            lines = []
            for item in child.value:
                words = text_of(item)
                if words is None or not words.strip():
                    self.report.add(f"{what} in {tag}: not a sentence", item.mark, read=item.shown(), expected="words")
                    continue
                try:
                    expand(words)
                    lines.append(words)
                except TemplateError as problem:
                    self.report.add(
                        f"{what} in {tag}: {problem}", item.mark, read=words[:60], do="see (a|b) and [maybe]"
                    )
            result[tag] = tuple(lines)
        return result

    def keys(self, f: Fields, section: str) -> dict[str, Target]:
        """Telephone keys with where they lead."""
        result = {}
        for key, node in f.named(section):
            if len(key) == 1 and key in KEYS:
                result[key] = self.target(node, Target("repeat"))
            else:
                self.report.add("not a telephone key", node.key_mark, read=key, expected="0-9, *, #")
        return result

    def rungs(self, f: Fields, section: str) -> tuple[Rung, ...]:
        """The steps of an escalation."""
        result = []
        for node in f.sequence(section):
            with Fields(node, self.report, f"a step of {section}") as g:
                after = g.number("after_ms", 5000.0, 200, 120_000) / 1000
                say, goto = g.text("say", None), g.node_of("goto")
                if say is None and goto is None and not g.broken:
                    self.report.add(f"a step of {section} does nothing", node.mark, expected="say: or goto:")
                go = self.target(goto, Target("repeat")) if goto else None
                result.append(Rung(after, say, go, node.mark))
        return tuple(result)
