"""The agent's softphone (pyVoIP) as a test peer."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

import pytest

from tests.peers.programs import JsonProgram, Programs


def start(
    programs: Programs, server: str, user: str, password: str = "", *options: str, registered: bool = True
) -> JsonProgram:
    """A phone at `server` (HOST:PORT), registered when this returns. `options` as the program's own."""
    if importlib.util.find_spec("pyVoIP") is None:
        missing = "pyVoIP is not installed: pip install 'trunkline[phone]'"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    command: Sequence[str] = [sys.executable, "-m", "gateway.lab.softphone", "--json"]
    account = ["--server", server, "--user", user, "--password", password]
    phone = programs.start_json(user, [*command, *account, *options], {"PYTHONPATH": os.pathsep.join(sys.path)})
    if registered:
        phone.event("registered", 15)
    return phone
