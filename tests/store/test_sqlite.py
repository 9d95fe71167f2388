"""Call records through the public surface of the store, on real files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gateway.core.clock import FakeClock
from gateway.core.errors import StoreError
from gateway.core.ids import uuid7
from gateway.store.calls import CallStore
from gateway.store.record import MASK
from gateway.store.sqlite import SqliteStore
from gateway.store.store import SqliteReader


@pytest.fixture
def store(tmp_path: Path):
    made = SqliteStore(tmp_path / "calls.db", "node-a")
    yield made
    made.close()


def test_a_call_reads_back_as_it_was_written(store: CallStore, tmp_path: Path) -> None:
    clock, call = FakeClock(), uuid7()
    store.begin(
        call, clock.now(), caller="1001", dialled="8000", language="en-US", flow="bank", flow_version="2026.11.1"
    )
    lines = [
        ("entered", {"menu": "root"}),
        ("heard", {"text": "what is on my account", "intent": "balance", "score": 0.93}),
        ("entered", {"menu": "balance"}),
        ("filled", {"slot": "card", "value": "1234"}),
        ("filled", {"slot": "card", "value": "4321"}),
        ("replied", {"latency_ms": 612}),
        ("offered", {"agent": "anna", "why": "Anna is free", "candidates": []}),
        ("某事", {"说": "你好", "half": "\ud800"}),
    ]
    for kind, data in lines:
        store.append(call, clock.advance(1.5), kind, data)
    store.finish(call, clock.advance(1), "caller hung up", recording=tmp_path / "a.wav")
    record = store.record(call)
    assert [e.kind for e in record.events] == [kind for kind, _ in lines]
    assert [record.at(e) for e in record.events] == [1.5 * n for n in range(1, 9)]
    assert record.path == ["root", "balance"]
    assert record.slots == {"card": "4321"}
    assert record.utterances[0]["intent"] == "balance"
    assert record.latencies_ms == [612.0]
    assert [e.kind for e in record.decisions] == ["offered"]
    assert record.timings["heard"] == 3.0
    assert record.timings["ended"] == 13.0
    assert record.events[-1].data["说"] == "你好"
    assert record.events[0].node == "node-a"
    assert record.events[0].moment.utc.isoformat() == "2026-11-16T10:00:01.500000+00:00"
    head = record.head
    assert (head.caller, head.flow, head.outcome, head.reason) == ("1001", "bank", "ended", "caller hung up")
    assert head.recording == tmp_path / "a.wav"
    assert json.loads(json.dumps(record.as_json()))["events"][1]["data"]["intent"] == "balance"


def test_what_is_said_where_a_value_is_sensitive_never_reaches_the_file(store: SqliteStore, tmp_path: Path) -> None:
    clock, call = FakeClock(), uuid7()
    store.begin(call, clock.now())
    store.append(call, clock.now(), "heard", {"text": "double three zulu", "intent": "-", "redacted": True})
    store.append(call, clock.now(), "filled", {"slot": "pin", "value": "7719223355", "sensitive": True})
    store.append(call, clock.now(), "key", {"digit": "7", "sensitive": True})
    record = store.record(call)
    store.close()
    assert record.slots == {"pin": MASK}
    assert record.utterances[0]["text"] == MASK
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"7719223355" not in kept
    assert b"zulu" not in kept


def test_recent_and_find(store: CallStore) -> None:
    clock = FakeClock()
    calls = [uuid7(1_700_000_000_000 + n * 1000) for n in range(5)]
    for call in calls:
        store.begin(call, clock.now())
    assert [h.id for h in store.recent(3)] == calls[:1:-1]
    assert store.find("last") == [calls[-1]]
    assert store.find(calls[2]) == [calls[2]]
    assert store.find(calls[0][:8]) == calls[::-1]
    assert store.find(calls[1][-12:]) == [calls[1]]
    assert store.find("%") == calls[::-1]
    assert store.find("zz") == []
    with pytest.raises(StoreError, match="no call"):
        store.record("zz")


def test_the_same_call_begins_once_and_strangers_have_no_events(store: SqliteStore) -> None:
    clock, call = FakeClock(), uuid7()
    store.begin(call, clock.now())
    with pytest.raises(StoreError, match="refused"):
        store.begin(call, clock.now())
    store.append("nobody", clock.now(), "heard", {})
    store.append(call, clock.now(), "heard", {"text": "still written"})
    assert [e.data["text"] for e in store.record(call).events] == ["still written"]
    assert store.failed == 2


def test_events_are_only_added(store: SqliteStore) -> None:
    clock, call = FakeClock(), uuid7()
    store.begin(call, clock.now())
    store.append(call, clock.now(), "heard", {"text": "one"})
    store.flush()
    db = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="only added"):
        db.execute("UPDATE events SET data = '{}'")
    db.close()


def test_a_second_gateway_on_the_same_file_is_refused_but_a_reader_is_not(store: SqliteStore) -> None:
    store.begin("c", FakeClock().now())
    with pytest.raises(StoreError, match="another gateway"):
        SqliteStore(store.path, "node-b")
    reader = SqliteReader(store.path)
    assert [h.outcome for h in reader.recent()] == ["open"]
    reader.close()


def test_a_full_queue_drops_events_and_counts_them_but_never_waits(tmp_path: Path) -> None:
    store, clock = SqliteStore(tmp_path / "calls.db", "node-a", room=8), FakeClock()
    store.begin("c", clock.now())
    blocker = sqlite3.connect(store.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for n in range(100):
        store.append("c", clock.now(), "heard", {"text": str(n)})
    assert store.dropped > 0
    blocker.execute("COMMIT")
    blocker.close()
    record = store.record("c")
    assert len(record.events) == 100 - store.dropped
    store.close()


def test_a_file_that_is_no_database_or_comes_from_the_future_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StoreError, match=r"bad\.db can't be used"):
        SqliteStore(bad, "n")
    new = tmp_path / "new.db"
    db = sqlite3.connect(new)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="newer Trunkline"):
        SqliteStore(new, "n")
    with pytest.raises(StoreError, match="no call records"):
        SqliteReader(tmp_path / "none.db")


CHILD = """
import sys, itertools
from pathlib import Path
from gateway.core.clock import SystemClock
from gateway.store.sqlite import SqliteStore
folder, clock = Path(sys.argv[1]), SystemClock()
store = SqliteStore(folder / "calls.db", "node-a")
store.begin("done", clock.now()); store.finish("done", clock.now(), "caller hung up")
(folder / "open-caller.wav").write_bytes(b"RIFF")
store.begin("open", clock.now(), caller="1001")
print("begun", flush=True)
for n in itertools.count():
    store.append("open", clock.now(), "heard", {"text": f"word {n}"})
    print(n, clock.now().mono, flush=True)
    sys.stdin.readline()
"""


def test_kill_9_loses_at_most_a_second_and_recovery_closes_the_call(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    told: list[tuple[int, float]] = []
    while len(told) < 300 or told[-1][1] < told[0][1] + 1.5:
        number, at = child.stdout.readline().split()
        told.append((int(number), float(at)))
        time.sleep(0.001)
        child.stdin.write("\n")
        child.stdin.flush()
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    killed_at = told[-1][1]
    child.stdin.close()
    child.stdout.close()

    store, clock = SqliteStore(tmp_path / "calls.db", "node-a"), FakeClock()
    before = SqliteReader(store.path).record("open")
    kept = {str(e.data["text"]) for e in before.events}
    must = {f"word {n}" for n, at in told if at < killed_at - 1.0}
    assert before.events, "nothing at all was on disk"
    assert must <= kept
    assert [e.data["text"] for e in before.events] == [f"word {n}" for n in range(len(before.events))]
    assert before.head.outcome == "open"

    found = store.recover(clock.now(), tmp_path)
    assert [(r.call, r.recording) for r in found] == [("open", tmp_path / "open-caller.wav")]
    after = store.record("open")
    assert (after.head.outcome, after.head.recording) == ("lost", tmp_path / "open-caller.wav")
    assert "without warning" in after.head.reason
    assert after.head.ended is not None
    assert after.head.ended.mono == before.events[-1].moment.mono
    assert after.events[-1].kind == "recovered"
    assert store.record("done").head.outcome == "ended"
    assert store.recover(clock.now(), tmp_path) == []
    store.close()


def test_recovery_leaves_other_nodes_alone(tmp_path: Path) -> None:
    clock = FakeClock()
    first = SqliteStore(tmp_path / "calls.db", "node-b")
    first.begin("theirs", clock.now())
    first.close()
    second = SqliteStore(tmp_path / "calls.db", "node-a")
    assert second.recover(clock.now()) == []
    assert second.record("theirs").head.outcome == "open"
    second.close()


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from gateway.core.clock import SystemClock
from gateway.core.errors import StoreError
from gateway.store.sqlite import SqliteStore
store, clock = SqliteStore(Path(sys.argv[1]) / "calls.db", "node-a"), SystemClock()
store.begin("c", clock.now())
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # no file may grow beyond this: a full disk
written = 0
while store.trouble is None and written < 9000:
    store.append("c", clock.now(), "heard", {"text": "x" * 500})
    written += 1
    time.sleep(0.0005)
print("trouble", store.trouble, flush=True)
try:
    store.begin("d", clock.now())
    print("no error", flush=True)
except StoreError as error:
    print(error.do, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
while store.trouble is not None:
    time.sleep(0.05)
store.begin("e", clock.now())
print(written - store.dropped, len(store.record("c").events), flush=True)
store.close()
"""


def test_a_full_disk_is_said_and_nothing_is_lost_once_there_is_room_again(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    assert lines[0].startswith("trouble ")
    assert lines[0] != "trouble None"
    assert lines[1].startswith("free the disk")
    kept, found = lines[2].split()
    assert kept == found
    assert int(found) > 20


def test_many_threads_write_and_a_reader_never_waits(store: SqliteStore) -> None:
    clock = FakeClock()

    def one_call(call: str) -> None:
        store.begin(call, clock.now())
        for n in range(50):
            store.append(call, clock.now(), "key", {"n": n})
        store.finish(call, clock.now(), "caller hung up")

    threads = [threading.Thread(target=one_call, args=(f"call-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    reader = SqliteReader(store.path)
    while any(thread.is_alive() for thread in threads):
        for head in reader.recent(100):
            numbers = [e.data["n"] for e in reader.record(head.id).events]
            assert numbers == list(range(len(numbers)))
    reader.close()
    for n in range(8):
        record = store.record(f"call-{n}")
        assert [e.data["n"] for e in record.events] == list(range(50))
        assert record.head.outcome == "ended"
