"""What is kept of a call: a head, and an append-only list of events from which everything else is read.

Kinds of events are chosen by those who write them; those that this module reads are `entered` (menu), `heard` (text,
intent, score), `filled` (slot, value), `offered` and `nobody` (candidates, why), `queued` (queue), `bridged` (agent),
`replied` (latency_ms) and `recording` (file). Unknown kinds are kept and shown as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.core.clock import Moment

MASK = "•••"
"""What stands for a sensitive value."""

WORDS = frozenset({"text", "digit", "digits", "keys", "value", "values", "heard", "spoken"})
"""Fields that can hold what a caller said or keyed."""

DECISIONS = frozenset({"offered", "withdrawn", "not_answered", "position", "nobody", "bridged", "agent_lost"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a call's record. `number` orders the lines of all calls; `data` is plain JSON."""

    number: int
    moment: Moment
    node: str
    kind: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CallHead:
    """What a list of calls shows. `outcome` is `open` while the call lasts, `lost` when the gateway died in it."""

    id: str
    node: str
    caller: str
    dialled: str
    language: str
    flow: str
    flow_version: str
    started: Moment
    ended: Moment | None
    outcome: str
    reason: str
    recording: Path | None

    @property
    def seconds(self) -> float | None:
        """Length of the call in seconds, or None while it lasts."""
        return None if self.ended is None else max(0.0, self.ended.mono - self.started.mono)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A whole call."""

    head: CallHead
    events: tuple[Event, ...]

    def of(self, *kinds: str) -> list[Event]:
        """The events of these kinds, in order."""
        return [e for e in self.events if e.kind in kinds]

    def at(self, event: Event) -> float:
        """Seconds from the call's beginning to the event."""
        return event.moment.mono - self.head.started.mono

    @property
    def path(self) -> list[str]:
        """Menus entered, in order."""
        return [str(e.data.get("menu", "")) for e in self.of("entered")]

    @property
    def utterances(self) -> list[Mapping[str, object]]:
        """What was heard: text, intent and score, as written by the call."""
        return [e.data for e in self.of("heard")]

    @property
    def slots(self) -> dict[str, str]:
        """The last value of each slot; sensitive ones are masked before they come here."""
        return {str(e.data.get("slot", "")): str(e.data.get("value", MASK)) for e in self.of("filled")}

    @property
    def recording(self) -> Path | None:
        """The recording's file, or its name alone where only an event tells it."""
        named = [str(e.data["file"]) for e in self.of("recording") if e.data.get("file")]
        return self.head.recording or (Path(named[0]) if named else None)

    @property
    def decisions(self) -> list[Event]:
        """What routing decided, each with its reasons."""
        return self.of(*DECISIONS)

    @property
    def latencies_ms(self) -> list[float]:
        """Milliseconds from the end of each of the caller's turns to the first packet of the reply."""
        return [float(v) for e in self.of("replied") if isinstance(v := e.data.get("latency_ms"), int | float)]

    @property
    def timings(self) -> dict[str, float]:
        """Seconds from the beginning to the first event of each kind, and the call's length as `ended`."""
        first: dict[str, float] = {}
        for event in self.events:
            first.setdefault(event.kind, round(self.at(event), 3))
        if self.head.seconds is not None:
            first["ended"] = round(self.head.seconds, 3)
        return first

    def as_json(self) -> dict[str, object]:
        """The record as plain JSON, times in UTC (ISO 8601) and in seconds from the beginning."""
        head = self.head
        return {
            "id": head.id,
            "node": head.node,
            "caller": head.caller,
            "dialled": head.dialled,
            "language": head.language,
            "flow": head.flow,
            "flow_version": head.flow_version,
            "started": head.started.utc.isoformat(),
            "ended": head.ended.utc.isoformat() if head.ended else None,
            "seconds": head.seconds,
            "outcome": head.outcome,
            "reason": head.reason,
            "recording": str(self.recording) if self.recording else None,
            "path": self.path,
            "slots": self.slots,
            "latencies_ms": self.latencies_ms,
            "timings": self.timings,
            "events": [
                {
                    "at_s": round(self.at(e), 3),
                    "utc": e.moment.utc.isoformat(),
                    "node": e.node,
                    "kind": e.kind,
                    "data": dict(e.data),
                }
                for e in self.events
            ],
        }


def masked(data: Mapping[str, object]) -> dict[str, object]:
    """`data` as it may be stored: where it says `sensitive` or `redacted`, what was said or keyed is masked."""
    if not (data.get("sensitive") or data.get("redacted")):
        return dict(data)
    return {k: MASK if k in WORDS and v not in ("", None) else v for k, v in data.items()}
