"""The tables, and opening them. One SQLite file in WAL mode: readers never wait for the writer, nor it for them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.core.errors import StoreError

VERSION = 1
"""Kept in the file (PRAGMA user_version)."""

TABLES = """
CREATE TABLE IF NOT EXISTS calls (
  id TEXT PRIMARY KEY, node TEXT NOT NULL, caller TEXT NOT NULL, dialled TEXT NOT NULL, language TEXT NOT NULL,
  flow TEXT NOT NULL, flow_version TEXT NOT NULL,
  started_mono REAL NOT NULL, started_utc TEXT NOT NULL, ended_mono REAL, ended_utc TEXT,
  outcome TEXT NOT NULL DEFAULT 'open', reason TEXT NOT NULL DEFAULT '', recording TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS calls_open ON calls (node) WHERE ended_utc IS NULL;
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, call TEXT NOT NULL REFERENCES calls (id),
  mono REAL NOT NULL, utc TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_of_call ON events (call, number);
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
"""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the records at `path`; `write` creates the file and its tables. Raises StoreError."""
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.exists():
        raise StoreError(f"there are no call records at {path}", do="give the --data folder the gateway runs with")
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise StoreError(
                f"the call records at {path} come from a newer Trunkline",
                read=f"version {found}",
                expected=f"version {VERSION} or older",
                do="upgrade this Trunkline, or choose another --data folder",
            )
        if write:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA foreign_keys=ON")
            db.executescript(TABLES)
            db.execute(f"PRAGMA user_version={VERSION}")
        else:
            db.execute("PRAGMA query_only=1")
    except sqlite3.Error as error:
        raise StoreError(
            f"the call records at {path} can't be used: {error}",
            do="free the disk, fix the folder's rights, or move the file away so that a new one is made",
        ) from error
    return db
