"""How bench/long.py judges, and bench/flood.py as it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import long
from bench.generate import codecs, speech

ROOT = Path(__file__).resolve().parents[2]


def through(pcm: np.ndarray) -> np.ndarray:
    """After mu-law."""
    return codecs.decode("PCMU", codecs.encode("PCMU", pcm))


def test_a_steady_tone_has_no_click_and_a_splice_is_one() -> None:
    tone = through(speech.steady().pcm)
    whole = long.clicks(tone)
    assert whole["clicks"] == 0
    assert whole["worst_db"] < -30
    spliced = np.concatenate([tone[:8030], tone[8039:]])
    assert long.clicks(spliced)["clicks"] == 1
    silent = tone.copy()
    silent[16000:16120] = 0
    assert long.clicks(silent)["clicks"] >= 1


def test_a_splice_of_a_whole_period_is_none() -> None:
    tone = through(speech.steady().pcm)
    assert long.clicks(np.concatenate([tone[:8030], tone[8030 + 200 :]]))["clicks"] == 0  # 11 periods of 440 Hz


@pytest.mark.usefixtures("spoken")
def test_delay_that_drifts_is_measured() -> None:
    loop = speech.loop_of(0).pcm
    back = np.tile(loop, 6)
    ppm = 100e-6
    found = long.speech_of(back, loop, at=100.08, sent=100.0, stretch=1 + ppm)
    assert found["alike"]["right"] == found["alike"]["n"] > 20
    assert found["ms_a_minute"] == pytest.approx(60_000 * ppm, abs=0.5)
    assert found["low"] <= found["ms_a_minute"] <= found["high"]
    assert found["shortest_ms"] == pytest.approx(80, abs=1)


def test_memory_that_grows_is_told_from_memory_that_does_not() -> None:
    rng = np.random.default_rng(3)
    flat = [(2.0 * k, int(50_000 + rng.integers(-40, 40))) for k in range(300)]
    found = long.memory(flat)
    assert found["low"] < 0 < found["high"]
    grows = [(at, kb + int(at)) for at, kb in flat]
    assert long.memory(grows)["low"] > 50


@pytest.mark.usefixtures("spoken")
def test_a_flood_is_sent_and_the_other_legs_are_looked_at(tmp_path: Path) -> None:
    asked = ["--streams", "10", "--seconds", "1", "--rate", "5000", "--json", str(tmp_path / "out.json")]
    ran = subprocess.run(
        [sys.executable, "bench/flood.py", *asked], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert all(found["sent"][kind] > 1000 for kind in ("garbage", "strangers"))
    assert [phase["order"]["lost"] for phase in found["phases"].values()] == [0, 0, 0, 0]
    assert found["counters"]["garbage"] > 0
