"""The layering rule of docs/architecture.md, by reading every import of the sources."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    **dict.fromkeys(("native", "core"), 0),
    **dict.fromkeys(("sip", "media", "webrtc", "speech", "flow", "routing", "store", "observe"), 1),
    **dict.fromkeys(("config_listen", "config_network", "config_media"), 1.5),
    **dict.fromkeys(("calls", "config"), 2),
    "trunks_file": 2.5,
    **dict.fromkeys(("desk", "lab"), 3),
    "app": 4,
    "serve": 5,
    "cli": 6,
    "__main__": 7,
}
"""Imports go from a higher number to a lower one; on one floor nobody imports a neighbour."""

ENGINE_USERS = {"media", "webrtc"}

PURE = (
    "gateway/sip/",
    "gateway/flow/",
    "gateway/routing/",
    *(f"gateway/calls/{name}" for name in ("reducer", "carry", "turns", "handover", "announce", "units", "model")),
)
SOCKETS = {f"gateway/sip/{name}.py" for name in ("edge", "verbs", "udp", "streams", "connection", "resolver")}
IMPURE = {"asyncio", "socket", "time", "threading", "select", "selectors"}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}

GPL = {"piper", "pyVoIP", "pjsua2", "espeakng"}
"""Never in the gateway's process: only in programs of their own, that nobody imports."""


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported anywhere in the file; `package` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def owner(name: str) -> str | None:
    """The floor's name of a dotted module, None where it is not ours or is the bare package."""
    parts = name.split(".")
    if parts[0] == "native":
        return "native"
    if parts[0] != "gateway" or len(parts) == 1 or parts[1].startswith("__version"):
        return None
    return "config" if parts[1].startswith("config_") and parts[1] not in FLOORS else parts[1]


def downward(here: str, name: str) -> str | None:
    """What is wrong with importing `name` from package `here`, or None."""
    there = owner(name)
    if there is None or there == here:
        return None
    if there not in FLOORS or here not in FLOORS:
        return f"{there if there not in FLOORS else here} has no floor"
    if there == "native":
        return None if here in ENGINE_USERS else "only media and webrtc import native"
    return None if FLOORS[there] < FLOORS[here] else f"{here} is not above {there}"


def python_faults(root: Path, path: Path) -> Iterator[str]:
    """Everything one Python file does against the rules."""
    place = path.relative_to(root).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"), place)
    module = place.removesuffix(".py").replace("/", ".")
    here = "native" if place.startswith("native/") else owner(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    pure = place.startswith(PURE) and place not in SOCKETS
    for line, name in imports(tree, package):
        top = name.split(".")[0]
        if here is None or here == "__init__":
            wrong = "the top package imports nothing of ours" if owner(name) else None
        else:
            wrong = downward(here, name)
        if here == "native" and top == "gateway":
            wrong = "native imports nothing of ours"
        if here == "core" and top not in sys.stdlib_module_names | {"gateway", "native"}:
            wrong = "core is standard library only"
        if pure and top in IMPURE:
            wrong = "a pure module takes time as an argument and has no sockets"
        if wrong:
            yield f"{place}:{line} imports {name}: {wrong}"
    if pure:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                read = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if (read, node.attr) in CLOCKS:
                    yield f"{place}:{node.lineno} reads a clock: {read}.{node.attr}"


def gpl_faults(root: Path) -> Iterator[str]:
    """Files that load a GPL package and are imported by others, so that it could come into the gateway's process."""
    users: dict[str, str] = {}
    imported: set[str] = set()
    for path in sorted((root / "gateway").rglob("*.py")):
        module = path.relative_to(root).as_posix().removesuffix(".py").replace("/", ".")
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            imported |= {name, name.rpartition(".")[0]}
            if name.split(".")[0] in GPL:
                users[module] = f"{path.relative_to(root).as_posix()}:{line} loads {name.split('.')[0]}"
    for module, what in users.items():
        if module in imported:
            yield f"{what}, and is imported itself: run it as a program of its own"


def faults(root: Path) -> list[str]:
    """Everything in the tree at `root` that breaks a rule."""
    found = [
        fault
        for top in ("gateway", "native")
        for path in sorted((root / top).rglob("*.py"))
        for fault in python_faults(root, path)
    ]
    for path in sorted(p for p in (root / "native").rglob("*") if p.suffix in {".pyx", ".pxd", ".pxi"}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.match(r"\s*(from|c?import)\s+gateway\b", line):
                found.append(
                    f"{path.relative_to(root).as_posix()}:{number} imports gateway: native imports nothing of ours"
                )
    return [*found, *gpl_faults(root)]


def test_every_import_goes_downward() -> None:
    found = faults(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_there_is_something_to_check() -> None:
    packages = {p.parent.name for p in (ROOT / "gateway").glob("*/__init__.py")}
    assert packages >= {"core", "flow", "routing", "store", "observe", "calls", "desk", "lab"}
    assert packages <= set(FLOORS), "a package without a floor"


@pytest.mark.parametrize(
    ("place", "source", "fault"),
    [
        ("gateway/store/a.py", "from gateway.observe import logs", "store is not above observe"),
        ("gateway/store/a.py", "from ..observe import logs", "store is not above observe"),
        ("gateway/core/a.py", "import gateway.sip.uri", "core is not above sip"),
        ("gateway/core/a.py", "def f():\n    import numpy", "standard library only"),
        ("gateway/core/a.py", "import native", "only media and webrtc"),
        ("gateway/calls/a.py", "from native import Engine", "only media and webrtc"),
        ("gateway/calls/a.py", "from gateway.desk.http import serve", "calls is not above desk"),
        ("gateway/lab/a.py", "from gateway.desk import http", "lab is not above desk"),
        ("gateway/lab/a.py", "from gateway import app", "lab is not above app"),
        ("gateway/app.py", "from gateway.cli import main", "app is not above cli"),
        ("gateway/routing/a.py", "import asyncio", "pure module"),
        ("gateway/routing/a.py", "from time import monotonic", "pure module"),
        ("gateway/sip/dialog.py", "import socket", "pure module"),
        ("gateway/calls/reducer_queue.py", "import threading", "pure module"),
        ("gateway/flow/a.py", "from datetime import datetime\nx = datetime.now()", "reads a clock"),
        ("gateway/flow/a.py", "import datetime\nx = datetime.date.today()", "reads a clock"),
        ("gateway/__init__.py", "from gateway.core import ids", "top package"),
        ("gateway/strange/a.py", "from gateway.core import ids", "no floor"),
        ("native/a.py", "from gateway.core import audio", "nothing of ours"),
        ("native/a.pyx", "from gateway.core cimport audio", "nothing of ours"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, place: str, source: str, fault: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (found,) = faults(tmp_path)
    assert place in found
    assert fault in found


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("gateway/sip/udp.py", "import asyncio, socket"),
        ("gateway/calls/driver.py", "import asyncio"),
        ("gateway/calls/a.py", "from gateway.sip import uri\nfrom gateway.core import ids"),
        ("gateway/media/engine.py", "import native"),
        ("gateway/lab/a.py", "from gateway import __version__\nfrom gateway.calls import reducer"),
        ("gateway/flow/a.py", "from datetime import datetime\nfrom . import turn\nimport ruamel.yaml"),
    ],
)
def test_what_the_rules_allow_passes(tmp_path: Path, place: str, source: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert faults(tmp_path) == []


def test_a_gpl_package_stays_in_a_program_nobody_imports(tmp_path: Path) -> None:
    lab = tmp_path / "gateway/lab"
    lab.mkdir(parents=True)
    (lab / "softphone.py").write_text("def run():\n    import pyVoIP\n")
    assert faults(tmp_path) == []
    (lab / "demo.py").write_text("from gateway.lab import softphone\n")
    (found,) = faults(tmp_path)
    assert "softphone.py:2 loads pyVoIP" in found
