"""An engine that runs, and recorded human speech at 8 kHz."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import native
from native import reference

SOUNDS = Path("/usr/share/asterisk/sounds/en")

ENGINES = {"fast": native.Engine, "reference": reference.Engine}
"""Every test of an engine runs over each of these."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_engine" in metafunc.fixturenames:
        metafunc.parametrize("make_engine", list(ENGINES), indirect=True)


@pytest.fixture
def make_engine(request: pytest.FixtureRequest) -> type[native.Engine]:
    """The class to make an engine from."""
    return ENGINES[request.param]


@pytest.fixture
def engine(make_engine: type[native.Engine]) -> Iterator[native.Engine]:
    """One that runs."""
    engine = make_engine(max_legs=64, seed=7)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def speech() -> list[np.ndarray]:
    """At least 100 prompts spoken by a person, int16 at 8 kHz, each a second or longer."""
    files = [f for f in sorted(SOUNDS.glob("*.wav")) if f.stat().st_size > 16044]
    if len(files) < 100:
        missing = f"no human speech at {SOUNDS}: install asterisk-core-sounds-en-wav"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    found = []
    for file in files:
        with wave.open(str(file)) as sound:
            found.append(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
    return found
