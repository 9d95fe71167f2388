"""How good a leg's sound was, out of the engine's counters: what a call's record and the metrics hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Quality:
    """`mos`: 1.0..4.5 by the E-model (ITU-T G.107), of what came; `loss`: percent of the packets due that never came or
    came too late; `jitter_ms`: RFC 3550; `rtt_ms` and `remote_loss` (percent of all that was sent) as the peer's
    newest report says, None where it sent none. `srtp`: the profile it came under, None in the clear."""

    codec: str
    mos: float
    loss: float
    jitter_ms: float
    rtt_ms: float | None
    remote_loss: float | None
    srtp: str | None = None

    def as_data(self) -> dict[str, object]:
        """Its fields, for a call's record."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def quality(stats: Mapping[str, Any], srtp: str = "") -> Quality | None:
    """The figures of one leg's `stats`, None where no packet ever came. `srtp`: its profile, empty in the clear."""
    due = stats["packets_received"] + max(0, stats["lost"])
    if not stats["packets_received"] or not stats["codec"]:
        return None
    rtt, gone, sent = stats["rtt_ms"], stats["remote_lost"], stats["packets_sent"]
    return Quality(
        stats["codec"],
        round(stats["mos"], 2),
        round(100 * (max(0, stats["lost"]) + stats["late"]) / due, 2),
        round(stats["jitter_ms"], 1),
        None if rtt is None else round(rtt, 1),
        None if gone is None or not sent else round(100 * max(0, gone) / sent, 2),
        srtp or None,
    )
