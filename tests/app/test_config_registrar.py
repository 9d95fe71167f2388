"""The section `registrar:` of gateway.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load_config
from gateway.core.errors import Findings
from gateway.sip.registrar import RegistrarSettings


def read(tmp_path: Path, text: str) -> RegistrarSettings:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"registrar: {text}\n")
    return load_config(path).registrar


def test_everything_can_be_set(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "{expires: 10m, min_expires: 1m, max_expires: 2h, contacts: 3, keepalive: crlf, every: 40, whom: all,"
        " algorithms: [SHA-256, MD5], third_party: [anna]}",
    )
    assert found == RegistrarSettings(
        600, 60, 7200, 3, "crlf", 40.0, "all", algorithms=("SHA-256", "MD5"), third_party=("anna",)
    )


def test_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == RegistrarSettings()
    assert read(tmp_path, "{algorithms: auto}") == RegistrarSettings()
    assert read(tmp_path, "{max_expires: 10m}") == RegistrarSettings(expires=600, max_expires=600)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{min_expires: 10m, max_expires: 5m}", "expires of registrar is not between the shortest and the longest"),
        ("{expires: 2h}", "read: 30s, 7200s, 3600s"),
        ("{every: 1s}", "expected: a duration such as 15s or 500ms, at least 5s"),
        ("{contacts: 0}", "expected: a whole number from 1 to 100"),
        ("{keepalive: option}", "did you mean: options"),
        ("{algorithms: [MD5, SHA-265]}", "did you mean: SHA-256"),
        ("{keep_alive: off}", "did you mean: keepalive"),
    ],
)
def test_what_can_not_be_used_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Findings) as found:
        read(tmp_path, text)
    assert said in str(found.value)
    assert "gateway.yaml:1:" in str(found.value)
