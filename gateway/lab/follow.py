"""Prints calls as they happen, from their records: what was heard, understood, said, decided, and how fast."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from gateway.core.errors import StoreError
from gateway.store.record import CallRecord
from gateway.store.store import SqliteReader, open_for_reading

Data = Mapping[str, Any]


def _heard(d: Data) -> str:
    if d.get("redacted"):
        return "[bold]heard[/]       (sensitive, not kept)"
    words = f"“{escape(str(d['text']))}”"
    next_best = f"{d['runner_up']} {d['runner_up_score']:.2f}"
    return f"[bold]heard[/]       {words}  [cyan]{d['intent']} {d['score']:.2f}[/] (next {next_best})"


def _offered(d: Data) -> str:
    others = "".join(f"\n{'':19}not {c['agent']}: {escape(c['rejected'])}" for c in d["candidates"] if c["rejected"])
    return f"[bold]offered[/]     to [green]{d['agent']}[/]: {escape(str(d['why']))}{others}"


def _matched(d: Data) -> str:
    if "key" in d:
        return f"taken for   key {d['key']}: {d.get('target', 'an answer')}"
    return f"taken for   {d['intent']}, {d['band']}" if "band" in d else ""


LINES: dict[str, Callable[[Data], str]] = {
    "answered": lambda d: f"[bold]answered[/]    in {d['language']}",
    "said": lambda d: f"said        [dim]{escape(str(d['text']))}[/]",
    "interrupted": lambda d: f"[yellow]interrupted[/] by {d['by']}",
    "heard": _heard,
    "matched": _matched,
    "replied": lambda d: f"replied     {d['latency_ms']} ms after the caller's turn",
    "key": lambda d: "[bold]key[/]",
    "filled": lambda d: f"slot        {d.get('slot')} = {escape(str(d.get('value', '')))}",
    "emergency": lambda d: f"[red]emergency[/]   {escape(str(d.get('phrase', '')))}",
    "queued": lambda d: f"[bold]queued[/]      {d['queue']}: {escape(str(d['reason']))}",
    "offered": _offered,
    "not_answered": lambda d: f"no answer   {d['agent']}: {escape(str(d['reason']))}",
    "nobody": lambda d: f"[red]nobody[/]      {escape(str(d['why']))}",
    "bridged": lambda d: f"[bold green]bridged[/]     caller and {d['agent']} hear each other",
    "ended": lambda d: f"[bold]hung up[/]     {escape(str(d['reason']))}",
}


class Follower:
    """Prints every new line of every call in a gateway's data folder until `close`, each behind its call's language."""

    def __init__(self, data: Path, console: Console) -> None:
        self.data, self.console = data, console
        self._seen = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> list[CallRecord]:
        """Prints what is left and gives the calls, newest first."""
        self._over.set()
        self._thread.join()
        return self._look()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            self._look()

    def _look(self) -> list[CallRecord]:
        try:
            reader: SqliteReader = open_for_reading(self.data)
        except StoreError:
            return []
        try:
            records = [reader.record(head.id) for head in reader.recent(8)]
        finally:
            reader.close()
        news = [(event, record) for record in records for event in record.events if event.number > self._seen]
        for event, record in sorted(news, key=lambda pair: pair[0].number):
            self._seen = event.number
            shown = LINES.get(event.kind)
            line = shown(event.data) if shown else ""
            if line:
                head = f"[magenta]{record.head.dialled}[/] {record.at(event):6.2f} s"
                self.console.print(f"  {head}  {line}", highlight=False, soft_wrap=True)
        return records
