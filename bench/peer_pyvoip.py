"""pyVoIP as the process under test: an RTPClient a stream, and a thread each that says again what it reads.

pyVoIP is GPL: it is only ever loaded by programs of their own, like this one.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import warnings
from importlib import metadata
from pathlib import Path

warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

IP = "127.0.0.1"
MISSING = "pyVoIP is not installed: pip install pyVoIP==1.6.8"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for sock in socks:
        sock.bind((IP, 0))
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--to", type=int, required=True, help="the generator's port")
    options = parser.parse_args()
    try:
        from pyVoIP.RTP import PayloadType, RTPClient, TransmitType
    except ImportError as error:
        say(missing=f"{MISSING} ({error})")
        return
    ports = free_ports(options.streams)
    digits: dict[int, str] = {}
    kinds = {0: PayloadType.PCMU, 101: PayloadType.EVENT}

    def key(stream: int, digit: str) -> None:
        digits[stream] = digits.get(stream, "") + digit

    clients = [
        RTPClient(kinds, IP, port, IP, options.to, TransmitType.SENDRECV, dtmf=lambda digit, k=k: key(k, digit))
        for k, port in enumerate(ports)
    ]

    def echo(client: RTPClient) -> None:
        while client.NSD:
            client.write(client.read(160))

    heard = [[(k, 0.0)] for k in range(options.streams)]
    say(ports=ports, heard=heard, version=f"pyVoIP {metadata.version('pyVoIP')}", pids=[os.getpid()])
    for line in sys.stdin:
        if line.strip() == "go":
            for client in clients:
                client.start()
                threading.Thread(target=echo, args=(client,), daemon=True).start()
        elif line.strip() in ("mark", "read"):
            say(threads=threading.active_count())
        elif line.strip() == "stop":
            break
    for client in clients:
        client.stop()
    say(digits=digits)
    os._exit(0)


if __name__ == "__main__":
    main()
