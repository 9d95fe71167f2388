"""Counters of one leg, as `Engine.stats` gives them."""

from __future__ import annotations

from typing import Any

from native import codec
from native.slow.leg import Leg
from native.twins import quality


def mos(leg: Leg) -> float:
    """What a listener here would give, 1.0 to 4.5: for the codec, the share lost or late, the way and the buffer."""
    source, jitter = leg.source, leg.arrivals.jitter
    loss = 100 * min(1.0, (source.lost + jitter.late) / max(1, source.highest - source.first + 1))
    delay = (leg.control.reports.remote.rtt_ms or 0.0) / 2 + jitter.delay_ms + 20
    return float(quality.mos(codec.NAMES[leg.sender.codec.name], loss, 1.0, delay))


def stats(leg: Leg) -> dict[str, Any]:
    out, source, jitter, said = leg.sender, leg.source, leg.arrivals.jitter, leg.control.reports.remote
    return {
        "packets_sent": out.packets,
        "octets_sent": out.octets,
        "send_failed": out.failed,
        "packets_received": source.received,
        "octets_received": leg.octets_in,
        "lost": source.lost,
        "duplicate": source.duplicate,
        "late": jitter.late,
        "discarded": leg.discarded,
        "concealed_samples": jitter.concealed,
        "jitter_ms": source.jitter * 1000 / (leg.arrivals.clock or 8000),
        "remote": leg.latch.to,
        "latched": leg.latch.done is not None,
        "muted_frames": leg.playout.muted_frames,
        "voiced_frames": leg.ears.voiced_total // 2,
        "up_refused": leg.gate.ring.refused // 320,
        "tap_refused": leg.tap.ring.refused // 160,
        "down_refused": leg.down.refused,
        "ssrc": out.ssrc,
        "rate": leg.rate,
        "codec": out.codec.name,
        "rtt_ms": said.rtt_ms,
        "remote_lost": said.lost,
        "remote_fraction_lost": said.fraction,
        "remote_jitter_ms": None if said.jitter is None else said.jitter * 1000 / out.codec.clock,
        "mos": mos(leg),
        "delay_ms": jitter.delay_ms,
        "target_ms": jitter.target_ms,
        "stretched": jitter.inserted + jitter.removed,
        "dropped": jitter.dropped,
        "noise_frames": jitter.noise_frames,
        "level_dbm0": leg.gain.level_dbm0,
        "srtp_replayed": out.secrets.replayed if out.secrets else 0,
        "srtp_forged": out.secrets.forged if out.secrets else 0,
    }
