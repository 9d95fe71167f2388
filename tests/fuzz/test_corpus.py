"""What the fuzzer keeps: inputs that reach much of native/ (through its Python faces) and of gateway/sip, and each that
ever broke something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.scripts import TARGETS
from tests.fuzz.sip_scripts import SIP_TARGETS

HERE = Path(__file__).resolve().parent
EVERY = {**TARGETS, **SIP_TARGETS}
INPUTS = sorted(path for path in (HERE / "corpus").glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_input_breaks_nothing(path: Path) -> None:
    EVERY[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", EVERY)
@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=600))
def test_no_input_breaks_anything(target: str, data: bytes) -> None:
    EVERY[target](data)


def test_every_target_is_fuzzed_replayed_and_has_inputs() -> None:
    compiled = re.findall(r'^    "(\w+)": <uintptr_t>', (HERE / "target.pyx").read_text(), re.M)
    assert compiled == list(TARGETS)
    assert {path.parent.name for path in INPUTS} == set(EVERY)
