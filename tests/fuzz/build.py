"""Compiles target.pyx and the units it cimports with clang for coverage feedback, AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = ROOT / "build" / "fuzz"

CHECKS = "address,signed-integer-overflow,bounds,integer-divide-by-zero,null,shift-exponent"
FLAGS = ["-O1", "-g", "-w", "-fno-omit-frame-pointer", "-shared-libasan"]
FLAGS += [f"-fsanitize=fuzzer-no-link,{CHECKS}", "-fno-sanitize-recover=all"]


def units(source: Path, found: dict[str, Path] | None = None) -> dict[str, Path]:
    """The units of native/ that a source cimports, theirs included."""
    found = {} if found is None else found
    declared = source.with_suffix(".pxd")
    text = source.read_text() + (declared.read_text() if declared.exists() else "")
    for name in re.findall(r"^from native\.(\w+) cimport", text, re.M):
        unit = ROOT / "native" / f"{name}.pyx"
        if name not in found and unit.exists():
            found[name] = unit
            units(unit, found)
    return found


def runtime(name: str) -> str:
    """A library of clang's own, such as libclang_rt.asan-x86_64.so."""
    told = subprocess.run(["clang", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
    path = Path(told.strip())
    if not path.is_absolute():
        sys.exit(f"clang has no {name}: apt-get install clang libclang-rt-dev")
    return str(path)


def compile_unit(source: Path, name: str, folder: Path) -> None:
    c_file, made = folder / f"{name}.c", folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    newest = max(path.stat().st_mtime for path in (source, *(ROOT / "native").glob("*.pxd"), Path(__file__)))
    if made.exists() and made.stat().st_mtime > newest:
        return
    print(f"compiling {source.relative_to(ROOT)}", flush=True)
    cython = [sys.executable, "-m", "cython", "-3", "-X", "boundscheck=False,wraparound=False,cdivision=True"]
    subprocess.run([*cython, "-I", str(ROOT), str(source), "-o", str(c_file)], check=True)
    include = sysconfig.get_path("include")
    clang = ["clang", "-shared", "-fPIC", *FLAGS, f"-I{include}", str(c_file), "-o", str(made), "-lm"]
    subprocess.run(clang, check=True)


def build() -> None:
    """Everything under build/fuzz that run.py loads. Compiles what changed."""
    if not shutil.which("clang"):
        sys.exit("clang is not installed: apt-get install clang libclang-rt-dev")
    native = OUT / "native"
    native.mkdir(parents=True, exist_ok=True)
    (native / "__init__.py").write_text("")
    for path in (ROOT / "native").glob("*.py"):
        if path.name not in ("__init__.py", "reference.py"):
            shutil.copy(path, native)
    for name, source in units(HERE / "target.pyx").items():
        compile_unit(source, name, native)
    compile_unit(HERE / "target.pyx", "target", OUT)
    driver = OUT / "driver.so"
    if not driver.exists():
        fuzzer = runtime(f"libclang_rt.fuzzer_no_main-{os.uname().machine}.a")
        clang = ["clang", "-shared", "-fsanitize=address", "-shared-libasan", "-o", str(driver)]
        clang += ["-Wl,--whole-archive", fuzzer, "-Wl,--no-whole-archive", "-lstdc++", "-lpthread", "-lm"]
        subprocess.run(clang, check=True)
