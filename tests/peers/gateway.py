"""The gateway itself as a process, on ports the system chose."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.peers.programs import Program, Programs, eventually

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "sip_config" / "gateway.yaml"
START_S = 120.0
"""The first start renders every prompt and loads the models."""


class Gateway(Program):
    """`sip` and `http` are its ports, `data` the folder of its records and recordings."""

    data: Path
    sip = 0
    http = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.sip}"

    def uri(self, number: str) -> str:
        """Where to call `number`."""
        return f"sip:{number}@{self.address}"


def start(
    programs: Programs,
    *options: str,
    prompts: Path | None = None,
    config: Path = CONFIG,
    name: str = "gateway",
    data: Path | None = None,
    sip_port: int = 0,
    env: dict[str, str] | None = None,
) -> Gateway:
    """`trunkline run` with `config`, taking calls when this returns. `prompts`: a folder of rendered prompts to share;
    `data`: keep an earlier gateway's folder, as after a crash."""
    folder = programs.folder / name
    data = data or folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if prompts is not None and not (data / "prompts").exists():
        prompts.mkdir(parents=True, exist_ok=True)
        (data / "prompts").symlink_to(prompts, target_is_directory=True)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command: Sequence[str] = [sys.executable, "-m", "gateway.cli", "run", "--config", str(config), "--log", "json"]
    command = [*command, "--sip", f"127.0.0.1:{sip_port}", "--http", "127.0.0.1:0", "--data", str(data), *options]
    environment = {"PYTHONPATH": str(ROOT), "TRUNKLINE_READY_FILE": str(ready), **(env or {})}
    program = Gateway(name, command, folder, environment)
    programs.add(program)
    eventually(lambda: ready.exists() or not program.running, START_S, "the gateway taking calls")
    if not ready.exists():
        pytest.fail(f"the gateway ended ({program.process.returncode}):\n{program.text[-4000:]}")
    ports = json.loads(ready.read_text())
    program.data, program.sip, program.http = data, ports["sip"], ports["http"]
    return program
