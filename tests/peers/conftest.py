"""One gateway for most whole calls, its callers, and the scenes that test modules look at afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.lab import stage
from tests.peers import whole
from tests.peers.programs import Programs


@pytest.fixture(scope="session")
def prompts(request: pytest.FixtureRequest) -> Path:
    """Rendered prompts, kept from run to run: a prompt's file is named after its words and voice."""
    assert request.config.cache is not None
    return Path(request.config.cache.mkdir("prompts"))


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[stage.GatewayProcess]:
    """A gateway with the bank's flow and flows/floor.yaml that serves the whole run."""
    folder = tmp_path_factory.mktemp("gateway")
    data = whole.data_folder(folder / "data", prompts)
    with stage.gateway(data, config=whole.written(folder / "config")) as running:
        yield running
    said = running.log.read_text(errors="replace")
    assert "Traceback" not in said, said[-4000:]


@pytest.fixture(scope="session")
def hall(gateway: stage.GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[whole.Hall]:
    """Callers to that gateway."""
    callers = whole.Hall(gateway, tmp_path_factory.mktemp("heard"))
    yield callers
    callers.close()


@pytest.fixture(scope="session")
def scenes(
    request: pytest.FixtureRequest, hall: whole.Hall, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """What `begin(hall, crew)` of each module gives: the calls of all modules of this run, played side by side."""
    modules = {item.module for item in request.session.items if isinstance(item, pytest.Function)}
    playing = [module for module in modules if hasattr(module, "begin")]
    crew = Programs(tmp_path_factory.mktemp("phones"))
    with ThreadPoolExecutor(max(1, len(playing))) as pool:
        yield {module.__name__: pool.submit(module.begin, hall, crew) for module in playing}
    crew.end()


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Programs that live as long as the module's calls."""
    running = Programs(tmp_path_factory.mktemp("crew"))
    yield running
    running.end()
