"""bench/media.py as it is run: the engine, the generator and the judge, few streams for a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.usefixtures("spoken")
def test_echo_is_measured_and_all_that_was_sent_was_heard(tmp_path: Path) -> None:
    command = [sys.executable, "bench/media.py", "--streams", "10", "--seconds", "3"]
    ran = subprocess.run(
        [*command, "--json", str(tmp_path / "out.json")], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    found = results["echo"]
    assert found["faults"] == []
    assert found["digits"]["right"] == found["digits"]["n"] > 10
    assert found["cpu_s"] > 0
    assert found["us_a_stream_tick"] > 0
    assert found["wire"]["n"] == found["came_back"]["packets"]
    assert found["bare_clock"]["n"] == 2500
    assert found["audio"]["delay_ms"] > 0
