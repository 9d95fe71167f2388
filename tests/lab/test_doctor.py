"""What the doctor finds on this machine, and what it says where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import GatewayConfig
from gateway.config_listen import SipListen
from gateway.lab.doctor import Row, examine
from gateway.media import host

ROOT = Path(__file__).resolve().parents[2]
QUIET = GatewayConfig(sip=SipListen.at("127.0.0.1", 0))


def rows(config: GatewayConfig) -> dict[str, Row]:
    return {row.what: row for row in examine(config)}


def test_the_media_engine_is_looked_at_closely() -> None:
    found = rows(QUIET)
    assert found["media engine"].ok
    assert found["sockets of media"].ok
    assert found["sockets of media"].found.startswith(("plain on 1 thread", "uring on 1 thread"))
    assert rows(replace(QUIET, media_io="plain", media_threads=2))["sockets of media"].found.startswith(
        "plain on 2 threads"
    )
    assert {f"codec {name}" for name in ("opus", "G722", "PCMU", "PCMA", "L16")} <= found.keys()
    assert found["codec G722"] == Row("codec G722", True, "ready")
    assert sum(what.startswith("SRTP ") for what in found) == len(host.PROFILES)


def test_why_not_is_said_and_only_what_is_asked_for_makes_it_say_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "codec_missing", lambda name: "install libopus" if name == "opus" else "")
    monkeypatch.setattr(host, "srtp_missing", lambda profile: "install pylibsrtp")
    monkeypatch.setattr(host, "real_time_refused", lambda: "Operation not permitted")
    monkeypatch.setattr(host, "io_uring_refused", lambda: "this kernel has no io_uring")
    found = rows(QUIET)
    assert found["codec opus"] == Row("codec opus", False, "install libopus", optional=True)
    assert found["SRTP AEAD_AES_128_GCM"] == Row("SRTP AEAD_AES_128_GCM", False, "install pylibsrtp", optional=True)
    assert found["real-time scheduling of media"].optional
    assert found["sockets of media"].found.endswith("this kernel has no io_uring")
    assert not rows(replace(QUIET, codecs=("opus",)))["codec opus"].optional


def test_a_limit_of_open_files_that_is_too_low_for_the_calls() -> None:
    few = rows(QUIET)["open files"]
    assert few.ok
    assert few.found == "enough for 408 legs (200 calls)"
    many = rows(replace(QUIET, max_calls=100_000_000))["open files"]
    assert many.ok or "legs need" in many.found


@pytest.mark.parametrize(("ports", "ok"), [((20000, 20815), True), ((20000, 20813), False), ((20001, 20815), False)])
def test_ports_of_media_that_are_too_few_for_the_calls(ports: tuple[int, int], ok: bool) -> None:
    row = rows(replace(QUIET, media_ports=ports))["ports of media"]
    assert row.ok is ok
    assert "408 legs of 200 calls" in row.found
    assert ("widen ports: under media:" in row.found) is not ok


def doctor(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "COLUMNS": "300", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gateway.cli", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)


def test_a_configuration_that_is_not_there_is_told_as_run_tells_it(tmp_path: Path) -> None:
    asked, ran = (doctor(tmp_path, word, "--config", "nope.yaml") for word in ("doctor", "run"))
    assert asked.returncode == ran.returncode == 2
    assert asked.stderr == ran.stderr
    assert "nope.yaml" in asked.stderr
    assert not asked.stdout


def test_an_address_in_brackets_is_printed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("sip: {listen: 'udp://[2001:db8::1]:15097'}\nflows: []\n")
    ran = doctor(tmp_path, "doctor", "--config", "gateway.yaml", "--http", "127.0.0.1:1")
    assert "SIP on udp://[2001:db8::1]:15097" in ran.stdout, ran.stderr
    assert ran.returncode == 1
