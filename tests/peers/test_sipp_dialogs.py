"""Dialogs against sipp over UDP, all scenarios side by side against one gateway: losses on purpose both ways, CANCEL at
every moment, late offers, holds, 100rel, session timers, glare, forks, strict routes, refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.peers.programs import need
from tests.peers.stand import Hall, play
from tests.peers.stand_callers import CALLERS
from tests.peers.stand_phones import PHONES

pytestmark = pytest.mark.peers
SCENARIOS = CALLERS | PHONES


async def play_all(folder: Path) -> dict[str, str]:
    halls = {
        timed: await Hall.open(**({"session_expires": 4, "min_se": 2} if timed else {})) for timed in (False, True)
    }
    told = await asyncio.gather(
        *(play(halls[each.timed], name, each, folder / name) for name, each in SCENARIOS.items())
    )
    heard = dict(zip(SCENARIOS, told, strict=True))
    for hall in halls.values():
        open_calls, counters = hall.edge.endpoint.calls, hall.edge.endpoint.counters
        await hall.edge.close()
        heard["nothing is left"] = heard.get("nothing is left", "") + (str(open_calls) if open_calls else "")
        heard["nothing is left"] += str(counters) if counters["internal_errors"] else ""
    return heard


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    need("sipp")
    return asyncio.run(play_all(tmp_path_factory.mktemp("sipp")))


@pytest.mark.parametrize("name", [*SCENARIOS, "nothing is left"])
def test_against_sipp(name: str, played: dict[str, str]) -> None:
    assert played[name] == "", played[name]
