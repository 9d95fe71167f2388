"""Whole calls for tests: a running gateway, callers with real RTP on a thread of their own, agents' phones as programs.

A test module starts all its calls at once and each test then looks at one of them: what its caller heard, what its
record says, what the phones reported.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.core.errors import StoreError
from gateway.lab.caller import Callers, Line
from gateway.lab.leg import TICK
from gateway.lab.script import Outcome, Press, Speak, Step
from gateway.lab.sounds import tone, tone_level
from gateway.lab.stage import ROOT, GatewayProcess
from gateway.lab.transcribe import transcribe
from gateway.lab.wire import Sound, read_wav, write_wav
from gateway.media.recorder import read_recording
from gateway.store.record import CallHead, CallRecord, Event
from gateway.store.store import SqliteReader, open_for_reading
from tests.peers import softphone
from tests.peers.programs import JsonProgram, Programs, free_port

AUDIO = ROOT / "gateway" / "lab" / "audio"
FLOWS = Path(__file__).parent / "flows"
LONG_S = 90.0
"""How long anything may take on a busy machine before a test fails. Nothing here measures time."""

NUMBERS = itertools.count(5550001)
"""Callers' numbers: each call of a run has one of its own, by which its record is found."""

CITY, NOWHERE = free_port(), free_port()
"""Where calls to numbers outside go, if a test has a phone there, and where nobody ever is."""

AGENTS = {
    "anna": "{en-US: 5}, queues: [bank.general]",
    "chen": "{zh-CN: 5}, queues: [bank.general]",
    "sara": "{en-US: 5, senior: 4}, queues: [bank.fraud]",
    "sun": "{zh-CN: 5, senior: 5}, queues: [bank.fraud]",
}
FLOOR = ("relay", "vanish", "ringing", "desk", "empty", "help", "talk", "hold", "wide", "move", "pick", "secret")
"""Queues of flows/floor.yaml; the agents relay1, relay2, ... serve the queue relay, and so on. The phones of
`secret` have to encrypt."""


def password(agent: str) -> str:
    return f"{agent}-secret-83"


def written(folder: Path, *, calls: int = 200, bank: bool = True) -> Path:
    """A gateway's configuration with its agents and copies of its flows in `folder`; gives gateway.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    people = {**AGENTS, **{f"{q}{n}": f"{{en-US: 5, {q}: 1}}, queues: [floor.{q}]" for q in FLOOR for n in range(1, 5)}}
    people |= {name: f"{skills}, srtp: required" for name, skills in people.items() if name.startswith("secret")}
    lines = [
        f"  {name}: {{name: {name.title()}, password: {password(name)}, skills: {s}}}" for name, s in people.items()
    ]
    lines.append(
        "  mobile: {name: Mobile, phone: +4915112345678, skills: {en-US: 5, mobile: 1}, queues: [floor.mobile]}"
    )
    (folder / "agents.yaml").write_text("\n".join(["agents:", *lines, ""]))
    shutil.copy(FLOWS / "floor.yaml", folder / "floor.yaml")
    flows = "floor.yaml"
    if bank:
        text = (ROOT / "ivr_flows" / "bank.yaml").read_text()
        (folder / "bank.yaml").write_text(text.replace('numbers: {"1001"', 'numbers: {"1000": en-US, "1001"'))
        (folder / "recordings").symlink_to(ROOT / "ivr_flows" / "recordings")
        flows = "bank.yaml, floor.yaml"
    (folder / "gateway.yaml").write_text(
        f"flows: [{flows}]\nagents: agents.yaml\nlimits: {{calls: {calls}}}\n"
        "media: {codecs: [opus, G722, PCMU, PCMA, L16]}\n"
        "trunks: trunks.yaml\n"
    )
    (folder / "trunks.yaml").write_text(
        "trunks:\n"
        "  loopback: {addresses: [127.0.0.0/8, '::1']}\n"
        f"  nowhere: {{server: '127.0.0.1:{NOWHERE}', priority: 1, patience: 1s}}\n"
        f"  city: {{server: '127.0.0.1:{CITY}', priority: 2, number_format: e164, identity: pai, codecs: [PCMA]}}\n"
        "outbound: {allow: ['+44', '+49151'], deny: ['+449'], country: GB}\n"
    )
    return folder / "gateway.yaml"


def data_folder(folder: Path, prompts: Path) -> Path:
    """A gateway's data folder whose rendered prompts are shared with other gateways and earlier runs."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "prompts").exists():
        (folder / "prompts").symlink_to(prompts)
    return folder


@dataclass(frozen=True, slots=True)
class Until:
    """A step of a script: until the call's record holds `count` events of a kind, with `data` in the newest."""

    kind: str
    count: int = 1
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class When:
    """A step of a script: until `true()`."""

    true: Callable[[], bool]


class Records:
    """Reads the records of a gateway by the caller's number, each caller having their own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._reader: SqliteReader | None = None

    def of(self, caller: str) -> CallRecord | None:
        """The record of the newest call from this number, once there is one."""
        try:
            self._reader = self._reader or open_for_reading(self.data)
            head = next((h for h in self._reader.recent(500) if h.caller == caller), None)
            return self._reader.record(head.id) if head else None
        except StoreError:
            return None

    def recent(self) -> list[CallHead]:
        """The newest calls of all, newest first."""
        self._reader = self._reader or open_for_reading(self.data)
        return self._reader.recent(500)

    def close(self) -> None:
        if self._reader:
            self._reader.close()


@dataclass
class Calling:
    """One call under way. What it heard and said is there when `outcome` gives."""

    hall: Hall
    caller: str
    wav: Path
    future: Future[Outcome]
    line: list[Line]

    @cached_property
    def outcome(self) -> Outcome:
        """The end of the call as the caller saw it, waited for."""
        return self.future.result(LONG_S * 2)

    @property
    def heard(self) -> Sound:
        """What the caller heard from the answer on."""
        _ = self.outcome
        return read_wav(self.wav)

    @cached_property
    def record(self) -> CallRecord:
        """The gateway's record of the call, complete."""
        _ = self.outcome
        found: CallRecord = wait(lambda: self.ended_record(), f"the end of the record of {self.caller}")
        return found

    def ended_record(self) -> CallRecord | None:
        found = self.hall.records.of(self.caller)
        return found if found and found.head.ended else None

    def so_far(self) -> CallRecord:
        """The record as it is while the call lasts."""
        found: CallRecord = wait(lambda: self.hall.records.of(self.caller), f"a record of {self.caller}")
        return found

    def until(self, kind: str, count: int = 1, **data: object) -> Event:
        """The `count`-th event of a kind (with this data) in the record, waited for."""

        def seen() -> Event | None:
            found = [e for e in self.so_far().of(kind) if data.items() <= e.data.items()]
            if len(found) < count and self.future.done():
                pytest.fail(f"the call of {self.caller} ended without {kind} {data}:\n{story(self.so_far())}")
            return found[count - 1] if len(found) >= count else None

        event: Event = wait(seen, f"{kind} {data}", lambda: story(self.so_far()))
        return event

    def data(self, kind: str) -> list[dict[str, Any]]:
        """What the complete record says in its events of a kind."""
        return [dict(event.data) for event in self.record.of(kind)]

    def hang_up(self) -> None:
        """End the script now; the caller hangs up."""
        self.hall.loop.call_soon_threadsafe(self.hall.cut.add, self.caller)


def wait(true: Callable[[], Any], what: str, told: Callable[[], str] = str, seconds: float = LONG_S) -> Any:
    """The first true value of `true()`; fails after a generous time with `what` and what `told()` says."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if value := true():
            return value
        time.sleep(0.05)
    pytest.fail(f"{what} did not come within {seconds:g} s\n{told()}")


def story(record: CallRecord) -> str:
    """A record as lines, for a test that failed."""
    return "\n".join(f"{record.at(e):7.2f} {e.kind} {dict(e.data)}" for e in record.events)


class Hall(Callers):
    """Callers to one gateway, on an event loop of their own thread. Each call has a number of its own."""

    def __init__(self, gateway: GatewayProcess, folder: Path) -> None:
        super().__init__()
        self.gateway, self.folder = gateway, folder
        self.records = Records(gateway.data)
        self.cut: set[str] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="callers", daemon=True)
        self.thread.start()
        self.do(self.__aenter__())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LONG_S)

    def close(self) -> None:
        self.do(self.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.records.close()

    def start(self, number: str, script: Sequence[Step | Until | When]) -> Calling:
        """A call that goes on by itself."""
        caller = str(next(NUMBERS))
        wav = self.folder / f"heard-{caller}.wav"
        line: list[Line] = []
        work = self._one(number, script, caller, wav, line)
        return Calling(self, caller, wav, asyncio.run_coroutine_threadsafe(work, self.loop), line)

    async def _one(self, number: str, script: Sequence[Any], caller: str, wav: Path, line: list[Line]) -> Outcome:
        return await self.call(
            self.gateway.uri(number), [(caller, line), *script], record=wav, caller=caller, seconds=LONG_S * 1.5
        )

    async def run(self, line: Line, script: Sequence[Any], on_step: Any) -> None:
        """As Callers.run, with steps that wait for the gateway's record."""
        (caller, lines), *steps = script
        lines.append(line)
        await line.until(lambda: line.answered is not None, LONG_S)
        over = line.answered or time.monotonic()
        for step in steps:
            doing = asyncio.ensure_future(self._do(line, step, over, caller))
            while not doing.done() and caller not in self.cut:
                await asyncio.wait((doing,), timeout=0.05)
            if caller in self.cut:
                doing.cancel()
                line.leg.hush()
                return
            await doing
            said = line.leg.said
            speaks = said and isinstance(step, Speak | Press)
            over = (said[-1].ended if speaks else None) or time.monotonic() - TICK

    async def _do(self, line: Line, step: Any, over: float, caller: str) -> None:
        if isinstance(step, Until):
            await self._poll(line, lambda: self._has(caller, step), f"{step}")
        elif isinstance(step, When):
            await self._poll(line, step.true, "a condition")
        else:
            await line.do(step, over)

    def _has(self, caller: str, step: Until) -> bool:
        record = self.records.of(caller)
        found = [e for e in record.of(step.kind) if step.data.items() <= e.data.items()] if record else []
        return len(found) >= step.count

    async def _poll(self, line: Line, true: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + LONG_S
        while not true():
            await line.until(lambda: False, 0.1)
            if time.monotonic() > limit:
                line.outcome.reason = f"{what} never came"
                raise TimeoutError

    # --- figures --------------------------------------------------------------------------------------------------

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics, 0 where it was never counted."""
        return metric(self.gateway.http_port, name, **labels)


def page(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page of the gateway."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(port: int, name: str, **labels: str) -> float:
    """A figure of /metrics, 0 where it was never counted."""
    wanted = "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else ""
    for line in page(port, "/metrics")[1].splitlines():
        if line.startswith(f"{name}{wanted} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def signed(path: Path, speech: str, hertz: float) -> Path:
    """A WAV of a speaker's words and then a tone that nobody else has."""
    gap = np.zeros(2400, np.int16)
    write_wav(path, np.concatenate([read_wav(AUDIO / speech), gap, tone(hertz, 1.0, -15.0), gap]))
    return path


def sides(recording: Path) -> tuple[Sound, Sound]:
    """The caller's side and what the caller heard, as a gateway recorded them; a message has the caller's alone."""
    _, frames = read_recording(recording)
    return frames[:, 0].copy(), frames[:, 1:].reshape(-1).copy()


def tones(sound: Sound, candidates: Sequence[float]) -> set[float]:
    """Those of `candidates` that sound as loud as a peer's tone for half a second or more; speech and music do not."""
    chunks = [sound[at : at + 800] for at in range(0, len(sound) - 799, 800)]
    return {hertz for hertz in candidates if sum(tone_level(chunk, hertz) >= -22.0 for chunk in chunks) >= 5}


def words(sound: Sound, folder: Path, language: str = "en-US") -> str:
    """What a recognizer of its own hears in a sound."""
    path = folder / "words.wav"
    write_wav(path, sound)
    ((_, found),) = transcribe([path], language)
    return found.text


def phone(crew: Programs, hall: Hall, agent: str, *options: str, registered: bool = True) -> JsonProgram:
    """An agent's pyVoIP phone that records what it hears, signed in unless told otherwise."""
    account = (hall.gateway.sip, agent, password(agent))
    return softphone.start(crew, *account, *options, "--record", "heard.wav", registered=registered)


def bytes_of_records(data: Path) -> bytes:
    """All that a gateway keeps of its calls: the database's files, also what is not checkpointed yet."""
    return b"".join(path.read_bytes() for path in sorted(data.glob("calls.db*")))


def texts_of_records(data: Path) -> str:
    """Every text that a gateway keeps of its calls."""
    with sqlite3.connect(f"file:{data / 'calls.db'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT data FROM events").fetchall() + db.execute("SELECT caller FROM calls").fetchall()
    return "\n".join(str(row[0]) for row in rows)
