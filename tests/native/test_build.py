"""What was built: no GIL inside the engine, nothing that only runs on the machine that built it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from Cython.Compiler.Main import CompilationOptions, compile_single

NATIVE = Path(__file__).resolve().parents[2] / "native"
ENGINE = [
    "rings",
    "net",
    "io",
    "g711",
    "g722",
    "opus",
    "codec",
    "intake",
    "resample",
    "rtp",
    "rtcp",
    "srtp",
    "quality",
    "held",
    "delay",
    "conceal",
    "comfort",
    "stretch",
    "steer",
    "patch",
    "jitter",
    "echo",
    "vad",
    "ears",
    "dtmf",
    "gain",
    "mix",
    "desk",
    "latch",
    "playout",
    "room",
    "leg",
    "inbound",
    "outbound",
    "loop",
    "filters",
]
"""Units whose functions run on the engine's thread."""

GIL = re.compile(r"__Pyx_ErrOccurredWithGIL|__Pyx_PyGILState_Ensure|PyGILState_Ensure|__Pyx_WriteUnraisable")


@pytest.mark.parametrize("unit", ENGINE)
def test_the_engines_c_never_takes_the_gil(unit: str, tmp_path: Path) -> None:
    target = tmp_path / f"{unit}.c"
    options = CompilationOptions(output_file=str(target), include_path=[str(NATIVE.parent)], language_level=3)
    compile_single(str(NATIVE / f"{unit}.pyx"), options, full_module_name=f"native.{unit}")
    functions = re.findall(
        rf"^static [^;\n]*__pyx_f_6native_\d*{unit}_\w+\([^;]*?\) \{{\n(.*?)^\}}", target.read_text(), re.M | re.S
    )
    assert functions
    assert not [GIL.findall(body) for body in functions if GIL.search(body)]


@pytest.mark.parametrize("unit", ENGINE)
def test_every_c_function_of_the_engine_says_noexcept_nogil(unit: str) -> None:
    text = (NATIVE / f"{unit}.pyx").read_text()
    for line in re.findall(r"^cdef (?!extern|enum|class|struct)[^=\n]*\(.*\).*:$", text, re.M):
        if re.match(r"cdef void (fill_taps|resolve)\(\)", line):
            continue  # run once, when the module is imported
        if line.endswith(("except -1:", "except NULL:")):
            continue  # takes Python objects: only the commanding thread can call it
        assert line.endswith("noexcept nogil:"), line


def test_nothing_is_built_for_this_machine_only() -> None:
    setup = (NATIVE.parent / "setup.py").read_text()
    flags = re.findall(r'"(-[^"]+)"', setup)
    assert flags
    assert not [f for f in flags if f.startswith(("-march", "-mtune", "-mavx", "-Ofast"))]
