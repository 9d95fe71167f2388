"""Metrics as Prometheus reads them, parsed back by its own parser."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import Metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, kind = metrics.exposition()
    assert kind.startswith("text/plain")
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text.decode())
        for s in family.samples
    }


def test_calls_are_counted_by_outcome_and_the_active_ones_shown() -> None:
    metrics = Metrics()
    for active in (1, 2, 3):
        metrics.call_started(active)
    metrics.call_ended("served", 2)
    metrics.call_ended('evil"} 1\n', 1)
    metrics.refused("full")
    found = read(metrics)
    assert found["trunkline_calls_active", ()] == 1
    assert found["trunkline_calls_total", (("outcome", "served"),)] == 1
    assert found["trunkline_calls_total", (("outcome", "other"),)] == 1
    assert found["trunkline_calls_refused_total", (("why", "full"),)] == 1


def test_lines_of_a_call_record_are_counted_where_they_say_something() -> None:
    metrics = Metrics()
    metrics.event("matched", {"band": "accept", "language": "en-US", "text": "secret"})
    metrics.event("matched", {"band": "secret", "text": "secret"})
    metrics.event("no_match", {"score": 0.1, "text": "secret"})
    metrics.event("heard", {"text": "secret"})
    metrics.event("replied", {"latency_ms": 640})
    metrics.event("interrupted", {"by": "key"})
    metrics.event("offered", {"agent": "anna"})
    metrics.event("bridged", {"agent": "anna"})
    metrics.event("no_input", {})
    metrics.event("made up", {"x": 1})
    found = {(name, *(value for _, value in labels)): v for (name, labels), v in read(metrics).items()}
    assert found["trunkline_intents_total", "accept", "en-US"] == 1
    assert found["trunkline_intents_total", "reject", ""] == 1
    assert found["trunkline_flow_turns_total", "matched"] == 2
    assert found["trunkline_turn_latency_seconds_bucket", "", "0.7"] == 1
    assert found["trunkline_turn_latency_seconds_bucket", "", "0.5"] == 0
    assert found["trunkline_barge_ins_total", "key"] == 1
    assert found["trunkline_offers_total", "answered"] == 1
    assert found["trunkline_flow_turns_total", "no_input"] == 1
    assert not any("secret" in label or "made up" in label for key in found for label in key)


def test_latencies_fall_into_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.25, 0.6, 0.95, 4.0):
        metrics.turn(seconds, "zh-CN")
    metrics.set_up(0.02)
    metrics.waited(7, "cards")
    found = read(metrics)
    zh = ("language", "zh-CN")
    assert found["trunkline_turn_latency_seconds_bucket", (zh, ("le", "1.0"))] == 3
    assert found["trunkline_turn_latency_seconds_count", (zh,)] == 4
    assert found["trunkline_setup_seconds_count", ()] == 1
    assert found["trunkline_queue_wait_seconds_bucket", (("le", "10.0"), ("queue", "cards"))] == 1


def test_every_method_shows_up_under_its_name() -> None:
    metrics = Metrics()
    metrics.intent("en-US", "confirm")
    metrics.unheard("saturated")
    metrics.barge_in(True)
    metrics.interrupted("key")
    metrics.queues({"cards": 2, "loans": 1})
    metrics.queues({"cards": 1})
    metrics.agents({"idle": 2, "talking": 1})
    metrics.agent("anna", up=True)
    metrics.agent("bo", up=True)
    metrics.agent("bo", up=True)
    metrics.agent("anna", up=False)
    metrics.offer("answered")
    found = {(name, *(value for _, value in labels)): v for (name, labels), v in read(metrics).items()}
    assert found["trunkline_intents_total", "confirm", "en-US"] == 1
    assert found["trunkline_unheard_total", "saturated"] == 1
    assert found["trunkline_speech_started_total", "muted"] == 1
    assert found["trunkline_barge_ins_total", "key"] == 1
    assert found["trunkline_queue_waiting", "cards"] == 1
    assert ("trunkline_queue_waiting", "loans") not in found
    assert found["trunkline_agents", "talking"] == 1
    assert found["trunkline_offers_total", "answered"] == 1
    assert found["trunkline_agents_signed_in",] == 1


def test_watched_figures_are_read_at_each_scrape_and_one_that_fails_hides_no_other() -> None:
    metrics, sip = Metrics(), {"invite": 1.0}

    def broken() -> Mapping[str, float]:
        raise RuntimeError("gone")

    metrics.watch("sip", "SIP messages.", lambda: sip)
    metrics.watch("engine", "Engine.", broken, kind="gauge")
    assert read(metrics)["trunkline_sip_total", (("what", "invite"),)] == 1
    sip["invite"] = 5
    assert read(metrics)["trunkline_sip_total", (("what", "invite"),)] == 5


def test_two_gateways_in_one_process_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.call_started(1)
    assert read(other)["trunkline_calls_active", ()] == 0


def test_the_sound_of_a_leg_is_counted_by_party() -> None:
    metrics = Metrics()
    metrics.event("media", {"party": "caller", "codec": "G722", "mos": 4.4, "loss": 0.2, "jitter_ms": 3.0})
    metrics.event("media", {"party": "agent", "codec": "PCMU", "mos": 2.0, "loss": "much"})
    found = read(metrics)
    assert found["trunkline_media_mos_sum", (("party", "caller"),)] == 4.4
    assert found["trunkline_media_mos_bucket", (("le", "2.6"), ("party", "agent"))] == 1
    assert found["trunkline_media_loss_percent_bucket", (("le", "0.1"), ("party", "caller"))] == 0
    assert found["trunkline_media_loss_percent_bucket", (("le", "0.5"), ("party", "caller"))] == 1
    assert found["trunkline_media_jitter_ms_count", (("party", "caller"),)] == 1
    assert found.get(("trunkline_media_loss_percent_count", (("party", "agent"),)), 0.0) == 0
