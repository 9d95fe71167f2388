"""Reading call records from SQLite, and where a data folder keeps them."""

from __future__ import annotations

import json
import sqlite3
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.core.clock import Moment
from gateway.core.errors import StoreError
from gateway.store.record import CallHead, CallRecord, Event
from gateway.store.schema import connect


def records_path(data: Path) -> Path:
    """The file of call records in a gateway's data folder."""
    return data / "calls.db"


def open_for_reading(data: Path) -> SqliteReader:
    """The records of a gateway's data folder, also while it runs. Raises StoreError."""
    return SqliteReader(records_path(data))


class SqliteReader:
    """Reads the records at `path` while a gateway may write them. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = threading.Lock()
        self._db = connect(path, write=False)

    def record(self, call: str) -> CallRecord:
        """The whole call. Raises StoreError where it is unknown."""
        rows = self._rows("SELECT * FROM calls WHERE id = ?", call)
        if not rows:
            raise StoreError(
                f"no call {call} in {self.path}", do="trunkline why last, or a longer part of the call's id"
            )
        events = self._rows(
            "SELECT number, mono, utc, node, kind, data FROM events WHERE call = ? ORDER BY number", call
        )
        return CallRecord(_head(rows[0]), tuple(_event(row) for row in events))

    def recent(self, n: int = 20) -> list[CallHead]:
        """The newest `n` calls, newest first. Ids are UUIDv7, so they sort by time."""
        return [_head(row) for row in self._rows("SELECT * FROM calls ORDER BY id DESC LIMIT ?", n)]

    def find(self, text: str) -> list[str]:
        """Ids that begin (or else end) with `text`, newest first; `last` is the newest call."""
        if text == "last":
            return [head.id for head in self.recent(1)]
        wanted = "".join(c for c in text.lower() if c.isalnum() or c == "-")
        for pattern in (f"{wanted}%", f"%{wanted}"):
            if found := self._rows("SELECT id FROM calls WHERE id LIKE ? ORDER BY id DESC LIMIT 100", pattern):
                return [str(row["id"]) for row in found]
        return []

    def close(self) -> None:
        """Let go of the file."""
        with self._reading:
            self._db.close()

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        try:
            with self._reading:
                self._db.row_factory = sqlite3.Row
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the call records at {self.path} can't be read: {error}") from error


def _moment(mono: float, utc: str) -> Moment:
    return Moment(mono, datetime.fromisoformat(utc))


def _head(row: sqlite3.Row) -> CallHead:
    ended = _moment(row["ended_mono"], row["ended_utc"]) if row["ended_utc"] else None
    return CallHead(
        id=row["id"],
        node=row["node"],
        caller=row["caller"],
        dialled=row["dialled"],
        language=row["language"],
        flow=row["flow"],
        flow_version=row["flow_version"],
        started=_moment(row["started_mono"], row["started_utc"]),
        ended=ended,
        outcome=row["outcome"],
        reason=row["reason"],
        recording=Path(row["recording"]) if row["recording"] else None,
    )


def _event(row: sqlite3.Row) -> Event:
    data: dict[str, Any] = json.loads(row["data"])
    return Event(row["number"], _moment(row["mono"], row["utc"]), row["node"], row["kind"], data)
