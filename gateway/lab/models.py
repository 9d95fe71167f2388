"""`trunkline models`: what is here, where it comes from, under which licence; and making it ready."""

from __future__ import annotations

import json

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.speech import models

DEFAULT = ("whisper-base", "silero-vad")
"""What a gateway needs to hear callers."""


def show_models(out: Console, *, prepare: bool, fetch: str | None, as_json: bool) -> None:
    """Makes ready what was asked for, with a progress bar, then lists all. Raises ModelMissing."""
    wanted = [*(DEFAULT if prepare else ()), *([fetch] if fetch else [])]
    if wanted:
        make_ready(wanted, Console(stderr=True))
    rows = [
        {
            "name": s.model.name,
            "state": s.state,
            "what": s.model.what,
            "licence": s.model.licence,
            "mb": round(s.model.size / 1e6),
            "from": s.model.url or ", ".join(f"{name} {version}" for name, version in s.model.packages),
            "path": str(s.path),
        }
        for s in models.status()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None)
    for column in ("name", "state", "what", "licence", "mb"):
        table.add_column(column)
    for row in rows:
        colour = {"ready": "green", "installed": "yellow"}.get(str(row["state"]), "dim")
        table.add_row(
            str(row["name"]), f"[{colour}]{row['state']}[/]", str(row["what"]), str(row["licence"]), str(row["mb"])
        )
    out.print(table)


def make_ready(names: list[str], console: Console) -> None:
    """Lays out or downloads each model. Raises ModelMissing with what to do."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        for name in names:
            task = bars.add_task(name, total=None)

            def step(what: str, done: int, total: int, task: object = task) -> None:
                bars.update(task, description=what, completed=done, total=total or None)  # type: ignore[arg-type]

            models.ensure(name, step)


def examined() -> list[tuple[str, bool, str]]:
    """(name, ready, where or what to do) for the doctor."""
    return [
        (
            s.model.name,
            s.state != "missing",
            str(s.path) if s.state == "ready" else f"trunkline models --fetch {s.model.name}",
        )
        for s in models.status()
    ]
