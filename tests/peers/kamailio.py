"""Kamailio as a test peer: a provider to register at, a proxy in front; small, on ports the system chose."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from tests.peers.programs import Program, bound, eventually, free_port, need

CARRIERS = Path(__file__).parent / "carriers"


class Kamailio(Program):
    """`port`: UDP and TCP, on `host`."""

    host: str
    port: int


def modules() -> str:
    """Where Debian keeps Kamailio's modules on this machine."""
    found = sorted(Path("/usr/lib").glob("*/kamailio/modules"))
    return str(found[0]) if found else "/usr/lib/x86_64-linux-gnu/kamailio/modules"


def free_both(ip: str = "127.0.0.1") -> int:
    """A port that nobody holds over UDP nor TCP."""
    while True:
        port = free_port(ip=ip)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((ip, port))
            except OSError:
                continue
        return port


def start(
    config: Path,
    folder: Path,
    *,
    name: str = "kamailio",
    host: str = "127.0.0.1",
    defines: Mapping[str, str] | None = None,
    **words: object,
) -> Kamailio:
    """Runs Kamailio with `config`, in which each of `words` is what it says; HOST, PORT and MODULES are given.
    `defines` are its own, by -A, with {port} for the port. It is ready when this returns; its end is the caller's."""
    folder = folder / name
    folder.mkdir(parents=True)
    port = free_both(host)
    text = config.read_text()
    for word, value in {"MODULES": modules(), "HOST": host, **words}.items():
        text = text.replace(word, str(value))
    (folder / "kamailio.cfg").write_text(_ported(text, port))
    command = [
        need("kamailio"),
        "-f",
        str(folder / "kamailio.cfg"),
        "-DD",
        "-E",
        "-e",
        "-m",
        "16",
        "-M",
        "4",
        "-L",
        modules(),
    ]
    for key, value in (defines or {}).items():
        command += ["-A", f"{key}={value.format(port=port)}"]
    command += ["-Y", str(folder), "-P", str(folder / "kamailio.pid"), "-w", str(folder)]
    program = Kamailio(name, command, folder)
    program.host, program.port = host, port
    eventually(lambda: bound(port) or not program.running, 30, "kamailio listening")
    assert program.running, program.text[-3000:]
    return program


def _ported(text: str, port: int) -> str:
    """PORT where it stands alone: WORLD_PORT is a word of its own."""
    return text.replace(":PORT", f":{port}").replace(" PORT", f" {port}")
