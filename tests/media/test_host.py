"""What a machine offers: limits are raised as far as they go, and what is missing says what to do."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.media import host
from gateway.media.engine import MediaEngine


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_of_open_files_is_raised_to_what_legs_need() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    assert host.raise_open_files(100) == ""
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (host.files_for(100), hard)
    assert host.raise_open_files(10) == ""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == host.files_for(100), "never lowered"


def test_a_hard_limit_that_is_too_low_says_how_many_legs_fit() -> None:
    """In a process of its own: a hard limit that was lowered stays so."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 500));"
        "from gateway.media import host; print(host.raise_open_files(1000));"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], host.raise_open_files(host.legs_within(500)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path.cwd(), check=True)
    said, after = run.stdout.splitlines()
    assert "1000 legs need 3200 open files, 500 are allowed, enough for 100 legs" in said
    assert "LimitNOFILE" in said
    assert after.strip() == "500"


def test_every_answer_is_about_this_machine() -> None:
    assert host.codec_missing("PCMU") == host.codec_missing("L16") == host.codec_missing("G722") == ""
    assert "no SRTP profile" in host.srtp_missing("AES_CM_256")
    for said in (host.io_uring_refused(), host.real_time_refused(), host.codec_missing("opus")):
        assert said == "" or len(said) > 10


async def test_an_engine_says_how_it_uses_its_sockets(engine: MediaEngine) -> None:
    (kind,) = engine.io
    assert kind in ("plain", "uring")
