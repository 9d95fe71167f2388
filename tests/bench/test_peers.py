"""bench/peers.py with a few streams: each peer gives back what it was sent, and what is missing is named."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = {
    "rtpengine": (shutil.which("rtpengine"), "rtpengine: apt-get install --no-install-recommends rtpengine-daemon"),
    "pyVoIP": (importlib.util.find_spec("pyVoIP"), "pyVoIP: pip install pyVoIP==1.6.8"),
    "aiortc": (importlib.util.find_spec("aiortc"), "aiortc: pip install 'aiortc==1.16.*'"),
}


def run(tmp_path: Path, *only: str, path: str | None = None) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    sizes = ["--streams", "6", "--pyvoip", "2", "--aiortc", "2", "--seconds", "4", "--rounds", "1"]
    ran = subprocess.run(
        [sys.executable, "bench/peers.py", *sizes, "--json", str(tmp_path / "out.json"), "--only", *only],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | ({"PATH": path} if path else {}),
    )
    return ran, json.loads((tmp_path / "out.json").read_text())


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_back_what_it_was_sent(tmp_path: Path, name: str) -> None:
    found, missing = PEERS[name]
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    ran, held = run(tmp_path, name)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (round_,) = held["rounds"][name]
    assert name in round_["version"]
    assert round_["audio"]["alike"] > 0.9
    assert round_["us_a_stream_tick"] > 0
    assert "Asterisk" in held["not_measured"]


@pytest.mark.usefixtures("spoken")
def test_a_peer_that_is_not_installed_is_named_with_what_to_do(tmp_path: Path) -> None:
    ran, held = run(tmp_path, "rtpengine", path=str(tmp_path))
    assert ran.returncode == 1
    assert "apt-get install --no-install-recommends rtpengine-daemon" in held["not_measured"]["rtpengine"]
    assert held["rounds"] == {}
