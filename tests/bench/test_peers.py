"""bench/peers.py with a few streams: each peer gives back what it was sent, and what is missing is named."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = {
    "rtpengine": (shutil.which("rtpengine"), "rtpengine: apt-get install --no-install-recommends rtpengine-daemon"),
    "pyVoIP": (importlib.util.find_spec("pyVoIP"), "pyVoIP: pip install pyVoIP==1.6.8"),
    "aiortc": (importlib.util.find_spec("aiortc"), "aiortc: pip install 'aiortc==1.16.*'"),
}


SIZES = ["--streams", "6", "--pyvoip", "6", "--aiortc", "4", "--seconds", "4", "--rounds", "1", "--real-time"]


def start(folder: Path, name: str, path: str | None = None) -> subprocess.Popen[str]:
    """bench/peers.py for one peer, its figures in `folder`."""
    command = [sys.executable, "bench/peers.py", *SIZES, "--json", str(folder / f"{name}.json"), "--only", name]
    env = os.environ | ({"PATH": path} if path else {})
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, spoken: None) -> tuple[Path, dict[str, subprocess.Popen[str]]]:
    """All that are installed, at once: no time is asserted."""
    folder = tmp_path_factory.mktemp("peers")
    return folder, {name: start(folder, name) for name, (found, _) in PEERS.items() if found}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_back_what_it_was_sent(started: tuple[Path, dict[str, subprocess.Popen[str]]], name: str) -> None:
    folder, running = started
    if name not in running:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(PEERS[name][1])
    shown, _ = running[name].communicate(timeout=100)
    assert running[name].returncode == 0, shown
    held = json.loads((folder / f"{name}.json").read_text())
    (round_,) = held["rounds"][name]
    assert name in round_["version"]
    assert round_["audio"]["alike"] > 0.9
    assert round_["us_a_stream_tick"] > 0
    assert "Asterisk" in held["not_measured"]


@pytest.mark.usefixtures("spoken")
def test_a_peer_that_is_not_installed_is_named_with_what_to_do(tmp_path: Path) -> None:
    running = start(tmp_path, "rtpengine", path=str(tmp_path))
    shown, _ = running.communicate(timeout=60)
    assert running.returncode == 1, shown
    held = json.loads((tmp_path / "rtpengine.json").read_text())
    assert "apt-get install --no-install-recommends rtpengine-daemon" in held["not_measured"]["rtpengine"]
    assert held["rounds"] == {}
