from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.media.engine import ENGINES, MediaEngine
from tests.media.peer import Peer

RECORDINGS = Path(__file__).resolve().parents[2] / "ivr_flows" / "recordings"


@pytest_asyncio.fixture(params=list(ENGINES))
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[MediaEngine]:
    engine = MediaEngine(request.param, max_legs=8, seed=5)
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture
async def peers() -> AsyncIterator[list[Peer]]:
    both = [await Peer.open(), await Peer.open()]
    yield both
    for peer in both:
        peer.close()


@pytest.fixture
def recordings() -> Path:
    return RECORDINGS
