"""Reads a flow's YAML into a Flow. Shapes are read here; whether the names lead anywhere is `gateway.flow.links`."""

from __future__ import annotations

import os
from datetime import date, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from gateway.core.errors import Mark, nearest
from gateway.flow.fields import Fields, Report, text_of
from gateway.flow.hours import DAYS, days_of, spans_of
from gateway.flow.model import (
    Action,
    Case,
    Defaults,
    Flow,
    FlowQueue,
    Hours,
    Http,
    Intent,
    Menu,
    Places,
    Result,
    ResultKind,
    Slot,
    SlotKind,
    Table,
    Target,
)
from gateway.flow.nodes import Node
from gateway.flow.shapes import Shapes

SCHEMA_VERSION = 1
ANY = "any"
"""The language of a number whose callers choose theirs by key."""

ROLES = ("hold", "position", "wait", "nobody", "closed", "message_taken")
SLOT_KINDS = ("digits", "amount", "date", "yesno")
RESULT_KINDS = ("digits", "number", "amount", "date", "ordinal", "text", "word")
EXPECTATIONS = ("queue", "intent", "path", "said", "end", "language", "emergency")


class Sections(Shapes):
    """Reads each section of a flow."""

    def defaults(self, node: Node | None) -> Defaults:
        if node is None:
            return Defaults()
        base = Defaults()
        with Fields(node, self.report, "defaults") as f:
            empty = Node({}, node.mark)
            with Fields(f.node_of("barge_in") or empty, self.report, "barge_in") as b:
                barge, stop = b.flag("speech", True), b.flag("keys", True)
                units = self.units(b)
            with Fields(f.node_of("endpointing") or empty, self.report, "endpointing") as e:
                silence = e.number("silence_ms", 600.0, 100, 5000) / 1000
                digits = e.number("digits_silence_ms", 1500.0, 100, 8000) / 1000
                longest = e.number("max_ms", 12000.0, 1000, 60000) / 1000
                gap = e.number("key_gap_ms", 3000.0, 500, 20000) / 1000
            with Fields(f.node_of("thresholds") or empty, self.report, "thresholds") as t:
                accept, confirm = t.number("accept", base.accept, 0, 1), t.number("confirm", base.confirm, 0, 1)
                margin = t.number("margin", base.margin, 0, 1)
                if confirm > accept:
                    self.report.add("confirm lies above accept", t.mark("confirm"), expected=f"at most {accept:g}")
            return Defaults(
                barge_in=barge,
                keys_stop=stop,
                min_units=units,
                silence_s=silence,
                digits_silence_s=digits,
                max_s=longest,
                key_gap_s=gap,
                accept=accept,
                confirm=confirm,
                margin=margin,
                no_input=self.rungs(f, "no_input"),
                no_match=self.rungs(f, "no_match"),
                keys=self.keys(f, "keys"),
                human=self.target(f.node_of("human"), base.human),
            )

    def units(self, f: Fields) -> dict[str, int]:
        found = {}
        for tag, child in self.by_language(f.node_of("min_units"), "min_units"):
            if isinstance(child.value, int) and 1 <= child.value <= 20:
                found[tag] = child.value
            else:
                self.report.add("min_units can't be used", child.mark, read=child.shown(), expected="1 to 20")
        return found

    def slot(self, name: str, node: Node) -> Slot:
        with Fields(node, self.report, f"slot {name}") as f:
            kind: SlotKind = f.choice("type", SLOT_KINDS) or "digits"
            return Slot(
                id=name,
                kind=kind,
                ask=f.text("ask") or "",
                confirm=f.text("confirm", None),
                length=f.integer("length", 0, 1, 40) if kind == "digits" else 0,
                attempts=f.integer("attempts", 3, 1, 10),
                sensitive=f.flag("sensitive", False),
                currency=f.choice("currency", ("dollars", "yuan"), "yuan") if kind == "amount" else "",
                mark=node.key_mark,
            )

    def intent(self, name: str, node: Node) -> Intent:
        with Fields(node, self.report, f"intent {name}") as f:
            return Intent(
                id=name,
                label=self.texts(f.node_of("label", True), f"the label of intent {name}"),
                utterances=self.phrases(f.node_of("utterances", True), f"the utterances of intent {name}"),
                goto=self.target(f.node_of("goto", True), Target("more")),
                slots=f.texts("slots", ()),
                negative=self.phrases(f.node_of("negative"), f"negative of intent {name}"),
                emergency=self.phrases(f.node_of("emergency"), f"emergency of intent {name}"),
                anywhere=f.flag("global", True),
                mark=node.key_mark,
            )

    def menu(self, name: str, node: Node) -> Menu:
        with Fields(node, self.report, f"menu {name}") as f:
            closed = f.node_of("closed")
            return Menu(
                id=name,
                say=f.text("say") or "",
                help=f.text("help") or "",
                keys=self.keys(f, "keys"),
                say_again=f.text("say_again", None),
                intents=f.texts("intents", ()),
                hours=f.text("hours", None),
                closed=self.target(closed, Target("more")) if closed else None,
                mark=node.key_mark,
            )

    def action(self, name: str, node: Node) -> Action:
        with Fields(node, self.report, f"action {name}") as f:
            table, http = f.node_of("table"), f.node_of("http")
            if (table is None) == (http is None) and not f.broken:
                self.report.add(f"action {name} needs one of table and http", node.key_mark, expected="table: or http:")
            return Action(
                id=name,
                table=self.table(table, name) if table else None,
                http=self.http(http, name) if http else None,
                say=f.text("say", None),
                on_error=self.target(f.node_of("on_error", True), Target("more")),
                then=self.target(f.node_of("then"), Target("more")),
                returns=self.named(f, "returns", self.result),
                mark=node.key_mark,
            )

    def result(self, name: str, node: Node) -> Result:
        with Fields(node, self.report, f"result {name}") as f:
            kind: ResultKind = f.choice("type", RESULT_KINDS) or "text"
            words = self.named(f, "words", lambda word, n: self.texts(n, f"{name} {word}")) if kind == "word" else {}
            currency = f.choice("currency", ("dollars", "yuan"), "yuan") if kind == "amount" else ""
            return Result(kind, currency, words)

    def table(self, node: Node, action: str) -> Table:
        with Fields(node, self.report, f"the table of action {action}") as f:
            other = f.node_of("other")
            rows = self.named(f, "rows", lambda value, row: self.row(row, f"row {value} of action {action}"))
            return Table(f.text("by", None), rows, self.row(other, f"other of action {action}") if other else None)

    def row(self, node: Node, what: str) -> dict[str, str]:
        if not isinstance(node.value, dict):
            self.report.add(f"{what} must be a map", node.mark, read=node.shown(), expected="names with values")
        return {name: text_of(child) or "" for name, child in node.items()}

    def http(self, node: Node, action: str) -> Http:
        with Fields(node, self.report, f"http of action {action}") as f:
            get, post = f.text("get", None), f.text("post", None)
            if (get is None) == (post is None) and not f.broken:
                self.report.add(f"action {action} needs one address", node.mark, expected="get: URL or post: URL")
            timeout = f.number("timeout_ms", 2000.0, 50, 30_000) / 1000
            return Http("GET" if get else "POST", get or post or "", timeout)

    def opening(self, name: str, node: Node) -> Hours:
        with Fields(node, self.report, f"hours {name}") as f:
            tz = self.zone(f) or self.tz
            week: list[tuple[tuple[int, int], ...]] = [() for _ in DAYS]
            for days, child in f.named("open", required=True):
                spans = spans_of(text_of(child) or "")
                if days_of(days) is None:
                    self.report.add("not a day", child.key_mark, read=days, expected="mon, mon-fri, sat-sun")
                elif spans is None:
                    self.report.add("not opening hours", child.mark, read=child.shown(), expected='"09:00-18:00"')
                else:
                    for day in days_of(days) or ():
                        week[day] = tuple(spans)
            return Hours(name, tz, tuple(week), frozenset(self.holidays(f)), node.key_mark)

    def zone(self, f: Fields) -> tzinfo | None:
        """The time zone under `tz`, None when none is given."""
        name = f.text("tz", None)
        if name is None:
            return None
        try:
            return ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            known = available_timezones()
            do = None if known else "install time zone data: pip install tzdata"
            expected = "a name such as Asia/Shanghai"
            self.report.add(
                "unknown time zone", f.mark("tz"), read=name, expected=expected, near=nearest(name, known), do=do
            )
            return None

    def holidays(self, f: Fields) -> list[date]:
        days = []
        for node in f.sequence("holidays"):
            try:
                days.append(date.fromisoformat(text_of(node) or ""))
            except ValueError:
                self.report.add("not a date", node.mark, read=node.shown(), expected="2026-12-25")
        return days

    def queue(self, name: str, node: Node) -> FlowQueue:
        if node.value is None:
            node = Node({}, node.mark, "", node.key_mark)
        with Fields(node, self.report, f"queue {name}") as f:
            skills = self.named(f, "skills", lambda skill, n: self.level(skill, n))
            prompts = self.named(f, "say", lambda role, n: self.role(role, n))
            return FlowQueue(
                id=name,
                skills=skills,
                priority=f.integer("priority", 0, -1000, 1000),
                ring_s=f.duration("ring_s", 15.0, low=1.0),
                announce_s=f.duration("announce_s", 30.0),
                wrap_up_s=f.duration("wrap_up_s", 0.0),
                hours=f.text("hours", None),
                emergency=f.flag("emergency", False),
                say=prompts,
                mark=node.key_mark,
            )

    def level(self, skill: str, node: Node) -> int:
        if isinstance(node.value, int) and not isinstance(node.value, bool) and 1 <= node.value <= 5:
            return node.value
        self.report.add(f"the level of skill {skill} can't be used", node.mark, read=node.shown(), expected="1 to 5")
        return 1

    def role(self, role: str, node: Node) -> str:
        if role not in ROLES:
            self.report.unknown("prompt of a queue:", role, ROLES, node.key_mark)
        return text_of(node) or ""

    def case(self, node: Node) -> Case:
        with Fields(node, self.report, "a test") as f:
            expect = {name: text_of(child) or "" for name, child in f.named("expect", required=True)}
            for name, child in f.named("expect"):
                if name not in EXPECTATIONS:
                    self.report.unknown("expectation", name, EXPECTATIONS, child.key_mark)
                elif isinstance(child.value, list):
                    expect[name] = " ".join(text_of(item) or "" for item in child.value)
            return Case(f.text("name") or "", f.text("language", ""), f.texts("script", ()), expect, node.mark)


def read_flow(root: Node, report: Report) -> Flow:
    """A Flow whose shapes are right as far as `report` stayed empty."""
    r = Sections(report)
    with Fields(root, report, "a flow file") as f:
        version = f.integer("ivr", SCHEMA_VERSION, 0, 1000)
        if version != SCHEMA_VERSION:
            report.add("unknown schema version", f.mark("ivr"), read=str(version), expected=str(SCHEMA_VERSION))
        head = _head(f, r)
        return Flow(
            **head,
            defaults=r.defaults(f.node_of("defaults")),
            prompts=r.named(f, "prompts", lambda name, n: r.texts(n, f"prompt {name}"), True),
            slots=r.named(f, "slots", r.slot),
            intents=r.named(f, "intents", r.intent, True),
            menus=r.named(f, "menus", r.menu, True),
            actions=r.named(f, "actions", r.action),
            hours=r.named(f, "hours", r.opening),
            queues=r.named(f, "queues", r.queue, True),
            cases=tuple(r.case(n) for n in f.sequence("tests")),
            file=root.mark.file,
            places=places(root),
        )


def _head(f: Fields, r: Sections) -> dict[str, Any]:
    node = f.node_of("flow", required=True)
    if node is None:
        return {
            "id": os.path.basename(f.node.mark.file),
            "version": "",
            "languages": ("en-US",),
            "start": "",
            "numbers": {},
        }
    with Fields(node, r.report, "flow") as g:
        r.languages = g.texts("languages") or ()
        for tag in r.languages:
            if tag.count("-") != 1 or not tag[:2].islower():
                r.report.add("not a language tag", g.mark("languages"), read=tag, expected="en-US, zh-CN")
        numbers = {}
        for number, child in g.named("numbers"):
            language = text_of(child) or ""
            if language not in (*r.languages, ANY):
                r.report.unknown("language", language, (*r.languages, ANY), child.mark)
            numbers[number] = "" if language == ANY else language
        r.tz = r.zone(g) or r.tz
        return {
            "tz": r.tz,
            "id": g.text("id") or "",
            "version": g.text("version", ""),
            "languages": r.languages or ("en-US",),
            "start": g.text("start") or "",
            "numbers": numbers,
        }


def places(root: Node) -> Places:
    """The places of the first five levels of a file."""
    keys: dict[str, Mark] = {}
    values: dict[str, Mark] = {}

    def walk(node: Node, path: str, depth: int) -> None:
        listed = enumerate(node.value) if isinstance(node.value, list) else ()
        for name, child in node.items() if isinstance(node.value, dict) else listed:
            here = f"{path}.{name}" if path else str(name)
            keys[here], values[here] = child.key_mark or child.mark, child.mark
            if depth < 4:
                walk(child, here, depth + 1)

    walk(root, "", 0)
    return Places(keys, values)
