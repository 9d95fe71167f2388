"""Prometheus metrics as one small typed object. Others call its methods; names and labels live here alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

TURN_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
SETUP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
WAIT_BUCKETS = (1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0)

MEDIA = {
    "mos": ("mos", "Mean opinion score of a leg's sound, by the E-model.", (2.0, 2.6, 3.1, 3.6, 4.0, 4.2, 4.3, 4.4)),
    "loss": (
        "loss_percent",
        "Packets of a leg that never came or came too late.",
        (0.0, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0),
    ),
    "jitter_ms": ("jitter_ms", "Jitter of a leg at its end (RFC 3550).", (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)),
}
"""A leg's figures at its end: the field of the record's line, the metric's name, what it says, its buckets."""

OUTCOMES = frozenset({"served", "message", "abandoned", "contained", "short"})
"""How calls end, as far as that may be a label: with an agent, with a message, in the queue, in the flow, at once."""

OFFERS = {
    "offered": "offered",
    "bridged": "answered",
    "not_answered": "failed",
    "withdrawn": "withdrawn",
    "nobody": "nobody",
    "agent_lost": "lost",
}
"""Lines of a call's record that say what became of an offer."""

BANDS = ("accept", "confirm", "reject")

TURNS = frozenset({"matched", "confirmed", "rejected", "filled", "no_input", "no_match", "emergency", "escalated"})
"""Lines of a call's record that say what a turn came to."""

Read = Callable[[], Mapping[str, float]]
"""Gives the present values of counters or gauges kept elsewhere, by name."""


class Metrics:
    """Every figure of one gateway in a registry of its own. Times are seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="trunkline", registry=self.registry)
        gauge = partial(Gauge, namespace="trunkline", registry=self.registry)
        histogram = partial(Histogram, namespace="trunkline", registry=self.registry)
        self._calls = counter("calls", "Calls that ended, by outcome.", ["outcome"])
        self._refused = counter("calls_refused", "INVITEs that never became a call.", ["why"])
        self._flow = counter("flow_turns", "Turns by what the flow made of them.", ["kind"])
        self._active = gauge("calls_active", "Calls that last.")
        self._setup = histogram("setup_seconds", "INVITE received to answer sent.", buckets=SETUP_BUCKETS)
        self._turns = histogram(
            "turn_latency_seconds",
            "End of the caller's speech or key to the first packet of the reply.",
            ["language"],
            buckets=TURN_BUCKETS,
        )
        self._intents = counter("intents", "Utterances by how sure the intent was.", ["language", "band"])
        self._unheard = counter("unheard", "Utterances nobody could recognize.", ["reason"])
        self._barge_ins = counter("barge_ins", "Prompts that speech or a key interrupted.", ["by"])
        self._speech = counter("speech_started", "Times voice was detected.", ["prompt"])
        self._waiting = gauge("queue_waiting", "Callers waiting for a human.", ["queue"])
        self._wait = histogram(
            "queue_wait_seconds", "Enqueued to answered by an agent.", ["queue"], buckets=WAIT_BUCKETS
        )
        self._offers = counter("offers", "Calls offered to agents, by what became of it.", ["result"])
        self._media = {
            name: histogram(f"media_{metric}", text, ["party"], buckets=buckets)
            for name, (metric, text, buckets) in MEDIA.items()
        }
        self._agents = gauge("agents", "Agents signed in, by what they do.", ["doing"])
        self._up = gauge("agents_signed_in", "Agents whose phone is registered.")
        self._signed_in: set[str] = set()
        self._watched = _Watched()
        self.registry.register(self._watched)

    # --- calls ----------------------------------------------------------------------------------------------------

    def call_started(self, active: int) -> None:
        """A call was answered; `active` calls last now."""
        self._active.set(active)

    def call_ended(self, outcome: str, active: int) -> None:
        """A call is over; `active` calls last now. An outcome that is none of ours counts as `other`: the network must
        not make labels."""
        self._active.set(active)
        self._calls.labels(outcome if outcome in OUTCOMES else "other").inc()

    def refused(self, why: str) -> None:
        """An INVITE that never became a call; `why` is one of a few words."""
        self._refused.labels(why).inc()

    def event(self, kind: str, data: Mapping[str, object]) -> None:
        """One line of a call's record was written: counted where it says something."""
        if kind in OFFERS:
            self.offer(OFFERS[kind])
        elif kind == "replied" and isinstance(latency := data.get("latency_ms"), int | float):
            self.turn(latency / 1000, str(data.get("language", "")))
        elif kind == "interrupted":
            self.interrupted("key" if data.get("by") == "key" else "speech")
        elif kind == "unheard":
            self.unheard("saturated" if data.get("reason") == "saturated" else "failed")
        elif kind == "media":
            self.media(data)
        elif kind in TURNS:
            self._flow.labels(kind).inc()
        if kind == "matched" and data.get("band") in BANDS:
            self.intent(str(data.get("language", "")), str(data["band"]))
        elif kind == "no_match" and "score" in data:
            self.intent(str(data.get("language", "")), "reject")

    def media(self, data: Mapping[str, object]) -> None:
        """A leg is over: how good its sound was."""
        for name, histogram in self._media.items():
            if isinstance(value := data.get(name), int | float):
                histogram.labels("agent" if data.get("party") == "agent" else "caller").observe(value)

    def set_up(self, seconds: float) -> None:
        """INVITE received to answer sent."""
        self._setup.observe(seconds)

    # --- turns ----------------------------------------------------------------------------------------------------

    def turn(self, seconds: float, language: str) -> None:
        """End of the caller's turn to the first packet of the reply."""
        self._turns.labels(language).observe(seconds)

    def intent(self, language: str, band: str) -> None:
        """An utterance was understood; `band` is accept, confirm or reject."""
        self._intents.labels(language, band).inc()

    def unheard(self, reason: str) -> None:
        """Speech came that was not recognized: saturated or failed."""
        self._unheard.labels(reason).inc()

    def barge_in(self, muted: bool) -> None:
        """Voice was detected; `muted` where a prompt was muted for it (it may still go on after a false alarm)."""
        self._speech.labels("muted" if muted else "none").inc()

    def interrupted(self, by: Literal["speech", "key"]) -> None:
        """A prompt was ended for good."""
        self._barge_ins.labels(by).inc()

    # --- routing --------------------------------------------------------------------------------------------------

    def queues(self, waiting: Mapping[str, int]) -> None:
        """Callers waiting now, by queue. Queues that are not named have none."""
        self._waiting.clear()
        for queue, callers in waiting.items():
            self._waiting.labels(queue).set(callers)

    def agents(self, doing: Mapping[str, int]) -> None:
        """Agents signed in now, by what they do."""
        self._agents.clear()
        for what, many in doing.items():
            self._agents.labels(what).set(many)

    def agent(self, agent: str, *, up: bool) -> None:
        """An agent signed in, or out."""
        (self._signed_in.add if up else self._signed_in.discard)(agent)
        self._up.set(len(self._signed_in))

    def waited(self, seconds: float, queue: str) -> None:
        """An agent answered a caller who waited this long."""
        self._wait.labels(queue).observe(seconds)

    def offer(self, result: str) -> None:
        """What became of an offer: answered, failed, withdrawn, nobody."""
        self._offers.labels(result).inc()

    # --- figures kept elsewhere -----------------------------------------------------------------------------------

    def watch(self, name: str, help_text: str, read: Read, *, kind: Literal["counter", "gauge"] = "counter") -> None:
        """Show figures another part keeps as `trunkline_<name>{what="..."}`; `read` is called at each scrape."""
        self._watched.sources[name] = (help_text, read, kind)

    def exposition(self) -> tuple[bytes, str]:
        """The text Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Watched(Collector):
    def __init__(self) -> None:
        self.sources: dict[str, tuple[str, Read, str]] = {}

    def collect(self) -> Iterable[Metric]:
        for name, (help_text, read, kind) in sorted(self.sources.items()):
            make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family: Metric = make(f"trunkline_{name}", help_text, labels=["what"])
            try:
                values = dict(read())
            except Exception:  # one part's fault must not hide everybody else's figures
                log.exception("figures can't be read", extra={"fields": {"metric": name}})
                continue
            for what, value in sorted(values.items()):
                family.add_metric([what], value)  # type: ignore[attr-defined]
            yield family
