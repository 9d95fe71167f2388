"""What every folder of tests shares: where the callers' recordings are, and real programs that never outlive a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.peers.programs import Programs

settings.register_profile("here", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")
"""The same examples each time, and as slowly as the machine likes."""

ROOT = Path(__file__).resolve().parent.parent
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])  # kamailio's place


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with callers' sentences and recordings (TRUNKLINE_SHARED, or `shared` beside the project)."""
    folder = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared")
    if not (folder / "callers").is_dir():
        missing = f"no recordings at {folder}: set TRUNKLINE_SHARED to the folder that holds callers/"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Starts programs on loopback; all are ended with the test, and what they printed is shown when it failed."""
    running = Programs(tmp_path)
    yield running
    running.end()
