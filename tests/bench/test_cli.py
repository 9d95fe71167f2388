"""`trunkline bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def trunkline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "bench", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_without_a_name_the_programs_are_listed() -> None:
    ran = trunkline()
    assert ran.returncode == 0
    assert "media" in ran.stdout
    for name in ("asr_accuracy", "sip_calls", "sip_flood", "sip_streams", "registrations"):
        assert name in ran.stdout
    assert "peer_" not in ran.stdout


def test_options_go_to_the_program() -> None:
    ran = trunkline("media", "--help")
    assert ran.returncode == 0
    assert "--streams" in ran.stdout
    wrong = trunkline("media", "--streams", "0")
    assert wrong.returncode == 2
    assert "--streams is 1 to" in wrong.stderr


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    ran = trunkline("medai")
    assert ran.returncode == 2
    assert "medai" in ran.stderr
    assert "media" in ran.stderr
