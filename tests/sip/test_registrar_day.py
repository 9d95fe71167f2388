"""24 hours of 500 phones that register, move, leave, fall silent and are pinged: nothing grows. Time is a value."""

from __future__ import annotations

import sys

from bench.registrations import Day, settled

WARM_H, HOURS = 4, 24


def test_a_day_of_500_phones_leaves_memory_flat() -> None:
    day = Day(500, nat_share=0.01)
    most: dict[str, int] = {}
    blocks = []
    for hour in range(1, HOURS + 1):
        day.run(3600)
        if hour >= WARM_H:
            settled()
            blocks.append(sys.getallocatedblocks())
        most = {name: max(most.get(name, 0), count) for name, count in day.counts().items()}
    assert set(day.answers) == {200, 401}
    assert day.answers[200] > 13_000
    assert most["bindings"] <= 500
    assert most["nonces"] <= 250  # those of ten minutes at most, two lives of a nonce; all 500 come in an hour
    assert most["alarms"] <= 250
    assert most["transactions"] <= 150
    assert most["pings"] <= 5
    assert most["dialogs"] == 0
    first, last = sum(blocks[:4]) / 4, sum(blocks[-4:]) / 4
    assert last - first < 0.005 * first, blocks
