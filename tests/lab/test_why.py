"""A call's record as a person reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from gateway.core.clock import FakeClock
from gateway.core.errors import StoreError
from gateway.lab.why import show
from gateway.routing import model as routing
from gateway.routing.policy import start, step
from gateway.store.record import MASK
from gateway.store.sqlite import SqliteStore

CALL = "019a6f00-0000-7000-8000-00000000000a"


HEARD_THERE = {"rtt_ms": 31.5, "remote_loss": 0.4}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "calls.db", "node-a")
    yield made
    made.close()


DIVERTED = [{"number": "+4940", "reason": "user-busy"}]


def offer() -> routing.AgentOffer:
    """A real decision of the real policy."""
    state = start([routing.Queue("cards", {"cards": 2})])
    people = [("anna", {"en": 5, "cards": 3}), ("bo", {"en": 5, "cards": 1}), ("chen", {"zh": 5, "cards": 4})]
    for agent, skills in people:
        state, _ = step(state, routing.AgentUp(routing.Agent(agent, agent.title(), f"sip:{agent}@x", skills)), 0)
    state, decisions = step(state, routing.CallQueued(CALL, "cards", "en-US"), 10)
    (decision,) = decisions
    assert isinstance(decision, routing.AgentOffer)
    return decision


def call(store: SqliteStore, tmp_path: Path) -> None:
    clock = FakeClock()
    store.begin(
        CALL,
        clock.now(),
        caller="1001",
        dialled="8000",
        language="en-US",
        flow="bank",
        flow_version="2026.11.1",
        recording=tmp_path / "a.wav",
    )
    heard = {
        "text": "where is my card",
        "intent": "card_lost",
        "score": 0.6123,
        "band": "confirm",
        "runner_up": "balance",
    }
    for seconds, kind, data in [
        (0.0, "arrived", {"caller": "1", "from": "carrier", "asserted": "+4930", "diverted": DIVERTED}),
        (0.2, "said", {"prompt": "welcome", "text": "Welcome to the bank."}),
        (2.0, "interrupted", {"prompt": "welcome", "by": "speech"}),
        (1.0, "heard", {**heard, "runner_up_score": 0.2, "asr_score": 0.88, "decode_ms": 240, "understand_ms": 9}),
        (0.0, "matched", {**heard}),
        (0.3, "replied", {"latency_ms": 640}),
        (0.1, "entered", {"menu": "cards"}),
        (1.0, "key", {"digit": "4", "sensitive": True}),
        (0.1, "filled", {"slot": "card", "value": "4321", "sensitive": True}),
        (0.1, "queued", {"queue": "cards", "intent": "card_lost", "reason": "asked", "emergency": False}),
        (0.0, "offered", asdict(offer())),
        (5.0, "bridged", {"agent": "anna"}),
        (0.5, "weather", {"made": "up", "by": ["a", "test"]}),
        (0.0, "message", {"queue": "cards", "seconds": None}),
        (0.0, "no_match", {"text": "what", "score": 0.1}),
        (9.0, "media", {"party": "agent", "codec": "PCMU", "mos": 4.41, "loss": 0.0, "jitter_ms": 0.3}),
        (0.0, "media", {"party": "caller", "codec": "G722", "mos": 4.1, "loss": 1.2, "jitter_ms": 9.0, **HEARD_THERE}),
        (0.0, "ended", {"reason": "agent hung up"}),
    ]:
        store.append(CALL, clock.advance(seconds), kind, data)
    store.finish(CALL, clock.now(), "agent hung up")


def shown(store: SqliteStore, which: str = "last", *, width: int = 160, as_json: bool = False) -> str:
    out = Console(file=io.StringIO(), width=width)
    show(store, which, out, as_json=as_json)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_story_of_a_call_in_order_with_relative_seconds(store: SqliteStore, tmp_path: Path) -> None:
    call(store, tmp_path)
    text = shown(store)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert f"Call {CALL}" in rows[0]
    assert "19.3 s, from 1001 to 8000, flow bank 2026.11.1, en-US, node-a" in rows[1]
    expected = [
        "0.00 s arrived by carrier, asserted as +4930",
        "diverted from +4940: user-busy",
        "0.20 s said “Welcome to the bank.” welcome",
        "2.20 s interrupted prompt welcome by speech",
        "3.20 s heard “where is my card” recognizer 0.88",
        "understood card_lost 0.61, confirm; next balance 0.20; recognized after 240 ms, understood after 9 ms",
        "3.20 s taken for card_lost 0.61, confirm",
        "3.50 s replied 640 ms after the caller's turn",
        "3.60 s menu cards",
        f"4.60 s key {MASK}",
        f"4.70 s slot card = {MASK}",
        "4.80 s queued cards for card_lost: asked",
        "not bo: has cards 1, the queue needs 2",
        "not chen: does not speak en-US",
        "9.80 s bridged with anna",
        '10.30 s weather made up, by ["a", "test"]',
        "10.30 s message left for queue cards: until the caller hung up",
        "10.30 s no match what score 0.1",
        "19.30 s ended agent hung up",
        "path: cards",
        f"slots: card {MASK}",
        "replies: 1, median 640 ms, longest 640 ms after the caller",
        f"recording: {tmp_path}/a.wav (left: caller, right: what the caller heard)",
    ]
    places = [rows.index(line) for line in expected]
    assert places == sorted(places)
    assert any("offered anna for queue cards: Anna serves queue cards, speaks en-US, has cards 3" in r for r in rows)
    assert "4321" not in text


def test_json_holds_everything_on_one_line(store: SqliteStore, tmp_path: Path) -> None:
    call(store, tmp_path)
    text = shown(store, CALL[:8], as_json=True, width=40)
    (line,) = text.splitlines()
    data = json.loads(line)
    assert data["id"] == CALL
    assert data["path"] == ["cards"]
    assert [e["kind"] for e in data["events"]][-1] == "ended"
    (choice,) = [e["data"] for e in data["events"] if e["kind"] == "offered"]
    assert {c["agent"]: c["rejected"] for c in choice["candidates"]}["anna"] is None


def test_a_call_cut_off_by_a_crash_says_so(store: SqliteStore) -> None:
    clock = FakeClock()
    store.begin(CALL, clock.now())
    store.append(CALL, clock.advance(3), "heard", {"text": "hello"})
    assert "not over yet" in shown(store)
    store.recover(clock.advance(60))
    text = shown(store)
    assert "stopped without warning: what follows is what was on disk" in text
    assert "3.00 s" in text


def test_words_from_the_network_are_not_markup_and_do_not_drive_the_terminal(store: SqliteStore) -> None:
    clock = FakeClock()
    store.begin(CALL, clock.now(), caller="[red]\x1b[2Jx")
    store.append(CALL, clock.now(), "heard", {"text": "[bold]你好[/bold]\x1b[2J"})
    store.append(CALL, clock.now(), "odd[/]", {"[link]": "\x07"})
    text = shown(store)
    assert "[bold]你好[/bold]" in text
    assert "[red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_which_call_is_meant(store: SqliteStore) -> None:
    clock = FakeClock()
    with pytest.raises(StoreError, match="no call begins with last"):
        shown(store)
    other = CALL[:-1] + "b"
    store.begin(CALL, clock.now())
    store.begin(other, clock.now())
    with pytest.raises(StoreError, match="2 calls begin with 019a") as caught:
        shown(store, "019a")
    assert other in str(caught.value)
    assert other in shown(store, "00b")
    assert other in shown(store, "last")
    assert CALL in shown(store, CALL)


def test_the_sound_of_each_party_is_one_line(store: SqliteStore, tmp_path: Path) -> None:
    call(store, tmp_path)
    text = shown(store)
    assert "sound of the agent: PCMU, MOS 4.41, 0.0 % lost, jitter 0.3 ms\n" in text
    caller = "G722, MOS 4.1, 1.2 % lost, jitter 9.0 ms, round trip 31.5 ms, 0.4 % lost on the way there"
    assert f"sound of the caller: {caller}\n" in text
    assert text.count("MOS") == 2, "and nowhere else"
