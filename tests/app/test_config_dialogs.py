"""Session timers and 100rel in the section `sip:` of gateway.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load_config
from gateway.config_dialogs import DialogSettings
from gateway.core.errors import TrunklineError


def read(tmp_path: Path, text: str) -> DialogSettings:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"sip: {text}\n")
    return load_config(path).dialogs


def test_what_is_read(tmp_path: Path) -> None:
    told = "{session_timer: 10m, shortest_session: 2m, reliable: required}"
    assert read(tmp_path, told) == DialogSettings(600, 120, "required")
    assert read(tmp_path, "{session_timer: 0s}") == DialogSettings(0, 90, "supported")
    assert read(tmp_path, "{}") == DialogSettings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{session_timer: 1m}", "session_timer of sip is shorter than the shortest session"),
        ("{shortest_session: 30s}", "at least 90s"),
        ("{reliable: always}", "never, supported, required"),
        ("{session_timers: 1h}", "did you mean: session_timer"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TrunklineError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
