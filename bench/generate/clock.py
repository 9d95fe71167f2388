"""A bare clock: sleeps until the next millisecond at the engine's priority, does nothing else, notes how late it is."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import figures
from bench.generate import wire

PRIORITY = 10  # the engine's
PERIOD = 1_000_000


def main() -> None:
    """`seconds` and whether real time is asked for are the arguments; the figures go out as JSON."""
    seconds, asked = float(sys.argv[1]), sys.argv[2] == "fifo"
    periods = int(seconds * 1e9 / PERIOD)
    late = np.zeros(periods, np.int64)
    timer = wire.Timer()
    real_time = asked and wire.real_time(PRIORITY)
    gc.disable()
    due = time.monotonic_ns()
    for k in range(periods):
        due += PERIOD
        timer.until(due)
        late[k] = time.monotonic_ns() - due
    print(json.dumps({"late": figures.spread(late / 1e6), "real_time": real_time}), flush=True)


if __name__ == "__main__":
    main()
