"""What a call's record says about a leg's sound."""

from __future__ import annotations

import numpy as np

from gateway.media.engine import MediaEngine
from gateway.media.quality import Quality, quality
from tests.media.peer import DTMF, Peer, tone, until

STATS = {
    "packets_received": 980,
    "packets_sent": 500,
    "lost": 20,
    "late": 10,
    "jitter_ms": 4.44,
    "mos": 3.987,
    "codec": "G722",
    "rtt_ms": None,
    "remote_lost": None,
}


def test_loss_is_what_was_due_and_not_heard() -> None:
    assert quality(STATS) == Quality("G722", 3.99, 3.0, 4.4, None, None)
    assert "rtt_ms" not in Quality("G722", 3.99, 3.0, 4.4, None, None).as_data()
    there = quality({**STATS, "rtt_ms": 20.06, "remote_lost": 5})
    assert there is not None
    assert (there.rtt_ms, there.remote_loss) == (20.1, 1.0)


def test_where_nothing_came_there_is_nothing_to_say() -> None:
    assert quality({**STATS, "packets_received": 0, "lost": 0}) is None


async def test_a_clean_leg_is_as_good_as_its_codec(engine: MediaEngine, peers: list[Peer]) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    assert leg.quality() is None
    await peers[0].speak(leg.port, np.concatenate([tone(600, 0.5)] * 2))
    await until(lambda: leg.stats()["packets_received"] == 50)
    found = leg.quality()
    assert found is not None
    assert found.mos > 4.0
    assert (found.codec, found.loss) == ("PCMU", 0.0)
