"""Call records in SQLite, written by one thread so that a slow disk never holds up a call.

A kill -9 loses what was appended in the last moments only: the writer commits what there is every GATHER_S.
`begin` waits for its row, or says when it is there. (A power cut may lose more: WAL with synchronous=NORMAL does
not wait for the disk's own cache, https://sqlite.org/pragma.html#pragma_synchronous.)
"""

from __future__ import annotations

import fcntl
import json
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.core.clock import Moment
from gateway.core.errors import StoreError
from gateway.store.calls import Recovered
from gateway.store.record import CallRecord, masked
from gateway.store.schema import connect
from gateway.store.store import SqliteReader, records_path

log = logging.getLogger(__name__)

BATCH = 500
"""Most statements in one transaction."""

GATHER_S = 0.005
"""How long the writer lets work gather after a commit: many calls share one transaction."""

ROOM_S = 0.01
"""How often a full queue is looked at by who waits for room in it."""

WAIT_S = 2.0
"""Longest time `begin`, `finish` and reading wait for the writer, in seconds."""

RETRY_S = 0.5
"""Pause before a write that the disk refused is tried again."""

LOST = "the gateway stopped without warning"

BEGIN = """INSERT INTO calls
(id, node, caller, dialled, language, flow, flow_version, started_mono, started_utc, recording)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
APPEND = "INSERT INTO events (call, mono, utc, node, kind, data) VALUES (?, ?, ?, ?, ?, ?)"
FINISH = """UPDATE calls SET ended_mono = ?, ended_utc = ?, outcome = ?, reason = ?, recording = coalesce(?, recording)
WHERE id = ? AND ended_utc IS NULL"""


Then = Callable[[StoreError | None], None]
"""Told that a row is on disk, or why not."""


@dataclass(slots=True)
class _Job:
    """One statement for the writer; `then` is called from its thread once it is committed or refused."""

    sql: str
    values: tuple[object, ...] = ()
    then: Then | None = None
    error: Exception | None = None


def open_store(data: Path, node: str) -> SqliteStore:
    """The records of a gateway's data folder, to be written by this process alone. Raises StoreError."""
    return SqliteStore(records_path(data), node)


class SqliteStore(SqliteReader):
    """The CallStore of one node. Only one gateway may write to a file; `dropped` counts events that a full queue of
    `room` refused, `failed` statements the database refused, `trouble` is the disk's last complaint while it lasts."""

    def __init__(self, path: Path, node: str, room: int = 10_000) -> None:
        self.node = node
        self.dropped = 0
        self.failed = 0
        self.trouble: str | None = None
        self._lock = _only_writer(path)
        db = connect(path, write=True)
        super().__init__(path)
        self._jobs: deque[_Job] = deque()
        self._room = room
        self._work = threading.Event()
        self._closed = False
        self._writer = threading.Thread(target=self._write, args=(db,), name="call-records", daemon=True)
        self._writer.start()

    # --- writing --------------------------------------------------------------------------------------------------

    def begin(
        self,
        call: str,
        moment: Moment,
        *,
        caller: str = "",
        dialled: str = "",
        language: str = "",
        flow: str = "",
        flow_version: str = "",
        recording: Path | None = None,
        node: str | None = None,
        then: Then | None = None,
    ) -> None:
        """A call is to be answered. Returns when the row is on disk, or, where `then` is given, at once: it is called
        from another thread when the row is there or was refused. Raises StoreError."""
        times = (moment.mono, moment.utc.isoformat())
        head = (call, node or self.node, _clean(caller), _clean(dialled), language, flow, flow_version, *times)
        values = (*head, str(recording) if recording else None)
        if then is None:
            self._wait(BEGIN, values)
        else:
            self._put(_Job(BEGIN, values, then), wait=0)

    def append(self, call: str, moment: Moment, kind: str, data: Mapping[str, object]) -> None:
        """One more event of the call. Never waits; dropped and counted only when the queue is full."""
        text = _clean(json.dumps(masked(data), ensure_ascii=False, default=str))
        job = _Job(APPEND, (call, moment.mono, moment.utc.isoformat(), self.node, kind, text))
        try:
            self._put(job, wait=0)
        except StoreError:
            self.dropped += 1

    def finish(
        self, call: str, moment: Moment, reason: str, *, outcome: str = "ended", recording: Path | None = None
    ) -> None:
        """The call is over. Waits only for room in the queue. Raises StoreError when there is none for long."""
        values = (
            moment.mono,
            moment.utc.isoformat(),
            outcome,
            _clean(reason),
            str(recording) if recording else None,
            call,
        )
        self._put(_Job(FINISH, values))

    def flush(self) -> None:
        """Wait until everything written so far is on disk. Raises StoreError when that takes too long."""
        self._wait("SELECT 1")

    def record(self, call: str) -> CallRecord:
        """The whole call, including what was appended a moment ago. Raises StoreError where it is unknown."""
        if not self._closed:
            self.flush()
        return super().record(call)

    def recover(self, now: Moment, recordings: Path | None = None) -> list[Recovered]:
        """Close the calls that this node left open when it died, at their last event, and find their recordings."""
        found = []
        for row in self._rows("SELECT id, recording FROM calls WHERE ended_utc IS NULL AND node = ?", self.node):
            call = str(row["id"])
            last = super().record(call)
            moment = last.events[-1].moment if last.events else last.head.started
            recording = _recording(call, Path(row["recording"]) if row["recording"] else None, recordings)
            values = (moment.mono, moment.utc.isoformat(), "lost", LOST, str(recording) if recording else None, call)
            self._put(_Job(FINISH, values))
            found.append(Recovered(call, recording))
            self.append(call, Moment(moment.mono, now.utc), "recovered", {"reason": LOST, "found_at": str(now.utc)})
        self.flush()
        return found

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._work.set()
        self._writer.join(WAIT_S)
        super().close()
        self._lock.close()

    def _put(self, job: _Job, wait: float = WAIT_S) -> None:
        if self._closed:
            raise StoreError("the call records are closed")
        limit = 0.0 if self.trouble is not None else wait
        while len(self._jobs) >= self._room:
            if limit <= 0:
                raise self._stuck()
            limit -= ROOM_S
            time.sleep(ROOM_S)
        self._jobs.append(job)
        if not self._work.is_set():
            self._work.set()

    def _wait(self, sql: str, values: tuple[object, ...] = ()) -> None:
        done = threading.Event()
        errors: list[StoreError | None] = []

        def then(error: StoreError | None) -> None:
            errors.append(error)
            done.set()

        self._put(_Job(sql, values, then))
        if not done.wait(WAIT_S if self.trouble is None else 0):
            raise self._stuck()
        if errors[0] is not None:
            raise errors[0]

    def _stuck(self) -> StoreError:
        return StoreError(
            f"call records can't be written to {self.path}: {self.trouble or 'the disk is too slow'}",
            do="free the disk or move --data to a faster one",
        )

    # --- the writer's thread --------------------------------------------------------------------------------------

    def _write(self, db: sqlite3.Connection) -> None:
        while not (self._closed and not self._jobs):
            self._work.wait()
            self._work.clear()
            while self._jobs:
                self._commit(db, [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))])
            if not self._closed:
                time.sleep(GATHER_S)
        db.close()

    def _commit(self, db: sqlite3.Connection, batch: list[_Job]) -> None:
        """Write a batch in one transaction; while the disk is sick keep trying, so that only the queue fills up."""
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                for job in batch:
                    job.error = _run(db, job)
                db.execute("COMMIT")
                self.trouble = None
                break
            except sqlite3.Error as error:
                if db.in_transaction:
                    db.rollback()
                if self.trouble is None:
                    log.error("call records can't be written", extra={"fields": {"error": str(error)}})
                self.trouble = str(error)
                if self._closed:
                    break
                time.sleep(RETRY_S)
        self.failed += sum(job.error is not None for job in batch)
        for job in batch:
            if job.then:
                job.then(self._refused(job) if job.error else None)

    def _refused(self, job: _Job) -> StoreError:
        return StoreError(f"the call records at {self.path} refused a line: {job.error}")


def _run(db: sqlite3.Connection, job: _Job) -> Exception | None:
    """One statement. What breaks a rule (an id twice, an event of no call, a value of a strange type) fails alone."""
    try:
        db.execute(job.sql, job.values)
    except (
        sqlite3.IntegrityError,
        sqlite3.ProgrammingError,
        sqlite3.InterfaceError,
        ValueError,
        OverflowError,
    ) as error:
        log.error("a line of a call record was refused", extra={"fields": {"error": type(error).__name__}})
        return error
    return None


def _only_writer(path: Path) -> IO[str]:
    """A lock beside the records that lasts as long as this process: recovering must never close a living call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreError(
            f"another gateway writes the call records at {path}", do="stop it, or give this one another --data folder"
        ) from None
    return lock


def _recording(call: str, told: Path | None, folder: Path | None) -> Path | None:
    """The call's recording: the file named when it began, or any file of the folder whose name begins with its id."""
    if told is not None and told.exists():
        return told
    found = sorted(folder.glob(f"{call}*")) if folder is not None else []
    return found[0] if found else None


def _clean(text: str) -> str:
    """Text from the network may hold halves of characters, which no database takes."""
    return text.encode("utf-8", "replace").decode()
